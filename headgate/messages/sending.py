"""What the activities of a bulk request are told, and what they report."""

from __future__ import annotations

from headgate.message import Message
from headgate.messages.requests import BulkRequest, LaneEntry
from headgate.messages.tokens import Throttling
from headgate.messages.views import ProgressView
from headgate.messages.words import Kind, Priority, State


class LaneSending(Message):
    """One lane's part of a lease: `batches[i]` is sent with `tokens[i]`. `token_positions[i]` is that token's place in its grant.

    `more`: the lane has batches left and got tokens faster than its leases ended, so it is worth an early report.
    `probe`: the open circuit that its one token tries.
    """

    lane: int
    kind: Kind
    user: str
    spreadsheet: str
    grant_id: int
    batches: tuple[int, ...]
    tokens: tuple[int, ...]
    token_positions: tuple[int, ...]
    first_batch: int = 0
    look_up: bool = False
    more: bool = False
    swept: int = 0
    latency_ns: int = 0
    probe: str = ""
    most: int = 0


class SendLease(Message):
    """The input of the batch activity: all lanes of a lease that can start now, each lane's batches in order.

    `granted_ns` is when their tokens were granted, where the lease starts as soon as they came (0: it does not).
    `progress` goes along for the read model, which the process that takes the order tells (None: nothing new).
    """

    request: BulkRequest
    holder: str
    epoch: int
    lanes: tuple[LaneSending, ...]
    valid_for_ns: int = 300_000_000
    granted_ns: int = 0
    progress: ProgressView | None = None


class BatchDone(Message):
    """A batch whose result is recorded: its operations by outcome, the calls that it took, its latency (0: no call was made).

    `most`: later calls of the lane should carry at most so many operations, because larger ones were slow (0: as planned).
    `fences` are the ids that exist in the spreadsheet because of it (`swept` is of older histories). `failure` says why nothing of the lane can be sent after it (the spreadsheet is gone, or closed to the user).
    """

    batch: int
    succeeded: int
    failed: int
    calls: int = 1
    latency_ns: int = 0
    at_ns: int = 0
    reasons: dict[str, int] = {}
    swept: int = 0
    fences: tuple[int, ...] = ()
    failure: str = ""
    most: int = 0


class LaneReport(Message):
    """What became of one lane's part of a lease.

    `rescue` is the batch (number, -1: none) that stopped the lane and has to go to `resend_batch`; what stands behind it in
    the lease was not sent. `unused` are positions in the grant. `broken` says why nothing of the lane can ever be sent.
    """

    lane: int
    grant_id: int
    done: tuple[BatchDone, ...] = ()
    rescue: int = -1
    rescue_reason: str = ""
    unused: tuple[int, ...] = ()
    broken: str = ""


class LeaseReport(Message):
    """The lanes that are done; the same lane may be reported early (signal) and again (result): folding is by batch.

    `ready_ns`: so long after its grant the lease could send (0: not known). `epoch` is that of the grants: unused tokens of another limiter than the present one are nobody's any more (0: not said).
    """

    lanes: tuple[LaneReport, ...]
    epoch: int = 0
    throttled: tuple[Throttling, ...] = ()
    ready_ns: int = 0


class ResendBatch(Message):
    """One batch whose call failed in a way worth repeating; every attempt books its own token.

    `cancelled`: nothing more is sent than it takes to make an unknown outcome certain. `progress` as that of `SendLease`.
    """

    request: BulkRequest
    holder: str
    lane: LaneEntry
    batch: int
    priority: Priority = "normal"
    cancelled: bool = False
    most: int = 0
    progress: ProgressView | None = None


class ResendReport(Message):
    """How a rescued batch ended; no `done`: the limiter said that the holder is stopped, and the batch waits for a resume.

    `broken` says why nothing of the lane can ever be sent.
    """

    done: BatchDone | None = None
    stopped: str = ""
    broken: str = ""
    throttled: int = 0


class AbandonLane(Message):
    """Record every batch of the lane from `batch` on as failed for `reason`, without a call."""

    request: BulkRequest
    lane: LaneEntry
    batch: int
    reason: str


class LeftOut(Message):
    """Operations that a retry does not take, by reason."""

    refused: int = 0
    unknown: int = 0
    unprocessed: int = 0
    retried: int = 0


class Retry(Message):
    """The request that takes what failed in another one: how many operations it has, and what was left out.

    Not `first`: it was started before. `summary` is what people read of it.
    """

    request: BulkRequest
    operations: int
    left_out: LeftOut = LeftOut()
    first: bool = True
    summary: str = ""


class RetryOf(Message):
    """A request that is over, and how it ended: what failed in it is to go again."""

    request: BulkRequest
    state: State
