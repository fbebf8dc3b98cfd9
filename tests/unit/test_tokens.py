"""Tokens for outside scripts: each at its time, none twice, none kept. The limiter here is a script with books of its own."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.clock import ServerClock
from headgate.errors import HeadgateError, InvalidRequest, NoToken, Unreachable
from headgate.messages.tokens import Booked, Booking, BookingAnswer, NotUntil, Settlement, Stopped, Throttling
from starter.ahead import Ahead, Token
from starter.tokens import Tokens, headgate_tokens
from tests.jumping import jumping_loop, run_jumping

MS = 1_000_000
SECOND = 1_000 * MS
#: Neither the host's wall clock nor its monotonic clock is anywhere near the server's.
SERVER_AHEAD = 1_800_000_000 * SECOND
VALID_FOR = 300 * MS
PATTERN = Booking(id="h", holder="h", kind="read", user="u", spreadsheet="")
Answer = Callable[[int, Booking], BookingAnswer]


def host_ns() -> int:
    return round(jumping_loop().time() * 1e9)


def soon(now: int, booking: Booking) -> BookingAnswer:
    return Booked(at_ns=now + 50 * MS)


@dataclass
class Books:
    """A limiter that answers as `answers` says, after `takes_s`, and writes down what it was told."""

    answers: Answer = soon
    takes_s: float = 0.01
    errors: list[Exception] = field(default_factory=list)
    clock: ServerClock = field(default_factory=lambda: ServerClock(monotonic_ns=host_ns))
    updates: list[list[str]] = field(default_factory=list)
    asked_at: list[int] = field(default_factory=list)
    given: dict[int, str] = field(default_factory=dict)
    settled: list[Settlement] = field(default_factory=list)
    deaf: bool = False

    def now(self) -> int:
        """The server's time."""
        return SERVER_AHEAD + host_ns()

    async def ask(self, bookings: Sequence[Booking]) -> list[tuple[BookingAnswer, int]]:
        sent = host_ns()
        if bookings:
            self.updates.append([booking.id for booking in bookings])
            self.asked_at.append(self.now())
        await asyncio.sleep(self.takes_s / 2)
        if self.errors and bookings:
            raise self.errors.pop(0)
        now = self.now()
        answers = [(self._answer(now, booking), VALID_FOR) for booking in bookings]
        await asyncio.sleep(self.takes_s / 2)
        self.clock.between(sent, now)
        return answers

    async def tell(self, said: Settlement) -> None:
        if self.deaf:
            raise Unreachable("the server is away")
        self.settled.append(said)

    @property
    def returned(self) -> list[str]:
        return [booking_id for said in self.settled for booking_id in said.unused_bookings]

    def tokens(self, calls: int | None = None, wait_s: float | None = None) -> Tokens:
        return Tokens(self, Ahead(PATTERN, calls), None if wait_s is None else timedelta(seconds=wait_s))

    def check(self, token: Token) -> str:
        """The token may be used at this very moment; returns its booking's id."""
        now = self.now()
        assert token.at_ns <= now + MS // 1000  # float seconds to nanoseconds
        assert now <= token.at_ns + VALID_FOR + 100 * MS, "later than its validity and what the clock may lag"
        booking_id = self.given[token.at_ns]
        assert booking_id not in self.returned, "a token that was handed back is handed out"
        return booking_id

    def balanced(self, used: Sequence[str]) -> None:
        """Every token that was given was used or handed back, once."""
        assert len(set(used)) == len(used)
        assert len(set(self.returned)) == len(self.returned)
        assert not set(used) & set(self.returned)
        assert set(self.given.values()) <= set(used) | set(self.returned)

    def _answer(self, now: int, booking: Booking) -> BookingAnswer:
        answer = self.answers(now, booking)
        if isinstance(answer, Booked):
            while answer.at_ns in self.given:  # so that a token's time names its booking
                answer = Booked(at_ns=answer.at_ns + 1)
            self.given[answer.at_ns] = booking.id
        return answer


