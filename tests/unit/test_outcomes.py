"""The decision table: what each reply means for a batch, what is sent next, and how its operations end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from headgate.apis.sheets.fences import BURNT, Fence
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.replies import (
    Answered,
    Busy,
    Lost,
    Refused,
    Reply,
    Throttled,
    TooLarge,
    Unauthorised,
    read_reply,
)
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, Form, PlannedBatch
from headgate.outcomes import ZOMBIE_NS, BatchState, TitlesNeeded
from headgate.results import kind_of_reason

TITLES = Titles(sheets=(Sheet(sheet_id=7, title="Orders"),))
REQUEST = BulkRequest(id="r", project="p", nonce="n", max_attempts=3)
NOW = 10**18
OURS = Fence.of("n", "S", 2, 4, "0")

OK = Answered({"replies": [{}], "responses": [{}], "updates": {}})
NOTHING = b"{}"
LOST = Lost("connection reset")
BUSY = Busy("unavailable")
SLOW = Busy("deadline", slow=True)
DUPLICATE = Refused("exists", 0, "createDeveloperMetadata", True, "operation")
INVALID = Refused("not possible")
GONE = Refused("not found", scope="spreadsheet", status=404)
FOUND = Answered({"metadataValue": OURS.value})
FOREIGN = Answered({"metadataValue": "someone"})
BURNT_ = Answered({"metadataValue": BURNT})


def bad(index: int) -> Refused:
    return Refused(f"Invalid requests[{index}].updateCells: no", index, "updateCells", False, "operation")


Script = Sequence[tuple[str, Reply | bytes]]


def batch(form: Form, count: int) -> PlannedBatch:
    lines: dict[Form, dict[str, Any]] = {
        "fenced": {"op": "clear", "range": "Orders!A1"},
        "values_update": {"op": "update", "range": "A1", "values": [["1/2"]], "input": "USER_ENTERED"},
        "values_append": {"op": "append", "range": "A1", "values": [["1/2"]], "placement": "table"},
        "read": {"op": "read", "range": "A1"},
    }
    operations = [
        parse_line(json.dumps({"spreadsheet": "S", **lines[form]}).replace("A1", f"A{number}"), number, "u")
        for number in range(1, count + 1)
    ]
    return PlannedBatch(number=4, lane=2, form=form, user="u", spreadsheet="S", operations=tuple(operations))


def play(state: BatchState, script: Script) -> list[int]:
    """Sends what the state wants and answers from the script (a reply, or the body of a 200); the waits advised, in seconds."""
    waits = []
    for place, (purpose, reply) in enumerate(script):
        step = state.next_step(TITLES, NOW)
        assert step is not None, f"finished before step {place}"
        assert step.purpose == purpose, f"step {place}"
        state.sending(step, NOW)
        if isinstance(reply, bytes):
            reply = read_reply(200, {}, reply, step.asked(state._batch.form))
        waits.append(state.learn(step, reply, NOW).wait_ns // SECOND_NS)
    return waits


def probed(state: BatchState, reply: Reply, most: int) -> int:
    """How many calls it takes, each of them the probe of an open circuit and answered alike, until the batch ends."""
    for made in range(most):
        step = state.next_step(TITLES, NOW)
        if step is None:
            return made
        state.sending(step, NOW)
        state.learn(step, reply, NOW, probe=True)
    return most


def ends(state: BatchState) -> list[str]:
    assert state.next_step(TITLES, NOW) is None
    assert state.finished
    return [f"{result.outcome} {result.applied}" for result in state.results]


NO_GRID = Refused("Invalid requests[1].updateCells: No grid with id: 7", 1, "updateCells")
SHEETS = Answered({"sheets": [{"properties": {"sheetId": 7, "title": "Orders"}}]})
YES, NO, OPEN = "succeeded yes", "failed no", "failed unknown"
TAKEN: list[tuple[str, Reply | bytes]] = [("send", DUPLICATE), ("fence_look_up", FOREIGN)]
TABLE: dict[str, tuple[Form, int, Script, list[str]]] = {
    "200: every operation is applied": ("fenced", 2, [("send", OK)], [YES, YES]),
    "a pause is no attempt": ("fenced", 1, [("send", Throttled())] * 9 + [("send", OK)], [YES]),
    "an expired credential is renewed once for free": (
        "fenced",
        1,
        [("send", Unauthorised("x")), ("send", OK)],
        [YES],
    ),
    "a credential that stays refused ends it": ("fenced", 1, [("send", Unauthorised("x"))] * 4, [NO]),
    "lost, then sent again": ("fenced", 1, [("send", LOST), ("send", OK)], [YES]),
    "lost, refused at the fence, the value is ours": (
        "fenced",
        2,
        [("send", LOST), ("send", DUPLICATE), ("fence_look_up", FOUND)],
        [YES, YES],
    ),
    "lost, refused at the fence, the value is another's: a new fence": (
        "fenced",
        1,
        [("send", LOST), ("send", DUPLICATE), ("fence_look_up", FOREIGN), ("send", OK)],
        [YES],
    ),
    "refused at the fence at once, the value is another's: a new fence": (
        "fenced",
        1,
        [("send", DUPLICATE), ("fence_look_up", FOREIGN), ("send", OK)],
        [YES],
    ),
    "refused at the fence at once, since somebody on the way sent it twice": (
        "fenced",
        1,
        [("send", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "refused at the fence at once, and the fence cannot be read: burnt before it goes under a new one": (
        "fenced",
        1,
        [("send", DUPLICATE), ("fence_look_up", GONE), ("burn", OK), ("send", OK)],
        [YES],
    ),
    "an answer without the replies says nothing": (
        "fenced",
        1,
        [("send", NOTHING), ("send", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "an answer that names the spreadsheet alone is the API's": (
        "values_append",
        1,
        [("send", b'{"spreadsheetId": "S"}')],
        [YES],
    ),
    "an answer that names the spreadsheet says nothing of a mark": (
        "fenced",
        1,
        [
            ("send", LOST),
            ("send", DUPLICATE),
            ("fence_look_up", b'{"spreadsheetId": "S"}'),
            ("fence_look_up", FOUND),
        ],
        [YES],
    ),
    "another's marks, whatever is tried: certainly not applied": (
        "fenced",
        1,
        [("send", LOST), *TAKEN * 6],
        [NO],
    ),
    "a mark of somebody else's that has no value": (
        "fenced",
        1,
        [("send", DUPLICATE), ("fence_look_up", b'{"metadataId": 5, "metadataKey": "theirs"}'), ("send", OK)],
        [YES],
    ),
    "an answer without the mark that was asked for is asked again": (
        "fenced",
        1,
        [("send", LOST), ("send", DUPLICATE), ("fence_look_up", NOTHING), ("fence_look_up", FOUND)],
        [YES],
    ),
    "a burn whose answer is not one is no burn": (
        "fenced",
        1,
        [("send", LOST), ("send", INVALID), ("burn", NOTHING), ("burn", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "an append whose answer is not one is not risked twice": (
        "values_append",
        1,
        [("send", NOTHING)],
        [OPEN],
    ),
    "lost, then invalid: burnt before it fails": (
        "fenced",
        1,
        [("send", LOST), ("send", INVALID), ("burn", OK)],
        [NO],
    ),
    "lost, then invalid, but the first send had applied": (
        "fenced",
        1,
        [("send", LOST), ("send", INVALID), ("burn", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "lost, refused at the fence, the read lags: burnt to be sure": (
        "fenced",
        1,
        [("send", LOST), ("send", DUPLICATE), ("fence_look_up", GONE), ("burn", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "given up: burnt, never applied": ("fenced", 1, [("send", BUSY)] * 3 + [("burn", OK)], [NO]),
    "given up: the burn was lost, but it is ours": (
        "fenced",
        1,
        [("send", BUSY)] * 3 + [("burn", LOST), ("burn", DUPLICATE), ("fence_look_up", BURNT_)],
        [NO],
    ),
    "given up: applied after all": (
        "fenced",
        1,
        [("send", BUSY)] * 3 + [("burn", DUPLICATE), ("fence_look_up", FOUND)],
        [YES],
    ),
    "given up: nobody answers any more": ("fenced", 1, [("send", BUSY)] * 3 + [("burn", LOST)] * 3, [OPEN]),
    "given up: the spreadsheet is gone": ("fenced", 1, [("send", BUSY)] * 3 + [("burn", GONE)], [OPEN]),
    "a refused connection is certain": ("fenced", 1, [("send", Lost("refused", "no"))] * 3, [NO]),
    "a culprit fails alone": ("fenced", 3, [("send", bad(2)), ("send", OK)], [YES, NO, YES]),
    "no culprit named: searched from the left, the rest held back": (
        "fenced",
        3,
        [("send", INVALID), ("send", OK), ("send", INVALID), ("send", OK)],
        [YES, NO, YES],
    ),
    "too large: halves": ("fenced", 2, [("send", TooLarge("x")), ("send", OK), ("send", OK)], [YES, YES]),
    "too large and unknown: burnt, then halves": (
        "fenced",
        2,
        [("send", LOST), ("send", TooLarge("x")), ("burn", OK), ("send", OK), ("send", OK)],
        [YES, YES],
    ),
    "too slow twice: burnt, then halves": (
        "fenced",
        2,
        [("send", SLOW), ("send", SLOW), ("burn", OK), ("send", OK), ("send", OK)],
        [YES, YES],
    ),
    "no spreadsheet: all fail": ("fenced", 3, [("send", GONE)], [NO, NO, NO]),
    "a fence that cannot be made fails them all": (
        "fenced",
        2,
        [("send", Refused("budget", 0, "createDeveloperMetadata", False, "operation"))],
        [NO, NO],
    ),
    "a dead sheet is asked for once": (
        "fenced",
        3,
        [("send", NO_GRID), ("title_look_up", SHEETS), ("send", NO_GRID)],
        [NO, NO, NO],
    ),
    "a sheet that is gone by its title, too, is not asked for again": (
        "fenced",
        3,
        [("send", NO_GRID), ("title_look_up", Answered({"sheets": [{"properties": {"title": "Other"}}]}))],
        [NO, NO, NO],
    ),
    "titles that cannot be looked up again": (
        "fenced",
        2,
        [("send", NO_GRID), ("title_look_up", BUSY), ("title_look_up", LOST), ("title_look_up", BUSY)],
        [NO, NO],
    ),
    "titles that may not be looked up again": (
        "fenced",
        2,
        [("send", NO_GRID), ("title_look_up", GONE)],
        [NO, NO],
    ),
    "an unfenced append of unknown outcome is never sent again": ("values_append", 1, [("send", LOST)], [OPEN]),
    "an unfenced append that was refused": ("values_append", 1, [("send", INVALID)], [NO]),
    "an unfenced append waits for its quota": ("values_append", 1, [("send", Throttled()), ("send", OK)], [YES]),
    "an unfenced update is sent again": ("values_update", 2, [("send", LOST), ("send", OK)], [YES, YES]),
    "an unfenced update given up": ("values_update", 1, [("send", LOST)] * 3, [OPEN]),
    "what failed after an unknown unfenced send is unknown": (
        "values_update",
        2,
        [("send", LOST), ("send", Refused("Invalid data[0]: no", 0)), ("send", INVALID)],
        [OPEN, OPEN],
    ),
    "reads are simply repeated": (
        "read",
        1,
        [("send", LOST), ("send", Answered({})), ("send", Answered({"valueRanges": [{"range": "A1"}]}))],
        [YES],
    ),
    "a read of a bad range fails alone": (
        "read",
        2,
        [("send", Refused("Unable to parse range: A2", range="A2")), ("send", Answered({"valueRanges": [{}]}))],
        [YES, NO],
    ),
    "a read given up": ("read", 1, [("send", BUSY)] * 3, [NO]),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_batch(name: str) -> None:
    form, count, script, outcomes = TABLE[name]
    state = BatchState.fresh(batch(form, count), REQUEST)
    play(state, script)
    assert ends(state) == outcomes
    assert state.calls == len(script)
    assert state.retried == len(script) - 1


@pytest.mark.parametrize("name", TABLE)
def test_a_batch_survives_a_restart_between_any_two_calls(name: str) -> None:
    form, count, script, outcomes = TABLE[name]
    planned = batch(form, count)
    state = BatchState.fresh(planned, REQUEST)
    for entry in script:
        play(state, [entry])
        state = BatchState.resumed(planned, REQUEST, state.frozen())
    assert ends(state) == outcomes


def test_waits_double_up_to_a_minute() -> None:
    request = REQUEST.model_copy(update={"max_attempts": 9})
    state = BatchState.fresh(batch("fenced", 1), request)
    assert play(state, [("send", BUSY)] * 8) == [1, 2, 4, 8, 16, 32, 64, 64]


def test_a_429_says_which_quota_and_is_benign() -> None:
    state = BatchState.fresh(batch("fenced", 1), REQUEST)
    step = state.next_step(TITLES, NOW)
    assert step is not None
    state.sending(step, NOW)
    advice = state.learn(step, Throttled("user", None, 60, 7 * SECOND_NS), NOW)
    assert (advice.benign, advice.wait_ns) == (True, 7 * SECOND_NS)
    assert advice.throttled is not None
    assert (advice.throttled.kind, advice.throttled.scope, advice.throttled.user) == ("write", "user", "u")
    assert (advice.throttled.quota_value, advice.throttled.at_ns) == (60, NOW)
    assert state.attempts == 0


def test_an_unfenced_update_waits_until_no_earlier_call_can_land() -> None:
    state = BatchState.fresh(batch("values_update", 1), REQUEST)
    assert play(state, [("send", LOST)]) == [180]
    step = state.next_step(TITLES, NOW + 1)
    assert step is not None
    assert step.not_before_ns == NOW + ZOMBIE_NS


def test_a_batch_that_was_perhaps_sent_goes_on_with_the_same_bytes() -> None:
    planned = batch("fenced", 2)
    state = BatchState.fresh(planned, REQUEST)
    step = state.next_step(TITLES, NOW, (77,))
    assert step is not None
    state.sending(step, NOW)
    again = BatchState.resumed(planned, REQUEST, state.frozen())
    assert again.next_step(None, NOW + 5) == step
    play(again, [("send", DUPLICATE), ("fence_look_up", FOUND)])
    assert ends(again) == [YES, YES]
    assert again.fences == [OURS.id]
    assert again.swept == (77,)


def test_without_a_journal_it_is_taken_as_perhaps_sent() -> None:
    state = BatchState.resumed(batch("fenced", 1), REQUEST)
    play(state, [("send", DUPLICATE), ("fence_look_up", FOUND)])
    assert ends(state) == [YES]
    assert ends(BatchState.resumed(batch("values_append", 1), REQUEST)) == [OPEN]
    waiting = BatchState.resumed(batch("values_update", 1), REQUEST).next_step(None, NOW)
    assert waiting is not None
    assert waiting.not_before_ns == NOW + ZOMBIE_NS


def test_what_was_not_sent_is_no_attempt() -> None:
    state = BatchState.fresh(batch("values_append", 1), REQUEST)
    step = state.next_step(None, NOW)
    assert step is not None
    state.sending(step, NOW)
    state.not_sent(step)
    assert (state.calls, state.attempts) == (0, 0)
    resumed = BatchState.resumed(batch("values_append", 1), REQUEST, state.frozen())
    play(resumed, [("send", OK)])
    assert ends(resumed) == [YES]


def test_an_old_fence_that_is_gone_sinks_the_sweeping_only() -> None:
    state = BatchState.fresh(batch("fenced", 2), REQUEST)
    step = state.next_step(TITLES, NOW, (77,))
    assert step is not None
    state.sending(step, NOW)
    state.learn(step, Refused("Invalid requests[3].deleteDeveloperMetadata: none", 3), NOW)
    second = state.next_step(TITLES, NOW, (77,))
    assert second is not None
    assert b"deleteDeveloperMetadata" in step.call.body
    assert b"deleteDeveloperMetadata" not in second.call.body
    play(state, [("send", OK)])
    assert (ends(state), state.swept) == ([YES, YES], ())


def test_a_sheet_that_does_not_exist_fails_after_one_more_look_up() -> None:
    planned = batch("fenced", 1)
    state = BatchState.fresh(planned, REQUEST)
    with pytest.raises(TitlesNeeded):
        state.next_step(None, NOW)
    step = state.next_step(Titles(), NOW)
    assert step is not None
    assert step.purpose == "title_look_up"
    state.sending(step, NOW)
    state.learn(step, Answered({"sheets": [{"properties": {"title": "Other"}}]}), NOW)
    assert (ends(state), state.calls) == ([NO], 1)
    assert state.results[0].reason == "no sheet named 'Orders' in the spreadsheet"


def test_a_look_up_brings_the_titles_or_says_why_not() -> None:
    planned = PlannedBatch(number=0, lane=0, form="look_up", user="u", spreadsheet="S")
    state = BatchState.fresh(planned, REQUEST)
    play(state, [("send", BUSY), ("send", Answered({"sheets": [{"properties": {"sheetId": 7, "title": "Orders"}}]}))])
    assert state.finished
    assert state.titles == TITLES
    for script in ([("send", GONE)], [("send", BUSY)] * 3):
        state = BatchState.fresh(planned, REQUEST)
        play(state, list(script))
        assert state.finished
        assert state.failure


def timed(state: BatchState, reply: Reply, took_s: int) -> None:
    """One call whose answer takes so long."""
    step = state.next_step(TITLES, NOW)
    assert step is not None
    state.sending(step, NOW)
    state.learn(step, reply, NOW + took_s * SECOND_NS)


def test_slow_answers_make_later_calls_smaller_and_quick_ones_larger_again() -> None:
    state = BatchState.fresh(batch("fenced", 8), REQUEST)
    timed(state, OK, 70)
    assert (state.finished, state.most) == (True, 4)
    state = BatchState.fresh(batch("fenced", 8), REQUEST, 4)
    assert [len(part.members) for part in state.parts] == [4, 4]
    timed(state, OK, 40)
    timed(state, OK, 61)
    assert (state.finished, state.most) == (True, 2)
    state = BatchState.fresh(batch("fenced", 8), REQUEST, 2)
    timed(state, OK, 1)
    assert state.most == 4
    state = BatchState.fresh(batch("fenced", 8), REQUEST, 4)
    timed(state, OK, 14)
    assert state.most == 0, "as planned again"


@pytest.mark.parametrize("slow", [SLOW, Lost("no answer in time", slow=True)])
@pytest.mark.parametrize("form", ["fenced", "values_update", "read"])
def test_what_is_too_slow_twice_goes_in_halves_and_later_batches_too(form: Form, slow: Reply) -> None:
    state = BatchState.fresh(batch(form, 4), REQUEST)
    play(state, [("send", slow), ("send", slow)])
    if form == "fenced":
        play(state, [("burn", OK)])
    assert [len(part.members) for part in state.parts] == [2, 2]
    assert state.most == 2
    step = state.next_step(TITLES, NOW)
    assert step is not None
    assert bool(step.not_before_ns) == (form == "values_update"), "an unfenced write may still land"


def test_a_call_that_only_ever_fails_is_halved_before_it_is_given_up() -> None:
    request = REQUEST.model_copy(update={"max_attempts": 8})
    state = BatchState.fresh(batch("fenced", 4), request)
    play(state, [("send", BUSY)] * 6)
    play(state, [("burn", OK), ("send", OK), ("send", OK)])
    assert ends(state) == [YES] * 4


def unfenced(count: int, *ops: str) -> BatchState:
    planned = batch("fenced", count)
    operations = tuple(
        one.model_copy(update={"op": op, "values": (("x",),)}) if op else one
        for one, op in zip(planned.operations, ops or [""] * count, strict=True)
    )
    return BatchState.fresh(
        planned.model_copy(update={"operations": operations}), REQUEST.model_copy(update={"fences": False})
    )


def test_without_fences_no_write_carries_one_and_what_may_be_repeated_is_after_a_rest() -> None:
    state = unfenced(2)
    step = state.next_step(TITLES, NOW, (77,))
    assert step is not None
    assert b"eveloperMetadata" not in step.call.body
    play(state, [("send", LOST)])
    step = state.next_step(TITLES, NOW)
    assert step is not None
    assert step.not_before_ns == NOW + ZOMBIE_NS
    play(state, [("send", OK)])
    assert (ends(state), state.fences) == ([YES, YES], [])


def test_without_fences_an_append_of_unknown_outcome_is_not_risked_twice() -> None:
    state = unfenced(3, "", "append", "")
    assert play(state, [("send", LOST)]) == [180]
    assert ends(state) == [OPEN] * 3


def test_without_fences_a_culprit_is_named_by_its_place() -> None:
    state = unfenced(3, "append", "append", "")
    play(state, [("send", bad(1)), ("send", OK)])
    assert ends(state) == [YES, YES, NO]


CANCELS: dict[str, tuple[Form, Script, Script, list[str]]] = {
    "nothing was sent": ("fenced", [], [], ["unprocessed no"] * 3),
    "one part was done": ("fenced", [("send", INVALID), ("send", OK)], [], [YES, "unprocessed no", "unprocessed no"]),
    "unknown: burnt first": ("fenced", [("send", LOST)], [("burn", OK)], ["unprocessed no"] * 3),
    "unknown: applied": ("fenced", [("send", LOST)], [("burn", DUPLICATE), ("fence_look_up", FOUND)], [YES] * 3),
    "unfenced and unknown": ("values_update", [("send", LOST)], [], [OPEN] * 3),
}


@pytest.mark.parametrize("name", CANCELS)
def test_a_cancelled_batch(name: str) -> None:
    form, before, after, outcomes = CANCELS[name]
    state = BatchState.fresh(batch(form, 3), REQUEST)
    play(state, before)
    state.cancel()
    play(state, after)
    assert ends(state) == outcomes


def test_replies_go_to_their_operations() -> None:
    raw = json.dumps({"op": "request", "spreadsheet": "S", "request": {"duplicateSheet": {"sourceSheetId": 1}}})
    made = (batch("fenced", 1).operations[0], parse_line(raw, 2, "u"))
    planned = PlannedBatch(number=4, lane=2, form="fenced", user="u", spreadsheet="S", operations=made)
    state = BatchState.fresh(planned, REQUEST)
    play(state, [("send", Answered({"replies": [{}, {}, {"duplicateSheet": {"properties": {"sheetId": 9}}}]}))])
    assert [result.reply for result in state.results] == [{}, {"duplicateSheet": {"properties": {"sheetId": 9}}}]


@pytest.mark.parametrize("form", ["fenced", "values_update", "values_append", "read"])
def test_probes_that_meet_another_s_answer_end(form: Form) -> None:
    """Somebody on the way who answers for good in the API's place is no outage: the attempts are used up."""
    state = BatchState.fresh(batch(form, 1), REQUEST)
    assert probed(state, read_reply(403, {}, b"<html>Forbidden by policy</html>"), 500) <= 2 * REQUEST.max_attempts
    assert len(ends(state)) == 1


