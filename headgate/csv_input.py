"""A CSV file as operations: every row one append, in the words of JSON Lines.

1. The file is read twice as a stream: `scan` looks at every row and refuses the file as a whole, `operations` cannot fail then.
2. The first row names the columns. A row with more or fewer cells, or with a cell that its column's declared kind does not
   know, is named by its line; nothing of such a file is taken.
3. The operation of row N is `row-N`, the header being row 1, as a spreadsheet program counts; a row without any value is none.
4. `replace` empties the sheet in the operation before the header's (docs/decisions/a-replace-clears-with-its-first-rows.md).
5. A text stays a text whatever it begins with, unless formulas are wanted: then one that begins with `=` is a formula.

Source: RFC 4180, with `;` and tabs as Excel writes them in some countries.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal

from headgate.apis.sheets import a1
from headgate.columns import ColumnKind, Guess, kinds_of, typed
from headgate.errors import InvalidRequest

Mode = Literal["append", "replace"]

DELIMITERS: Final[Mapping[str, str]] = {"comma": ",", "semicolon": ";", "tab": "\t"}
LONGEST_LINE: Final = 9_000_000
FAULTS_SAID: Final = 20
BLOCK_BYTES: Final = 256 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_NOT_TEXT: Final = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK": "a ZIP or Excel file",
    b"\xd0\xcf": "an Excel file",
}
_HEADER_LINES: Final = 100
_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SENTENCES: Final = {
    "field larger": "a cell is longer than Sheets takes, or its quote is never closed",
    "unexpected end": "a quote is opened and never closed",
    "new-line character": "a line ends with a carriage return alone; end lines with LF or CRLF",
    "expected after": "text follows a closing quote; double the quotes inside a cell",
}


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the rows of a CSV file go, and how they are read; no delimiter: found out from the header."""

    spreadsheet: str
    sheet: str
    mode: Mode = "append"
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    delimiter: str = ""
    formulas: bool = False

    def checked(self) -> Destination:
        """The destination itself, if it can be one."""
        try:
            area = a1.parse(a1.format_range(a1.GridRange(self.sheet, whole=True)))
        except ValueError as error:
            raise InvalidRequest(f"--sheet {self.sheet[:80]!r} cannot be a sheet's title: {error}") from None
        if area.title != self.sheet:
            raise InvalidRequest(f"--sheet {self.sheet[:80]!r} cannot be a sheet's title")
        if self.delimiter and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise InvalidRequest(
                f"--delimiter {self.delimiter[:20]!r} must be comma, semicolon, tab or one other character"
            )
        return self


@dataclass(frozen=True)
class Scanned:
    """What the first reading found: how cells are parted, the columns, the rows with a value below the header."""

    delimiter: str
    header: tuple[str, ...]
    kinds: tuple[ColumnKind, ...]
    rows: int


def scan(blocks: Iterable[bytes], destination: Destination, name: str) -> Scanned:
    """Reads the whole file once. Raises InvalidRequest with the lines of the first faults, or for a file without rows."""
    lines = _text_lines(blocks, name)
    head = _header_lines(lines)
    if not head:
        raise InvalidRequest(f"{name} is empty: give a CSV file whose first row names the columns")
    delimiter = destination.delimiter or _delimiter_of(head, name)
    numbered = _rows(chain(head, lines), delimiter, name)
    _, _, header = next(numbered, (0, 0, []))
    if not any(cell.strip() for cell in header):
        raise InvalidRequest(f"{name} has no header: its first row must name the columns")
    said = kinds_of(header, destination.kinds)
    guesses = [Guess() for _ in header]
    open_columns = [column for column, kind in enumerate(said) if kind is None]
    checked = [(column, kind) for column, kind in enumerate(said) if kind not in (None, "text")]
    faults: list[str] = []
    faulty = rows = 0
    for line, number, row in numbered:
        if not any(row):
            continue
        fault = ""
        if len(row) != len(header):
            fault = f"line {line} (row {number}) has {_cells(len(row))} where the header has {len(header)}"
        else:
            for column in open_columns:
                guesses[column].see(row[column])
            try:
                for column, kind in checked:
                    typed(row[column], kind or "text")
            except ValueError as error:
                fault = f"line {line} (row {number}): {error}"
        rows += 1
        if fault:
            faulty += 1
            faults += [fault] if len(faults) < FAULTS_SAID else []
    if faulty:
        more = f"; and {faulty - len(faults):,} more" if faulty > len(faults) else ""
        raise InvalidRequest(f"{name} cannot be taken as it is: {'; '.join(faults)}{more}")
    if not rows:
        raise InvalidRequest(f"{name} has no rows below its header: nothing would be written")
    kinds = tuple(kind or guess.kind for kind, guess in zip(said, guesses, strict=True))
    return Scanned(delimiter, tuple(header), kinds, rows)


