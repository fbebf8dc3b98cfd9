"""The keys that sign what receivers of bulk requests are told: a folder with two files for each name.

    NAME.key      the secret, 16 to 4096 bytes, white space around it taken off
    NAME.hosts    optional: the hosts that may be told with this key, one a line; without it any may

1. Whoever submits a request chooses the receiver and names the key. A receiver that gets a message signed with a key could show
   it to another one that trusts the same key: where that matters, name the hosts.
2. Files are read at each delivery, so a new key or host counts at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from activities.webhook import Key
from headgate.errors import InvalidRequest
from headgate.messages.words import NAME_PATTERN

KEY_ENDING = ".key"
HOSTS_ENDING = ".hosts"


@dataclass(frozen=True, slots=True)
class Keys:
    """One folder of keys."""

    folder: Path = field(repr=False)

    def names(self) -> list[str]:
        """The names that there are keys of, in order; raises `InvalidRequest` for a folder that cannot be read."""
        try:
            found = [entry.name for entry in self.folder.iterdir()]
        except OSError as error:
            raise InvalidRequest(f"the folder of keys {self.folder} cannot be read: {error.strerror}") from None
        return sorted(name.removesuffix(KEY_ENDING) for name in found if name.endswith(KEY_ENDING))

    def path(self, name: str) -> Path:
        """Where the key lies."""
        return self.folder / f"{name}{KEY_ENDING}"

    def key(self, name: str) -> Key:
        """The key of this name; raises `InvalidRequest` with what to mend."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequest(f"the key {name[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
        return Key.read(self.path(name), name)

    def hosts(self, name: str) -> frozenset[str] | None:
        """The hosts that may be told with this key; None: any."""
        path = self.folder / f"{name}{HOSTS_ENDING}"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise InvalidRequest(f"the list of hosts {path} cannot be read") from None
        return frozenset(line.strip().lower() for line in lines if line.strip())

    def check_host(self, name: str, url: str) -> None:
        """Raises `InvalidRequest` where the key is for other hosts than the address has."""
        hosts = self.hosts(name)
        if hosts is not None and (urlsplit(url).hostname or "") not in hosts:
            raise InvalidRequest(f"the key {name!r} does not sign for this host: it is for {', '.join(sorted(hosts))}")