def in_jumps(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in a loop whose time jumps."""

    def run() -> None:
        run_jumping(test())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@in_jumps
async def test_every_token_comes_at_its_time_on_the_servers_clock() -> None:
    """Whatever the host's clocks show; numbers count from 1, and iteration ends after `calls`."""
    books = Books()
    used = []
    async with books.tokens(calls=5) as tokens:
        async for token in tokens:
            used.append(books.check(token))
            assert token.number == len(used)
            await asyncio.sleep(0.2)
    assert len(used) == 5
    books.balanced(used)


@in_jumps
async def test_more_than_calls_is_refused() -> None:
    """For iteration that is its end; a caller of `take` is told."""
    books = Books()
    async with books.tokens(calls=1) as tokens:
        await tokens.take()
        with pytest.raises(InvalidRequest, match="all 1 tokens"):
            await tokens.take()
        assert [token async for token in tokens] == []
    assert sum(map(len, books.updates)) == 1, "booked beyond calls"


@in_jumps
async def test_those_who_wait_for_the_last_tokens_have_claimed_them() -> None:
    """Ten iterate over three tokens: three get one, nobody is left waiting."""
    books = Books()
    async with books.tokens(calls=3) as tokens:
        seen = await asyncio.gather(*(_all(tokens) for _ in range(10)))
    assert sorted(map(len, seen), reverse=True)[:4] == [1, 1, 1, 0]


@in_jumps
async def test_a_place_is_asked_for_again_at_its_time_under_the_same_id() -> None:
    """`NotUntil` is waited out, neither shorter nor 0.1 s longer."""
    books = Books()
    opens = books.now() + 40 * SECOND
    books.answers = lambda now, _: NotUntil(at_ns=opens, why="full") if now < opens else Booked(at_ns=now + 50 * MS)
    async with books.tokens(calls=1) as tokens:
        used = [books.check(await tokens.take())]
    assert books.updates == [["h/1"], ["h/1"]]
    assert opens <= books.asked_at[1] <= opens + 100 * MS
    books.balanced(used)


@in_jumps
async def test_a_pause_is_a_wait() -> None:
    """`Stopped` for a minute: asked about every 5 s or rarer, and then it goes on."""
    books = Books()
    resumed = books.now() + 60 * SECOND
    books.answers = lambda now, booking: Stopped(why="paused") if now < resumed else soon(now, booking)
    async with books.tokens(calls=1) as tokens:
        used = [books.check(await tokens.take())]
        assert resumed <= books.now() <= resumed + 6 * SECOND
    assert len(books.updates) <= 14
    assert {booking_id for update in books.updates for booking_id in update} == {"h/1"}
    books.balanced(used)


@in_jumps
async def test_whoever_cannot_wait_says_for_how_long() -> None:
    """`NoToken` is a HeadgateError and a TimeoutError, names the reason, and the place goes back at the end."""
    books = Books(answers=lambda now, _: NotUntil(at_ns=now + 60 * SECOND, why="user u is at its 60 reads"))
    async with books.tokens(wait_s=2) as tokens:
        began = books.now()
        with pytest.raises(NoToken, match="within 2 s: user u is at its 60 reads") as raised:
            await tokens.take()
        assert books.now() - began <= 2.1 * SECOND
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, HeadgateError)
    assert books.returned == ["h/1"]


@in_jumps
async def test_a_limiter_that_never_answers_is_not_waited_for_at_the_start_either() -> None:
    with pytest.raises(NoToken, match="nothing has answered yet"):
        async with Books(takes_s=600).tokens(wait_s=2):
            pass


@in_jumps
async def test_quick_calls_are_served_in_groups() -> None:
    """Sixty calls of 10 ms, one after the other: never more than 16 ahead, and few updates."""
    books = Books()
    used = []
    async with books.tokens(calls=60) as tokens:
        async for token in tokens:
            used.append(books.check(token))
            assert len(books.given) - len(used) - len(books.returned) <= 16
            await asyncio.sleep(0.01)
    assert len(books.updates) <= 10
    assert len(books.given) <= 60, "booked beyond calls"
    books.balanced(used)


