"""The audit of a request: what it tells of recorded and of hand-made histories, and what it never tells."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections import Counter
from typing import Any, cast, get_args

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio import workflow

from headgate.facts import ENTRY_KINDS, Entry
from headgate.messages.carried import BulkCheckpoint, BulkInput, ProgressCheckpoint, SteeringCheckpoint
from headgate.messages.requests import LaneEntry, PlanSummary
from headgate.messages.sending import AbandonLane, BatchDone, LaneReport, LeaseReport, ResendBatch, ResendReport
from headgate.messages.tokens import TokenRequest
from headgate.messages.views import Control
from headgate.steering import Command
from headgate.tally import Tally
from headgate.wording import cause, words
from starter.history import INTERNAL, OLD_NAMES
from tests.unit.history_events import REQUEST, Run, audited, lease, payloads, recorded
from workflows.bulk_request import BulkRequestWorkflow

PLAN = PlanSummary(operations=10, dead_letters=2, calls=4, lanes=2, pages=1, reasons={"id is missing": 2}, cached=1)


def of_kind(entries: list[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == kind]


def payload(event: Any, *path: str) -> Any:
    """A payload of an event, read by nobody's code but this."""
    found = MessageToDict(event)
    for key in path:
        found = found[key]
    return json.loads(base64.b64decode(found["payloads"][0]["data"]))


# --- recorded histories


async def test_the_recorded_chain_is_told_from_its_first_run_to_its_end() -> None:
    """Who asked for what is what the recorder did: ana paused, somebody made it urgent and resumed it."""
    runs = recorded()
    entries = await audited(*(run.events for run in runs))
    assert [entry.kind for entry in entries][:3] == ["submitted", "planned", "state"]
    assert entries[-1].kind == "ended"
    asked = [(e.particulars["command"], e.by, e.particulars["via"]) for e in of_kind(entries, "command")]
    assert asked == [("pause", "ana", "signal"), ("reprioritise", "", "signal"), ("resume", "", "signal")]
    assert of_kind(entries, "command")[1].particulars["to"] == "urgent"
    assert [e.particulars["state"] for e in of_kind(entries, "state")] == ["running", "paused", "running"]
    assert [e.run for e in of_kind(entries, "continued")] == [1, 2, 3]
    assert {e.run for e in entries} == {1, 2, 3, 4}


async def test_what_is_summed_is_what_the_request_itself_counted() -> None:
    """Its own counts stand in what each run began with and in its last word; the audit sums the batches."""
    runs = recorded()
    entries = await audited(*(run.events for run in runs))
    for run, entry in zip(runs[1:], of_kind(entries, "continued"), strict=True):
        kept = payload(run.events[0], "workflowExecutionStartedEventAttributes", "input")["checkpoint"]["progress"]
        assert (entry.succeeded, entry.failed, entry.calls) == (kept["succeeded"], kept["failed"], kept["made"])
    view = payload(runs[-1].events[-1], "workflowExecutionCompletedEventAttributes", "result")
    before = entries[-2]
    last_retry = of_kind(entries, "retry")[-1]
    assert before is last_retry
    assert before.succeeded <= view["operations"]["succeeded"]
    letters = of_kind(entries, "dead_letters")
    assert sum(int(str(e.particulars["count"])) for e in letters) == view["operations"]["failed"]
    told = Counter[str]()
    for e in letters:
        told.update(cast(dict[str, int], e.particulars["reasons"]))
    assert told == view["failures"]
    resent = [e for e in of_kind(entries, "retry") if e.particulars["ended"] == "done"]
    assert sum(int(str(e.particulars["calls"])) - 1 for e in resent) == view["calls"]["retried"]
    assert entries[-1].particulars["operations"] == {
        name: view["operations"][name] for name in ("total", "succeeded", "failed", "unprocessed")
    }


