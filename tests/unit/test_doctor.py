"""`headgate doctor`: each look finds what is amiss and says what to do; no secret is ever said."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from starter.doctor import QUEUES, Examination, Finding, ServerSide, tell
from starter.surroundings import Surroundings
from workflows.names import SEARCH_ATTRIBUTES


@dataclass
class FakeSide:
    """A server that is as told."""

    address: str = "somewhere:7233"
    namespace: str = "default"
    trouble: HeadgateError | None = None
    attributes: dict[str, str] = field(default_factory=lambda: dict(SEARCH_ATTRIBUTES))
    polled: set[str] = field(default_factory=lambda: set(QUEUES))
    running: list[str] = field(default_factory=lambda: ["limiter/sheets/p"])

    async def namespace_answers(self) -> None:
        if self.trouble:
            raise self.trouble

    async def search_attributes(self) -> dict[str, str]:
        return self.attributes

    async def pollers(self, queue: str, kind: str) -> int:
        return int(queue in self.polled)

    async def limiters(self) -> list[str]:
        return self.running


CREDENTIALS = '[users.ana]\ntype = "static_token"\ntoken = "very-secret"\n'


def examined(
    tmp_path: Path,
    side: ServerSide | HeadgateError | None = None,
    *,
    credentials: str | None = CREDENTIALS,
    url: str = "http://127.0.0.1:8080",
    **variables: str,
) -> dict[str, Finding]:
    environ = {"HEADGATE_STORE": str(tmp_path / "store"), "HEADGATE_SHEETS_URL": url, **variables}
    if credentials is not None:
        file = tmp_path / "credentials.toml"
        file.write_text(credentials)
        file.chmod(0o600)
        environ["HEADGATE_CREDENTIALS"] = str(file)

    async def connect() -> ServerSide:
        if isinstance(side, HeadgateError):
            raise side
        return side or FakeSide()

    findings = asyncio.run(Examination(Surroundings(environ=environ), connect).findings())
    assert "very-secret" not in repr(findings)
    assert all(finding.cure for finding in findings if finding.state != "good")
    return {finding.subject: finding for finding in findings}


def bad(found: dict[str, Finding]) -> set[str]:
    return {subject for subject, finding in found.items() if finding.state == "bad"}


def test_all_is_well(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert {finding.state for finding in found.values()} == {"good"}
    assert set(found) == {"server", "namespace", "search attributes", "worker", "limiter", "store", "user ana"}


def test_the_probe_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    examined(tmp_path)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_without_a_server_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    found = examined(tmp_path, Unreachable("nobody there"))
    assert bad(found) == {"server"}
    assert "store" in found


def test_a_namespace_that_is_not_there(tmp_path: Path) -> None:
    found = examined(tmp_path, FakeSide(trouble=InvalidRequest("no namespace 'x'")))
    assert bad(found) == {"namespace"}
    assert "worker" not in found


def test_missing_search_attributes_come_with_the_command(tmp_path: Path) -> None:
    attributes = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name != "HeadgatePercent"}
    found = examined(tmp_path, FakeSide(attributes=attributes))
    assert bad(found) == {"search attributes"}
    command = "temporal operator search-attribute create --namespace default --name HeadgatePercent --type Int"
    assert found["search attributes"].cure == command


def test_a_queue_that_nobody_polls(tmp_path: Path) -> None:
    found = examined(tmp_path, FakeSide(polled={"headgate"}))
    assert bad(found) == {"worker"}
    assert found["worker"].cure == "headgate worker"


def test_no_limiter_yet_is_only_a_note(tmp_path: Path) -> None:
    found = examined(tmp_path, FakeSide(running=[]))
    assert not bad(found)
    assert found["limiter"].state == "note"


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    assert bad(examined(tmp_path)) == {"store"}


@pytest.mark.parametrize(
    ("entry", "subject"),
    [
        ('[users.bob]\ntype = "password"\ntoken = "very-secret"', "user bob"),
        ('[users.bob]\ntype = "static_token"', "user bob"),
        ('[users.bob]\ntype = "service_account"\nfile = "none.json"', "user bob"),
        ('[users."b/b"]\ntype = "static_token"\ntoken = "very-secret"', "user b/b"),
        ("[users]\nbob = 3", "user bob"),
        ("[people.bob]", "credentials"),
        ("very-secret", "credentials"),
    ],
)
def test_credentials_that_cannot_work(tmp_path: Path, entry: str, subject: str) -> None:
    found = examined(tmp_path, credentials=entry, url="https://sheets.googleapis.com")
    assert bad(found) == {subject}


def test_a_key_file_for_a_stranger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    found = examined(tmp_path, credentials='[users.bob]\ntype = "service_account"\nfile = "key.json"')
    assert bad(found) == {"user bob"}


def test_a_static_token_at_google_is_a_note(tmp_path: Path) -> None:
    assert examined(tmp_path, url="https://sheets.googleapis.com")["user ana"].state == "note"


def test_keys_that_sign_are_looked_at_one_by_one(tmp_path: Path) -> None:
    """Their length, who may read them, for whom they sign; what they hold is never said."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, secret, mode in (
        ("ops", "very-secret very-secret", 0o600),
        ("open", "very-secret very-secret", 0o644),
        ("short", "very-secret", 0o600),
        ("a b", "very-secret very-secret", 0o600),
        ("bound", "very-secret very-secret", 0o600),
    ):
        (folder / f"{name}.key").write_text(secret)
        (folder / f"{name}.key").chmod(mode)
    (folder / "bound.hosts").write_text("hooks.example\n")
    found = examined(tmp_path, HEADGATE_NOTIFY_KEYS=str(folder))
    assert bad(found) == {"notify key short", "notify key a b"}
    assert "16 to 4096 bytes" in found["notify key short"].said
    assert (found["notify key open"].state, found["notify key ops"].state) == ("note", "good")
    assert found["notify key bound"].said == "signs for hooks.example"