def queue(books: Books, every_ns: int) -> Answer:
    """One place after the other, so far apart; within 1.5 s it is a token."""
    places: dict[str, int] = {}

    def answer(now: int, booking: Booking) -> BookingAnswer:
        taken = [at for booking_id, at in places.items() if booking_id not in books.returned]
        at = places.setdefault(booking.id, max([now, *taken]) + every_ns)
        return Booked(at_ns=at) if at <= now + 1500 * MS else NotUntil(at_ns=at - 250 * MS, why="full")

    return answer


@in_jumps
async def test_a_busy_quota_is_waited_for_in_groups() -> None:
    """Tokens a quarter of a second apart, calls of 10 ms: fewer updates than tokens, and no time is lost."""
    books = Books()
    books.answers = queue(books, SECOND // 4)
    used = []
    async with books.tokens(calls=80) as tokens:
        began = books.now()
        async for token in tokens:
            used.append(books.check(token))
            await asyncio.sleep(0.01)
        assert books.now() - began <= 24 * SECOND
    assert len(books.updates) + len(books.settled) <= 80
    books.balanced(used)


@in_jumps
async def test_nobody_stands_in_a_long_queue_more_often_than_he_waits() -> None:
    """Three callers, a token in 4 s: three places at most, or somebody urgent would stand behind sixteen."""
    books = Books()
    places = books.answers = queue(books, 4 * SECOND)
    books.answers = soon
    used: list[str] = []
    most = 0

    async def caller(tokens: Tokens) -> None:
        nonlocal most
        async for token in tokens:
            used.append(books.check(token))
            if len(used) == 60:
                books.answers = places
            await asyncio.sleep(0.01)
            if len(used) > 63:
                asked = {booking_id for update in books.updates for booking_id in update}
                most = max(most, len(asked - set(used) - set(books.returned)))

    async with books.tokens(calls=80) as tokens:
        await asyncio.gather(*(caller(tokens) for _ in range(3)))
    assert 1 <= most <= 3
    books.balanced(used)


@in_jumps
async def test_those_who_wait_together_share_an_update() -> None:
    books = Books()
    async with books.tokens(calls=16) as tokens:
        used = [books.check(token) for token in await asyncio.gather(*(tokens.take() for _ in range(16)))]
    assert books.updates == [[f"h/{n}" for n in range(1, 17)]]
    books.balanced(used)


@in_jumps
async def test_a_caller_that_slows_down_gets_no_stale_token() -> None:
    """What was booked ahead for quick calls goes back while the caller dawdles, not at the end."""
    books = Books()
    used = []
    async with books.tokens() as tokens:
        for _ in range(12):
            used.append(books.check(await tokens.take()))
            await asyncio.sleep(0.01)
        ahead = len(books.given) - len(used)
        assert ahead > 0, "nothing was booked ahead: this test says nothing"
        await asyncio.sleep(1)
        assert len(books.returned) == ahead
        updates = len(books.updates)
        used.append(books.check(await tokens.take()))
        assert len(books.updates) == updates + 1
    books.balanced(used)


@in_jumps
async def test_a_busy_process_hands_out_nothing_stale() -> None:
    """The process is blocked over the token's whole time: that one goes back, another is booked."""
    books = Books(answers=lambda now, _: Booked(at_ns=now + SECOND))
    async with books.tokens(calls=1) as tokens:
        taking = asyncio.create_task(tokens.take())
        await asyncio.sleep(0.9)
        jumping_loop().block(2)
        used = [books.check(await taking)]
    assert (len(books.given), books.returned) == (2, ["h/1"])
    books.balanced(used)


@in_jumps
async def test_nothing_is_handed_out_by_a_clock_that_is_not_trusted_any_more() -> None:
    """After 130 s of silence comes a token with an answer too slow to set the clock by: it goes back, the next is used."""
    books = Books()
    opens = books.now() + 130 * SECOND

    def answers(now: int, _: Booking) -> BookingAnswer:
        books.takes_s = 0.2 if len(books.updates) == 2 else 0.01
        return NotUntil(at_ns=opens) if now < opens else Booked(at_ns=now)

    books.answers = answers
    async with books.tokens(calls=1) as tokens:
        used = [books.check(await tokens.take())]
    assert "h/1" in books.returned
    books.balanced(used)


@pytest.mark.parametrize("ending", ["break", "exception", "cancellation"])
def test_leaving_hands_back_what_was_not_handed_out(ending: str) -> None:
    """However it is left; what was handed out counts as used."""
    books = Books(answers=lambda now, b: soon(now, b) if b.id in ("h/1", "h/2") else NotUntil(at_ns=now + 9 * SECOND))
    used: list[str] = []

    async def script() -> None:
        async with books.tokens(calls=6) as tokens:
            waiting = [asyncio.create_task(tokens.take()) for _ in range(6)]
            done, _ = await asyncio.wait(waiting, timeout=1)
            used.extend(books.given[task.result().at_ns] for task in done)
            if ending == "exception":
                raise ZeroDivisionError
            if ending == "cancellation":
                await asyncio.sleep(3600)
        refused = await asyncio.gather(*(task for task in waiting if task not in done), return_exceptions=True)
        assert all(isinstance(error, InvalidRequest) for error in refused)

    async def main() -> None:
        running = asyncio.create_task(script())
        await asyncio.sleep(5)
        running.cancel()
        result = (await asyncio.gather(running, return_exceptions=True))[0]
        expected = {"break": type(None), "exception": ZeroDivisionError, "cancellation": asyncio.CancelledError}
        assert isinstance(result, expected[ending]), result

    run_jumping(main())
    assert len(used) == 2
    assert set(books.returned) == {"h/3", "h/4", "h/5", "h/6"}
    books.balanced(used)


@in_jumps
async def test_leaving_waits_for_an_answer_under_way() -> None:
    """Handed back before the limiter has booked it, a token would stay booked."""
    books = Books(takes_s=0.08)
    async with books.tokens(calls=1) as tokens:
        taking = asyncio.create_task(tokens.take())
        await asyncio.sleep(0.02)
        assert books.updates
        assert not books.given
    with pytest.raises(InvalidRequest, match="left"):
        await taking
    assert list(books.given.values()) == books.returned == ["h/1"]


@in_jumps
async def test_leaving_a_server_that_is_away_ends() -> None:
    """The tokens run out by themselves; the script's own error is the one that is seen."""
    books = Books()
    began = 0

    async def script() -> None:
        nonlocal began
        async with books.tokens() as tokens:
            await tokens.take()
            books.deaf, books.takes_s = True, 3600
            taking.append(asyncio.create_task(tokens.take()))
            await asyncio.sleep(0.1)
            began = books.now()
            raise ZeroDivisionError

    taking: list[asyncio.Task[Token]] = []
    with pytest.raises(ZeroDivisionError):
        await script()
    assert books.now() - began <= 11 * SECOND
    await asyncio.gather(*taking, return_exceptions=True)


@in_jumps
async def test_what_could_not_be_handed_back_is_handed_back_later() -> None:
    books = Books()
    async with books.tokens() as tokens:
        for _ in range(12):
            await tokens.take()
            await asyncio.sleep(0.01)
        books.deaf = True
        await asyncio.sleep(3)
        assert not books.returned
        books.deaf = False
        await asyncio.sleep(6)
        assert books.returned


@in_jumps
async def test_an_outage_is_a_wait_and_keeps_the_place() -> None:
    books = Books(errors=[Unreachable("away") for _ in range(4)])
    async with books.tokens(calls=1) as tokens:
        used = [books.check(await tokens.take())]
        assert tokens.waits_for == "away"
    assert books.updates == [["h/1"]] * 5
    books.balanced(used)


@pytest.mark.parametrize("wrong", [InvalidRequest("not permitted"), HeadgateError("refused"), ValueError("a bug")])
def test_what_asking_again_cannot_mend_is_raised(wrong: Exception) -> None:
    """To everybody who waits, and to whoever comes later."""

    async def main() -> None:
        books = Books(errors=[wrong])
        async with books.tokens() as tokens:
            raised = await asyncio.gather(*(tokens.take() for _ in range(3)), return_exceptions=True)
            assert [str(wrong) in str(error) for error in raised] == [True] * 3
            with pytest.raises(HeadgateError, match=str(wrong)):
                await tokens.take()

    run_jumping(main())


@in_jumps
async def test_tokens_that_were_left_refuse() -> None:
    async with Books().tokens() as tokens:
        await tokens.take()
    for late in (tokens.take(), anext(tokens), tokens.throttled("user")):
        with pytest.raises(InvalidRequest, match="left"):
            await late


@in_jumps
async def test_a_429_is_told_with_what_it_named() -> None:
    """What was booked ahead would meet the same refusal, so it goes back with the news."""
    books = Books()
    async with books.tokens() as tokens:
        for _ in range(12):
            await tokens.take()
            await asyncio.sleep(0.01)
        ahead = len(books.given) - 12
        assert ahead > 0
        await tokens.throttled("user")
        said = books.settled[-1]
        assert (len(said.unused_bookings), said.holder) == (ahead, "h")
        assert abs(said.throttled[0].at_ns - books.now()) <= 100 * MS
        assert said.throttled == (Throttling(kind="read", scope="user", user="u", at_ns=said.throttled[0].at_ns),)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"calls": 0}, "calls=0"),
        ({"kind": "delete"}, "kind='delete'"),
        ({"priority": "asap"}, "priority='asap'"),
        ({"project": "a/b"}, "project='a/b'"),
    ],
)
async def test_a_mistake_is_said_before_anything_is_connected(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        async with headgate_tokens(**{"project": "p", "user": "u", "kind": "read", **wrong}):
            pass


@settings(max_examples=60, deadline=None)
@given(
    pauses=st.lists(st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.4, 3.0]), max_size=12), min_size=1, max_size=5),
    waits=st.lists(st.sampled_from([50, 50, 50, 800, 4_000]), min_size=1, max_size=20),
    takes_s=st.sampled_from([0.0, 0.02, 0.09, 0.2]),
    blocks=st.lists(st.sampled_from([0.2, 1.0]), max_size=3),
)
def test_whatever_scripts_do_every_token_is_used_in_time_or_handed_back(
    pauses: list[list[float]], waits: list[int], takes_s: float, blocks: list[float]
) -> None:
    """Several callers of any pace, a limiter of any pace, a process that is busy: nothing stale, nothing twice, nothing kept."""

    async def main() -> None:
        books = Books(takes_s=0.01)
        numbers: dict[str, int] = {}

        def answers(now: int, booking: Booking) -> BookingAnswer:
            wait = waits[numbers.setdefault(booking.id, len(numbers)) % len(waits)] * MS
            if wait > SECOND and booking.id not in second:
                second.add(booking.id)
                return NotUntil(at_ns=now + wait)
            return Booked(at_ns=now + min(wait, SECOND))

        second: set[str] = set()
        books.answers = answers
        used: list[str] = []

        async def caller(tokens: Tokens, mine: list[float]) -> None:
            for pause in mine:
                used.append(books.check(await tokens.take()))
                await asyncio.sleep(pause)

        async def busy() -> None:
            for seconds in blocks:
                await asyncio.sleep(0.37)
                jumping_loop().block(seconds)

        async with books.tokens(wait_s=600) as tokens:
            books.takes_s = takes_s
            await asyncio.gather(busy(), *(caller(tokens, mine) for mine in pauses))
        assert len(used) == sum(map(len, pauses))
        books.balanced(used)

    run_jumping(main())


async def _all(tokens: Tokens) -> list[Token]:
    return [token async for token in tokens]


def test_the_pages_examples_are_python_that_this_release_takes() -> None:
    """Every block compiles, and every call of `headgate_tokens` in it has arguments that exist."""
    page = (Path(__file__).parents[2] / "docs" / "outside.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    checked = 0
    for block in blocks:
        tree = compile(block, "docs/outside.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "headgate_tokens":
                inspect.signature(headgate_tokens).bind(*call.args, **{str(word.arg): 0 for word in call.keywords})
                checked += 1
    assert (len(blocks) >= 4, checked) == (True, 2)
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    optional = {name for name, p in inspect.signature(headgate_tokens).parameters.items() if p.default is not p.empty}
    assert named == optional