async def test_an_older_run_whose_predecessors_are_gone_says_so_and_keeps_the_counts() -> None:
    runs = recorded()
    entries = await audited(*(run.events for run in runs[2:]))
    kept = payload(runs[2].events[0], "workflowExecutionStartedEventAttributes", "input")["checkpoint"]["progress"]
    assert entries[0].kind == "gap"
    assert entries[0].succeeded == kept["succeeded"]
    assert entries[-1].kind == "ended"


async def test_every_entry_is_one_json_object_with_the_same_head() -> None:
    for entry in await audited(*(run.events for run in recorded())):
        document = json.loads(json.dumps(entry.document()))
        assert {"at", "kind", "by", "says", "so_far", "run", "event"} <= set(document)
        assert document["kind"] in ENTRY_KINDS
        assert document["at"].endswith("Z")
        assert len(document["at"]) == len("2026-11-24T12:00:01.250Z")
        assert "\n" not in document["says"]


# --- commands


async def test_a_submission_says_who_what_and_with_which_options() -> None:
    (entry,) = await audited(Run())
    document = entry.document()
    assert (document["by"], document["sender"]) == ("ana", "headgate/ana@laptop")
    assert (document["project"], document["owner"], document["priority"]) == ("p", "team", "normal")
    assert document["at"] == "2026-11-24T12:00:01.250Z"
    assert "the-nonce" not in json.dumps(document)


async def test_a_command_names_its_sender_where_nobody_says_who() -> None:
    run = Run()
    run.signal("cancel_request", sender="4711@web")
    run.signal("pause", Control(by="carla"))
    run.signal("resume")
    told = [(e.particulars["command"], e.by, e.particulars["sender"]) for e in (await audited(run))[1:]]
    assert told == [
        ("cancel", "", "4711@web"),
        ("pause", "carla", "headgate/ana@laptop"),
        ("resume", "ana", "headgate/ana@laptop"),
    ]


async def test_updates_say_what_they_were_answered() -> None:
    run = Run()
    paused = run.update("pause", Control(by="bob"))
    run.answer(paused, "paused by bob")
    wrong = run.update("reprioritise", Control(to="low", by="bob"))
    run.answer(wrong, refused="the request is over")
    run.update("resume")
    entries = (await audited(run))[1:]
    assert [(e.particulars["command"], e.particulars.get("accepted")) for e in entries] == [
        ("pause", True),
        ("reprioritise", False),
        ("resume", None),
    ]
    assert entries[0].says == "pause: paused by bob"
    assert entries[1].says == "reprioritise to low, refused: the request is over"
    assert [e.particulars["via"] for e in entries] == ["update"] * 3
    assert entries[0].event == paused


async def test_a_refused_priority_is_not_the_one_before_the_next() -> None:
    run = Run()
    run.answer(run.update("reprioritise", Control(to="low")), refused="no")
    run.signal("reprioritise", Control(to="urgent"))
    assert (await audited(run))[-1].particulars["from"] == "normal"


async def test_a_signal_says_what_it_changed_or_why_it_changed_nothing() -> None:
    """Nobody answers a signal: what came of it follows from what was said before."""
    run = Run()
    for name, control in (
        ("pause", Control(by="ana")),
        ("pause", Control(by="bob")),
        ("reprioritise", Control(to="soon")),
        ("reprioritise", Control(to="low")),
        ("cancel_request", Control(by="carla")),
        ("resume", Control(by="ana")),
        ("bonjour", Control()),
    ):
        run.signal(name, control)
    assert [(e.particulars.get("accepted"), e.particulars.get("answer")) for e in (await audited(run))[1:]] == [
        (True, "paused by ana"),
        (True, "it is paused already, by ana"),
        (False, '\'soon\' is no priority: say {"to": "urgent"}, "normal" or "low"'),
        (True, "its priority is low now, it was normal"),
        (True, "cancelled by carla: calls under way end, what was not sent is left unprocessed"),
        (False, "the request was cancelled by carla: nothing to resume"),
        (None, None),
    ]


