"""Faults are rules in order; the first that fits a call and fires decides what happens to it, the same at every run of a seed.

A rule is one flat JSON object: what it fits, when it fires, what it does. A rules file holds a list of them, or `{"faults": [...]}`.

    {"method": "spreadsheets.batchUpdate", "nth": 3, "effect": "error", "status": 503, "when": "after"}
    {"kind": "write", "probability": 0.02, "effect": "close", "when": "after"}
    {"spreadsheet": "S1", "times": 1, "effect": "zombie", "seconds": 5}
    {"path": "values/Orders", "every": 10, "effect": "delay", "seconds": 2}
    {"between": [10, 40], "effect": "error", "status": 503, "when": "before"}
    {"user": "bot-1", "times": 20, "effect": "throttle"}
    {"kind": "write", "in_flight": 1, "probability": 0.5, "effect": "error", "status": 503}

Fits (all that are given must): `method` (a method id, `*` allowed), `kind` (read, write), `spreadsheet` (an id), `user` (a token),
`path` (a regexp searched in the decoded path), `body` (a text that the body contains), `in_flight` (at least so many other calls of
the spreadsheet are under way).

Fires (all that are given must): `nth` (a number or a list: the nth fitting call, from 1), `every` (each nth fitting call),
`probability`, `between` (seconds since the rules were set), `times` (at most so often; without it always).

Does, by `effect`:

| effect | what happens | also takes |
| --- | --- | --- |
| `delay` | `seconds` more latency | |
| `throttle` | 429 before anything is counted, as a real one | `level`: user or project |
| `unauthorized`, `forbidden` | 401, 403 PERMISSION_DENIED, before anything is counted | |
| `error` | `status` (503) with Google's error body | `when`: before or after the apply; `message`; `envelope`: v1 |
| `html` | `status` (503) with an HTML page, and the connection closes | `when` |
| `quota_500` | 500 that says "Quota exceeded" | `when` |
| `close` | the connection closes without an answer | `when` |
| `reset` | the connection is reset (RST) without an answer | `when` |
| `truncate` | applied; the answer ends half way and the connection closes | |
| `drip` | applied; the answer comes in small pieces over `seconds` | |
| `zombie` | silence for `seconds`, then it is applied whether or not the client is still there | |

`when` is `before` unless given. Faults that the quota precedes count against it, as on a real server.
"""

from __future__ import annotations

import fnmatch
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EFFECTS = frozenset(
    {
        "delay",
        "throttle",
        "unauthorized",
        "forbidden",
        "error",
        "html",
        "quota_500",
        "close",
        "reset",
        "truncate",
        "drip",
        "zombie",
    }
)
UNCOUNTED = frozenset({"throttle", "unauthorized", "forbidden"})
FIELDS = frozenset(
    [
        "method",
        "kind",
        "spreadsheet",
        "user",
        "path",
        "body",
        "nth",
        "every",
        "probability",
        "between",
        "times",
        "effect",
        "seconds",
        "status",
        "when",
        "message",
        "envelope",
        "level",
        "in_flight",
        "note",
    ]
)


class InvalidRule(ValueError):
    """A fault rule that cannot be meant."""


@dataclass(frozen=True)
class Seen:
    """What a rule may look at."""

    method: str
    kind: str
    spreadsheet: str
    user: str
    path: str
    body: bytes
    at: float
    in_flight: int = 0


@dataclass(frozen=True)
class Fault:
    """What is to happen to one call."""

    effect: str
    when: str = "before"
    seconds: float = 0.0
    status: int = 503
    message: str = ""
    level: str = "user"
    v1: bool = False

    @property
    def name(self) -> str:
        if self.effect in ("error", "html"):
            return f"{self.effect}_{self.status}_{self.when}"
        return f"{self.effect}_{self.when}" if self.effect in ("close", "reset", "quota_500") else self.effect


@dataclass
class Rule:
    """One rule and how often it fitted and fired."""

    given: Mapping[str, Any]
    random: random.Random
    fault: Fault = field(init=False)
    fitted: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        given = self.given
        unknown = set(given) - FIELDS
        if unknown:
            raise InvalidRule(f"unknown fields {sorted(unknown)} in the fault rule {dict(given)}")
        if given.get("effect") not in EFFECTS:
            raise InvalidRule(f"unknown effect {given.get('effect')!r} in the fault rule {dict(given)}")
        if given.get("when", "before") not in ("before", "after"):
            raise InvalidRule(f"'when' is before or after, not {given['when']!r}")
        self.fault = Fault(
            effect=given["effect"],
            when=given.get("when", "before"),
            seconds=float(given.get("seconds", 0)),
            status=int(given.get("status", 503)),
            message=str(given.get("message", "")),
            level=str(given.get("level", "user")),
            v1=given.get("envelope") == "v1",
        )

    def fires(self, seen: Seen) -> bool:
        if not self._fits(seen):
            return False
        self.fitted += 1
        if not self._is_due(seen.at):
            return False
        self.fired += 1
        return True

    def _fits(self, seen: Seen) -> bool:
        given = self.given
        if "method" in given and not fnmatch.fnmatchcase(seen.method, given["method"]):
            return False
        for name in ("kind", "spreadsheet", "user"):
            if name in given and getattr(seen, name) != given[name]:
                return False
        if "path" in given and re.search(given["path"], seen.path) is None:
            return False
        if "in_flight" in given and seen.in_flight < int(given["in_flight"]):
            return False
        return "body" not in given or str(given["body"]).encode() in seen.body

    def _is_due(self, at: float) -> bool:
        given = self.given
        if "times" in given and self.fired >= int(given["times"]):
            return False
        if "between" in given and not given["between"][0] <= at < given["between"][1]:
            return False
        if "nth" in given:
            nth = given["nth"]
            if self.fitted not in (nth if isinstance(nth, list) else [nth]):
                return False
        if "every" in given and self.fitted % int(given["every"]):
            return False
        return "probability" not in given or self.random.random() < float(given["probability"])


class FaultPlan:
    """The rules in order; each has its own random numbers, so that one rule does not disturb another."""

    def __init__(self, rules: Iterable[Mapping[str, Any]], seed: int, now: float) -> None:
        self.since = now
        self.rules = [Rule(given, random.Random(f"{seed}/{index}")) for index, given in enumerate(rules)]

    def choose(self, seen: Seen) -> Fault | None:
        for rule in self.rules:
            if rule.fires(seen):
                return rule.fault
        return None

    def shown(self) -> list[dict[str, Any]]:
        return [{**rule.given, "fitted": rule.fitted, "fired": rule.fired} for rule in self.rules]


def rules_of(given: Any) -> Sequence[Mapping[str, Any]]:
    """The rules of a JSON document: a list, or an object with `faults`."""
    rules = given.get("faults") if isinstance(given, dict) else given
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise InvalidRule("fault rules are a JSON list of objects, or an object with a list 'faults'")
    return rules


def read_rules(path: Path) -> Sequence[Mapping[str, Any]]:
    return rules_of(json.loads(path.read_text(encoding="utf-8")))
