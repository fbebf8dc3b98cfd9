"""`make front-door`: the front door live on this machine, to look at and to play with, until Ctrl-C.

Real: Postgres with all migrations, the Edge Functions in Deno, the bridge, the workers, a Temporal server. Stand-ins: the rest
of the platform (`tests.supabase.platform`), and the emulator in Google's place. Nothing of it is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headgate.errors import HeadgateError
from tests.supabase.person import signed_in
from tests.supabase.platform.functions import Unavailable as NoFunctions
from tests.supabase.platform.postgres import Unavailable as NoPostgres
from tests.supabase.whole import Whole, running_whole

PASSWORD: Final = "front-door"
SHOPS: Final = ("north", "south", "east", "west")
#: Where the files to hand over are put, so that a file dialog finds them.
FILES: Final = Path(__file__).resolve().parents[2] / "build" / "front-door"
LOOK_EVERY_S: Final = 1.0
#: Exit codes, as the command line's.
MISSING: Final = 3
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Scene:
    """Who may sign in, and what there is to hand over; `organisation` is where a request runs already."""

    organisation: str
    people: tuple[tuple[str, str], ...]
    files: tuple[Path, ...]


async def staged(whole: Whole) -> Scene:
    """Two organisations, four people, two files, and a request that runs already."""
    for shop in SHOPS:
        whole.spreadsheet(shop)
    acme, zebra = await whole.organisation("Acme Trading"), await whole.organisation("Zebra Imports")
    people = []
    for organisation, role, email in (
        (acme, "admin", "ana@example.com"),
        (acme, "member", "ben@example.com"),
        (acme, "viewer", "vera@example.com"),
        (zebra, "admin", "zoe@example.com"),
    ):
        await whole.account(organisation, role, email, PASSWORD)
        people.append((email, f"{role} of {organisation.name}"))
    ben = await signed_in(whole.project.url, whole.project.key, "ben@example.com", PASSWORD, acme.id)
    await ben.submit(orders(whole, "nightly", 160), name="Nightly prices", order="strict")
    FILES.mkdir(parents=True, exist_ok=True)
    files = {
        "orders.jsonl": orders(whole, "order", 240),
        "with-mistakes.jsonl": [*orders(whole, "mixed", 40), *mistakes()],
    }
    for name, lines in files.items():
        (FILES / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Scene(acme.id, tuple(people), tuple(FILES / name for name in files))


def orders(whole: Whole, prefix: str, number: int) -> list[dict[str, object]]:
    """Appends to four spreadsheets in turn, with a read after each: in strict order each is a call of its own."""
    lines: list[dict[str, object]] = []
    for n in range(number // 2):
        shop = SHOPS[n % len(SHOPS)]
        lines.append({**whole.append(f"{prefix}-{n}", shop), "values": [[f"{prefix}-{n}", n * 2.5, True]]})
        lines.append({"id": f"{prefix}-look-{n}", "op": "read", "spreadsheet": shop, "range": "Orders!A1:B2"})
    return lines


def mistakes() -> list[dict[str, object]]:
    """Lines that end as dead letters, for three reasons."""
    line = {"op": "append", "spreadsheet": "north", "range": "Orders!A:B", "values": [["x", 1]]}
    return [
        {**line, "id": "no-such-sheet", "range": "Nowhere!A:B"},
        {**line, "id": "not-my-credential", "user": "somebody-elses"},
        {**line, "id": "no-such-operation", "op": "upsert"},
    ]


def leaflet(whole: Whole, scene: Scene) -> str:
    """What a newcomer has to know."""
    wide = max(len(email) for email, _ in scene.people)
    people = "\n".join(f"      {email:<{wide}}   {role}" for email, role in scene.people)
    files = "\n".join(f"      {os.path.relpath(file)}" for file in scene.files)
    return f"""
  The front door is open.

    Page       {whole.project.url}/example/
    Sign in    with the password {PASSWORD} as
{people}
    Hand over
{files}
    Temporal   {whole.temporal_ui}

  A request runs already: pause it, and the bar stands still. Ctrl-C ends everything.
"""


async def show() -> None:
    """Until it is interrupted; a process that ends by itself ends the show with its last words."""
    with tempfile.TemporaryDirectory(prefix="headgate-front-door-", ignore_cleanup_errors=True) as folder:
        async with running_whole(Path(folder), say=lambda text: print(f"  {text}", flush=True), ui=True) as whole:
            scene = await staged(whole)
            print(leaflet(whole, scene), flush=True)
            while True:
                whole.must_run()
                await asyncio.sleep(LOOK_EVERY_S)


async def interruptible() -> None:
    """SIGTERM ends the show as Ctrl-C does: in good order."""
    playing = asyncio.create_task(show())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    try:
        await playing
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def main() -> int:
    """The exit code; what is missing is said in a sentence."""
    os.environ.pop("HEADGATE_SUPABASE_URL", None)  # never in somebody's hosted project
    argparse.ArgumentParser(prog="make front-door", description=__doc__).parse_args()
    try:
        asyncio.run(interruptible())
    except KeyboardInterrupt:
        print("\n  closed: nothing of it is left", flush=True)
        return INTERRUPTED
    except (NoPostgres, NoFunctions) as missing:
        print(f"front-door: {missing}", file=sys.stderr)
        return MISSING
    except HeadgateError as error:
        print(f"front-door: {error}", file=sys.stderr)
        return MISSING
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as in worker.py: the Temporal client may crash a process that goes down