async def test_what_was_said_holds_in_the_next_run() -> None:
    kept = BulkCheckpoint(steering=SteeringCheckpoint(paused_by="ana", answers={"c-1": "paused by ana"}))
    run = Run(BulkInput(request=REQUEST, checkpoint=kept))
    run.signal("pause", Control(by="bob", id="c-1"))
    run.signal("pause", Control(by="bob", id="c-2"))
    first, second = (await audited(run))[1:]
    assert (first.particulars["repeated"], first.particulars["answer"]) == (True, "paused by ana")
    assert (second.particulars["repeated"], second.particulars["answer"]) == (False, "it is paused already, by ana")


async def test_a_command_that_came_twice_is_known_the_second_time() -> None:
    run = Run()
    run.signal("pause", Control(by="ana", id="c-1"))
    run.answer(run.update("pause", Control(by="ana", id="c-1")), "paused by ana")
    run.signal("pause", Control(by="ana", id="c-2"))
    assert [e.particulars["repeated"] for e in (await audited(run))[1:]] == [False, True, False]


@pytest.mark.parametrize("said", ["text", 7, [1], {"to": "never"}, {"by": 3}])
async def test_what_nobody_can_read_is_a_command_all_the_same(said: object) -> None:
    run = Run()
    run.signal("pause", said, sender="x")
    (_, entry) = await audited(run)
    assert (entry.particulars["command"], entry.particulars["sender"]) == ("pause", "x")


async def test_temporals_own_commands_are_told() -> None:
    run = Run()
    run.close("CancelRequested", identity="dan@ops", cause="too much")
    run.add(
        "workflowTaskFailed",
        cause="WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW",
        identity="dan@ops",
        failure={"message": "a mistake"},
    )
    run.close("Terminated", identity="headgate/eve@ops", reason="enough")
    _, cancelled, reset, ended = await audited(run)
    assert (cancelled.particulars["command"], cancelled.particulars["via"]) == ("cancel", "temporal")
    assert (reset.particulars["command"], reset.particulars["why"]) == ("reset", "a mistake")
    assert (ended.by, ended.says) == ("eve", "terminated by eve: enough")
    assert (ended.particulars["state"], ended.particulars["sender"]) == ("failed", "headgate/eve@ops")


async def test_after_temporals_own_cancellation_nothing_is_resumed() -> None:
    run = Run()
    run.close("CancelRequested", identity="dan@ops", cause="too much")
    run.signal("resume")
    assert (await audited(run))[-1].particulars["answer"] == "the request was cancelled by too much: nothing to resume"


@pytest.mark.parametrize("activity", [False, True])
async def test_a_pause_by_itself_is_told_once(activity: bool) -> None:
    stopped = "paused by --stop-after 3: 3 operations have failed, look at `headgate results`"
    run = Run()
    for sequence in (1, 2):
        said = TokenRequest(holder="bulk/r1", run=1, sequence=sequence, stopped=stopped)
        if activity:
            run.order("ask_limiter", "p", said)
        else:
            run.add("signalExternalWorkflowExecutionInitiated", signalName="request_tokens", input=payloads(said))
    entries = (await audited(run))[1:]
    assert [(e.kind, e.says) for e in entries] == [("paused_itself", stopped)]


def test_every_message_of_the_workflow_is_a_command_or_known_to_be_none() -> None:
    """A message between the parts of headgate would else be told as somebody's command."""
    defined = workflow._Definition.must_from_class(BulkRequestWorkflow)
    commands = {*get_args(Command), *OLD_NAMES}
    internal = {name for name, signal in defined.signals.items() if (signal.description or "").startswith("Internal")}
    assert internal == INTERNAL
    assert {name for name in defined.signals if name} - internal <= commands
    assert {name for name in defined.updates if name} <= commands


async def test_a_start_that_nobody_can_read_is_a_submission_all_the_same() -> None:
    run = Run()
    run.events[0].workflow_execution_started_event_attributes.input.payloads[0].data = b"{}"
    run.signal("pause")
    submitted, command = await audited(run)
    assert (submitted.kind, submitted.particulars["sender"]) == ("submitted", "headgate/ana@laptop")
    assert command.particulars["answer"] == "paused by someone"


# --- work


