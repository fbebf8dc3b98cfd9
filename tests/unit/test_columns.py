"""A cell is a number, a boolean or a date only where its text comes back the same; everything else stays text."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.columns import Guess, declared, kinds_of, typed
from headgate.errors import InvalidRequest


def guessed(*cells: str) -> str:
    guess = Guess()
    for cell in cells:
        guess.see(cell)
    return guess.kind


@pytest.mark.parametrize(
    "cells",
    [("1", "20", "-3"), ("0",), ("0.5", "12.25"), ("1.50", "2.00"), ("", "7", ""), ("999999999999999",), ("-0.5",)],
)
def test_numbers(cells: tuple[str, ...]) -> None:
    assert guessed(*cells) == "number"


@pytest.mark.parametrize(
    "cell",
    [
        *("007", "1e5", "1E5", "+5", "1,000", "1.", ".5", "-0", "-0.0", "0x1F", " 1", "1 ", "NaN", "inf", "1_000"),
        *("1234567890123456", "0.1234567890123456", "2030-01-31", "3/4", "12%", "$5", "٣", "1\n", "--1"),
    ],
)
def test_one_cell_that_would_not_come_back_makes_the_column_text(cell: str) -> None:
    assert guessed(cell) == "text"
    assert guessed("5", cell, "6") == "text"


def test_versions_are_text_and_prices_are_numbers() -> None:
    assert guessed("1.9", "1.10", "1.11") == "text"
    assert guessed("1", "2.50") == "text"
    assert guessed("1.90", "1.10") == "number"
    assert guessed("1.5", "1.25") == "number"
    assert guessed("1.0", "0.25", "3") == "number"


def test_booleans() -> None:
    assert guessed("true", "FALSE", "", "True") == "boolean"
    assert guessed("true", "yes") == "text"
    assert guessed("1", "0") == "number"


def test_nothing_is_text() -> None:
    assert guessed() == guessed("", "") == "text"


@given(st.text(max_size=20))
def test_what_is_inferred_as_a_number_means_what_it_says(text: str) -> None:
    """By exact decimal arithmetic; and no leading zero, sign or exponent is lost."""
    if text and guessed(text) == "number":
        value = typed(text, "number")
        assert Decimal(repr(value)) == Decimal(text)
        assert text in (repr(value), f"{value:.{len(text.partition('.')[2])}f}")


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,14})", fullmatch=True))
def test_every_whole_number_of_15_digits_is_one(text: str) -> None:
    assert guessed(text) == ("text" if text == "-0" else "number")
    assert str(typed(text, "number")) == text or text == "-0"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("007", "number", 7),
        ("1e5", "number", 100_000.0),
        (" +5.50 ", "number", 5.5),
        (".5", "number", 0.5),
        ("Yes", "boolean", True),
        ("0", "boolean", False),
        ("1900-01-01", "date", 2),
        ("2030-01-31", "date", 47_514),
        ("2030-01-31 12:00", "date", 47_514.5),
        ("2030-01-31T06:00:00", "date", 47_514.25),
        ("", "number", ""),
        ("", "date", ""),
        ("=1", "text", "=1"),
    ],
)
def test_a_declared_kind_decides(text: str, kind: str, value: object) -> None:
    found = typed(text, kind)  # type: ignore[arg-type]
    assert found == value
    assert type(found) is type(value)


@given(st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - days without a zone
def test_a_date_comes_back(moment: datetime) -> None:
    """Sheets' own rule, applied to the serial number, gives the date again, to the second."""
    moment = moment.replace(microsecond=0)
    serial = typed(moment.isoformat(), "date")
    assert not isinstance(serial, str)
    back = datetime(1899, 12, 30) + timedelta(days=serial)  # noqa: DTZ001
    assert abs(back - moment) < timedelta(milliseconds=500)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("12a", "number"), ("1,5", "number"), ("1234567890123456", "number"), ("1e999", "number"), ("NaN", "number")),
        *(("maybe", "boolean"), ("2", "boolean")),
        *(("31.1.2030", "date"), ("2030-02-30", "date"), ("20300131", "date"), ("2030-01-31T12", "date")),
    ],
)
def test_a_cell_that_a_declared_kind_does_not_know_is_named(text: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}'"):
        typed(text, kind)  # type: ignore[arg-type]


def test_a_long_cell_is_quoted_in_part() -> None:
    with pytest.raises(ValueError, match="xxx") as caught:
        typed("x" * 5_000, "number")
    assert len(str(caught.value)) < 100


def test_declarations() -> None:
    said = declared(["amount=number, active=boolean", "*=text"])
    assert said == {"amount": "number", "active": "boolean", "*": "text"}
    assert kinds_of(["id", " amount ", "active"], said) == ["text", "number", "boolean"]
    assert kinds_of(["id", "amount"], {"amount": "date"}) == [None, "date"]


@pytest.mark.parametrize("said", ["amount", "amount=money", "=number"])
def test_a_declaration_that_says_nothing_is_refused(said: str) -> None:
    with pytest.raises(InvalidRequest, match="NAME=KIND"):
        declared([said])


def test_a_name_that_is_not_one_column_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"'amont' is no column; the header has id, amount"):
        kinds_of(["id", "amount"], {"amont": "number"})
    with pytest.raises(InvalidRequest, match="names several columns"):
        kinds_of(["a", "a"], {"a": "number"})
