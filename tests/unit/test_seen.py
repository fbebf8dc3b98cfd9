"""Grants as a holder gets them: once, twice, out of order, from another limiter."""

from __future__ import annotations

from headgate.seen import Seen


def test_a_grant_counts_once() -> None:
    """The second delivery of the same grant is told apart, also when others came between."""
    seen = Seen(epoch=1)
    assert [seen.arrived(1, n, tokens=True) for n in (3, 3, 5, 3)] == ["next", "again", "next", "again"]


def test_a_grant_that_a_later_one_has_passed_is_late_once() -> None:
    """Its tokens go back; delivered again it is nothing at all."""
    seen = Seen(epoch=1)
    assert [seen.arrived(1, n, tokens=True) for n in (5, 4, 4, 6)] == ["next", "late", "again", "next"]
    assert seen.last == 6


def test_what_came_before_this_run_is_not_handed_back() -> None:
    """A run before may have spent it."""
    seen = Seen(epoch=1, last=7)
    assert [seen.arrived(1, n, tokens=True) for n in (7, 6, 8)] == ["again", "again", "next"]


def test_a_newer_epoch_begins_the_numbers_anew_and_an_older_one_means_nothing() -> None:
    """A limiter that was lost is not mixed up with the one after it."""
    seen = Seen(epoch=4, last=7)
    assert seen.arrived(9, 1, tokens=True) == "anew"
    assert seen.arrived(4, 8, tokens=True) == "stale"
    assert seen.arrived(9, 2, tokens=True) == "next"
    assert (seen.epoch, seen.last) == (9, 2)


def test_a_word_without_tokens_takes_nothing() -> None:
    """A standing carries the number of the limiter's last grant, which is somebody else's."""
    seen = Seen(epoch=1, last=2)
    assert seen.arrived(1, 9, tokens=False) == "next"
    assert seen.last == 2
    assert seen.arrived(1, 8, tokens=True) == "next"
