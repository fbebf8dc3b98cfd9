"""What the bridge says in its log: whatever is away once, and once more when it is back; and what came of each row."""

from __future__ import annotations

import logging
import time
from collections import Counter

import psycopg

from headgate.absence import Away, Outage, Slow
from headgate.databases import Database
from headgate.inbox import Row
from headgate.inbox_outcomes import Answered, Dropped, Later, Outcome, Rejected, Started

log = logging.getLogger("headgate.bridge")


class BridgeLog:
    """One bridge's: it knows whether the database and the store were there for the last of its rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lost = Outage(longest_s=5.0)
        self._answered_at = 0.0
        self._store = Outage()
        self.counts: Counter[str] = Counter()

    def row(self, row: Row, outcome: Outcome, error: Exception | None, took_s: float, outage: Outage) -> None:
        """What came of a row; `outage` is Temporal's, for rows of its kind."""
        start = row.kind == "start"
        facts = {"request": row.request_id, "kind": row.kind, "sequence": row.sequence}
        self.counts[type(outcome).__name__.lower()] += 1
        if isinstance(outcome, Later):
            if outcome.counted:
                log.error(
                    "Row failed", extra={**facts, "attempt": row.attempts + 1, "why": outcome.why}, exc_info=error
                )
            elif isinstance(error, psycopg.Error):
                log.warning("The database does not let a row pass", extra={**facts, "why": outcome.why})
            elif isinstance(error, Away):
                if outage.met(time.monotonic()):
                    log.warning("Temporal cannot be reached", extra={"why": outcome.why})
            elif isinstance(error, Slow):
                log.warning("Row takes too long", extra={**facts, "why": outcome.why})
            elif start:  # its input is stored before Temporal is asked
                if self._store.met(time.monotonic()):
                    log.warning("The store cannot be reached", extra={"why": outcome.why})
            else:  # of a command only Temporal has said that nothing is known yet
                self._temporal_answers(outage)
                if not row.recorded:
                    log.info("Command under way", extra={**facts, "why": outcome.why})
            return
        self._temporal_answers(outage)
        if start and self._store.passed():
            log.info("The store answers again")
        facts |= {"took_ms": round(1000 * took_s)}
        match outcome:
            case Started():
                log.info("Request started", extra=facts)
            case Answered(status, sentence):
                log.info("Command answered", extra={**facts, "status": status, "answer": sentence})
            case Rejected(why):
                given_up = error if row.attempts else None
                log.warning("Request rejected", extra={**facts, "why": why}, exc_info=given_up)
            case Dropped(why):
                log.warning("Row dropped", extra={**facts, "why": why})

    @staticmethod
    def _temporal_answers(outage: Outage) -> None:
        if outage.passed():
            log.info("Temporal answers again")

    def unreachable(self, error: Exception) -> str:
        """That the database cannot be used, in a sentence without secrets."""
        return f"the database at {self._database.location} cannot be used: {self._database.said(error)}"

    def database_is_lost(self, error: Exception, since: float) -> float:
        """A connection that was made at `since` is lost; how long (s) nobody need try to make another."""
        if since < self._answered_at:
            return 0.0  # an older connection, which did not survive what has been said already
        if self._lost.met(time.monotonic()):
            log.warning(
                "The database cannot be used", extra={"at": self._database.location, "why": self._database.said(error)}
            )
        return self._lost.left_s(time.monotonic())

    def database_answers(self) -> None:
        """Something was done there just now."""
        if self._lost.passed():
            self._answered_at = time.monotonic()
            log.info("The database answers again", extra={"at": self._database.location})
