"""One plan in the making, on the local disk: lines in, files out, no store and no event loop.

1. Every line that is not blank is one operation, one refusal or one read that the cache answers.
2. An id belongs to the line that named it first; a later one is refused.
3. `stop` ends what another thread is doing here within a line or a batch.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from activities.distinct import FirstLines
from activities.lines import LINE_LIMIT, LineSplitter
from activities.manifest import LANES_PER_PAGE
from activities.results import result_line
from activities.spill import Numbered, Spill
from headgate.apis.sheets.limits import LONGEST_ID
from headgate.apis.sheets.operations import parse_line
from headgate.errors import InvalidOperation
from headgate.messages.requests import BulkRequest, LaneEntry, Operation, Page, PlanSummary
from headgate.planner import LaneDraft, LaneKey, Planner, order_lanes
from headgate.results import OperationResult

REASONS_KEPT: Final = 20
#: The calls of so many users are told, those with the most of them: they say how long it takes.
USERS_TOLD: Final = 32
#: How the refusal begins of a line that would be taken once its user is in the credentials file.
NO_CREDENTIALS: Final = "There are no credentials for user"
#: What tells two refusals of one kind apart: quoted text and numbers.
_PARTICULAR: Final = re.compile(r"'[^']*'|\d[\d,]*")
_TOO_LONG: Final = f"The line is longer than {LINE_LIMIT:,} bytes; split it into several operations."


class Interrupted(Exception):
    """Planning was told to stop."""


#: A read's value range from the cache, if it is there; the second argument raises once planning has been told to stop.
Serve = Callable[[Operation, Callable[[], None]], dict[str, object] | None]


class Planning:
    """Takes the input block by block; after `finish` the files of the plan lie in the folder.

    `serve` answers a read from the cache, if it can; where order is strict, only before the first write of its lane.
    """

    def __init__(
        self,
        request: BulkRequest,
        folder: Path,
        users: Collection[str] | None = None,
        serve: Serve | None = None,
    ) -> None:
        self.batches = folder / "batches"
        self.index = folder / "index"
        self.refused = folder / "refused"
        self.pages = folder / "pages"
        self.lines = 0
        self.count = 0
        self._request = request
        self._users = users
        self._serve = serve
        self._written: set[tuple[str, str]] = set()
        self._looked_for = 0
        self._cached = 0
        self._digest = hashlib.sha256()
        self._splitter = LineSplitter()
        self._spill = Spill(folder)
        self._planner = Planner(request, self._spill.pile)
        self._refusals = self.refused.open("wb")
        self._first_lines = FirstLines()
        self._operations = 0
        self._dead_letters = 0
        self._reasons: Counter[str] = Counter()
        self._calls_by_user: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._busy = threading.Lock()

    @property
    def sha256(self) -> str:
        """The digest of what was taken so far."""
        return self._digest.hexdigest()

    def take(self, block: bytes) -> None:
        """The next bytes of the input."""
        with self._busy:
            self._digest.update(block)
            for line in self._splitter.feed(block):
                self._take_line(line)

    def finish(self) -> PlanSummary:
        """The input is at its end: every file is written."""
        with self._busy:
            for line in self._splitter.finish():
                self._take_line(line)
            for draft in self._planner.finish():
                self._go_on()
                self._spill.add(draft)
            self._refusals.close()
            lanes, pages = self._put_in_order()
        return PlanSummary(
            operations=self._operations + self._dead_letters,
            dead_letters=self._dead_letters,
            calls=self.count,
            lanes=lanes,
            pages=pages,
            reasons=dict(self._reasons),
            cached=self._cached,
            looked_for=self._looked_for,
            calls_by_user=dict(self._calls_by_user.most_common(USERS_TOLD)),
        )

    def stop(self) -> None:
        """Ends a `take` or `finish` under way in another thread, and closes what is open."""
        self._stopped.set()
        with self._busy:
            self._spill.close()
            self._refusals.close()

    def _take_line(self, line: bytes | None) -> None:
        self._go_on()
        self.lines += 1
        if line is None:
            self._refuse(str(self.lines), _TOO_LONG)
            return
        if not line or line.isspace():
            return
        try:
            operation = parse_line(line, self.lines, self._request.user)
        except InvalidOperation as error:
            self._refuse(_id_in(line) or str(self.lines), str(error))
            return
        if self._request.users and operation.user not in (self._request.user, *self._request.users):
            # Which others there are is not the sender's to know.
            self._refuse(
                operation.id,
                f"The user '{operation.user}' is not one whose credentials you may use: leave it out, or name one of yours.",
                "a user whose credentials may not be used",
            )
            return
        if self._users is not None and operation.user not in self._users:
            known = f"name one of {', '.join(sorted(self._users)[:10])}, or"
            self._refuse(
                operation.id,
                f"{NO_CREDENTIALS} '{operation.user}': {'' if self._request.organisation else f'{known} '}add it to the file.",
                "no credentials for the user",
            )
            return
        first = self._first_lines.first(operation.id, self.lines)
        if first != self.lines:
            self._refuse(
                operation.id, f"Line {first} has the same id; give every operation its own.", "an id was used before"
            )
            return
        self._operations += 1
        if self._serve is not None and self._served(operation, self._serve):
            return
        for draft in self._planner.add(operation):
            self._spill.add(draft)

    def _served(self, operation: Operation, serve: Serve) -> bool:
        """A read that the cache answers is done; its result stands with the other lines that planning settled."""
        lane = (operation.spreadsheet, operation.user)
        if operation.op != "read":
            self._written.add(lane)
            return False
        if self._request.order == "strict" and lane in self._written:
            return False
        self._looked_for += 1
        found = serve(operation, self._go_on)
        if found is None:
            return False
        self._cached += 1
        done = OperationResult(id=operation.id, line=operation.line, outcome="succeeded", applied="yes", reply=found)
        self._refusals.write(done.model_dump_json().encode() + b"\n")
        return True

    def _refuse(self, name: str, reason: str, counted_as: str | None = None) -> None:
        self._dead_letters += 1
        counted_as = counted_as or _PARTICULAR.sub("…", reason)
        known = counted_as in self._reasons or len(self._reasons) < REASONS_KEPT
        self._reasons[counted_as if known else "other"] += 1
        self._refusals.write(result_line(name, self.lines, "failed", "no", reason) + b"\n")

    def _put_in_order(self) -> tuple[int, int]:
        """Writes batches, index and pages, a page a line, in the order of the lanes; returns how many lanes and pages."""
        waiting: list[LaneEntry] = []
        lanes = pages = 0
        with self.batches.open("wb") as batches, self.index.open("wb") as index, self.pages.open("wb") as manifest:
            target = Numbered(batches, index)
            for entry in order_lanes(map(_entry, self._planner.lanes.values())):
                self._go_on()
                placed = entry.model_copy(update={"lane": lanes, "first_batch": target.count})
                self._spill.copy(LaneKey(entry.spreadsheet, entry.user, entry.kind), lanes, target)
                lanes += 1
                self._calls_by_user[entry.user] += entry.batches
                waiting.append(placed)
                if len(waiting) == LANES_PER_PAGE:
                    manifest.write(_page(waiting))
                    waiting, pages = [], pages + 1
            if waiting:
                manifest.write(_page(waiting))
                pages += 1
            self.count = target.count
        return lanes, pages

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise Interrupted


def _id_in(line: bytes) -> str:
    """The id that a refused line names, where one can be read; no id is no reason for a second refusal."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    named = found.get("id") if isinstance(found, dict) else None
    return named[:LONGEST_ID] if isinstance(named, str) else ""


def _entry(draft: LaneDraft) -> LaneEntry:
    """The lane in the manifest, but for its number and where its batches begin, which the order decides."""
    return LaneEntry(
        lane=0,
        kind=draft.key.kind,
        user=draft.key.user,
        spreadsheet=draft.key.spreadsheet,
        first_batch=0,
        batches=draft.batches,
        operations=draft.operations,
        look_up=draft.look_up,
        runs=tuple(draft.runs),
    )


def _page(lanes: list[LaneEntry]) -> bytes:
    return Page(lanes=tuple(lanes)).model_dump_json(exclude_defaults=True).encode() + b"\n"
