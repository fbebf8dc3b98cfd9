"""Credentials by name, resolved here and nowhere else: no payload, log, history or `repr` ever holds a secret.

The file (TOML, named by `HEADGATE_CREDENTIALS`):

    [users.billing-bot]
    type = "service_account"     # or "authorized_user", "adc", "static_token"
    file = "billing-bot.json"    # beside this file, or an absolute path
    subject = "ana@example.com"  # optional: domain-wide delegation

    [users.demo]
    type = "static_token"
    token = "..."

Without a file every user is Google's application default credentials; on this machine itself (an emulator) the user's name
serves as the token.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import google.auth
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from headgate.errors import InvalidRequest
from headgate.settings import is_loopback

SCOPES = ["https://www.googleapis.com/auth/spreadsheets"]


class UserCredentials(BaseModel):
    """One user's entry in the credentials file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["static_token", "service_account", "authorized_user", "adc"]
    token: SecretStr | None = None
    file: str | None = None
    subject: str | None = None


class StaticTokenAuth(httpx.Auth):
    """Sends a token unchanged."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class GoogleAuth(httpx.Auth):
    """Sends google-auth's token, refreshed beforehand. A 401 comes back as it is: an automatic resend is a second call."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self._refused = False
        self._lock = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        async with self._lock:
            if self._refused or not self._credentials.valid:
                try:
                    await asyncio.to_thread(self._credentials.refresh, google.auth.transport.requests.Request())
                except google.auth.exceptions.GoogleAuthError as error:
                    raise httpx.ConnectError(f"no access token: {type(error).__name__}", request=request) from error
                self._refused = False
        self._credentials.apply(request.headers)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._refused = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that calls to `base_url` may carry, by user."""

    base_url: str
    users: dict[str, UserCredentials] | None = None
    folder: Path = field(default_factory=Path)
    allow_foreign_host: bool = False

    @classmethod
    def read(cls, path: Path | None, base_url: str, *, allow_foreign_host: bool = False) -> Credentials:
        """The file's users; raises `InvalidRequest` with what to mend. No path: see the module's last paragraph."""
        if path is None:
            return cls(base_url, allow_foreign_host=allow_foreign_host)
        try:
            entries = tomllib.loads(path.read_text()).get("users", {})
            users = {name: UserCredentials.model_validate(entry) for name, entry in entries.items()}
        except OSError as error:
            raise InvalidRequest(f"the credentials file {path} cannot be read: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise InvalidRequest(f"the credentials file {path} is not TOML: {error}") from error
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidRequest(f"the credentials file {path}: {where}: {first['msg']}") from None
        return cls(base_url, users, path.parent, allow_foreign_host)

    def auth(self, user: str) -> httpx.Auth:
        """How calls of that user are signed; raises `InvalidRequest` for a user that the file does not name."""
        host = urlsplit(self.base_url).hostname or ""
        if self.users is None:
            if is_loopback(host):
                return StaticTokenAuth(user or "default")
            return self._google(UserCredentials(type="adc"), host)
        entry = self.users.get(user)
        if entry is None:
            known = ", ".join(sorted(self.users)) or "none"
            raise InvalidRequest(f"there are no credentials for user {user!r}; the credentials file names: {known}")
        if entry.type == "static_token":
            if entry.token is None:
                raise InvalidRequest(f"user {user!r} of type static_token needs a token in the credentials file")
            return StaticTokenAuth(entry.token.get_secret_value())
        return self._google(entry, host)

    def _google(self, entry: UserCredentials, host: str) -> httpx.Auth:
        if not (host == "googleapis.com" or host.endswith(".googleapis.com")) and not self.allow_foreign_host:
            raise InvalidRequest(
                f"{host} is not Google's: only static_token credentials are sent there (or pass --allow-foreign-host)"
            )
        if entry.type == "adc":
            try:
                credentials, _ = google.auth.default(scopes=SCOPES)
            except google.auth.exceptions.GoogleAuthError as error:
                raise InvalidRequest(
                    f"there are no application default credentials ({type(error).__name__}): name a file with HEADGATE_CREDENTIALS"
                ) from None
            return GoogleAuth(credentials)
        if entry.file is None:
            raise InvalidRequest(f"credentials of type {entry.type} need a file")
        path = str(self.folder / entry.file)
        try:
            if entry.type == "authorized_user":
                return GoogleAuth(google.oauth2.credentials.Credentials.from_authorized_user_file(path, SCOPES))
            account = google.oauth2.service_account.Credentials.from_service_account_file(path, scopes=SCOPES)
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"the key file {path} cannot be used: {type(error).__name__}") from None
        return GoogleAuth(account.with_subject(entry.subject) if entry.subject else account)
