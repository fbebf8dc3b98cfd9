"""A batch against an API that loses answers, delays writes and refuses: each operation ends once and is applied at most once.

The API here is naive and written apart from the core: a ledger of applied operations, a dict of fences, atomic batches.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headgate.apis.sheets import replies
from headgate.apis.sheets.compose import Call
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.replies import Lost, Reply
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, Form, Operation, PlannedBatch
from headgate.outcomes import BatchState, Step

TITLES = Titles(sheets=(Sheet(sheet_id=7, title="Orders"),))
MARK = re.compile(r"mark-(\d+)-")
LATEST_NS = 180 * SECOND_NS

Fault = Literal[
    "none",
    "lost before",
    "lost after",
    "zombie",
    "503 before",
    "503 after",
    "504 zombie",
    "cut after",
    "html after",
    "429",
    "403 rate",
    "500 quota",
    "401",
    "409",
    "too large",
    "refused connection",
    "no room",
    "carried twice",
    "another's answer before",
    "another's answer after",
    "a page before",
    "a page after",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)


DOUBTFUL: tuple[Fault, ...] = ("lost after", "zombie", "503 after", "503 before", "lost before")


def error(status: int, message: str, **more: object) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": status, "message": message, **more}}).encode()


@dataclass
class NaiveApi:
    """Applies whole batches or nothing; says which sub-request was bad if `names_the_culprit`."""

    bad: frozenset[int] = frozenset()
    names_the_culprit: bool = True
    gone: bool = False
    fences: dict[int, str] = field(default_factory=dict)
    applied: Counter[int] = field(default_factory=Counter)
    zombies: list[tuple[int, Call]] = field(default_factory=list)

    def take(self, call: Call) -> tuple[int, bytes]:
        if self.gone:
            return error(404, "Requested entity was not found.")
        if "/developerMetadata/" in call.path:
            found = self.fences.get(int(call.path.rsplit("/", 1)[1]))
            if found is None:
                return error(404, "Requested entity was not found.")
            return 200, json.dumps({"metadataValue": found}).encode()
        if call.path.endswith(("/values:batchGet", ":batchGetByDataFilter")):
            return self.read(call)
        body = json.loads(call.body)
        if "requests" in body:
            return self.batch_update(body["requests"])
        return self.values(body)

    def read(self, call: Call) -> tuple[int, bytes]:
        ranges = re.findall(r"ranges=([^&]*)", call.query)
        for text in ranges:
            if any(text == f"A{bad + 1}" for bad in self.bad):
                return error(400, f"Unable to parse range: {text}" if self.names_the_culprit else "Bad range")
        return 200, json.dumps({"valueRanges": [{"range": text, "values": [[text]]} for text in ranges]}).encode()

    def values(self, body: dict[str, Any]) -> tuple[int, bytes]:
        parts = body.get("data", [body])
        for place, part in enumerate(parts):
            if self.bad & set(marks(part)):
                prefix = f"Invalid data[{place}]: " if self.names_the_culprit else ""
                return error(400, prefix + "not possible")
        for part in parts:
            self.applied.update(marks(part))
        return 200, json.dumps({"updates": {}, "responses": [{} for _ in parts]}).encode()

    def batch_update(self, requests: list[dict[str, Any]]) -> tuple[int, bytes]:
        created: dict[int, str] = {}
        applied: list[int] = []
        for place, request in enumerate(requests):
            if "createDeveloperMetadata" in request:
                metadata = request["createDeveloperMetadata"]["developerMetadata"]
                number = metadata["metadataId"]
                if number in self.fences or number in created:
                    return error(
                        400,
                        f"Invalid requests[{place}].createDeveloperMetadata: Cannot add developer metadata with ID "
                        f"[{number}] because developer metadata with that ID already exists.",
                    )
                created[number] = metadata["metadataValue"]
                continue
            if "deleteDeveloperMetadata" in request:
                continue
            if self.bad & set(marks(request)):
                kind = next(iter(request))
                prefix = f"Invalid requests[{place}].{kind}: " if self.names_the_culprit else ""
                return error(400, prefix + "not possible")
            applied += marks(request)
        self.fences.update(created)
        self.applied.update(applied)
        return 200, json.dumps({"replies": [{} for _ in requests]}).encode()

    def land(self, until_ns: int) -> None:
        """What was delayed reaches the API now, if its time has come."""
        due = [call for at, call in self.zombies if at <= until_ns]
        self.zombies = [(at, call) for at, call in self.zombies if at > until_ns]
        for call in due:
            self.take(call)


def marks(value: object) -> list[int]:
    return [int(found) for found in MARK.findall(json.dumps(value))]


def operations_for(form: Form, count: int, pattern: list[bool]) -> tuple[Operation, ...]:
    made = []
    for number in range(count):
        cells = (((f"mark-{number}-"),),)
        fields: dict[str, Any] = {"line": number + 1, "id": f"r{number}", "spreadsheet": "S", "user": "u"}
        if form == "read":
            made.append(Operation(op="read", range=f"A{number + 1}", **fields))
        elif form == "values_update":
            made.append(Operation(op="update", range=f"A{number + 1}", values=cells, input="USER_ENTERED", **fields))
        elif form == "values_append":
            made.append(Operation(op="append", range="Orders", values=cells, placement="table", **fields))
        elif pattern[number % len(pattern)]:
            made.append(Operation(op="append", range="Orders!A:C", values=cells, **fields))
        else:
            made.append(Operation(op="update", range=f"Orders!A{number + 1}", values=cells, **fields))
    return tuple(made)


class OneBatch(RuleBasedStateMachine):
    """Faults, crashes, foreign marks and a cancellation at any moment; the teardown lets it end and asks the oracle."""

    state: BatchState
    api: NaiveApi
    batch: PlannedBatch

    @initialize(
        form=st.sampled_from(["fenced", "fenced", "fenced", "values_update", "values_append", "read"]),
        count=st.integers(1, 6),
        pattern=st.lists(st.booleans(), min_size=1, max_size=6),
        bad=st.frozensets(st.integers(0, 5), max_size=2),
        names_the_culprit=st.booleans(),
        max_attempts=st.integers(1, 4),
        eventful=st.sampled_from([False, False, False, True]),
        fences=st.sampled_from([True, True, False]),
        most=st.sampled_from([0, 0, 2]),
    )
    def begin(
        self,
        form: Form,
        count: int,
        pattern: list[bool],
        bad: frozenset[int],
        names_the_culprit: bool,
        max_attempts: int,
        eventful: bool,
        fences: bool = True,
        most: int = 0,
    ) -> None:
        operations = operations_for(form, count, pattern)
        self.batch = PlannedBatch(number=4, lane=2, form=form, user="u", spreadsheet="S", operations=operations)
        self.request = BulkRequest(id="r", project="p", nonce="n", max_attempts=max_attempts, fences=fences)
        self.state = BatchState.fresh(self.batch, self.request, most)
        self.journal = b""
        self.api = NaiveApi(bad, names_the_culprit)
        self.now = 10**18
        self.stale = False
        self.eventful = eventful
        self.sent: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.said: dict[int, object] = {}

    def deliver(self, step: Step, fault: Fault) -> Reply:
        read_reply = functools.partial(replies.read_reply, asked=step.asked(self.batch.form))
        match fault:
            case "none" if self.stale and step.purpose == "fence_look_up":
                self.stale = False
                return read_reply(*self.with_headers(error(404, "Requested entity was not found.")))
            case "none":
                return read_reply(*self.with_headers(self.api.take(step.call)))
            case "no room":
                if b"createDeveloperMetadata" not in step.call.body:
                    return Lost("connection reset")
                full = "Invalid requests[0].createDeveloperMetadata: exceeds the limit of 30000 characters"
                return read_reply(400, {}, error(400, full)[1])
            case "lost before":
                return Lost("connection reset")
            case "refused connection":
                return Lost("connection refused", applied="no")
            case "lost after":
                self.api.take(step.call)
                return Lost("connection reset")
            case "zombie":
                self.api.zombies.append((self.now + LATEST_NS, step.call))
                return Lost("timeout")
            case "503 before":
                return read_reply(503, {}, error(503, "The service is currently unavailable.")[1])
            case "503 after":
                self.api.take(step.call)
                return read_reply(503, {}, error(503, "The service is currently unavailable.")[1])
            case "504 zombie":
                self.api.zombies.append((self.now + LATEST_NS, step.call))
                return read_reply(504, {}, b"<html>Deadline</html>")
            case "cut after":
                status, body = self.api.take(step.call)
                return read_reply(status, {}, body[: len(body) // 2])
            case "html after":
                self.api.take(step.call)
                return read_reply(200, {}, b"<html>fine</html>")
            case "429":
                return read_reply(429, {}, b"<html>Sorry</html>")
            case "403 rate":
                return read_reply(403, {}, error(403, "slow", errors=[{"reason": "rateLimitExceeded"}])[1])
            case "500 quota":
                return read_reply(500, {}, error(500, "Quota exceeded for quota metric 'Write requests'")[1])
            case "401":
                return read_reply(401, {}, error(401, "Invalid Credentials")[1])
            case "409":
                return read_reply(409, {}, error(409, "aborted")[1])
            case "carried twice":
                first = self.api.take(step.call)
                fenced = b"createDeveloperMetadata" in step.call.body
                return read_reply(*self.with_headers(self.api.take(step.call) if fenced else first))
            case "another's answer before" | "another's answer after":
                if fault.endswith("after"):
                    self.api.take(step.call)
                return read_reply(200, {}, error(503, "x")[1] if self.now % (2 * SECOND_NS) else b"{}")
            case "a page before" | "a page after":
                if fault.endswith("after"):
                    self.api.take(step.call)
                return read_reply((302, 400, 403, 404)[self.now // SECOND_NS % 4], {}, b"<html>Sign in</html>")
            case "too large":
                if step.purpose == "send" and step.call.kind == "write":
                    return read_reply(413, {}, b"")
                return Lost("connection reset")

    @staticmethod
    def with_headers(answer: tuple[int, bytes]) -> tuple[int, dict[str, str], bytes]:
        return answer[0], {}, answer[1]

    def wait_for(self, step: Step) -> None:
        self.now = max(self.now, step.not_before_ns)
        self.api.land(self.now)
        if step.call.kind == "write" and (self.batch.form != "fenced" or not self.request.fences):
            assert not self.api.zombies, "nothing is written while an earlier unfenced write may still land"

    def one_call(self, fault: Fault) -> None:
        step = self.state.next_step(TITLES, self.now, (901, 902) if self.state.crowded else ())
        if step is None:
            return
        self.wait_for(step)
        before = self.sent.setdefault((step.part, step.purpose), (step.call.target, step.call.body))
        assert before == (step.call.target, step.call.body), "the bytes of one part never change"
        self.state.sending(step, self.now)
        self.journal = self.state.frozen()
        advice = self.state.learn(step, self.deliver(step, fault), self.now)
        assert advice.wait_ns >= 0
        self.now += advice.wait_ns
        self.api.land(self.now)

    @precondition(lambda self: not self.state.finished)
    @rule(fault=st.sampled_from(("none",) * 8 + FAULTS))
    def call(self, fault: Fault) -> None:
        self.one_call(fault)

    @precondition(lambda self: not self.state.finished)
    @rule(applied=st.sampled_from(["no", "yes", "later"]))
    def crash_in_a_call(self, applied: str) -> None:
        step = self.state.next_step(TITLES, self.now, (901, 902) if self.state.crowded else ())
        if step is None:
            return
        self.wait_for(step)
        self.state.sending(step, self.now)
        journal = self.state.frozen()
        if applied == "yes":
            self.api.take(step.call)
        if applied == "later":
            self.api.zombies.append((self.now + LATEST_NS, step.call))
        self.sent.setdefault((step.part, step.purpose), (step.call.target, step.call.body))
        self.state = BatchState.resumed(self.batch, self.request, journal)
        self.now += LATEST_NS if self.state.finished else 30 * SECOND_NS

    @rule(bad=st.frozensets(st.integers(0, 5), max_size=2))
    def somebody_changes_what_is_possible(self, bad: frozenset[int]) -> None:
        self.api.bad = bad

    @rule()
    def a_read_will_lag(self) -> None:
        self.stale = True

    @rule()
    def time_passes(self) -> None:
        self.now += 60 * SECOND_NS
        self.api.land(self.now)

    @precondition(lambda self: not self.state.finished and self.state.parts[0].call is None)
    @rule(part=st.integers(0, 3))
    def somebody_took_the_id(self, part: int) -> None:
        fence = Fence.of(self.request.nonce, "S", 2, 4, str(part), 0)
        if self.api.fences.get(fence.id) is None and not self.was_sent(str(part)):
            self.api.fences[fence.id] = "foreign"

    def was_sent(self, part: str) -> bool:
        return any(name == part for name, _ in self.sent)

    @precondition(lambda self: self.eventful and not self.state.finished)
    @rule()
    def somebody_cancels(self) -> None:
        self.state.cancel()

    @precondition(lambda self: self.eventful and not self.state.finished)
    @rule()
    def the_spreadsheet_is_deleted(self) -> None:
        self.api.gone = True

    @invariant()
    def an_outcome_never_changes(self) -> None:
        for place, result in getattr(self, "state", BatchState()).settled.items():
            assert self.said.setdefault(place, result) == result

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        self.bring_to_its_end()

    def bring_to_its_end(self) -> None:
        for _ in range(60):
            if self.state.finished:
                break
            self.one_call("none")
        assert self.state.finished, "a calm API brings every batch to its end"
        self.api.land(self.now + 10 * LATEST_NS)
        results = self.state.results
        assert [result.line for result in results] == [operation.line for operation in self.batch.operations]
        for place, result in enumerate(results):
            if self.batch.form != "read":
                self.judge(place, result.outcome, result.applied, self.api.applied[place])
            else:
                assert result.applied == ("yes" if result.outcome == "succeeded" else "no")
        counts = self.state.counts()
        assert counts.succeeded + counts.failed + counts.unprocessed == len(results)

    def judge(self, place: int, outcome: str, applied: str, times: int) -> None:
        repeatable = not self.request.fences and self.batch.operations[place].op == "update"
        if self.batch.form != "values_update" and not repeatable:
            assert times <= 1, "applied at most once"
        if outcome == "succeeded":
            assert (applied, bool(times)) == ("yes", True)
        if applied == "yes":
            assert (outcome, bool(times)) == ("succeeded", True)
        if applied == "no":
            assert not times, "it says that it never was applied"
        if outcome == "unprocessed":
            assert applied == "no"


OneBatch.TestCase.settings = settings(
    max_examples=150, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
test_every_operation_ends_once_and_is_applied_at_most_once = OneBatch.TestCase


@settings(max_examples=700, deadline=None)
@given(
    form=st.sampled_from(["fenced", "fenced", "fenced", "values_update", "values_append"]),
    count=st.integers(1, 4),
    pattern=st.lists(st.booleans(), min_size=1, max_size=4),
    bad=st.frozensets(st.integers(0, 5), max_size=2),
    later_bad=st.none() | st.frozensets(st.integers(0, 5), max_size=2),
    names_the_culprit=st.booleans(),
    max_attempts=st.integers(1, 3),
    faults=st.lists(st.sampled_from(("none", "none", *DOUBTFUL, *FAULTS)), min_size=1, max_size=8),
    stale=st.booleans(),
    foreign=st.booleans(),
    fences=st.booleans(),
)
def test_the_same_for_a_short_story_of_faults(
    form: Form,
    count: int,
    pattern: list[bool],
    bad: frozenset[int],
    later_bad: frozenset[int] | None,
    names_the_culprit: bool,
    max_attempts: int,
    faults: list[Fault],
    stale: bool,
    foreign: bool,
    fences: bool,
) -> None:
    story = OneBatch()
    story.begin(form, count, pattern, bad, names_the_culprit, max_attempts, False, fences)
    story.stale = stale
    if foreign:
        story.api.fences[Fence.of("n", "S", 2, 4, "0", 0).id] = "foreign"
    for place, fault in enumerate(faults):
        if place == 1 and later_bad is not None:
            story.api.bad = later_bad
        if not story.state.finished:
            story.one_call(fault)
    story.bring_to_its_end()
