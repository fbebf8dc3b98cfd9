"""Settings come from the environment once, and credentials never travel in the clear or to a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.errors import InvalidRequest
from headgate.settings import Settings


def test_defaults() -> None:
    """With nothing set: Google's address, the user's own folders, no stranger."""
    settings = Settings.from_environ({"HOME": "/home/ada"}, platform="linux")
    assert settings.sheets_url == "https://sheets.googleapis.com"
    assert settings.credentials is None
    assert settings.store == "/home/ada/.local/share/headgate/store"
    assert settings.cache_dir == Path("/home/ada/.cache/headgate")
    assert not settings.allow_foreign_host


@pytest.mark.parametrize(
    ("platform", "environ", "store"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/headgate/store"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/headgate/store"),
        ("darwin", {}, "/home/ada/Library/Application Support/headgate/store"),
        ("linux", {"HEADGATE_STORE": "s3://bucket/x"}, "s3://bucket/x"),
        ("linux", {"HEADGATE_STORE": ""}, "/home/ada/.local/share/headgate/store"),
    ],
)
def test_where_the_store_is(platform: str, environ: dict[str, str], store: str) -> None:
    """HEADGATE_STORE decides; without it, the platform's folder for a user's own files."""
    assert Settings.from_environ({"HOME": "/home/ada", **environ}, platform=platform).store == store


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://127.0.0.1:1",
        "http://[::1]:80/",
        "https://europe-sheets.googleapis.com",
        "http://api.localhost:3",
    ],
)
def test_google_and_this_machine_are_fine(url: str) -> None:
    """Only this machine may be spoken to without TLS."""
    assert Settings.from_environ({"HEADGATE_SHEETS_URL": url}).sheets_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://sheets.googleapis.com", "must start with https"),
        ("http://10.0.0.1", "must start with https"),
        ("http://127.0.0.1.example.com", "must start with https"),
        ("https://a:secret@sheets.googleapis.com", "an address alone"),
        ("https://sheets.googleapis.com?key=secret", "an address alone"),
        ("ftp://localhost", "must start with http"),
        ("sheets.googleapis.com", "is not an address"),
        ("https://", "is not an address"),
        ("https://host:99999", "is not an address"),
        ("https://[", "is not an address"),
    ],
)
def test_an_address_that_would_leak_is_refused(url: str, why: str) -> None:
    """The sentence says what to write, and repeats no secret."""
    with pytest.raises(InvalidRequest, match=why) as caught:
        Settings.from_environ({"HEADGATE_SHEETS_URL": url})
    assert "secret" not in str(caught.value)


def test_no_stranger_is_spoken_to_in_the_clear() -> None:
    """Which credentials a foreign host may get is another question than that of TLS."""
    environ = {"HEADGATE_ALLOW_FOREIGN_HOST": "1", "HEADGATE_SHEETS_URL": "https://emulator.example"}
    assert Settings.from_environ(environ).sheets_url == "https://emulator.example"
    with pytest.raises(InvalidRequest, match="https"):
        Settings.from_environ({**environ, "HEADGATE_SHEETS_URL": "http://emulator.example"})
    with pytest.raises(InvalidRequest, match="set it to 1 or 0"):
        Settings.from_environ({"HEADGATE_ALLOW_FOREIGN_HOST": "perhaps"})


def test_nothing_secret_shows() -> None:
    """A repr names neither the credentials nor the store, whose URL may carry a signature."""
    shown = repr(
        Settings.from_environ({"HEADGATE_CREDENTIALS": "/keys/secret.json", "HEADGATE_STORE": "az://x/y?sig=secret"})
    )
    assert "secret" not in shown