def resend(batch: int) -> ResendBatch:
    entry = LaneEntry(lane=0, kind="write", user="user0", spreadsheet="sheet0", first_batch=0, batches=9, operations=9)
    return ResendBatch(request=REQUEST, holder="bulk/r1", lane=entry, batch=batch)


async def test_a_plan_and_the_lines_that_it_refused() -> None:
    run = Run()
    run.end(run.order("plan", REQUEST), PLAN)
    _, planned, letters = await audited(run)
    assert planned.says == "planned in 1 s: 10 operations, 4 calls, 2 lanes; 1 read from the cache"
    assert (planned.succeeded, planned.failed) == (1, 2)
    assert (letters.particulars["of"], letters.particulars["reasons"]) == ("planning", {"id is missing": 2})


async def test_a_batch_that_is_told_twice_counts_once() -> None:
    run = Run()
    sent = run.order("send_lease", lease(0, 1, batches=(0, 1)))
    done = tuple(BatchDone(batch=n, succeeded=5, failed=1, reasons={"bad": 1}) for n in (0, 1))
    early = LaneReport(lane=0, grant_id=1, done=done)
    run.signal("report", LeaseReport(lanes=(early,)))
    run.end(sent, LeaseReport(lanes=(early, LaneReport(lane=1, grant_id=1, done=done[:1]))))
    entries = (await audited(run))[1:]
    told = [(e.particulars["lane"], e.particulars["batch"], e.particulars["spreadsheet"]) for e in entries]
    assert told == [(0, 0, "sheet0"), (0, 1, "sheet0"), (1, 0, "sheet1")]
    assert (entries[-1].succeeded, entries[-1].failed, entries[-1].calls) == (15, 3, 3)


async def test_a_retry_says_which_batch_how_often_why_and_how_it_ended() -> None:
    run = Run()
    sent = run.order("send_lease", lease(0, batches=(0, 1)))
    stopped = LaneReport(
        lane=0, grant_id=1, done=(BatchDone(batch=0, succeeded=1, failed=0),), rescue=1, rescue_reason="no answer"
    )
    run.end(sent, LeaseReport(lanes=(stopped,)))
    again = run.order("resend_batch", resend(1))
    run.attempt(again, 3, {"message": "the service is away"})
    run.end(again, ResendReport(done=BatchDone(batch=1, succeeded=3, failed=1, calls=4, reasons={"bad": 1})))
    _, retry, letters = await audited(run)
    wanted = {"lane": 0, "batch": 1, "user": "user0", "spreadsheet": "sheet0", "attempts": 3, "calls": 4}
    assert wanted.items() <= retry.particulars.items()
    assert (retry.particulars["why"], retry.particulars["last_why"]) == ("no answer", "the service is away")
    assert (retry.particulars["ended"], retry.particulars["operations"]) == ("done", {"succeeded": 3, "failed": 1})
    assert (retry.succeeded, retry.failed, retry.calls) == (4, 1, 5)
    assert letters.particulars["count"] == 1


async def test_a_retry_that_did_not_end_says_what_stopped_it() -> None:
    run = Run()
    run.end(run.order("resend_batch", resend(0)), ResendReport(stopped="paused by ana"))
    run.end(run.order("resend_batch", resend(0)), ResendReport(broken="Requested entity was not found."))
    run.add("activityTaskCanceled", scheduledEventId=run.order("resend_batch", resend(0)))
    assert [e.particulars["ended"] for e in (await audited(run))[1:]] == ["stopped", "broken", "interrupted"]


async def test_a_lane_that_cannot_go_on() -> None:
    run = Run()
    order = AbandonLane(request=REQUEST, lane=resend(0).lane, batch=4, reason="gone")
    run.end(run.order("abandon_lane", order), BatchDone(batch=4, succeeded=0, failed=5, calls=0, reasons={"gone": 5}))
    entry = (await audited(run))[-1]
    assert entry.says == "5 failed in lane 0 from batch 4 on for sheet0 by user0: 5 × gone"


