"""Inputs that people have uploaded: taken into the store once, before their request is planned.

1. An input counts once it is in the store, and what is there has the size and the SHA-256 that were said when it was submitted.
   What becomes of the upload afterwards changes nothing.
2. It passes in blocks: memory does not grow with it, and what is larger than was said is refused as soon as it is seen.
3. An upload that is not there is waited for shortly, since a bucket may lag; then it is the caller's mistake, as other content is.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from temporalio import activity

from activities.layout import input_path
from activities.store import Store
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest

#: So long after an upload was said to be there it may still not be seen.
LAGS_S: Final = 20.0
LOOKS_EVERY_S: Final = 1.0
_PATH: Final = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9_.@-]*(/[A-Za-z0-9_@-][A-Za-z0-9_.@-]*)*")


@dataclass(frozen=True)
class Uploads:
    """Where uploads lie (`source`; None: this worker does not know), and for how long one that is not there is looked for."""

    source: Store | None
    lags_s: float = LAGS_S

    async def take(self, request: BulkRequest, into: Store) -> None:
        """The request's input is in the store; asked again, nothing changes.

        Raises InvalidRequest for an upload that is not what was said, and Unreachable where it cannot be looked at just now.
        """
        taken = input_path(request.id, request.input_sha256)
        if not request.uploaded or await into.exists(taken):
            return
        if self.source is None:
            raise Unreachable(
                f"The input of request {request.id} was uploaded, and this worker does not know where to: set HEADGATE_UPLOADS."
            )
        if not _PATH.fullmatch(request.uploaded):
            raise InvalidRequest(f"{request.uploaded[:140]!r} is no path among the uploads.")
        size = await self._size(self.source, request)
        if size > request.input_bytes:
            raise _too_large(request)
        try:
            async with aclosing(self.source.open_blocks(request.uploaded)) as blocks:
                await into.put_stream(taken, _as_said(request, blocks))
        except FileNotFoundError:
            raise _missing(request) from None

    async def _size(self, source: Store, request: BulkRequest) -> int:
        give_up_at = time.monotonic() + self.lags_s
        while (size := await source.size(request.uploaded)) is None:
            if time.monotonic() >= give_up_at:
                raise _missing(request)
            activity.heartbeat("the upload is not there yet")
            await asyncio.sleep(min(LOOKS_EVERY_S, self.lags_s / 4))
        return size


async def _as_said(request: BulkRequest, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The blocks; an error before their end where they are not what was said, so that nothing is stored."""
    digest, size = hashlib.sha256(), 0
    async for block in blocks:
        size += len(block)
        if size > request.input_bytes:
            raise _too_large(request)
        digest.update(block)
        activity.heartbeat(f"{size:,} of {request.input_bytes:,} bytes of the upload taken")
        yield block
    if size < request.input_bytes:
        raise InvalidRequest(
            f"The upload has {size:,} bytes and not the {request.input_bytes:,} that were said: submit the file anew, and upload all of it."
        )
    if digest.hexdigest() != request.input_sha256:
        raise InvalidRequest(
            "The upload is not the file that was said (its SHA-256 is another one): submit the file anew, and upload that one."
        )


def _missing(request: BulkRequest) -> InvalidRequest:
    return InvalidRequest(
        f"The file of request {request.id} was not uploaded: submit it anew, upload it, then finalize."
    )


def _too_large(request: BulkRequest) -> InvalidRequest:
    return InvalidRequest(
        f"The upload is larger than the {request.input_bytes:,} bytes that were said: submit the file anew with its real size."
    )
