"""Who speaks to Temporal: the identity that every event of headgate carries, and the person in it.

An identity says what the sender's computer said of itself. It names, it proves nothing: proof is the server's, where it knows
its callers.
"""

from __future__ import annotations

_PEOPLE = "headgate/"


def sender(person: str, host: str) -> str:
    """The identity of a command line or a program: `headgate/ana@laptop`."""
    return f"{_PEOPLE}{person or 'someone'}@{host}"


def worker(role: str, process: int, host: str) -> str:
    """The identity of one process of a worker: `worker-send/4711@server`."""
    return f"worker-{role}/{process}@{host}"


def person_in(identity: str) -> str:
    """Who it was, where headgate sent it and knew; "" for every other identity."""
    if not identity.startswith(_PEOPLE):
        return ""
    person = identity.removeprefix(_PEOPLE).rpartition("@")[0]
    return "" if person == "someone" else person