async def test_a_lost_attempt_and_a_failed_decision_are_trouble() -> None:
    run = Run()
    sent = run.order("send_lease", lease(0, 1))
    lost = {"message": "activity Heartbeat timeout", "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_HEARTBEAT"}}
    run.attempt(sent, 2, lost)
    run.add("workflowTaskFailed", cause="WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND")
    run.add(
        "workflowTaskFailed",
        cause="WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR",
        identity="w",
        failure={"message": "", "cause": {"message": "another command"}},
    )
    run.add("workflowTaskTimedOut", timeoutType="TIMEOUT_TYPE_START_TO_CLOSE")
    _, attempt, decision, late = await audited(run)
    assert attempt.says == (
        "an attempt to send 2 calls in 2 lanes was lost with its worker, attempt 2 followed: activity Heartbeat timeout"
    )
    assert attempt.particulars["lost"] is True
    assert (decision.kind, decision.particulars["why"]) == ("trouble", "another command")
    assert late.kind == "trouble"


async def test_a_request_that_failed_says_what_that_came_from() -> None:
    run = Run()
    sent = run.order("plan", REQUEST)
    run.add("activityTaskFailed", scheduledEventId=sent, failure={"message": "the input is gone"})
    failure = {"message": "headgate could not go on", "cause": {"message": "the input is gone"}}
    run.close("Failed", failure=failure)
    _, trouble, ended = await audited(run)
    assert (trouble.kind, trouble.says) == ("trouble", "to plan failed for good: the input is gone")
    assert ended.says == "failed: headgate could not go on: the input is gone"


async def test_a_retry_that_was_refused_is_its_commands_affair() -> None:
    """Whoever asked was answered, and the answer is told: no trouble beside it."""
    run = Run()
    sent = run.order("retry_failed", REQUEST)
    run.add("activityTaskFailed", scheduledEventId=sent, failure={"message": "nothing is to be retried"})
    assert [entry.kind for entry in await audited(run)] == ["submitted"]


async def test_without_search_attributes_the_first_lease_says_that_it_runs() -> None:
    run = Run(BulkInput(request=REQUEST, indexed=False))
    for _ in range(2):
        run.order("send_lease", lease(0))
    assert [(e.kind, e.says) for e in (await audited(run))[1:]] == [("state", "running")]


async def test_a_run_that_goes_on_takes_over_what_was_counted() -> None:
    kept = BulkCheckpoint(progress=ProgressCheckpoint(succeeded=7, failed=1, made=3), priority="low", paused_by="ana")
    first, second = Run(), Run(BulkInput(request=REQUEST, checkpoint=kept))
    first.close("ContinuedAsNew", newExecutionRunId="run-2")
    second.signal("reprioritise", Control(to="normal"))
    _, continued, command = await audited(first, second)
    assert (continued.particulars["next_run_id"], command.run) == ("run-2", 2)
    assert (command.particulars["from"], command.succeeded, command.calls) == ("low", 7, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.booleans()), max_size=30), st.randoms())
async def test_whatever_is_reported_early_or_twice_is_summed_once(
    leases: list[tuple[int, int, bool]], random: Any
) -> None:
    """The reference: the set of batches that were ever done."""
    run, position, reference = Run(), Counter[int](), dict[tuple[int, int], int]()
    for lane, batches, early in leases:
        numbers = tuple(range(position[lane], position[lane] + batches))
        position[lane] += batches
        sent = run.order("send_lease", lease(lane, batches=numbers))
        done = tuple(BatchDone(batch=n, succeeded=random.randint(0, 9), failed=0) for n in numbers)
        reference |= {(lane, one.batch): one.succeeded for one in done}
        report = LeaseReport(lanes=(LaneReport(lane=lane, grant_id=1, done=done),))
        if early:
            run.signal("report", report)
        run.end(sent, report)
    run.signal("pause")
    last = (await audited(run.events))[-1]
    assert (last.succeeded, last.calls) == (sum(reference.values()), len(reference))


