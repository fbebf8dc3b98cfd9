"""Who may be named as the user of a request: the names in the credentials file. Nothing else of it is looked at here."""

from __future__ import annotations

import tomllib
from pathlib import Path

from headgate.errors import InvalidRequest


def user_names(file: Path | None) -> tuple[str, ...] | None:
    """The users that the credentials file names, in its order; None where no file is configured."""
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            users = tomllib.load(stream).get("users", {})
    except OSError as error:
        raise InvalidRequest(f"the credentials file {file} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:  # its message may quote the file, and the file holds secrets
        raise InvalidRequest(f"the credentials file {file} is not valid TOML") from error
    if not isinstance(users, dict):
        raise InvalidRequest(f"the credentials file {file} has no tables [users.NAME]")
    return tuple(users)


def chosen_user(wished: str | None, known: tuple[str, ...] | None) -> str:
    """The user that stands for lines which name none: the one wished for, or the only one that there is."""
    if wished is None:
        return known[0] if known is not None and len(known) == 1 else ""
    if known is not None and wished not in known:
        raise InvalidRequest(
            f"there is no user {wished!r} in the credentials file; it has: {', '.join(known) or 'none'}"
        )
    return wished
