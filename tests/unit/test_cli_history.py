"""`headgate history`: a line or an object for each entry, of the kinds that were asked for, for whoever reads it."""

from __future__ import annotations

import json

import pytest

from activities.store import Store
from headgate.facts import Entry, EntryKind
from headgate.senders import person_in, sender, worker
from starter.auditing import entry_line
from starter.client import BulkRequests
from tests.unit.fake_service import FakeService, one_sentence, ran


def entry(kind: EntryKind, says: str = "said", *, by: str = "", second: int = 1, **particulars: object) -> Entry:
    at_ns = (1_795_507_389 + second) * 1_000_000_000 + 250_000_000
    counts = {"succeeded": 1_200, "failed": 3, "calls": 40}
    return Entry(at_ns=at_ns, kind=kind, says=says, run=1, event=7, by=by, particulars=particulars, **counts)


ENTRIES = [
    entry("submitted", "submitted to project p", by="ana", sender="headgate/ana@laptop"),
    entry("command", "pause: paused by bob", by="bob", second=2, command="pause", via="update"),
    entry("dead_letters", "[bold]3 failed", second=3, count=3),
    entry("command", "resume", second=4, command="resume", sender="4711@web"),
]


def test_as_json_it_is_one_object_a_line() -> None:
    found = ran("history", "r1", "--json", service=FakeService(entries=ENTRIES))
    assert found.code == 0
    assert [document["kind"] for document in found.documents] == [e.kind for e in ENTRIES]
    assert found.documents[1] == {
        "at": "2026-11-24T08:03:11.250Z",
        "kind": "command",
        "by": "bob",
        "says": "pause: paused by bob",
        "command": "pause",
        "via": "update",
        "so_far": {"succeeded": 1_200, "failed": 3, "calls": 40},
        "run": 1,
        "event": 7,
    }


def test_a_line_says_when_what_and_who_in_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran("history", "r1", service=FakeService(entries=ENTRIES))
    lines = found.out.splitlines()
    assert len(lines) == len(ENTRIES)
    assert {line.index(e.says) for line, e in zip(lines, ENTRIES, strict=True)} == {len("2026-11-24 08:03:10") + 29}
    assert "bob" in lines[1]
    assert lines[1].endswith("(1,200 succeeded, 3 failed, 40 calls so far)")
    assert "4711@web" in lines[3], "who is not known by name is told by its sender"
    assert "\x1b" not in found.out


def test_only_a_terminal_gets_colour_and_no_text_is_markup() -> None:
    found = ran("history", "r1", service=FakeService(entries=ENTRIES), terminal=True)
    assert "\x1b" in found.out
    assert "[bold]3 failed" in found.out


def test_kinds_can_be_picked() -> None:
    service = FakeService(entries=ENTRIES)
    found = ran("history", "r1", "--kind", "command", "--kind", "submitted", "--json", service=service)
    assert [document["kind"] for document in found.documents] == ["submitted", "command", "command"]
    wrong = ran("history", "r1", "--kind", "pauses", service=service)
    assert wrong.code == 2
    assert one_sentence(wrong.err)
    assert "dead_letters" in wrong.err


def test_what_the_server_has_forgotten_is_said_also_where_nobody_asked_for_it() -> None:
    service = FakeService(entries=[entry("gap", "what was before is not known"), *ENTRIES])
    found = ran("history", "r1", "--kind", "command", "--json", service=service)
    assert found.err == "what was before is not known\n"
    assert len(found.documents) == 2


def test_it_can_be_followed() -> None:
    service = FakeService(entries=ENTRIES)
    assert ran("history", "r1", service=service).code == 0
    assert not service.followed
    assert ran("history", "r1", "--follow", service=service).code == 0
    assert service.followed


def test_an_unknown_request_is_a_mistake() -> None:
    found = ran("history", "nope", service=FakeService())
    assert found.code == 2
    assert one_sentence(found.err)


async def test_a_program_has_the_same_entries() -> None:
    service = FakeService(entries=ENTRIES)
    requests = BulkRequests(service, Store.open("memory://"))
    assert [found async for found in requests.history("r1", follow=True)] == ENTRIES
    assert service.followed


@pytest.mark.parametrize("person", ["ana", "CORP\\ana", "ana@corp.example", "a/b"])
def test_an_identity_names_its_person(person: str) -> None:
    assert person_in(sender(person, "laptop")) == person


def test_other_identities_name_nobody() -> None:
    assert person_in(sender("", "laptop")) == ""
    assert person_in(worker("send", 7, "host")) == ""
    assert person_in("4711@host") == ""


def test_a_long_line_is_not_broken() -> None:
    line = entry_line(entry("trouble", "x" * 500))
    assert json.dumps(line.plain).count("\\n") == 0
    found = ran("history", "r1", service=FakeService(entries=[entry("trouble", "x" * 500)]))
    assert found.out.count("\n") == 1
