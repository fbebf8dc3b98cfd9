"""Where a Postgres database is and as whom headgate goes there: what its URL may say, and what of it people may see.

1. Nothing that headgate says of a database holds its password: not a `repr`, not a log line, not an error.
2. A host that is not this machine is spoken to by TLS, unless the URL itself says `sslmode`.
3. Whoever listens needs a session of its own: Supabase's transaction pooler (port 6543) is refused for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

from headgate.errors import InvalidRequest

EXAMPLE: Final = "postgresql://headgate_bridge:PASSWORD@db.example.supabase.co:5432/postgres"
#: Where Supabase's pooler gives each transaction another session.
TRANSACTION_POOLER: Final = 6543


@dataclass(frozen=True, kw_only=True)
class Database:
    """One database: `url` as libpq takes it, `location` as people are told of it, and the `secrets` that nobody is told."""

    url: str = field(repr=False)
    location: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], name: str, *, listens: bool = False) -> Self | None:
        """The database that this variable names, if it names one; raises InvalidRequest for what cannot be one.

        `listens`: it is asked to tell what happens there, which a transaction pooler cannot.
        """
        url = environ.get(name, "")
        if not url:
            return None
        try:
            parts = urlsplit(url)
            port, query = parts.port or 5432, parse_qs(parts.query)
        except ValueError:
            raise InvalidRequest(f"{name} is not an address: write it like {EXAMPLE}.") from None
        host = parts.hostname or "".join(query.get("host", ())[:1])
        if parts.scheme not in {"postgresql", "postgres"} or not host:
            raise InvalidRequest(f"{name} is not an address: write it like {EXAMPLE}.")
        if listens and port == TRANSACTION_POOLER:
            raise InvalidRequest(
                f"{name} leads through the transaction pooler (port {TRANSACTION_POOLER}), where nobody can listen: "
                "take the direct connection or the session pooler (port 5432)."
            )
        if "sslmode" not in query and not _here(host):
            url = urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, "sslmode=require")))))
        user = f"{unquote(parts.username)}@" if parts.username else ""
        given = [unquote(parts.password or ""), *query.get("password", ()), *query.get("sslpassword", ())]
        secrets = {spelt for secret in given if secret for spelt in (secret, quote(secret), quote(secret, safe=""))}
        secrets |= {parts.password} if parts.password else set()
        location = f"{user}{host}:{port}{unquote(parts.path)}"
        return cls(url=url, location=location, secrets=tuple(sorted(secrets, key=len, reverse=True)))

    def said(self, error: BaseException) -> str:
        """What an error of the database says, in one line of at most 300 signs and without a secret."""
        text = str(error)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return (" ".join(text.split()) or type(error).__name__)[:300]


def _here(host: str) -> bool:
    """Whether the host is this machine, or a folder with a socket."""
    if host.startswith("/") or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
