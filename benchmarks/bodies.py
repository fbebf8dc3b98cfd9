"""What one submit costs the Edge Function in CPU, by the shape of its body: the platform ends whoever takes 2 s for a request.

1. Counted is the whole process of Deno, its compiler and garbage collector included: more than the platform counts, never less.
2. The first body of each shape comes to functions that have just started and compiled nothing yet, as on the platform.
3. Bodies are as large as they may be; some are taken and some refused, as the status says (0: cut off).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from tests.supabase.platform import functions, seed
from tests.supabase.platform.project import Project, User, running_project

REPEATS = 5
#: What operations may take; the shapes fill most of it.
ROOM = 1_048_576 - 4096
LIMIT_S = 2.0

_ORDINARY: dict[str, Any] = {
    "id": "o-1",
    "op": "append",
    "spreadsheet": "1AbC",
    "range": "Orders!A:C",
    "values": [["o-1", 12.5, True]],
}
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _filled(unit: str, room: int = ROOM) -> str:
    """As many copies as there is room for, with commas between."""
    return ",".join([unit] * (room // (len(unit) + 1)))


def _line(values: str) -> str:
    return f'[{{"op":"append","values":[[{values}]]}}]'


def _nested(opening: str, closing: str, depth: int) -> str:
    return _filled(opening * depth + "1" + closing * depth)


#: `operations` as they stand in the body.
SHAPES: dict[str, Callable[[], str]] = {
    "ordinary lines": lambda: f"[{_filled(json.dumps(_ORDINARY), ROOM - 60_000)}]",
    "small lines": lambda: f"[{_filled('{}', ROOM * 3 // 4)}]",
    "one long text": lambda: _line('"' + "x" * (ROOM - 50) + '"'),
    "text of JSON Lines": lambda: json.dumps("{}\n" * (ROOM // 4)),
    "nested lists": lambda: _line(_nested("[", "]", 58)),
    "nested objects": lambda: _line(_nested('{"a":', "}", 58)),
    "empty objects": lambda: _line(_filled("{}")),
    "digits": lambda: _line(_filled("7")),
    "numbers of 17 digits": lambda: _line(_filled("0.1234567890123456")),
    "numbers of 302 digits": lambda: _line(_filled(str(2**1000))),
    "one number": lambda: _line("1" * (ROOM - 50)),
    "escapes": lambda: _line('"' + "\\u0041" * (ROOM // 6 - 10) + '"'),
    "control characters": lambda: _line('"' + "\\u0001" * (ROOM // 6 - 10) + '"'),
    "quotes": lambda: _line('"' + '\\"' * (ROOM // 2 - 30) + '"'),
    "many fields": lambda: "[{" + ",".join(f'"{n:x}":1' for n in range(110_000)) + "}]",
    "escaped fields": lambda: "[{" + ",".join(f'"\\u0061{n:x}":1' for n in range(70_000)) + "}]",
    "letters of four bytes": lambda: _line('"' + "😀" * (ROOM // 4 - 20) + '"'),
    "spaces": lambda: "[" + " " * (ROOM + 50_000) + "{}]",
    "many wrong fields": lambda: '"x"' + "".join(f',"f{n}":1' for n in range(100_000)),
}


async def main(size: int = REPEATS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headgate-bodies-") as folder:
        async with running_project(Path(folder)) as project:
            user = await project.sign_up()
            with psycopg.connect(project.database_url) as connection:
                organisation = seed.organisation(connection, submits_per_minute=1_000_000)
                seed.membership(connection, organisation, UUID(user.id), "member")
            start = f'{{"organisation":"{organisation}","operations":'
            bodies = {name: f"{start}{make()}}}".encode() for name, make in SHAPES.items()}
            shapes = {name: await _measured(project, user, body, size) for name, body in bodies.items()}
            for piece in (64, 1):
                name = f"in pieces of {piece}"
                shapes[name] = await _measured(project, user, bodies["ordinary lines"], size, piece)
    firsts = {name: shape["cpu_seconds"]["first"] for name, shape in shapes.items()}
    return {"limit_seconds": LIMIT_S, "worst": max(firsts, key=lambda name: firsts[name]), "shapes": shapes}


async def _measured(project: Project, user: User, body: bytes, repeats: int, piece: int = 0) -> dict[str, Any]:
    """`piece`: the body comes in chunks of so many bytes, each as the sender's buffers let it through."""
    before = _children()
    key = project.stand_ins.signing
    with functions.serving(project.url, publishable_key=project.key, jwks=[key.jwk()]) as url:
        [process] = _children() - before
        headers = {
            "host": "127.0.0.1",
            "authorization": f"Bearer {user.token}",
            "content-type": "application/json",
            "transfer-encoding" if piece else "content-length": "chunked" if piece else str(len(body)),
        }
        head = "POST /submit HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        sent = head.encode() + (_in_pieces(body, piece) if piece else body)
        spent, waits, statuses = [], [], set()
        for _ in range(repeats):
            since, began = _cpu_seconds(process), time.perf_counter()
            statuses.add(await _status(url, sent))
            waits.append(time.perf_counter() - began)
            spent.append(_cpu_seconds(process) - since)
    return {
        "bytes": len(body),
        "status": statuses.pop() if len(statuses) == 1 else sorted(statuses),
        "cpu_seconds": {
            "first": round(spent[0], 2),
            "median": round(statistics.median(spent), 2),
            "most": round(max(spent), 2),
        },
        "wall_seconds": {"first": round(waits[0], 2), "median": round(statistics.median(waits), 2)},
    }


async def _status(url: str, sent: bytes) -> int:
    """What these very bytes are answered with, on a connection of their own; 0 where it was cut off instead."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(sent)
        await writer.drain()
        return int((await reader.readline()).split()[1])
    except ConnectionError:
        return 0
    finally:
        writer.close()


def _in_pieces(body: bytes, piece: int) -> bytes:
    """As chunks of HTTP."""
    pieces = (body[at : at + piece] for at in range(0, len(body), piece))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces) + b"0\r\n\r\n"


def _children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def _cpu_seconds(process: int) -> float:
    """Of a process with all its threads, so far."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * _TICK_S
