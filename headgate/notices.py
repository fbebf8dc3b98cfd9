"""What the receiver of a bulk request is to be told: decided from what the request was and what it is. No clock: `now` comes in.

Rules:

1. `started` (the first sending), `first_dead_letter` and the end (`completed`, `cancelled`, `failed`) are due once each, the end
   after everything else. `paused` and `resumed` are due whenever who paused it has changed between two observations.
2. They are told one at a time and in their order. Sequences only grow, also over runs; a gap means that one was overtaken.
3. Of pauses and resumes only the latest waits: a thousand of them behind a receiver that is away are one. So at most four
   notices are ever untold.
4. The id of a notice follows from the request, its nonce, the sequence and the event: telling it again, from whatever run,
   shows the same id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from headgate.messages.notices import End, Happening, Notice, NoticeCheckpoint
from headgate.messages.views import ProgressView
from headgate.messages.words import State

LONGEST_WHY = 500
_OVER: frozenset[State] = frozenset({"completed", "cancelled", "failed"})
_STEERING: frozenset[Happening] = frozenset({"paused", "resumed"})


class Notices:
    """The notices of one request: made by `observe` and `ended`, taken from `next`, and gone once `settled`."""

    def __init__(self, request_id: str, nonce: str, kept: NoticeCheckpoint | None = None) -> None:
        kept = kept or NoticeCheckpoint()
        self._named = (request_id, nonce)
        self._sequence = kept.sequence
        self._started = kept.started
        self._dead_letter = kept.dead_letter
        self._paused_by = kept.paused_by
        self.untold: list[Notice] = list(kept.untold)

    def observe(
        self,
        now: int,
        view: Callable[[], ProgressView],
        *,
        sending: bool,
        failed: int,
        paused_by: str | None,
        resumed_by: str = "",
    ) -> None:
        """What has changed since the last look: cheap where nothing has, since the view is asked for only if something is due.

        A pause that a request's end lifts is no news.
        """
        if sending and not self._started:
            self._started = True
            self._add(now, "started", view())
        if failed and not self._dead_letter:
            self._dead_letter = True
            self._add(now, "first_dead_letter", shown := view(), why="; ".join(shown.failures))
        if paused_by != self._paused_by and (shown := view()).state not in _OVER:
            self._paused_by = paused_by
            self.untold = [notice for notice in self.untold if notice.event not in _STEERING]
            if paused_by is None:
                self._add(now, "resumed", shown, by=resumed_by)
            else:
                self._add(now, "paused", shown, by=paused_by)

    def ended(self, now: int, view: ProgressView, end: End, *, by: str = "", why: str = "") -> None:
        """The request is over, and nothing else is due after this."""
        view = view.model_copy(update={"state": end})
        made, failed = view.calls.made > 0, view.operations.failed
        self.observe(now, lambda: view, sending=made, failed=failed, paused_by=self._paused_by)
        self._add(now, end, view, by=by, why=why)

    @property
    def next(self) -> Notice | None:
        """The one to tell now; the same one until it is settled or overtaken."""
        return self.untold[0] if self.untold else None

    def settled(self, notice: Notice) -> None:
        """The notice arrived, or was given up."""
        self.untold = [other for other in self.untold if other.id != notice.id]

    def checkpoint(self) -> NoticeCheckpoint:
        """What the next run goes on from; the one under way is told again there."""
        return NoticeCheckpoint(
            sequence=self._sequence,
            started=self._started,
            dead_letter=self._dead_letter,
            paused_by=self._paused_by,
            untold=tuple(self.untold),
        )

    def _add(self, now: int, event: Happening, view: ProgressView, by: str = "", why: str = "") -> None:
        self._sequence += 1
        named = json.dumps([*self._named, self._sequence, event])
        self.untold.append(
            Notice(
                id=hashlib.sha256(named.encode()).hexdigest()[:32],
                sequence=self._sequence,
                event=event,
                state=view.state,
                at_ns=now,
                by=by[:LONGEST_WHY],
                why=why[:LONGEST_WHY],
                operations=view.operations.model_dump(),
                calls=view.calls.model_dump(),
            )
        )
