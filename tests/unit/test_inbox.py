"""What the inbox's rows mean, and what comes of what happened to one: every decision of the bridge, without a database."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.absence import LONGEST_OUTAGE_S, SILENT_AFTER, Away, Outage, Silence
from headgate.ended_requests import OVER, UNKNOWN, Ended, ended
from headgate.errors import HeadgateError, InvalidRequest, NoReply, Unreachable
from headgate.inbox import Asked, Row, bulk_request, control, inline_input
from headgate.inbox_outcomes import LONGEST_PAUSE_S, MOST_ATTEMPTS, Answered, Dropped, Later, Rejected, after, patience
from headgate.messages.views import CallCounts, OperationCounts, ProgressView
from headgate.steering import NotDone, Refused

CONTENT = '{"op": "clear"}\nzwölf\n'
SHA256 = hashlib.sha256(CONTENT.encode()).hexdigest()
SIZE = len(CONTENT.encode())
ASKED = Asked(
    id="0f0f0f0f-0000-4000-8000-000000000001",
    organisation_id="11111111-0000-4000-8000-000000000001",
    status="submitted",
    name="orders",
    priority="urgent",
    ordering="strict",
    stop_after=7,
    grow=True,
    created_at=datetime(2030, 3, 17, 17, 46, 40, 123457, UTC),
    input_sha256=SHA256,
    input_bytes=SIZE,
    input_path=None,
    content=CONTENT,
    project="shop",
    default_user="bot",
    users=("ana", "bot", "ben"),
)
START = Row(id=1, request_id=ASKED.id, sequence=0, kind="start")
PAUSE = Row(id=2, request_id=ASKED.id, sequence=3, kind="pause", command_id="c1", data={"to": None, "by": "ana@x.org"})


# What a row means


def test_everything_but_the_wish_comes_from_the_server() -> None:
    request = bulk_request(ASKED, (SHA256, SIZE))
    assert (request.id, request.project, request.user) == (ASKED.id, "shop", "bot")
    assert request.owner == request.organisation == ASKED.organisation_id
    assert request.users == ("bot", "ana", "ben")
    assert (request.priority, request.order, request.stop_after, request.grow) == ("urgent", "strict", 7, True)
    assert (request.input_sha256, request.input_bytes, request.uploaded) == (SHA256, SIZE, "")
    assert request.submitted_at_ns == 1_900_000_000_123_457_000
    assert request.fences
    assert not bulk_request(ASKED, (SHA256, SIZE), fences=False).fences


def test_lines_may_name_no_credential_but_the_accounts() -> None:
    """None at all would mean any."""
    assert bulk_request(replace(ASKED, users=()), (SHA256, SIZE)).users == ("bot",)


def test_the_same_row_is_the_same_request() -> None:
    assert bulk_request(ASKED, (SHA256, SIZE)) == bulk_request(ASKED, (SHA256, SIZE))
    other = replace(ASKED, id="0f0f0f0f-0000-4000-8000-000000000002")
    assert bulk_request(other, (SHA256, SIZE)).nonce != bulk_request(ASKED, (SHA256, SIZE)).nonce


def test_an_uploaded_input_is_taken_by_planning() -> None:
    uploaded = replace(ASKED, content=None, input_path="org/request")
    assert inline_input(uploaded) is None
    request = bulk_request(uploaded, None)
    assert (request.uploaded, request.input_sha256, request.input_bytes) == ("org/request", SHA256, SIZE)


def test_an_inline_input_is_what_was_announced() -> None:
    assert inline_input(ASKED) == CONTENT.encode()
    assert inline_input(replace(ASKED, input_sha256=None, input_bytes=None)) == CONTENT.encode()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"input_sha256": "0" * 64}, "another SHA-256"),
        ({"input_bytes": SIZE + 1}, f"{SIZE} bytes where {SIZE + 1} were announced"),
        ({"content": None}, "is not there"),
    ],
)
def test_another_input_is_rejected(changed: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        inline_input(replace(ASKED, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"project": None, "default_user": None}, "no account"),
        ({"project": "a b"}, "account is not valid"),
        ({"users": ("fine", "../x")}, "account is not valid"),
        ({"priority": "now"}, "priority is not valid"),
        ({"ordering": "any"}, "order is not valid"),
        ({"content": None, "input_path": "o/r", "input_sha256": None}, "was not announced"),
        ({"content": None, "input_path": "o/r", "input_bytes": None}, "was not announced"),
        ({"content": None, "input_path": "o/r", "input_sha256": "x" * 64}, "was not announced"),
        ({"content": None}, "was not announced"),
    ],
)
def test_poison_is_a_sentence(changed: dict[str, object], why: str) -> None:
    asked = replace(ASKED, **changed)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=why):
        bulk_request(asked, (SHA256, SIZE) if asked.content is not None else None)


def test_a_command_carries_its_id_and_its_place() -> None:
    command, said = control(replace(PAUSE, kind="reprioritise", data={"to": "low", "by": "ana@x.org"}))
    assert (command, said.to, said.by, said.id, said.sequence) == ("reprioritise", "low", "ana@x.org", "c1", 3)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda below: st.lists(below) | st.dictionaries(st.sampled_from(["to", "by", "id", "sequence", "x"]), below),
    )
)
def test_whatever_a_row_holds_its_id_and_place_are_its_own(data: object) -> None:
    _, said = control(replace(PAUSE, data=data))
    assert (said.id, said.sequence) == ("c1", 3)


@pytest.mark.parametrize(
    "row", [replace(PAUSE, kind="drop"), replace(PAUSE, kind="start"), replace(PAUSE, command_id=None)]
)
def test_what_is_no_command(row: Row) -> None:
    with pytest.raises(InvalidRequest, match="no command"):
        control(row)


# What comes of it

ERRORS = st.sampled_from(
    [
        Unreachable("away"),
        Away("away"),
        InvalidRequest("poison"),
        Refused("no"),
        NotDone("not now"),
        HeadgateError("what"),
        NoReply("?"),
        ValueError("x"),
        KeyError("y"),
        RuntimeError("z"),
    ]
)
ROWS = st.builds(
    Row,
    id=st.integers(1, 9),
    request_id=st.just("r"),
    sequence=st.integers(0, 9),
    kind=st.sampled_from(["start", "pause", "retry_failed"]),
    command_id=st.just("c"),
    attempts=st.integers(0, 2 * MOST_ATTEMPTS),
    age_s=st.floats(0, 1e7),
)


@given(ROWS, ERRORS)
def test_every_error_ends_or_waits_and_only_what_is_unexpected_counts(row: Row, error: Exception) -> None:
    outcome = after(row, error, str(error))
    if isinstance(error, Unreachable):
        assert isinstance(outcome, Later)
        assert not outcome.counted
    elif isinstance(outcome, Later):
        assert outcome.counted
        assert row.attempts + 1 < MOST_ATTEMPTS
    if isinstance(outcome, Later):
        assert 1 <= outcome.pause_s <= (LONGEST_OUTAGE_S if isinstance(error, Away) else LONGEST_PAUSE_S)
        assert outcome.why == str(error)
    else:
        assert isinstance(outcome, Rejected if row.kind == "start" else Answered)
    if row.attempts + 1 >= MOST_ATTEMPTS and not isinstance(error, Unreachable):
        assert not isinstance(outcome, Later)


@given(ROWS, st.sampled_from([ValueError("password=sekret"), HeadgateError("sekret")]))
def test_people_are_not_told_of_defects(row: Row, error: Exception) -> None:
    """They read that the operator knows more."""
    outcome = after(row, error, str(error))
    told = outcome.why if isinstance(outcome, Rejected) else outcome.sentence if isinstance(outcome, Answered) else ""
    assert "sekret" not in told


def test_a_command_is_refused_or_failed() -> None:
    assert after(PAUSE, Refused("it is over"), "it is over") == Answered("refused", "it is over")
    assert after(PAUSE, NotDone("the store is away"), "the store is away") == Answered("failed", "the store is away")
    assert after(PAUSE, InvalidRequest("no command"), "no command") == Answered("failed", "no command")
    assert after(START, InvalidRequest("poison"), "poison") == Rejected("poison")


@given(st.integers(0, 2 * MOST_ATTEMPTS), st.sampled_from([ValueError("x"), HeadgateError("y")]))
def test_a_recorded_command_is_never_said_to_have_failed(attempts: int, error: Exception) -> None:
    """It acts, whatever keeps the bridge from hearing what came of it; and it is not asked about for ever."""
    outcome = after(replace(PAUSE, recorded=True, attempts=attempts), error, str(error))
    assert isinstance(outcome, Later if attempts + 1 < MOST_ATTEMPTS else Dropped)


@given(st.integers(0, MOST_ATTEMPTS - 2))
def test_pauses_grow(attempts: int) -> None:
    row = replace(START, attempts=attempts)
    this, following = after(row, ValueError(), ""), after(replace(row, attempts=attempts + 1), ValueError(), "")
    assert isinstance(this, Later)
    assert not isinstance(following, Later) or following.pause_s > this.pause_s


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_older_the_more_patient(one: float, other: float) -> None:
    assert patience(min(one, other)) <= patience(max(one, other)) <= LONGEST_PAUSE_S


#: In eighths, which floats add without an error.
SECONDS = st.integers(0, 240).map(lambda eighths: eighths / 8)


@given(st.lists(st.tuples(SECONDS, st.booleans()), max_size=50))
def test_an_outage_is_news_once_and_its_pauses_are_bounded(steps: list[tuple[float, bool]]) -> None:
    outage, now, there = Outage(), 0.0, True
    for pause, answers in steps:
        now += pause
        if answers:
            assert outage.passed() == (not there)
            assert outage.left_s(now) == 0
        else:
            assert outage.met(now) == there
            assert 0 <= outage.left_s(now) <= outage.longest_s
        there = answers


def test_several_that_went_at_once_met_one_outage() -> None:
    outage = Outage()
    assert [outage.met(1.0) for _ in range(8)] == [True] + [False] * 7
    assert outage.left_s(1.0) == outage.shortest_s


def test_nobody_is_waited_for_where_nobody_answers() -> None:
    silence = Silence()
    for _ in range(SILENT_AFTER):
        assert silence.answer_within_s(5) == 5
        silence.met(heard=False)
    assert silence.answer_within_s(5) == 0.5
    silence.met(heard=True)
    assert silence.answer_within_s(5) == 5


# How a request ended that could not say so

COUNTS = OperationCounts(total=3, succeeded=1, failed=1, unprocessed=1)


def test_how_a_request_ended() -> None:
    view = ProgressView(id="r", state="cancelled", priority="low", owner="o", operations=COUNTS, calls=CallCounts())
    assert ended("RUNNING") is None
    assert ended("CONTINUED_AS_NEW") is None
    assert ended("COMPLETED") is None
    assert ended(None) == Ended("failed", UNKNOWN)
    last = ended("COMPLETED", view)
    assert last is not None
    assert (last.status, last.counts) == ("cancelled", COUNTS)
    for status in ("TERMINATED", "FAILED", "TIMED_OUT", "CANCELED"):
        how = ended(status)
        assert how is not None
        assert how.status in OVER
        assert how.why


def test_instants_lose_nothing() -> None:
    asked = replace(ASKED, created_at=ASKED.created_at + timedelta(microseconds=1))
    assert (
        bulk_request(asked, (SHA256, SIZE)).submitted_at_ns - bulk_request(ASKED, (SHA256, SIZE)).submitted_at_ns
        == 1000
    )
