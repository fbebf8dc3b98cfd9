"""Credentials by name: which host gets which kind, what a mistake says, and that no secret shows."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from activities.credentials import Credentials, GoogleAuth, StaticTokenAuth
from headgate.errors import InvalidRequest

GOOGLE = "https://sheets.googleapis.com"
FILE = """
[users.demo]
type = "static_token"
token = "s3cret"
[users.robot]
type = "service_account"
file = "robot.json"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "credentials.toml"
    made.write_text(FILE)
    return made


def signed(auth: httpx.Auth) -> str:
    """The header that a request gets."""

    async def send() -> str:
        async with httpx.AsyncClient(
            transport=httpx.MockTransport(lambda request: httpx.Response(200)), auth=auth
        ) as client:
            return (await client.get("https://x")).request.headers["Authorization"]

    import asyncio

    return asyncio.run(send())


def test_a_static_token_is_sent_unchanged(path: Path) -> None:
    """`Authorization: Bearer TOKEN`, to any host."""
    for url in (GOOGLE, "https://elsewhere.example", "http://127.0.0.1:1"):
        assert signed(Credentials.read(path, url).auth("demo")) == "Bearer s3cret"


def test_a_stranger_gets_static_tokens_only(path: Path) -> None:
    """A service account's token would let a foreign host act in its name; a flag allows it."""
    with pytest.raises(InvalidRequest, match="is not Google's"):
        Credentials.read(path, "https://elsewhere.example").auth("robot")
    with pytest.raises(InvalidRequest, match="cannot be used"):
        Credentials.read(path, "https://elsewhere.example", allow_foreign_host=True).auth("robot")


def test_an_unknown_user_is_named_with_those_that_are_known(path: Path) -> None:
    """The sentence says what the file has."""
    with pytest.raises(InvalidRequest, match=r"'ana'.*demo, robot"):
        Credentials.read(path, GOOGLE).auth("ana")


def test_this_machine_needs_no_file() -> None:
    """An emulator takes the user's name as the token."""
    auth = Credentials("http://127.0.0.1:8080").auth("alice")
    assert isinstance(auth, StaticTokenAuth)
    assert signed(auth) == "Bearer alice"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[users.x]\ntype = 'magic'", "users|x.*type|type"),
        ("[users.x]\ntype = 'static_token'\npassword = 's3cret'", "password"),
        ("not toml", "not TOML"),
    ],
)
def test_a_file_with_a_mistake_says_where(tmp_path: Path, text: str, why: str) -> None:
    """And repeats none of its values."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=why) as caught:
        Credentials.read(path, GOOGLE)
    assert "s3cret" not in str(caught.value)


def test_no_secret_shows(path: Path) -> None:
    """Neither in a repr nor in a dump."""
    credentials = Credentials.read(path, GOOGLE)
    assert "s3cret" not in repr(credentials)
    assert credentials.users is not None
    assert "s3cret" not in credentials.users["demo"].model_dump_json()


class Account:
    """What google-auth's credentials offer, counted."""

    def __init__(self) -> None:
        self.refreshed = 0

    @property
    def valid(self) -> bool:
        return self.refreshed > 0

    def refresh(self, request: object) -> None:
        self.refreshed += 1

    def apply(self, headers: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer token-{self.refreshed}"


async def test_tokens_are_refreshed_once_and_a_401_is_not_resent() -> None:
    """Many calls at once need one refresh; a 401 comes back as it is, and the next call has a fresh token."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(401 if len(seen) == 3 else 200)

    account = Account()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=GoogleAuth(account)) as client:
        statuses = [(await client.get("https://x")).status_code for _ in range(4)]
    assert statuses == [200, 200, 401, 200]
    assert seen == ["Bearer token-1"] * 3 + ["Bearer token-2"]
