"""A planned batch as JSON: how its operations are written one by one, and how it is read back with thousands of them.

1. What is as it would be anyway is left out; what was written comes back equal.
2. Reading trusts what our own planning wrote: pydantic's validation of thousands of operations would keep the event loop
   of who sends for tens of milliseconds, and make objects of twice the size.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final, get_args

import orjson

from headgate.messages.requests import Form, Operation, PlannedBatch

FORMS: Final[tuple[Form, ...]] = get_args(Form)
_DEFAULTS: Final[dict[str, Any]] = {
    name: field.get_default(call_default_factory=True) for name, field in Operation.model_fields.items()
}


def operation_json(operation: Operation) -> bytes:
    """One operation of a batch."""
    said = {name: value for name, value in operation.__dict__.items() if value != _DEFAULTS[name]}
    try:
        return orjson.dumps(said)
    except TypeError:  # a whole number of more than 64 bits in a raw request
        return operation.model_dump_json(exclude_defaults=True).encode()


def batch_json(form: Form, user: str, spreadsheet: str, operations: bytes) -> bytes:
    """A batch without its number and lane; `operations` are separated by commas."""
    head = orjson.dumps({"form": form, "user": user, "spreadsheet": spreadsheet})
    return head[:-1] + b',"operations":[' + operations + b"]}"


def read_batch(payload: bytes) -> PlannedBatch:
    """The batch that was written, with its number and lane."""
    if b'"request":' in payload:  # whole numbers of more than 64 bits, for one
        return PlannedBatch.model_validate_json(payload)
    said = orjson.loads(payload)
    operations = said["operations"]
    for place, one in enumerate(operations):
        operations[place] = _operation(one)  # in its place, so that what was decoded goes at once
    said["operations"] = tuple(operations)
    return PlannedBatch.model_construct(**said)


def _operation(said: dict[str, Any]) -> Operation:
    for name in ("op", "spreadsheet", "user", "range"):
        if name in said:
            said[name] = intern(said[name])
    if "values" in said:
        said["values"] = tuple([tuple(row) for row in said["values"]])
    if "gone_sheets" in said:
        said["gone_sheets"] = tuple(said["gone_sheets"])
    return Operation.trusted({**_DEFAULTS, **said})
