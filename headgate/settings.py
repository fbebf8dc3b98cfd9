"""Where headgate finds things: read once from the environment, by the worker and the command line, nowhere else.

    HEADGATE_SHEETS_URL            the API's root; default https://sheets.googleapis.com
    HEADGATE_CREDENTIALS           a TOML file of users, see `activities.credentials`; default: Google's own look-up
    HEADGATE_STORE                 a folder, or a URL with s3://, gs:// or az://; default: the user's data folder
    HEADGATE_CACHE                 what can be made again, the server's binary for instance; default: the user's cache folder
    HEADGATE_FENCES                off: requests are submitted without fences, should the API not honour them; default on
    HEADGATE_ALLOW_FOREIGN_HOST    1 lets credentials other than static tokens go to a host that is not Google's
    HEADGATE_ALERT_WEBHOOK         the https address that is told of alerts; default: nobody
    HEADGATE_ALERT_KEY_FILE        a file with the key that signs what is told there
    HEADGATE_ALERT_KEY_NAME        the key's name, which is told as well; default: the file's name without its ending
    HEADGATE_ALERT_LOOPBACK        1 lets the webhook be on this machine, also without TLS: for tests
    HEADGATE_NOTIFY_KEYS           a folder with the keys that sign what `submit --notify` asks for, see `activities.keys`
    HEADGATE_NOTIFY_LOOPBACK       1 lets those receivers be on this machine, also without TLS: for tests
    HEADGATE_PROJECTION_URL        the Postgres database that is told how requests stand, with its own role; default: none
    HEADGATE_UPLOADS               where people's inputs are uploaded, as HEADGATE_STORE; default: nowhere
    HEADGATE_UPLOADS_ENDPOINT, HEADGATE_UPLOADS_REGION, HEADGATE_UPLOADS_KEY, HEADGATE_UPLOADS_SECRET
                                   of a bucket with s3:// that is not reached as the store is
    HEADGATE_INBOX_URL             the Postgres database whose inbox `headgate bridge` drains, with its own role; default: none
    HEADGATE_METRICS_PORT          Prometheus metrics of the worker's processes, from this port on; default: none
    HEADGATE_METRICS_ADDRESS       the IP address where they are served; default 127.0.0.1

No setting that may hold a secret shows in a `repr`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from headgate.databases import Database
from headgate.errors import InvalidRequest
from headgate.messages.words import NAME_PATTERN

SHEETS_URL: Final = "https://sheets.googleapis.com"
LOOPBACK: Final = "127.0.0.1"
#: The worker's processes; each serves its metrics on a port of its own.
PROCESSES: Final = 3
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """Who is told of alerts, and with which key that is signed; the address may hold a secret of the receiver's."""

    url: str = field(repr=False)
    key_file: Path = field(repr=False)
    key_name: str
    loopback: bool = False

    def __post_init__(self) -> None:
        check_webhook(self.url, loopback=self.loopback)
        if not re.fullmatch(NAME_PATTERN, self.key_name):
            raise InvalidRequest(
                "HEADGATE_ALERT_KEY_NAME must be 1 to 128 letters, digits or _ . @ -; without it the key file's name counts."
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self | None:
        """The webhook that these environment variables name, if they name one."""
        url = environ.get("HEADGATE_ALERT_WEBHOOK", "")
        key_file = environ.get("HEADGATE_ALERT_KEY_FILE", "")
        loopback = _yes_or_no(environ, "HEADGATE_ALERT_LOOPBACK")
        if not url:
            return None
        if not key_file:
            raise InvalidRequest(
                "HEADGATE_ALERT_WEBHOOK needs a key to sign with: name its file with HEADGATE_ALERT_KEY_FILE."
            )
        path = Path(key_file).expanduser()
        name = environ.get("HEADGATE_ALERT_KEY_NAME") or path.stem
        return cls(url=url, key_file=path, key_name=name, loopback=loopback)


@dataclass(frozen=True, kw_only=True)
class NotifySettings:
    """The keys that sign what a request's receiver is told, a file for each; without a folder there are none."""

    keys: Path | None = field(default=None, repr=False)
    loopback: bool = False

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """What these environment variables name."""
        keys = environ.get("HEADGATE_NOTIFY_KEYS", "")
        return cls(
            keys=Path(keys).expanduser() if keys else None, loopback=_yes_or_no(environ, "HEADGATE_NOTIFY_LOOPBACK")
        )


@dataclass(frozen=True, kw_only=True)
class UploadSettings:
    """Where uploads lie, and what a bucket of its own is reached by, under obstore's names; the address may hold a secret."""

    location: str = field(repr=False)
    bucket: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self | None:
        """The uploads that these environment variables name, if they name any."""
        location = environ.get("HEADGATE_UPLOADS", "")
        endpoint = environ.get("HEADGATE_UPLOADS_ENDPOINT", "").rstrip("/")
        said = {
            "aws_endpoint": endpoint,
            "aws_region": environ.get("HEADGATE_UPLOADS_REGION", ""),
            "aws_access_key_id": environ.get("HEADGATE_UPLOADS_KEY", ""),
            "aws_secret_access_key": environ.get("HEADGATE_UPLOADS_SECRET", ""),
            "aws_virtual_hosted_style_request": "false" if endpoint else "",
        }
        if not any(said.values()):
            return cls(location=location) if location else None
        if not location.startswith("s3://"):
            raise InvalidRequest(
                "HEADGATE_UPLOADS_ENDPOINT, _REGION, _KEY and _SECRET are a bucket's: set HEADGATE_UPLOADS to it, like s3://inputs."
            )
        if bool(said["aws_access_key_id"]) != bool(said["aws_secret_access_key"]):
            raise InvalidRequest("HEADGATE_UPLOADS_KEY and HEADGATE_UPLOADS_SECRET belong together: set both.")
        if endpoint:
            _check_address(endpoint, "HEADGATE_UPLOADS_ENDPOINT")
        return cls(location=location, bucket={name: value for name, value in said.items() if value})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for this process; an address that would send credentials in the clear is refused."""

    sheets_url: str = SHEETS_URL
    credentials: Path | None = field(default=None, repr=False)
    store: str = field(repr=False)
    cache_dir: Path
    fences: bool = True
    allow_foreign_host: bool = False
    alert_webhook: WebhookSettings | None = None
    notify: NotifySettings = NotifySettings()
    projection: Database | None = None
    uploads: UploadSettings | None = None
    inbox: Database | None = None
    metrics_port: int | None = None
    metrics_address: str = LOOPBACK

    def __post_init__(self) -> None:
        _check_address(self.sheets_url)

    def metrics_bound_to(self, place: int) -> str | None:
        """Where the worker's process at that place (0, 1, 2) serves its metrics, if it does."""
        if self.metrics_port is None:
            return None
        host = f"[{self.metrics_address}]" if ":" in self.metrics_address else self.metrics_address
        return f"{host}:{self.metrics_port + place}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, platform: str = sys.platform) -> Self:
        """The settings that these environment variables name; an empty one counts as not set."""
        credentials = environ.get("HEADGATE_CREDENTIALS", "")
        return cls(
            sheets_url=(environ.get("HEADGATE_SHEETS_URL") or SHEETS_URL).rstrip("/"),
            credentials=Path(credentials).expanduser() if credentials else None,
            store=environ.get("HEADGATE_STORE") or str(_user_dir(environ, platform, "data") / "store"),
            cache_dir=Path(environ.get("HEADGATE_CACHE") or _user_dir(environ, platform, "cache")).expanduser(),
            fences=_yes_or_no(environ, "HEADGATE_FENCES", default=True),
            allow_foreign_host=_yes_or_no(environ, "HEADGATE_ALLOW_FOREIGN_HOST"),
            alert_webhook=WebhookSettings.from_environ(environ),
            notify=NotifySettings.from_environ(environ),
            projection=Database.from_environ(environ, "HEADGATE_PROJECTION_URL"),
            uploads=UploadSettings.from_environ(environ),
            inbox=Database.from_environ(environ, "HEADGATE_INBOX_URL", listens=True),
            metrics_port=_metrics_port(environ),
            metrics_address=_ip_address(environ, "HEADGATE_METRICS_ADDRESS"),
        )


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine, without asking anybody."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_webhook(
    url: str, *, loopback: bool = False, name: str = "HEADGATE_ALERT_WEBHOOK", flag: str = "HEADGATE_ALERT_LOOPBACK"
) -> None:
    """Raises `InvalidRequest` for an address that no signed message may go to; `loopback` permits this machine.

    `name` is what the person calls the address, `flag` the variable that would permit this machine.
    """
    parts = _parts(name, url, "https://alerts.example.com/headgate")
    if parts.username or parts.password or parts.fragment:
        raise InvalidRequest(f"{name} must not hold a user name, a password or a # part: take them out.")
    if is_loopback(parts.hostname or ""):
        if not loopback:
            raise InvalidRequest(f"{name} names this machine: set {flag}=1 if this is a test.")
        if parts.scheme not in {"http", "https"}:
            raise InvalidRequest(f"{name} must start with http:// or https://.")
    elif parts.scheme != "https":
        raise InvalidRequest(f"{name} must start with https://.")


