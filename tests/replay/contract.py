"""`python -m tests.replay.contract`: record what running workflows and their histories rely on, beside their commands.

The handlers and activities by name, and every message with its fields: a later release must know all of them, and may know
more. Recording anew after something was taken away is saying that nobody has an open request of an earlier release.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import temporalio.activity
import temporalio.workflow
from pydantic import TypeAdapter

import activities
import workflows
from headgate.message import Message
from workflows import names

RECORDED = Path(__file__).parent / "contract.json"
Contract = dict[str, Any]


def contract() -> Contract:
    """The present one."""
    return {
        "names": {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)},
        "workflows": {definition.name: _handlers(definition) for definition in _workflows()},
        "activities": sorted(_activities()),
        "messages": {message.__name__: _fields(message) for message in sorted(_messages(Message), key=_name)},
    }


def broken(then: Contract, now: Contract) -> list[str]:
    """What the recorded contract has and the present one has not, or demands and it did not, in sentences."""
    found = [f"{what} {name} is gone" for what in ("workflows", "messages") for name in then[what].keys() - now[what]]
    found += [f"activity {name} is gone" for name in {*then["activities"]} - {*now["activities"]}]
    found += [
        f"{name} is {now['names'].get(name)} now" for name, v in then["names"].items() if now["names"].get(name) != v
    ]
    for name, handlers in then["workflows"].items():
        for kind, known in handlers.items():
            gone = {*known} - {*now["workflows"].get(name, {}).get(kind, ())}
            found += [f"{name} has no {kind} {handler} any more" for handler in gone]
    for name, fields in then["messages"].items():
        present = now["messages"].get(name, fields)
        found += [f"{name}.{field} is gone" for field in fields.keys() - present]
        found += [
            f"{name}.{field} is new and has no default"
            for field in present.keys() - fields
            if present[field]["required"]
        ]
        for field in fields.keys() & present:
            if present[field]["required"] and not fields[field]["required"]:
                found.append(f"{name}.{field} has no default any more")
            if not _takes(present[field]["schema"], fields[field]["schema"]):
                found.append(f"{name}.{field} no longer takes what it took")
    return sorted(found)


def _takes(new: Any, old: Any) -> bool:
    """Whether a schema takes all that another took, as far as enlarged enumerations and alternatives go."""
    if new == old:
        return True
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return False
    alternatives = new.get("anyOf")
    if alternatives and "anyOf" not in old:
        return any(_takes(one, old) for one in alternatives)
    if alternatives and "anyOf" in old:
        return all(any(_takes(one, each) for one in alternatives) for each in old["anyOf"])
    if {*old.get("enum", ())} and {*old["enum"]} <= {*new.get("enum", ())}:
        return True
    if old.get("enum") and new.get("type") == old.get("type") and not new.get("enum"):
        return True
    keys = (new.keys() | old.keys()) - {"default", "description", "title"}
    return all(key in new and key in old and _takes(new[key], old[key]) for key in keys)


def _workflows() -> Iterator[Any]:
    for made in _classes(workflows):
        definition = temporalio.workflow._Definition.from_class(made)  # the SDK has no public way to ask
        if definition is not None and definition.name:
            yield definition


def _classes(package: ModuleType) -> Iterator[type]:
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for _, made in inspect.getmembers(module, inspect.isclass):
            if made.__module__ == module.__name__:
                yield made


def _handlers(definition: Any) -> dict[str, list[str]]:
    kinds = {"signal": definition.signals, "update": definition.updates, "query": definition.queries}
    return {kind: sorted(name for name in known if name) for kind, known in kinds.items()}


def _activities() -> Iterator[str]:
    for made in _classes(activities):
        for _, method in inspect.getmembers(made, inspect.isfunction):
            definition = temporalio.activity._Definition.from_callable(method)
            if definition is not None and definition.name:
                yield definition.name


def _messages(made: type[Message]) -> Iterator[type[Message]]:
    for message in made.__subclasses__():
        if message.__module__.startswith("headgate."):
            yield message
        yield from _messages(message)


def _name(message: type[Message]) -> str:
    return message.__name__


def _fields(message: type[Message]) -> dict[str, Any]:
    """Each field's schema, other messages by their names alone."""
    found = {}
    for name, field in message.model_fields.items():
        annotation: Any = field.annotation
        schema = TypeAdapter(annotation).json_schema()
        schema.pop("$defs", None)
        found[name] = {"required": field.is_required(), "schema": _named(schema, annotation)}
    return found


def _named(schema: Any, annotation: Any) -> Any:
    """A message in full is written as its name: what it holds is recorded once."""
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return {"$ref": f"#/$defs/{annotation.__name__}"}
    return schema


def _text(made: Contract) -> str:
    """A line for each workflow and each message, so that a change shows as one."""
    parts = []
    for what, known in sorted(made.items()):
        rows = [json.dumps(row) for row in known] if isinstance(known, list) else []
        if isinstance(known, dict):
            rows = [f"{json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in sorted(known.items())]
        marks = "[]" if isinstance(known, list) else "{}"
        parts.append(f'"{what}": {marks[0]}\n  ' + ",\n  ".join(rows) + f"\n {marks[1]}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


if __name__ == "__main__":
    RECORDED.write_text(_text(contract()))