@pytest.mark.parametrize("reply", [LOST, BUSY, SLOW, read_reply(502, {}, b"<html>Bad Gateway</html>")])
@pytest.mark.parametrize("form", ["fenced", "values_update", "read"])
def test_probes_in_an_outage_are_no_attempts(form: Form, reply: Reply) -> None:
    """However long it lasts, nothing fails of it."""
    state = BatchState.fresh(batch(form, 1), REQUEST)
    assert probed(state, reply, 500) == 500
    assert state.attempts == 0
    assert not state.results


def test_a_read_whose_answer_is_too_large_goes_in_halves_and_fails_alone() -> None:
    state = BatchState.fresh(batch("read", 2), REQUEST)
    play(state, [("send", TooLarge("more than a call may bring"))] * 2)
    step = state.next_step(TITLES, NOW)
    assert step is not None
    assert [(result.line, result.outcome, result.reason) for result in state.results] == [
        (1, "failed", "more than a call may bring")
    ]


def test_a_look_up_of_titles_that_is_too_large_fails_the_lane() -> None:
    lookup = PlannedBatch(number=0, lane=2, form="look_up", user="u", spreadsheet="S")
    state = BatchState.fresh(lookup, REQUEST)
    play(state, [("send", TooLarge("too large"))])
    assert state.finished
    assert state.failure == "too large"


def test_counts_leave_out_the_particulars_of_reasons() -> None:
    state = BatchState.fresh(batch("fenced", 4), REQUEST)
    play(state, [("send", bad(1)), ("send", bad(1)), ("send", OK)])
    counts = state.counts()
    assert (counts.succeeded, counts.failed, counts.unprocessed) == (2, 2, 0)
    assert counts.reasons == {"Invalid requests….updateCells: no": 2}


def test_a_name_with_a_number_is_no_particular() -> None:
    sentence = "The line is not valid UTF-8; save the file as UTF-8."
    assert kind_of_reason(sentence) == sentence
