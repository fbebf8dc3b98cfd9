"""Readers, writers and lookers of several processes, in any order of their steps: no hit is older than a write that was done before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from activities.cache import Cache
from activities.store import Store
from headgate.apis.sheets.operations import parse_line
from headgate.messages.requests import BulkRequest
from headgate.results import OperationResult

READ = parse_line('{"op":"read","spreadsheet":"S","user":"u","range":"A1"}', 1, "")
REQUEST = BulkRequest(id="r", project="p", max_age_ns=10**12)


class _Turn:
    """Somebody else may go first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Objects:
    """A store in memory, each of whose operations happens at an instant of its own."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def get(self, path: str) -> bytes | None:
        await _Turn()
        return self.objects.get(path)

    async def exists(self, path: str) -> bool:
        return await self.get(path) is not None

    async def put(self, path: str, payload: bytes) -> None:
        await _Turn()
        self.objects[path] = payload

    async def put_new(self, path: str, payload: bytes) -> bool:
        await _Turn()
        return self.objects.setdefault(path, payload) is payload

    async def delete(self, path: str) -> None:
        await _Turn()
        self.objects.pop(path, None)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        await _Turn()
        for path in sorted(path for path in self.objects if path.startswith(f"{prefix}/")):
            yield path


class World:
    """One cell at the API, and what its writers know to be done."""

    def __init__(self) -> None:
        self.store = cast(Store, Objects())
        self.value = 0
        self.done = 0
        self.now_ns = 1
        self.hits = 0

    def process(self) -> Cache:
        return Cache(self.store, _next_round_ns=10**30)

    async def write(self, cache: Cache) -> None:
        await cache.writing("S")
        await _Turn()  # the call travels
        self.value += 1
        mine = self.value
        await _Turn()  # so does its answer
        await cache.writing("S")
        self.done = max(self.done, mine)

    async def read(self, cache: Cache) -> None:
        edition = await cache.reading("S")
        self.now_ns += 1
        sent_ns = self.now_ns
        await _Turn()
        value = self.value
        await _Turn()
        result = OperationResult(id="1", line=1, outcome="succeeded", applied="yes", reply={"values": [[value]]})
        await cache.keep("", edition, sent_ns, [(READ, result)])

    async def clear_out(self, cache: Cache) -> None:
        await cache.clear_out(self.now_ns)

    async def look(self, cache: Cache) -> None:
        at_least = self.done
        known, _ = await cache.known(REQUEST, READ, self.now_ns)
        found: Any = known.serve(READ)
        if found is not None:
            self.hits += 1
            assert found["values"][0][0] >= at_least


def happens(actors: list[tuple[str, int]], turns: list[int]) -> int:
    """Each actor in its process, and who takes the next step; returns how many lookers found something."""
    world = World()
    processes = [world.process() for _ in range(3)]
    acts = {"r": world.read, "w": world.write, "l": world.look, "c": world.clear_out}
    running: list[Coroutine[Any, Any, None]] = [acts[act](processes[process]) for act, process in actors]
    for turn in [*turns, *[0] * 10_000]:
        if not running:
            break
        one = running[turn % len(running)]
        try:
            one.send(None)
        except StopIteration:
            running.remove(one)
    assert not running
    after = world.look(processes[0])
    try:
        while True:
            after.send(None)
    except StopIteration:
        pass
    return world.hits


def test_no_hit_is_older_than_a_write_that_was_done_before_it() -> None:
    """And there are hits: a cache that serves nothing would hold the promise as well."""
    hits: list[int] = []

    @settings(max_examples=600, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from("rrrwwllc"), st.integers(0, 2)), min_size=2, max_size=9),
        st.lists(st.integers(0, 8), max_size=120),
    )
    def in_any_order(actors: list[tuple[str, int]], turns: list[int]) -> None:
        hits.append(happens(actors, turns))

    in_any_order()
    assert sum(hits) > 20
