"""What is said to the limiter, when, and what is not said because it counts alike."""

from __future__ import annotations

import pytest

from headgate.asking import Asking, Word
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LaneReport, LeaseReport
from headgate.messages.tokens import FINISHED, Grant, LaneDemand, Settlement, Throttling, TokenRequest, Unused

MS = 1_000_000
NOW = 1_000 * SECOND_NS
REQUEST = BulkRequest(id="r", project="p", owner="ana", weight=2.0, submitted_at_ns=5)


def lane(number: int, calls: int, latency_ms: int = 300) -> LaneDemand:
    return LaneDemand(
        lane=number, kind="write", user="bot", spreadsheet=f"s{number}", calls=calls, latency_ns=latency_ms * MS
    )


def ask(asking: Asking, after_ms: int, *lanes: LaneDemand, lead_ms: int = 0, stopped: str = "") -> Word:
    return asking.ask(NOW + after_ms * MS, lanes, lead_ms * MS, "normal", stopped)


def settle(asking: Asking, after_ms: int, *, held: bool = False, lanes: int = 20) -> Word:
    return asking.settle(NOW + after_ms * MS, held=held, lanes=lanes)


def after_asking(*lanes: LaneDemand) -> Asking:
    """The demand of a request that has asked at `NOW`, and was given grants of epoch 1 before."""
    asking = Asking(REQUEST, "bulk/r", run=7)
    asking.heard(NOW, Grant(epoch=1, grant_id=0))
    assert ask(asking, 0, *lanes).starts
    return asking


def granted(number: int, *lanes: int, epoch: int = 1) -> Grant:
    """A token for each of the lanes."""
    return Grant(epoch=epoch, grant_id=number, tokens={n: (NOW,) * lanes.count(n) for n in lanes})


def test_the_first_demand_is_whole_and_starts_a_limiter() -> None:
    """Whatever the limiter has to know of the request is in it."""
    word = ask(Asking(REQUEST, "bulk/r", run=7, sequence=3), 0, lane(0, 4), lead_ms=350)
    assert word.said == TokenRequest(
        holder="bulk/r",
        run=7,
        sequence=4,
        weight=2.0,
        fairness_key="ana",
        submitted_at_ns=5,
        lanes=(lane(0, 4),),
        lead_ns=350 * MS,
    )
    assert (word.starts, word.again_ns) == (True, NOW + 30 * SECOND_NS)


def test_what_the_limiter_counts_by_itself_is_not_said() -> None:
    """It has granted three calls of five, and one came back: it wants three more, and so do we."""
    asking = after_asking(lane(0, 5))
    assert asking.heard(NOW, granted(1, 0, 0, 0)) == "next"
    asking.hand_back([Unused(grant_id=1, lane=0, tokens=(2,))])
    assert ask(asking, 5_000, lane(0, 3)).said is None
    assert ask(asking, 5_000, lane(0, 2)).said is not None


@pytest.mark.parametrize(
    "wanted",
    [(lane(0, 4),), (lane(0, 5), lane(1, 1)), (lane(0, 5, 401),), (lane(1, 5),), ()],
    ids=["another count", "a lane more", "clearly slower", "another lane", "nothing"],
)
def test_a_change_is_said_once_a_second(wanted: tuple[LaneDemand, ...]) -> None:
    """By signal, when the second is over."""
    asking = after_asking(lane(0, 5))
    assert ask(asking, 999, *wanted) == Word(again_ns=NOW + SECOND_NS)
    word = ask(asking, 1_000, *wanted)
    assert isinstance(word.said, TokenRequest)
    assert (word.said.lanes, word.said.epoch, word.starts) == (wanted, 1, False)


@pytest.mark.parametrize("slower_ms", [2_000, 2_390])
def test_what_is_a_little_slower_or_was_told_is_not_said(slower_ms: int) -> None:
    """A fifth of a call's time is no news."""
    assert ask(after_asking(lane(0, 5, 2_000)), 5_000, lane(0, 5, slower_ms)).said is None


def test_a_longer_lead_is_said() -> None:
    """Where grants take longer to become calls, their tokens have to lie farther ahead."""
    asking = after_asking(lane(0, 5))
    assert ask(asking, 5_000, lane(0, 5), lead_ms=100).said is None
    assert ask(asking, 5_000, lane(0, 5), lead_ms=101).said is not None


def test_a_control_change_and_the_first_lanes_after_none_are_said_at_once() -> None:
    """A person waits for the one; with the other the limiter begins to grant."""
    asking = after_asking(lane(0, 5))
    paused = ask(asking, 1, stopped="paused by ana")
    assert isinstance(paused.said, TokenRequest)
    assert (paused.said.stopped, paused.said.lanes, paused.said.gives_back, paused.again_ns) == (
        "paused by ana",
        (),
        False,
        0,
    )
    assert isinstance(ask(asking, 2, lane(0, 5)).said, TokenRequest)
    assert asking.ask(NOW + 3 * MS, (lane(0, 5),), 0, "urgent").said is not None


