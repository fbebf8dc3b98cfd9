"""What a request has said to the limiter, and what the limiter believes of it since. No clock: `now` comes in.

Rules:

1. The demand is declared whole, and only where the limiter must believe something else than what is wanted: other lanes, other
   counts, clearly other latencies.
2. A grant takes its tokens off what is believed, a token handed back adds one: the limiter counts alike, so neither has to be said.
3. A control change and the first demand are said at once, any other change once a second at most.
4. A demand that nobody may have heard (the first one, one that failed, one after 30 s of silence) has a limiter started where
   there is none.
5. What leases taught is settled at once where few lanes wait for it, something is held or the API has said 429 (of which the
   sender has told the limiter by then, as `activities.pushback` says); with many lanes once a second, since their tokens that
   come back are mostly past.
6. A limiter of a newer epoch believes nothing yet, and what the one before it gave is not handed back to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from headgate.lanes import unused_of
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LeaseReport
from headgate.messages.tokens import FINISHED, Grant, LaneDemand, Settlement, Throttling, TokenRequest, Unused
from headgate.messages.words import Priority
from headgate.seen import Arrival, Seen

ASK_EVERY_NS = SECOND_NS
SILENCE_NS = 30 * SECOND_NS
LATENCY_CHANGED_NS = 100_000_000
#: With so few lanes a round's wait for a token that came back is noticed.
FEW_LANES = 8


@dataclass(frozen=True, slots=True)
class Word:
    """What to say to the limiter, if anything, and when to look again (ns; 0: when something has changed).

    `starts`: by what starts a limiter where there is none.
    """

    said: TokenRequest | Settlement | None = None
    starts: bool = False
    again_ns: int = 0


@dataclass(slots=True)
class Asking:
    """One run's words to the limiter; `holder` is its name there, `run` its start (ns).

    `believed` is the demand that the limiter must have in mind, by lane; None: it may have none of ours.
    """

    request: BulkRequest
    holder: str
    run: int
    sequence: int = 0
    seen: Seen = field(default_factory=Seen)
    believed: dict[int, LaneDemand] | None = None
    _control: tuple[str, str] = ("", "")
    _lead_ns: int = 0
    _asked_ns: int = 0
    _heard_ns: int = 0
    _unused: list[Unused] = field(default_factory=list)
    _throttled: list[Throttling] = field(default_factory=list)
    _settled_ns: int = 0

    def heard(self, now: int, grant: Grant) -> Arrival:
        """What a grant is: its tokens are the holder's where it is `anew` or `next`, and handed back where it is `late`."""
        self._heard_ns = now
        arrival = self.seen.arrived(grant.epoch, grant.grant_id, tokens=bool(grant.tokens))
        if arrival == "anew":
            self.believed = None
            self._unused = []
        elif arrival == "next":
            self._expect({lane: -len(times) for lane, times in grant.tokens.items()})
        elif arrival == "late":
            self.believed = None  # a limiter that was reset learns from our demand what it gave
            self._unused += unused_of(grant)
        return arrival

    def unheard(self) -> None:
        """What was said last may not have arrived: the whole demand is said again."""
        self.believed = None

    def reported(self, report: LeaseReport) -> None:
        """Take a lease's 429s, and the tokens that it did not use, unless a limiter gave them that is no more."""
        self._throttled += report.throttled
        if report.epoch in (0, self.seen.epoch):
            self.hand_back(
                Unused(grant_id=lane.grant_id, lane=lane.lane, tokens=lane.unused)
                for lane in report.lanes
                if lane.unused
            )

    def hand_back(self, back: Iterable[Unused]) -> None:
        """Tokens are of no use."""
        for unused in back:
            self._expect({unused.lane: len(unused.tokens)})
            self._unused.append(unused)

    @property
    def settled(self) -> bool:
        """Whether the limiter was told all that leases have taught."""
        return not (self._unused or self._throttled)

    def settle(self, now: int, *, held: bool, lanes: int) -> Word:
        """Tell what leases have taught; nothing to tell, nothing said. `lanes` are those that are active."""
        if self.settled:
            return Word()
        at_once = held or self._throttled or lanes <= FEW_LANES
        if not at_once and now - self._settled_ns < ASK_EVERY_NS:
            return Word(again_ns=self._settled_ns + ASK_EVERY_NS)
        said = Settlement(
            holder=self.holder, epoch=self.seen.epoch, unused=tuple(self._unused), throttled=tuple(self._throttled)
        )
        self._unused, self._throttled, self._settled_ns = [], [], now
        return Word(said)

    def ask(self, now: int, lanes: tuple[LaneDemand, ...], lead_ns: int, priority: Priority, stopped: str = "") -> Word:
        """Declare the demand if it is not what the limiter believes. `lead_ns`: so long grants take to become calls; `stopped`:
        why nothing is wanted."""
        quiet_since = max(self._heard_ns, self._asked_ns)
        silent = bool(lanes) and now - quiet_since >= SILENCE_NS
        if not silent and (stopped, priority) == self._control:
            if not self._differs(lanes, lead_ns):
                return Word(again_ns=quiet_since + SILENCE_NS if lanes else 0)
            if self.believed and now - self._asked_ns < ASK_EVERY_NS:
                return Word(again_ns=self._asked_ns + ASK_EVERY_NS)
        starts = self.believed is None or silent
        self.sequence += 1
        self.believed = {demand.lane: demand for demand in lanes}
        self._control, self._lead_ns, self._asked_ns = (stopped, priority), lead_ns, now
        said = TokenRequest(
            holder=self.holder,
            run=self.run,
            sequence=self.sequence,
            epoch=self.seen.epoch,
            last_grant=self.seen.last,
            priority=priority,
            weight=self.request.weight,
            fairness_key=self.request.owner,
            submitted_at_ns=self.request.submitted_at_ns,
            stopped=stopped,
            lanes=lanes,
            lead_ns=lead_ns,
            gives_back=stopped == FINISHED,
        )
        return Word(said, starts, now + SILENCE_NS if lanes else 0)

    def _differs(self, lanes: tuple[LaneDemand, ...], lead_ns: int) -> bool:
        """Whether the limiter believes something else."""
        if self.believed is None or abs(lead_ns - self._lead_ns) > LATENCY_CHANGED_NS:
            return True
        believed = {lane: demand for lane, demand in self.believed.items() if demand.calls > 0}
        return believed.keys() != {wanted.lane for wanted in lanes} or any(
            _another(believed[wanted.lane], wanted) for wanted in lanes
        )

    def _expect(self, change: dict[int, int]) -> None:
        """Follow what the limiter counts."""
        for lane, calls in change.items():
            if self.believed is not None and (known := self.believed.get(lane)) is not None:
                self.believed[lane] = known.model_copy(update={"calls": known.calls + calls})


def _another(believed: LaneDemand, wanted: LaneDemand) -> bool:
    noticed_ns = max(LATENCY_CHANGED_NS, wanted.latency_ns // 5)
    return (
        (believed.calls, believed.kind) != (wanted.calls, wanted.kind)
        or abs(believed.latency_ns - wanted.latency_ns) > noticed_ns
    )  # fmt: skip