def operations(blocks: Iterable[bytes], scanned: Scanned, destination: Destination, name: str) -> Iterator[bytes]:
    """The same file as JSON Lines, many in a block; with `replace` the clear and the header come first."""
    waiting: list[bytes] = []
    size = 0
    for line in _lines(blocks, scanned, destination, name):
        waiting.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _lines(blocks: Iterable[bytes], scanned: Scanned, destination: Destination, name: str) -> Iterator[bytes]:
    title = a1.GridRange(destination.sheet, whole=True)
    spreadsheet = json.dumps(destination.spreadsheet)
    target = json.dumps(a1.format_range(a1.GridRange(destination.sheet, right=len(scanned.header))))

    def line(number: int, cells: Sequence[object], *, formulas: bool = False) -> bytes:
        parsed = ', "input": "FORMULAS"' if formulas else ""
        return (
            f'{{"id": "row-{number}", "op": "append", "spreadsheet": {spreadsheet}, "range": {target}{parsed}, '
            f'"values": [{_AS_JSON(cells)}]}}\n'
        ).encode()

    numbered = _rows(_text_lines(blocks, name), scanned.delimiter, name)
    next(numbered, None)
    if destination.mode == "replace":
        whole = json.dumps(a1.format_range(title))
        yield f'{{"id": "clear", "op": "clear", "spreadsheet": {spreadsheet}, "range": {whole}}}\n'.encode()
        yield line(1, scanned.header)
    columns = [(column, kind) for column, kind in enumerate(scanned.kinds) if kind != "text"]
    texts = [column for column, kind in enumerate(scanned.kinds) if kind == "text"] if destination.formulas else []
    for _, number, row in numbered:
        if not any(row):
            continue
        cells: list[object] = list(row)
        for column, kind in columns:
            cells[column] = typed(row[column], kind)
        yield line(number, cells, formulas=any(row[column].startswith("=") for column in texts))


def _text_lines(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines with their endings; a byte order mark is none of the text."""
    rest = b""
    number = 0
    for block in blocks:
        *ended, rest = (rest + block).split(b"\n")
        for line in ended:
            number += 1
            yield _decoded(line + b"\n", number, name)
        if len(rest) > LONGEST_LINE:
            raise InvalidRequest(f"{name}: line {number + 1} is longer than {LONGEST_LINE:,} bytes; is it a CSV file?")
    if rest:
        yield _decoded(rest, number + 1, name)


def _decoded(line: bytes, number: int, name: str) -> str:
    if number == 1:
        for magic, what in _NOT_TEXT.items():
            if line.startswith(magic):
                raise InvalidRequest(f"{name} is {what}: save it as CSV in UTF-8")
        line = line.removeprefix(_BOM)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name}: line {number} is not valid UTF-8; save the file as UTF-8") from None


def _header_lines(lines: Iterator[str]) -> list[str]:
    """The lines that the first row stands on: more than one if a line end stands in quotes; blank lines before it count."""
    head: list[str] = []
    quotes = 0
    for line in lines:
        head.append(line)
        quotes += line.count('"')
        if (line.strip() and quotes % 2 == 0) or len(head) >= _HEADER_LINES:
            break
    return head


def _delimiter_of(head: Iterable[str], name: str) -> str:
    """Which of the three stands most often in the header, outside quotes; a comma if none does."""
    outside = "".join("".join(head).split('"')[::2])
    counts = {delimiter: outside.count(delimiter) for delimiter in DELIMITERS.values()}
    most = max(counts.values())
    likely = [delimiter for delimiter, count in counts.items() if count == most]
    if most and len(likely) > 1:
        raise InvalidRequest(f"{name}: the header could be parted in two ways; say which with --delimiter")
    return likely[0]


def _rows(lines: Iterable[str], delimiter: str, name: str) -> Iterator[tuple[int, int, list[str]]]:
    """(line where the row begins, the row's number, its cells); blank lines before the header are passed over."""
    # The csv module refuses a cell beyond 131,072 characters, which bounds what an unclosed quote can swallow.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    begins = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            said = str(error)
            why = next((sentence for part, sentence in _SENTENCES.items() if part in said), "it is not CSV")
            raise InvalidRequest(f"{name}: line {begins} (row {number + 1}) cannot be read: {why}") from None
        number += 1 if row or number else 0
        if number:
            yield begins, number, row
        begins = reader.line_num + 1


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"
