"""What a caller hands in: a file or the standard input, plain or gzip, JSON Lines or CSV; it leaves here as JSON Lines."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, BinaryIO, Final

import typer

from headgate import csv_input
from headgate.columns import declared
from headgate.csv_input import DELIMITERS, Destination, Mode
from headgate.errors import InvalidRequest
from headgate.gunzip import unpacked
from headgate.messages.words import NAME_PATTERN
from starter.surroundings import Surroundings

BLOCK_BYTES: Final = 256 * 1024
SAY_EVERY_S: Final = 2.0
_TABLES: Final = (".csv", ".tsv")

InputFile = Annotated[
    str, typer.Argument(help="JSON Lines, one operation a line, or CSV; plain or gzip; - is the standard input.")
]
Spreadsheet = Annotated[str | None, typer.Option(help="FILE is CSV, and its rows go to this spreadsheet.")]
SheetTitle = Annotated[str | None, typer.Option("--sheet", help="The title of the sheet that CSV rows go to.")]
CsvMode = Annotated[
    Mode | None,
    typer.Option(
        help="append: CSV rows go below what is there. replace: the sheet is emptied, then header and rows are written: "
        "all or nothing up to about 50,000 cells; a larger replace that is cut off leaves the first rows of the new table."
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        help="What CSV columns are: NAME=text, number, boolean or date, with commas between; * is every other column. "
        "Inferred if missing: 007 and 1e5 stay text, and so do dates."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(help="What parts the cells: comma, semicolon, tab or a character; found in the header if missing."),
]
Formulas = Annotated[
    bool, typer.Option("--formulas", help="CSV texts that begin with = become formulas; they stay text if missing.")
]


@dataclass(frozen=True)
class Source:
    """An input by its name for people, and its operations as JSON Lines in blocks of bytes, to be read once."""

    name: str
    operations: Iterable[bytes]


def destination(
    spreadsheet: str | None,
    sheet: str | None,
    mode: Mode | None,
    types: Sequence[str] | None,
    delimiter: str | None,
    formulas: bool,
) -> Destination | None:
    """Where CSV rows go; None for JSON Lines, which take none of these options."""
    if spreadsheet is None:
        if sheet is not None or mode or types or delimiter or formulas:
            raise InvalidRequest(
                "--sheet, --mode, --types, --delimiter and --formulas are for CSV: add --spreadsheet ID"
            )
        return None
    if sheet is None:
        raise InvalidRequest("CSV needs the sheet that its rows go to: add --sheet TITLE")
    if not re.fullmatch(NAME_PATTERN, spreadsheet):
        raise InvalidRequest(f"--spreadsheet {spreadsheet[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
    return Destination(
        spreadsheet=spreadsheet,
        sheet=sheet,
        mode=mode or "append",
        kinds=declared(types or ()),
        delimiter=DELIMITERS.get(delimiter or "", delimiter or ""),
        formulas=formulas,
    ).checked()


@contextmanager
def handed_in(surroundings: Surroundings, file: str, table: Destination | None) -> Iterator[Source]:
    """FILE as operations, while the block lasts. Raises InvalidRequest for what cannot be read, CSV before its first operation."""
    name = "standard input" if file == "-" else Path(file).name
    if table is None and name.lower().removesuffix(".gz").endswith(_TABLES):
        raise InvalidRequest(f"{name} looks like CSV: say where its rows go with --spreadsheet ID --sheet TITLE")
    with _opened(file, surroundings.stdin) as stream:
        plain = unpacked(blocks(stream, name, reading(surroundings, name)), name)
        if table is None:
            yield Source(name, plain)
            return
        with tempfile.TemporaryFile(prefix="headgate-csv-") as spool:
            scanned = csv_input.scan(_kept(plain, spool), table, name)
            spool.seek(0)
            yield Source(name, csv_input.operations(blocks(spool, name), scanned, table, name))


def blocks(stream: IO[bytes], name: str, tell: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """The stream in blocks; `tell` hears how many bytes there were so far."""
    size = 0
    while True:
        try:
            block = stream.read(BLOCK_BYTES)
        except OSError as error:
            raise InvalidRequest(f"{name} cannot be read: {error.strerror}") from error
        if not block:
            return
        size += len(block)
        tell(size)
        yield block


def reading(surroundings: Surroundings, name: str) -> Callable[[int], None]:
    """Says how far the input has been read, every two seconds."""
    said_at = time.monotonic()

    def tell(size: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_EVERY_S:
            said_at = time.monotonic()
            surroundings.say(f"{name}: {size / 1_000_000:,.0f} MB read")

    return tell


@contextmanager
def _opened(file: str, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of FILE, `-` being the standard input; one that is not there or cannot be read is the caller's mistake."""
    if file == "-":
        yield stdin
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - what goes wrong inside the block is not a matter of opening it
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    with stream:
        yield stream


def _kept(plain: Iterable[bytes], spool: IO[bytes]) -> Iterator[bytes]:
    """The same blocks, written down on the way, since a CSV file is read twice."""
    for block in plain:
        spool.write(block)
        yield block