def test_a_folder_of_keys_that_cannot_be_used(tmp_path: Path) -> None:
    assert bad(examined(tmp_path, HEADGATE_NOTIFY_KEYS=str(tmp_path / "none"))) == {"notify keys"}
    (tmp_path / "empty").mkdir()
    empty = examined(tmp_path, HEADGATE_NOTIFY_KEYS=str(tmp_path / "empty"))["notify keys"]
    assert empty.state == "note"
    assert "openssl rand" in empty.cure


def test_an_emulator_needs_no_credentials(tmp_path: Path) -> None:
    assert examined(tmp_path, credentials=None)["credentials"].state == "good"


def test_an_address_that_would_leak_credentials_is_a_finding(tmp_path: Path) -> None:
    assert bad(examined(tmp_path, url="http://example.com")) == {"settings"}


@pytest.mark.parametrize(("state", "code"), [("good", 0), ("note", 0), ("bad", 3)])
def test_the_exit_code_tells_whether_something_is_amiss(state: str, code: int) -> None:
    out = io.StringIO()
    surroundings = Surroundings(environ={}, out=Console(file=out))
    findings = [Finding("store", state, "said", "cure")]  # type: ignore[arg-type]
    assert tell(surroundings, findings, as_json=True) == code
    assert json.loads(out.getvalue())["findings"][0]["cure"] == "cure"
    assert tell(surroundings, findings, as_json=False) == code


@pytest.mark.parametrize("name", ["INBOX", "PROJECTION"])
def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path, name: str) -> None:
    url = {f"HEADGATE_{name}_URL": "postgresql://bridge:very-secret@127.0.0.1:1/x"}
    found = examined(tmp_path, None, **url)
    assert bad(found) == {name.lower()}
    assert "bridge@127.0.0.1:1/x" in found[name.lower()].said


def test_the_transaction_pooler_is_no_way_to_the_inbox(tmp_path: Path) -> None:
    found = examined(tmp_path, HEADGATE_INBOX_URL="postgresql://b:very-secret@pooler.example:6543/postgres")
    assert "transaction pooler" in found["settings"].said
