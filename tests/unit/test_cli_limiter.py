"""`headgate limiter`: what is set, what stays, what is shown."""

from __future__ import annotations

import pytest

from headgate.messages.tokens import LimiterSettings, UserLimits
from tests.unit.fake_service import FakeService, one_sentence, ran


def test_what_is_not_named_stays_as_google_has_it() -> None:
    service = FakeService()
    found = ran("limiter", "set", "--project", "p", "--write-per-user", "20", "--json", service=service)
    assert found.code == 0
    assert service.settings == LimiterSettings(write_per_user=20)
    assert found.documents[0]["settings"]["write_per_project"] == 300


def test_spans_are_given_in_seconds() -> None:
    service = FakeService()
    flags = ("--window", "10", "--spreadsheet-spacing", "0.2", "--token-valid-for", "0.1", "--network-spread", "0.15")
    assert ran("limiter", "set", "--project", "p", *flags, service=service).code == 0
    settings = service.settings
    assert (settings.window_ns, settings.spreadsheet_spacing_ns) == (10_000_000_000, 200_000_000)
    assert (settings.token_valid_for_ns, settings.network_spread_ns) == (100_000_000, 150_000_000)


def test_what_was_set_stays_when_something_else_is_set() -> None:
    service = FakeService()
    ran("limiter", "set", "--project", "p", "--window", "10", service=service)
    ran("limiter", "set", "--project", "p", "--read-per-user", "5", service=service)
    assert (service.settings.window_ns, service.settings.read_per_user) == (10_000_000_000, 5)


@pytest.mark.parametrize(
    "flags",
    [
        ("--window", "0"),
        ("--window", "nan"),
        ("--window", "inf"),
        ("--window", "-5"),
        ("--read-per-user", "0"),
        ("--read-per-user", "many"),
        ("--project", "a/b"),
    ],
)
def test_absurd_quotas_are_a_mistake(flags: tuple[str, ...]) -> None:
    found = ran("limiter", "set", "--project", "p", *flags)
    assert found.code == 2
    assert one_sentence(found.err)


def test_show_as_json_is_the_limiters_view() -> None:
    found = ran("limiter", "show", "--project", "p", "--json")
    assert (found.code, found.documents[0]["project"], found.documents[0]["granted"]) == (0, "p", 7)


def test_show_is_lines_for_a_person() -> None:
    found = ran("limiter", "show", "--project", "p")
    assert "writes   300 a project, 60 a user, in 60 s" in found.out


def test_a_users_own_quota_leaves_everybody_elses_alone() -> None:
    service = FakeService()
    ran("limiter", "set", "--project", "p", "--user", "bot", "--write-per-user", "120", service=service)
    ran("limiter", "set", "--project", "p", "--user", "bot", "--read-per-user", "90", service=service)
    ran("limiter", "set", "--project", "p", "--user", "eve", "--write-per-user", "5", service=service)
    assert service.settings.write_per_user == 60
    assert service.settings.users == {"bot": UserLimits(read=90, write=120), "eve": UserLimits(write=5)}
    ran("limiter", "set", "--project", "p", "--user", "bot", service=service)
    assert service.settings.users == {"eve": UserLimits(write=5)}


def test_floors_are_percent_and_cannot_be_more_than_all() -> None:
    service = FakeService()
    flags = ("--floor-urgent", "60", "--floor-normal", "30")
    assert ran("limiter", "set", "--project", "p", *flags, service=service).code == 0
    assert (service.settings.floor_urgent, service.settings.floor_low) == (0.6, 0.1)
    found = ran("limiter", "set", "--project", "p", "--floor-low", "30", service=service)
    assert found.code == 2
    assert "more than the whole quota" in found.err


def test_a_project_is_paused_and_resumed_by_somebody() -> None:
    service = FakeService()
    assert ran("limiter", "pause", "--project", "p", "--by", "ana", service=service).code == 0
    found = ran("limiter", "resume", "--project", "p", "--by", "ana", "--json", service=service)
    assert found.documents == [{"project": "p", "action": "resume"}]
    assert [(project, action, control.by) for project, action, control in service.limiter_controls] == [
        ("p", "pause", "ana"),
        ("p", "resume", "ana"),
    ]