def test_silence_is_broken_every_thirty_seconds_where_something_is_wanted() -> None:
    """By what starts a limiter; any grant breaks it too, and whoever wants nothing waits for nothing."""
    asking = after_asking(lane(0, 5))
    asking.heard(NOW + 10 * SECOND_NS, Grant(epoch=1, grant_id=0))
    assert ask(asking, 39_999, lane(0, 5)) == Word(again_ns=NOW + 40 * SECOND_NS)
    word = ask(asking, 40_000, lane(0, 5))
    assert (word.said is not None, word.starts, word.again_ns) == (True, True, NOW + 70 * SECOND_NS)
    assert ask(after_asking(), 90_000) == Word()


def test_a_word_that_failed_is_said_again_at_once() -> None:
    """The limiter is gone: the next demand starts one."""
    asking = after_asking(lane(0, 5))
    asking.unheard()
    assert ask(asking, 1, lane(0, 5)).starts


def test_the_last_word_gives_back_what_it_has_not_seen() -> None:
    """A request that is over uses no grant any more."""
    word = ask(after_asking(lane(0, 5)), 1, stopped=FINISHED)
    assert isinstance(word.said, TokenRequest)
    assert (word.said.stopped, word.said.gives_back, word.starts) == ("finished", True, False)


def test_with_many_lanes_tokens_go_back_once_a_second() -> None:
    """All of them in one settlement, in the order in which they came back."""
    asking = after_asking(lane(0, 5))
    back = [Unused(grant_id=1, lane=n, tokens=(0,)) for n in range(3)]
    asking.hand_back(back[:1])
    assert settle(asking, 0).said == Settlement(holder="bulk/r", epoch=1, unused=(back[0],))
    asking.hand_back(back[1:2])
    assert settle(asking, 999) == Word(again_ns=NOW + SECOND_NS)
    asking.hand_back(back[2:])
    assert not asking.settled
    assert settle(asking, 1_000).said == Settlement(holder="bulk/r", epoch=1, unused=(back[1], back[2]))
    assert asking.settled
    assert settle(asking, 9_000) == Word()


@pytest.mark.parametrize("why", ["held", "few lanes", "a 429"])
def test_what_somebody_waits_for_is_settled_at_once(why: str) -> None:
    """Other holders wait for the tokens of one that is held, a round for a lane's, everybody for what a 429 taught."""
    asking = after_asking(lane(0, 5))
    asking.hand_back([Unused(grant_id=1, lane=0, tokens=(0,))])
    assert settle(asking, 0).said is not None
    asking.hand_back([Unused(grant_id=1, lane=0, tokens=(1,))])
    throttled = (Throttling(kind="write"),) if why == "a 429" else ()
    asking.reported(LeaseReport(lanes=(), throttled=throttled))
    word = settle(asking, 1, held=why == "held", lanes=8 if why == "few lanes" else 9)
    assert isinstance(word.said, Settlement)
    assert (len(word.said.unused), word.said.throttled) == (1, throttled)


@pytest.mark.parametrize(("epoch", "ours"), [(1, True), (0, True), (2, False)])
def test_a_lease_hands_back_to_the_limiter_that_gave_it(epoch: int, *, ours: bool) -> None:
    """The numbers of another one's grants mean other tokens."""
    asking = after_asking(lane(0, 5))
    part = LaneReport(lane=0, grant_id=1, unused=(0, 2))
    asking.reported(LeaseReport(lanes=(part, LaneReport(lane=1, grant_id=1)), epoch=epoch))
    word = settle(asking, 0)
    assert (word.said is not None) == ours
    if ours:
        assert word.said == Settlement(holder="bulk/r", epoch=1, unused=(Unused(grant_id=1, lane=0, tokens=(0, 2)),))


def test_a_newer_limiter_hears_everything_and_gets_nothing_back() -> None:
    """What the lost one gave is not its own, but what the API said holds for it too."""
    asking = after_asking(lane(0, 5))
    asking.hand_back([Unused(grant_id=1, lane=0, tokens=(0,))])
    asking.reported(LeaseReport(lanes=(), throttled=(Throttling(kind="write"),)))
    assert asking.heard(NOW, granted(1, 0, epoch=2)) == "anew"
    assert settle(asking, 1).said == Settlement(holder="bulk/r", epoch=2, throttled=(Throttling(kind="write"),))
    word = ask(asking, 1, lane(0, 4))
    assert isinstance(word.said, TokenRequest)
    assert (word.said.epoch, word.said.last_grant, word.starts) == (2, 1, True)
    assert asking.heard(NOW, granted(2, 0)) == "stale"


def test_a_late_grant_goes_back_whole_and_proves_that_the_limiter_was_reset() -> None:
    """It learns from the demand which grant was seen last."""
    asking = after_asking(lane(0, 5))
    asking.heard(NOW, granted(8, 0))
    assert asking.heard(NOW, granted(3, 0, 0, 1)) == "late"
    back = (Unused(grant_id=3, lane=0, tokens=(0, 1)), Unused(grant_id=3, lane=1, tokens=(0,)))
    assert settle(asking, 1).said == Settlement(holder="bulk/r", epoch=1, unused=back)
    word = ask(asking, 1, lane(0, 4))
    assert isinstance(word.said, TokenRequest)
    assert (word.said.last_grant, word.starts) == (8, True)
    assert asking.heard(NOW, granted(3, 0, 0, 1)) == "again"
    assert settle(asking, 1_001).said is None