def test_memory_does_not_grow_with_the_plan() -> None:
    """Fifty thousand lanes, one after the other, as a request of as many spreadsheets has them."""
    tally, done, held = Tally(), BatchDone(batch=7, succeeded=1, failed=0), list[int]()
    tracemalloc.start()
    try:
        for lane in range(50_000):
            assert tally.done(lane, done)
            if lane % 10_000 == 9_999:
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] < 1.1 * held[0]
    assert not tally.done(49_999, done), "what is under way is known"
    assert (tally.succeeded, tally.calls) == (50_000, 50_000)


# --- what is never told

CANARY = "canary-4712-secret"
QUOTED = st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=30)


@given(QUOTED, QUOTED, st.booleans())
def test_no_cause_tells_what_stands_in_quotes(before: str, after: str, clipped: bool) -> None:
    """Also when the quote holds an apostrophe or a bracket, or was cut off before its end."""
    cell = f"{before}{CANARY}{after}"
    said = f'Invalid value at "{cell}' + ("" if clipped else '", expected a number')
    assert CANARY not in cause(said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The caller doesn't have permission", "The caller doesn't have permission"),
        (f"doesn't match \"a'b {CANARY}\"", "doesn't match …"),
        (f"Invalid value '{CANARY} isn't one' at A1", "Invalid value … at A…"),
        (f'string_value: "x \\" {CANARY}" }}', "string_value: … }"),
        (f"[{CANARY}] is wrong", "… is wrong"),
        (f"POST https://hooks.example.com/{CANARY} was refused", "POST … was refused"),
    ],
)
def test_a_cause_keeps_its_words(said: str, told: str) -> None:
    assert cause(said) == told


async def test_neither_options_nor_causes_tell_a_secret() -> None:
    """Wherever a cell or a key could have got into a history by way of an error, a name or a payload."""
    quoted = f'Invalid value at "{CANARY}" (TYPE_STRING)'
    run = Run(BulkInput(request=REQUEST.model_copy(update={"nonce": CANARY})))
    run.end(run.order("plan", REQUEST), PLAN.model_copy(update={"reasons": {quoted: 2}}))
    sent = run.order("send_lease", lease(0))
    run.attempt(sent, 2, {"message": quoted, "stackTrace": CANARY, "cause": {"message": quoted}})
    done = BatchDone(batch=0, succeeded=0, failed=1, reasons={quoted: 1}, failure=quoted)
    stopped = LaneReport(lane=0, grant_id=1, done=(done,), rescue=1, rescue_reason=quoted, broken=quoted)
    run.end(sent, LeaseReport(lanes=(stopped,)))
    again = run.order("resend_batch", resend(1))
    run.attempt(again, 2, {"message": quoted})
    run.end(again, ResendReport(broken=quoted))
    order = AbandonLane(request=REQUEST, lane=resend(0).lane, batch=2, reason=quoted)
    run.end(run.order("abandon_lane", order), BatchDone(batch=2, succeeded=0, failed=5, reasons={quoted: 5}))
    run.add("workflowTaskFailed", failure={"message": quoted, "stackTrace": CANARY})
    run.close("Failed", failure={"message": quoted, "stackTrace": CANARY})
    entries = await audited(run)
    assert {e.kind for e in entries} == {"submitted", "planned", "dead_letters", "trouble", "retry", "ended"}
    assert CANARY not in json.dumps([entry.document() for entry in entries])


async def test_nothing_that_was_typed_reaches_a_terminal_as_a_command() -> None:
    run = Run(sender="\x1b[31mred\x07")
    run.signal("pa\x1b]0;title\x07use", Control(by="ana\nroot\x1b[2J" + "x" * 9999))
    run.close("Terminated", identity="\x1b[1m", reason="line\r\nline\x9b")
    for entry in await audited(run):
        shown = json.dumps(entry.document(), ensure_ascii=False)
        assert shown.isprintable()
        assert len(shown) < 2_000


def test_what_is_cut_off_says_so() -> None:
    assert cause("word " * 99).endswith("word…")
    assert words("word " * 99).endswith("word…")


def test_words_are_one_line() -> None:
    assert words(" a \n\t b\x00c ") == "a b c"
