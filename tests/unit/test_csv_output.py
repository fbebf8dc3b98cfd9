"""What a spreadsheet program reads from the CSV begins no formula, however it parts the cells; nothing else is changed."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import csv_output

DANGEROUS = tuple("=+-@＝＋－＠")
TEXTS = st.lists(
    st.sampled_from([*"=+-@,;|\t\r\n\"' ax1", "＝", "\u200b", "\x00", "\u00a0", "cmd|' /C calc'!A0"]), max_size=8
).map("".join)


def lines(*results: dict[str, object]) -> str:
    return "".join(line + "\r\n" for line in [csv_output.header(), *map(csv_output.row, results)])


def result(name: str, reason: str) -> dict[str, object]:
    return {"line": 1, "id": name, "outcome": "failed", "applied": "no", "reason": reason, "reply": None}


@given(TEXTS, TEXTS, st.sampled_from(",;\t|"))
def test_no_cell_begins_a_formula(name: str, reason: str, delimiter: str) -> None:
    """Also for a program that parts cells otherwise than with commas, and for one that trims them."""
    text = lines(result(name, reason))
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        for cell in row:
            assert not cell.lstrip(' \t\r\n\x00\u200b\u00a0"').startswith(DANGEROUS), (text, cell)
            assert not cell.startswith(("\t", "\r", "\n")) or delimiter != ","


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0,;|\"'\t\r\n"), max_size=30))
def test_what_is_harmless_stays(text: str) -> None:
    if not text.strip("\u200b\u00a0\ufeff \x1c\x1d\x1e\x1f").lstrip().startswith(DANGEROUS) and text == text.strip():
        found = list(csv.reader(io.StringIO(lines(result("a", text)), newline="")))
        assert found[1] == ["1", "a", "failed", "no", csv_output.harmless(text)]
        if text[:1].isalnum():
            assert csv_output.harmless(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("  =1", "  '=1"),
        ("＝1", "'＝1"),
        ("x;=1", "x;'=1"),
        ('"=1"', '"\'=1"'),
        ("a-b=c, 2+2 @home", "a-b=c, 2+2 @home"),
        ("o-1", "o-1"),
        ("", ""),
    ],
)
def test_by_example(text: str, shown: str) -> None:
    assert csv_output.harmless(text) == shown
