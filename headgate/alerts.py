"""When a limiter needs a person: each condition of each subject is raised once while it lasts, and cleared once.

Rules:

1. A quota is raised when every reading of `quota_for_ns` had it at `quota_share` or above; readings further apart
   than `gap_ns` say nothing about the time between. A 429, an open circuit and a class that waits beyond its bound are
   raised by the first reading that has them.
2. What is raised is cleared when no reading of a calm span had it: `throttled_quiet_ns` for 429s, `clear_after_ns` for
   the others. A quota is calm below `quota_clear_share`. What a reading leaves out is calm in it.
3. Between two raisings of one condition and subject lies a clearing. What comes back within `flapping_ns` of its
   clearing needs twice the calm of the time before, at most `flapping_ns`: flapping makes ever fewer events.
4. At most `most_subjects` users and spreadsheets are raised one by one for a condition; all others together are the
   subject `*`. The project's own quotas, the API and the classes always have their place.
5. What is remembered is bounded, whatever the number of users and spreadsheets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from headgate.message import SECOND_NS
from headgate.messages.alerts import (
    AlertCheckpoint,
    AlertEvent,
    AlertSettings,
    ClearedAlert,
    Condition,
    Phase,
    RaisedAlert,
    Readings,
)

#: How often a limiter should be looked at, while it has anything to do and while `Alerts.watching`.
OBSERVE_EVERY_NS: Final = 10 * SECOND_NS
#: All subjects of a condition that have no place of their own.
OTHERS: Final = "*"
#: Subjects of which there are few: they are never among the others.
_ALWAYS: Final = frozenset({"project/read", "project/write", "api", "urgent", "normal", "low"})
#: Buckets that are followed before there is anything to raise, and clearings that are remembered.
_MOST_FOLLOWED: Final = 512
_LONGEST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class _Found:
    """A condition that holds, since when, and what to say of it should it be raised."""

    since_ns: int
    sentence: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


_Key = tuple[Condition, str]


@dataclass(slots=True)
class Alerts:
    """The alerts of one limiter. `settings` may be replaced at any time and count from the next reading on."""

    settings: AlertSettings = field(default_factory=AlertSettings)
    _observed_ns: int = 0
    _hot: dict[str, int] = field(default_factory=dict)
    _throttled: dict[str, int] = field(default_factory=dict)
    _raised: dict[_Key, RaisedAlert] = field(default_factory=dict)
    _cleared: dict[_Key, ClearedAlert] = field(default_factory=dict)

    @classmethod
    def restore(cls, checkpoint: AlertCheckpoint, settings: AlertSettings | None = None) -> Alerts:
        """The alerts that go on where the checkpoint was taken."""
        return cls(
            settings or AlertSettings(),
            checkpoint.observed_ns,
            dict(checkpoint.hot),
            dict(checkpoint.throttled),
            {(alert.condition, alert.subject): alert for alert in checkpoint.raised},
            {(alert.condition, alert.subject): alert for alert in checkpoint.cleared},
        )

    def checkpoint(self) -> AlertCheckpoint:
        """Everything that later answers depend on, except the settings."""
        return AlertCheckpoint(
            observed_ns=self._observed_ns,
            hot=dict(self._hot),
            throttled=dict(self._throttled),
            raised=tuple(self._raised.values()),
            cleared=tuple(self._cleared.values()),
        )

    @property
    def watching(self) -> bool:
        """Whether something is raised, or about to be: then observe again soon, even if nobody wants a token."""
        return bool(self._raised or self._hot)

    @property
    def raised(self) -> tuple[RaisedAlert, ...]:
        """What is raised now, the oldest first."""
        return tuple(self._raised.values())

    def observe(self, now: int, project: str, readings: Readings) -> list[AlertEvent]:
        """What began and what ended, as of this reading; costs one pass over the reading."""
        found: dict[Condition, dict[str, _Found]] = {
            "quota": self._quotas(now, readings.used),
            "throttled": self._refusals(now, readings.throttled),
            "circuit": {
                subject: _Found(
                    now, f"The circuit of {_spoken(subject)} is open: {reason[:_LONGEST_REASON].rstrip('.')}."
                )
                for subject, reason in readings.circuits.items()
            },
            "waiting": self._waits(now, readings.waits_ns),
        }
        self._observed_ns = now
        return [event for condition in found for event in self._turn(now, project, condition, found[condition])]

    def _quotas(self, now: int, used: Mapping[str, float]) -> dict[str, _Found]:
        """Quotas that have been hot for long enough, and raised ones that are not calm yet."""
        settings = self.settings
        if now - self._observed_ns > settings.gap_ns:
            self._hot.clear()
        hot = {bucket: since for bucket, since in self._hot.items() if used.get(bucket, 0.0) >= settings.quota_share}
        for bucket, share in used.items():
            if share >= settings.quota_share and bucket not in hot and (bucket in _ALWAYS or len(hot) < _MOST_FOLLOWED):
                hot[bucket] = now
        self._hot = hot
        found = {}
        for bucket, since in hot.items():
            if now - since >= settings.quota_for_ns:
                share = used[bucket]
                sentence = (
                    f"{bucket} has been at {settings.quota_share:.0%} of its quota or above for {_span(now - since)};"
                    f" it is at {share:.0%} now."
                )
                found[bucket] = _Found(since, sentence, {"share": share, "lasted_s": (now - since) / SECOND_NS})
        calm_below = min(settings.quota_clear_share, settings.quota_share)
        for condition, bucket in self._raised:
            if condition == "quota" and bucket not in found and used.get(bucket, 0.0) >= calm_below:
                found[bucket] = _Found(now)
        return found

    def _refusals(self, now: int, counts: Mapping[str, int]) -> dict[str, _Found]:
        """Buckets with more 429s than at the reading before."""
        before = self._throttled
        self._throttled = {bucket: counts[bucket] for bucket in before if counts.get(bucket, 0) > 0}
        for bucket, count in counts.items():
            if count > 0 and (bucket in _ALWAYS or len(self._throttled) < _MOST_FOLLOWED):
                self._throttled.setdefault(bucket, count)
        found = {}
        for bucket, count in self._throttled.items():
            # A count that fell was begun anew: all of it is news.
            new = count - before.get(bucket, 0) if count >= before.get(bucket, 0) else count
            if new > 0:
                sentence = f"The API refused calls on {bucket} for their rate (429): {new} just now, {count} in all."
                found[bucket] = _Found(now, sentence, {"new": new, "ever": count})
        return found

    def _waits(self, now: int, waits_ns: Mapping[str, int]) -> dict[str, _Found]:
        """Classes that wait beyond their bound."""
        settings = self.settings
        bounds = {"urgent": settings.wait_urgent_ns, "normal": settings.wait_normal_ns, "low": settings.wait_low_ns}
        found = {}
        for name, bound in bounds.items():
            wait = waits_ns.get(name, 0)
            if wait > bound:
                sentence = f"The class {name} has had no token for {_span(wait)}; its bound is {_span(bound)}."
                found[name] = _Found(now, sentence, {"wait_s": wait / SECOND_NS, "bound_s": bound / SECOND_NS})
        return found

    def _turn(self, now: int, project: str, condition: Condition, found: Mapping[str, _Found]) -> Iterator[AlertEvent]:
        """Clear what has been calm for long enough, then raise what is new."""
        places = self.settings.most_subjects
        for alert in [alert for key, alert in self._raised.items() if key[0] == condition and key[1] != OTHERS]:
            if self._calm(now, alert, holds=alert.subject in found):
                yield self._clear(now, project, alert)
            elif alert.subject not in _ALWAYS:
                places -= 1
        others = 0
        for subject in sorted(found):
            if (condition, subject) in self._raised and subject != OTHERS:
                continue
            if subject in _ALWAYS or (places > 0 and subject != OTHERS):
                places -= subject not in _ALWAYS
                yield self._raise(now, project, condition, subject, found[subject])
            else:
                others += 1
        together = self._raised.get((condition, OTHERS))
        if together is not None and self._calm(now, together, holds=others > 0):
            yield self._clear(now, project, together)
        elif together is None and others:
            sentence = f"At least {others} more than are named one by one have the condition {condition}."
            yield self._raise(now, project, condition, OTHERS, _Found(now, sentence, {"subjects": others}))

    def _calm(self, now: int, alert: RaisedAlert, *, holds: bool) -> bool:
        """Whether the alert has been calm for long enough, this reading included."""
        since = None if holds else now if alert.calm_since_ns is None else alert.calm_since_ns
        if since != alert.calm_since_ns:
            self._raised[alert.condition, alert.subject] = alert.model_copy(update={"calm_since_ns": since})
        return since is not None and now - since >= alert.calm_for_ns

    def _raise(self, now: int, project: str, condition: Condition, subject: str, found: _Found) -> AlertEvent:
        settings = self.settings
        calm_for_ns = settings.throttled_quiet_ns if condition == "throttled" else settings.clear_after_ns
        earlier = self._cleared.pop((condition, subject), None)
        if earlier is not None and now - earlier.at_ns < settings.flapping_ns:
            calm_for_ns = max(calm_for_ns, min(2 * earlier.calm_for_ns, settings.flapping_ns))
        alert = RaisedAlert(condition=condition, subject=subject, since_ns=found.since_ns, calm_for_ns=calm_for_ns)
        self._raised[condition, subject] = alert
        return _event(now, project, alert, "raised", found.sentence, found.numbers)

    def _clear(self, now: int, project: str, alert: RaisedAlert) -> AlertEvent:
        key = (alert.condition, alert.subject)
        calm_since = self._raised.pop(key).calm_since_ns or now
        self._cleared[key] = ClearedAlert(
            condition=alert.condition, subject=alert.subject, at_ns=now, calm_for_ns=alert.calm_for_ns
        )
        for stale in [key for key, old in self._cleared.items() if now - old.at_ns >= self.settings.flapping_ns]:
            del self._cleared[stale]
        if len(self._cleared) > _MOST_FOLLOWED:
            del self._cleared[next(iter(self._cleared))]
        lasted = calm_since - alert.since_ns
        sentence = f"{_OVER[alert.condition].format(_spoken(alert.subject))}; it lasted {_span(lasted)}."
        return _event(now, project, alert, "cleared", sentence, {"lasted_s": lasted / SECOND_NS})


_OVER: Final[Mapping[Condition, str]] = {
    "quota": "The quota of {} has room again",
    "throttled": "The API refuses no calls on {} any more",
    "circuit": "The circuit of {} is closed again",
    "waiting": "The class {} gets its tokens in time again",
}


def _event(
    now: int, project: str, alert: RaisedAlert, phase: Phase, sentence: str, numbers: Mapping[str, float]
) -> AlertEvent:
    named = json.dumps([project, alert.condition, alert.subject, alert.since_ns, phase])
    return AlertEvent(
        id=hashlib.sha256(named.encode()).hexdigest()[:32],
        project=project,
        condition=alert.condition,
        subject=alert.subject,
        phase=phase,
        at_ns=now,
        since_ns=alert.since_ns,
        sentence=sentence,
        numbers=dict(numbers),
    )


def _spoken(subject: str) -> str:
    return {OTHERS: "all others", "api": "the whole API"}.get(subject, subject)


def _span(ns: int) -> str:
    """A span of time in the unit that a person would use."""
    seconds = round(ns / SECOND_NS)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"
