"""Lines that somebody got wrong, or means ill: none may crash the plan, and no call may be made that Google's schema refuses.

`judge` is the property; `tests/property/test_hostile_input.py` asks it some thousand times, this benchmark as often as is wanted.
Lines are drawn as bytes, as JSON of any shape, as operations with fields of the wrong kind, and as raw requests drawn from the
discovery document itself with something wrong in every few of them.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from activities.lines import LineSplitter
from benchmarks import discovery
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.errors import InvalidOperation
from headgate.messages.requests import BulkRequest, Operation, PlannedBatch
from headgate.outcomes import BatchState
from headgate.planner import Planner

TITLES = Titles(sheets=(Sheet(sheet_id=0, title="Sheet1"), Sheet(sheet_id=7, title="It's", index=1)))
DEEPEST = 6
#: Of the values drawn for a raw request, one in so many is of another kind than its field.
WRONG_ONE_IN = 60
WRONG_FIELD_ONE_IN = 25

TEXTS = (
    *(
        "",
        " ",
        "x",
        "Sheet1",
        "A1",
        "Sheet1!A1:C3",
        "'It''s'!B:B",
        "'",
        "!",
        "A1:",
        "a!b!c",
        "ZZZZ9",
        "A0",
        "A99999999999",
    ),
    *(
        "\u0000",
        "\u202e",
        "\ud800",
        "é" * 40,
        "=1+1",
        "../..",
        "a/b?c=d#e",
        "%2e%2e",
        "hg",
        "\r\n",
        "x" * 600,
        "*",
        "a.b,c",
        "a..b",
    ),
    *(
        "userEnteredValue",
        "title,index",
        "2026-01-01T00:00:00Z",
        "NaN",
        "Infinity",
        "1_0",
        " 7 ",
        "٣",
        "1e5",
        "07",
        "-1",
        "true",
    ),
)
NUMBERS = (0, 1, -1, 7, 0.5, 1e308, 3.5e38, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 10**25, 1e-320, -0.0, 2.0)
WRONG: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": 1}, *TEXTS[:12], *TEXTS[-12:], *NUMBERS)
BELONGS: dict[str, tuple[str, ...]] = {
    "append": ("range", "values", "input", "major_dimension", "placement", "id"),
    "update": ("range", "values", "input", "major_dimension", "id"),
    "clear": ("range", "id"),
    "read": ("range", "render", "major_dimension", "id"),
    "request": ("request", "id"),
}
GOOD_CELLS: tuple[Any, ...] = (None, "", "x", "=A1", "2026-01-31", "'q", 1, 2.5, True, 2**60, 1e300)
CELLS: tuple[Any, ...] = (
    None,
    "",
    "x",
    "=A1",
    "2026-01-31",
    "'q",
    1,
    2.5,
    True,
    "\ud800",
    "x" * 50_001,
    [],
    {},
    10**400,
    2**60,
)


def line(drawn: random.Random) -> bytes:
    """One line of an input."""
    match drawn.randrange(12):
        case 0:
            return drawn.randbytes(drawn.randrange(40)).replace(b"\n", b"")
        case 1:
            return json.dumps(_json(drawn, 0)).encode()
        case 2:
            text = json.dumps(_operation(drawn)).encode()
            at = drawn.randrange(len(text))
            return (
                text[:at]
                + drawn.choice([b"", b'"', b"{", b"\x00", b"\xff", b'"op":', b"1e999", b"NaN"])
                + text[at + 1 :]
            )
        case 3 | 4 | 5 | 6:
            return json.dumps(_operation(drawn)).encode()
    return json.dumps({"op": "request", "spreadsheet": "S", "user": "u", "request": _request(drawn)}).encode()


def _json(drawn: random.Random, depth: int) -> Any:
    match drawn.randrange(4 if depth < 4 else 2):
        case 2:
            return [_json(drawn, depth + 1) for _ in range(drawn.randrange(4))]
        case 3:
            names = ("op", "spreadsheet", "range", "values", "request", "id", "user", *TEXTS)
            return {drawn.choice(names): _json(drawn, depth + 1) for _ in range(drawn.randrange(5))}
    return drawn.choice(WRONG)


def _operation(drawn: random.Random) -> dict[str, Any]:
    """Most fields are right, so that what is wrong is met by everything that comes after the first look."""

    def one(good: tuple[Any, ...], bad: tuple[Any, ...] = WRONG) -> Any:
        return drawn.choice(bad if drawn.randrange(WRONG_FIELD_ONE_IN) == 0 else good)

    op = one(("append", "update", "clear", "read", "request"), ("upsert", "", None, 3))
    fields: dict[str, Any] = {"op": op, "spreadsheet": one(("S", "T"), TEXTS), "user": one(("u", "v"))}
    belongs = BELONGS.get(op, ()) if isinstance(op, str) else ()
    made: dict[str, Callable[[], Any]] = {
        "range": lambda: one(("Sheet1!A1", "'It''s'!B2:D9", "A:C", "Sheet1!3:5", "Sheet1"), TEXTS),
        "values": lambda: one(
            ([[one(GOOD_CELLS, CELLS) for _ in range(drawn.randrange(4))] for _ in range(drawn.randrange(1, 4))],)
        ),
        "request": lambda: _request(drawn),
        "input": lambda: one(("RAW", "USER_ENTERED", "FORMULAS"), ("raw", 1)),
        "render": lambda: one(("FORMULA", "UNFORMATTED_VALUE", "FORMATTED_VALUE"), ("", "x")),
        "major_dimension": lambda: one(("ROWS", "COLUMNS"), ("DIAGONALS", [])),
        "placement": lambda: one(("table",), ("", "chair")),
        "id": lambda: one(("a", 7, "ü"), ("", "x" * 201, "\n")),
    }
    for name, make in made.items():
        needed = name in belongs and name in ("range", "values", "request")
        wanted = drawn.randrange(40) > 0 if needed else drawn.randrange(4 if name in belongs else 80) == 0
        if wanted:
            fields[name] = make()
    if drawn.randrange(40) == 0:
        fields[drawn.choice(("extra", "sheet_id", "line", *fields))] = drawn.choice(WRONG)
    return fields


def _request(drawn: random.Random) -> Any:
    kinds = discovery.document()["schemas"]["Request"]["properties"]
    if drawn.random() < 0.03:
        return drawn.choice((*WRONG, {}, {"addSheet": {}, "deleteSheet": {}}, {"addSheets": {}}))
    kind = drawn.choice(sorted(kinds))
    return {kind: _value(drawn, kinds[kind], 0)}


def _value(drawn: random.Random, shape: dict[str, Any], depth: int) -> Any:
    """A value of a shape of the discovery document, or now and then another one."""
    if drawn.randrange(WRONG_ONE_IN) == 0:
        return drawn.choice(WRONG)
    if "$ref" in shape:
        fields = discovery.document()["schemas"][shape["$ref"]].get("properties", {})
        most = 0 if depth > DEEPEST else 3
        names = drawn.sample(
            sorted(fields), min(len(fields), drawn.randrange(1, 4) if depth < 2 else drawn.randrange(most + 1))
        )
        return {name: _value(drawn, fields[name], depth + 1) for name in names}
    match shape.get("type"):
        case "array":
            return [_value(drawn, shape["items"], depth + 1) for _ in range(drawn.randrange(3))]
        case "object":
            inner = shape.get("additionalProperties", {"type": "any"})
            return {drawn.choice(("0", "1", "x")): _value(drawn, inner, depth + 1) for _ in range(drawn.randrange(3))}
        case "boolean":
            return drawn.choice((True, False))
        case "integer":
            return drawn.choice((0, 1, 7, "7", 2.0, 2**31 - 1, -1))
        case "number":
            return drawn.choice((0.5, 1, "0.25", -2, 1e30))
    if "enum" in shape:
        return drawn.choice(shape["enum"])
    if shape.get("format") == "google-fieldmask":
        return drawn.choice(("*", "title", "userEnteredValue,note", "userEnteredFormat.textFormat.bold"))
    return drawn.choice(("x", "2026-01-01T00:00:00Z", "A1", ""))


# --- the property


def judge(lines: bytes, order: str = "strict") -> Counter[str]:
    """Plans the lines and composes every call; raises AssertionError with the call that the schema refuses."""
    seen: Counter[str] = Counter()
    request = BulkRequest.model_validate({"id": "r", "project": "p", "nonce": "n", "order": order})
    planner, drafts = Planner(request), []
    splitter = LineSplitter()
    for number, text in enumerate([*splitter.feed(lines), *splitter.finish()], 1):
        if text is None or not text.strip():
            continue
        operation = _parsed(text, number)
        seen["accepted" if operation else "refused"] += 1
        if operation is not None:
            seen[f"accepted {operation.op}"] += 1
            drafts += planner.add(operation)
    for number, draft in enumerate([*drafts, *planner.finish()]):
        batch = PlannedBatch(
            number=number,
            lane=0,
            form=draft.form,
            user=draft.lane.user,
            spreadsheet=draft.lane.spreadsheet,
            operations=draft.operations,
        )
        # As it is kept in the store, and read again.
        batch = PlannedBatch.model_validate_json(batch.model_dump_json(exclude_defaults=True))
        step = BatchState.fresh(batch, request).next_step(TITLES, 0)
        if step is not None:
            seen["calls"] += 1
            call = step.call
            assert not (wrong := discovery.complaint(call.method, call.target, call.body)), (wrong, call.body[:2000])
    return seen


def _parsed(text: bytes, number: int) -> Operation | None:
    try:
        return parse_line(text, number, "")
    except InvalidOperation as refusal:
        sentence = str(refusal)
        assert sentence.endswith((".", "]")), sentence
        assert "\n" not in sentence, sentence
        assert len(sentence) < 400, sentence
        return None


inputs = st.builds(
    lambda drawn, count: b"\n".join(line(drawn) for _ in range(count)),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
)


async def main(size: int = 100_000) -> dict[str, Any]:
    """So many inputs of one to three lines, drawn by Hypothesis."""
    total: Counter[str] = Counter()

    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def hold(lines: bytes) -> None:
        total.update(judge(lines))
        total["inputs"] += 1

    began = time.perf_counter()
    broke = ""
    try:
        hold()
    except Exception as failure:  # a crash, or a call that the schema refuses: what Hypothesis shrank it to
        broke = f"{type(failure).__name__}: {failure}"[:4000]
    return {"held": not broke, "broke": broke, **total, "seconds": time.perf_counter() - began}