def _check_address(url: str, name: str = "HEADGATE_SHEETS_URL") -> None:
    parts = _parts(name, url, SHEETS_URL)
    host = parts.hostname or ""
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidRequest(
            f"{name} must be an address alone: take out the user name, the password and what follows ? or #."
        )
    if is_loopback(host):
        if parts.scheme not in {"http", "https"}:
            raise InvalidRequest(f"{name} {url!r} must start with http:// or https://.")
        return
    if parts.scheme != "https":
        raise InvalidRequest(f"{name} {url!r} must start with https://: only this machine may be spoken to without.")


def _parts(name: str, url: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.hostname or port == 0:
        raise InvalidRequest(f"{name} is not an address: write it like {example}.")
    return parts


def _metrics_port(environ: Mapping[str, str]) -> int | None:
    said = environ.get("HEADGATE_METRICS_PORT", "").strip()
    if not said:
        return None
    last = 65536 - PROCESSES
    if not (said.isascii() and said.isdigit() and len(said) <= 5 and 0 < int(said) <= last):
        raise InvalidRequest(
            f"HEADGATE_METRICS_PORT is {said[:40]!r}: set it to a port from 1 to {last}; the next two are used as well."
        )
    return int(said)


def _ip_address(environ: Mapping[str, str], name: str) -> str:
    said = environ.get(name, "").strip() or LOOPBACK
    try:
        return str(ip_address(said))
    except ValueError:
        raise InvalidRequest(f"{name} is {said[:40]!r}: set it to an IP address, {LOOPBACK} or 0.0.0.0.") from None


def _yes_or_no(environ: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    said = environ.get(name, "").strip().lower()
    if not said:
        return default
    if said not in _YES | _NO:
        raise InvalidRequest(f"{name} is {said[:40]!r}: set it to 1 or 0.")
    return said in _YES


def _user_dir(environ: Mapping[str, str], platform: str, kind: str) -> Path:
    """The user's folder for what headgate keeps (`data`) or can make again (`cache`), as the platform has it."""
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "headgate" / kind
    if platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / "headgate"
    named = environ.get("XDG_CACHE_HOME" if kind == "cache" else "XDG_DATA_HOME", "")
    fallback = home / ".cache" if kind == "cache" else home / ".local" / "share"
    # The XDG specification: a relative path is to be ignored.
    return (Path(named) if Path(named).is_absolute() else fallback) / "headgate"
