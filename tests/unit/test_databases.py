"""A database's URL: what it may say, and that nobody is told its password."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.databases import Database
from headgate.errors import InvalidRequest
from headgate.settings import Settings

NAME = "HEADGATE_INBOX_URL"


def database(url: str, *, listens: bool = False) -> Database:
    found = Database.from_environ({NAME: url}, NAME, listens=listens)
    assert found is not None
    return found


def test_none_is_named() -> None:
    assert Database.from_environ({NAME: ""}, NAME) is None
    assert Settings.from_environ({}).inbox is None


@pytest.mark.parametrize(
    ("url", "taken", "location"),
    [
        ("postgresql://b:p@127.0.0.1:55432/app", "postgresql://b:p@127.0.0.1:55432/app", "b@127.0.0.1:55432/app"),
        ("postgres://b:p@localhost/app", "postgres://b:p@localhost/app", "b@localhost:5432/app"),
        ("postgresql://b@[::1]/app", "postgresql://b@[::1]/app", "b@::1:5432/app"),
        (
            "postgresql:///app?host=/var/run/postgresql",
            "postgresql:///app?host=/var/run/postgresql",
            "/var/run/postgresql:5432/app",
        ),
        (
            "postgresql://b:p@db.example.com/app",
            "postgresql://b:p@db.example.com/app?sslmode=require",
            "b@db.example.com:5432/app",
        ),
        (
            "postgresql://b:p@db:5432/app?sslmode=disable",
            "postgresql://b:p@db:5432/app?sslmode=disable",
            "b@db:5432/app",
        ),
        (
            "postgresql://b:p@db/app?connect_timeout=3",
            "postgresql://b:p@db/app?connect_timeout=3&sslmode=require",
            "b@db:5432/app",
        ),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(url: str, taken: str, location: str) -> None:
    """Unless the URL says so itself."""
    found = database(url)
    assert (found.url, found.location) == (taken, location)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//b:sekret@h/x",
        "http://b:sekret@h",
        "b:sekret@h",
        "postgresql://b:sekret@h:port/x",
        "postgresql://[h",
    ],
)
def test_what_is_no_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidRequest, match="HEADGATE_INBOX_URL is not an address") as refused:
        database(url)
    assert "sekret" not in str(refused.value)


def test_who_listens_takes_no_transaction_pooler() -> None:
    url = "postgresql://b.ref:sekret@aws-0.pooler.supabase.com:6543/postgres"
    with pytest.raises(InvalidRequest, match="transaction pooler") as refused:
        Settings.from_environ({NAME: url})
    assert "sekret" not in str(refused.value)
    assert database(url).location.endswith(":6543/postgres")
    assert Settings.from_environ({NAME: url.replace("6543", "5432")}).inbox is not None


@given(st.text(string.ascii_letters + string.digits + "%:?#&= ü+", min_size=6, max_size=20), st.booleans())
def test_a_password_is_never_said(password: str, in_query: bool) -> None:
    """However it is spelt in the URL, and in whatever an error of the driver quotes."""
    spelt = quote(password, safe="")
    url = f"postgresql://db.example/app?password={spelt}" if in_query else f"postgresql://bridge:{spelt}@db.example/app"
    found = database(url)
    assert spelt not in repr(found) + repr(Settings.from_environ({NAME: url}))
    for quoted in (password, spelt, found.url):
        said = found.said(ValueError(f"it went wrong: {quoted}\n  at the server"))
        assert password not in said
        assert spelt not in said


def test_an_error_is_one_short_line() -> None:
    found = database("postgresql://b@h/x")
    assert found.said(ValueError("a\n\tb")) == "a b"
    assert found.said(TimeoutError()) == "TimeoutError"
    assert len(found.said(ValueError("x" * 1000))) == 300
