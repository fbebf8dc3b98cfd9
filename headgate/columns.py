"""What the cells of a CSV column are: text, numbers, booleans or dates; declared by the caller, or inferred from all of them.

1. A column is inferred to be numbers or booleans only if every cell that is not empty is one, in the one spelling that
   comes back the same: `007`, `1e5`, `+5`, `1,000`, `-0` and anything beyond 15 digits make their column text.
2. Zeros at the end (`1.50`) are taken for numbers where all cells have equally many places: prices are, versions are not. A
   single one (`1.0`) is how programs write a whole number.
3. Dates are never inferred: they stay the text that they are. A declared date becomes the serial number that Sheets counts in.
4. An empty cell is empty, whatever its column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from headgate.errors import InvalidRequest

ColumnKind = Literal["text", "number", "boolean", "date"]
Cell = bool | int | float | str

KINDS: Final[tuple[ColumnKind, ...]] = get_args(ColumnKind)
#: Stands for every column that is not named.
OTHERS: Final = "*"
#: A double keeps so many digits exactly.
_MOST_DIGITS: Final = 15
_PLAIN: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?")
_DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - Sheets' days have no zone
_DAY_S: Final = 86_400
_BOOLEANS: Final = {"true": True, "false": False}
_DECLARED_BOOLEANS: Final = {**_BOOLEANS, "yes": True, "no": False, "1": True, "0": False}


@dataclass(slots=True)
class Guess:
    """What one column can still be, after the cells seen so far."""

    number: bool = True
    boolean: bool = True
    empty: bool = True
    places: int = -1
    even: bool = True
    padded: bool = False

    def see(self, text: str) -> None:
        """One more cell."""
        if not text or not (self.number or self.boolean):
            return
        self.empty = False
        self.boolean = self.boolean and text.casefold() in _BOOLEANS
        if not self.number:
            return
        found = _PLAIN.fullmatch(text)
        if found is None or len(text) - text.count(".") - len(found[1]) > _MOST_DIGITS:
            self.number = False
            return
        if found[1] and not text.strip("-0."):
            self.number = False
            return
        places = len(found[3] or "")
        self.padded = self.padded or (text.endswith("0") and places > 1)
        self.even = self.even and self.places in (-1, places)
        self.places = places

    @property
    def kind(self) -> ColumnKind:
        """What the column is, if these were all its cells."""
        if self.empty:
            return "text"
        if self.boolean:
            return "boolean"
        return "number" if self.number and (self.even or not self.padded) else "text"


def declared(said: Sequence[str]) -> dict[str, ColumnKind]:
    """The kinds that `NAME=KIND,NAME=KIND` names; raises InvalidRequest for what is no kind."""
    kinds: dict[str, ColumnKind] = {}
    for part in [part for one in said for part in one.split(",") if part.strip()]:
        name, _, wished = part.strip().rpartition("=")
        kind = next((known for known in KINDS if known == wished.strip()), None)
        if not name or kind is None:
            raise InvalidRequest(
                f"--types {part.strip()[:80]!r} must be NAME=KIND with one of {', '.join(KINDS)}, such as amount=number"
            )
        kinds[name.strip()] = kind
    return kinds


def kinds_of(header: Sequence[str], said: Mapping[str, ColumnKind]) -> list[ColumnKind | None]:
    """The declared kind of each column, None where it is to be inferred; raises InvalidRequest for a name that is no column."""
    names = [name.strip() for name in header]
    for name in said:
        if name != OTHERS and names.count(name) != 1:
            fault = "is no column" if name not in names else "names several columns"
            raise InvalidRequest(f"--types: {name[:80]!r} {fault}; the header has {', '.join(names)[:300]}")
    return [said.get(name, said.get(OTHERS)) for name in names]


def typed(text: str, kind: ColumnKind) -> Cell:
    """The cell's value; raises ValueError, with half a sentence, for a text that a declared kind does not know."""
    if not text or kind == "text":
        return text
    match kind:
        case "number":
            return _number(text)
        case "boolean":
            found = _DECLARED_BOOLEANS.get(text.strip().casefold())
            if found is None:
                raise ValueError(f"{_shown(text)} is no boolean (true, false, yes, no, 1 or 0)")
            return found
        case "date":
            return _serial(text.strip())


def _number(text: str) -> int | float:
    if len(text) <= _MOST_DIGITS and _PLAIN.fullmatch(text):
        return float(text) if "." in text else int(text)
    plain = text.strip()
    if not _NUMBER.fullmatch(plain):
        raise ValueError(f"{_shown(text)} is no number")
    digits = re.sub(r"[eE].*|[^0-9]", "", plain).lstrip("0")
    if len(digits.rstrip("0") if "." in plain else digits) > _MOST_DIGITS:
        raise ValueError(f"{_shown(text)} has more digits than the {_MOST_DIGITS} that a number keeps; make it text")
    if plain.lstrip("+-").isdigit():
        return int(plain)
    number = float(plain)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{_shown(text)} is too large for a number; make it text")
    return number


def _serial(text: str) -> int | float:
    """Days since 1899-12-30, as Sheets counts them."""
    refusal = ValueError(f"{_shown(text)} is no date such as 2030-01-31 or 2030-01-31 12:30")
    if not _DATE.fullmatch(text):
        raise refusal
    try:
        span = datetime.fromisoformat(text) - _DAY_ZERO
    except ValueError:
        raise refusal from None
    seconds = span.seconds + span.microseconds / 1_000_000
    return span.days + seconds / _DAY_S if seconds else span.days


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
