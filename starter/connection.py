"""The connection to Temporal: where it leads, what its errors mean, and the search attributes that headgate needs there."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.senders import sender
from workflows.names import SEARCH_ATTRIBUTES

DEFAULT_ADDRESS: Final = "localhost:7233"
CONNECT_WITHIN_S: Final = 20.0
RPC_TIMEOUT: Final = timedelta(seconds=15)

_ABSENT: Final = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED}
_REFUSED: Final = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}


async def connect(
    address: str | None = None, *, within_s: float = CONNECT_WITHIN_S, identity: str | None = None
) -> Client:
    """A client of the server at `address`, else of the one that `TEMPORAL_*` or the Temporal profile names, else of a local one.

    Histories know it by its identity, which names the person at this computer unless one is given. Raises `Unreachable` before `within_s` seconds have passed, whatever the address does with the attempt.
    """
    config = _configured() if address is None else ClientConnectConfig(target_host=address)
    address = config.setdefault("target_host", DEFAULT_ADDRESS) or DEFAULT_ADDRESS
    try:
        async with asyncio.timeout(within_s):
            return await Client.connect(
                data_converter=pydantic_data_converter,
                runtime=_quiet_runtime(),
                identity=identity or sender(person(os.environ), socket.gethostname()),
                **config,
            )
    except (RuntimeError, OSError, RPCError, TimeoutError) as error:
        if isinstance(error, RPCError) and error.status in _REFUSED:
            raise InvalidRequest(f"the Temporal server at {address} refuses these credentials") from error
        raise Unreachable(
            f"no Temporal server answers at {address}: start one with `headgate server`, or set TEMPORAL_ADDRESS"
        ) from error


def unless_cancelled() -> None:
    """Raises CancelledError where this task was cancelled, whatever became of that: the SDK may say that a call timed out."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def person(environ: Mapping[str, str]) -> str:
    """Who sits at this computer, as far as it says: by the environment, else the account's name; "" where neither does."""
    named = environ.get("USER") or environ.get("USERNAME")
    if named:
        return named
    with suppress(
        OSError, KeyError, ImportError
    ):  # a container may have no account of that number, Windows no such list
        return getpass.getuser()
    return ""


@cache
def _quiet_runtime() -> Runtime:
    """One for the process, without the client's own log: what a person has to know is said once, as an error."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


def _configured() -> ClientConnectConfig:
    try:
        return ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError) as error:
        raise InvalidRequest(f"the Temporal configuration cannot be read: {error}") from error


def address_of(client: Client) -> str:
    """Host and port that the client talks to."""
    return client.service_client.config.target_host


@contextmanager
def rpc_errors(client: Client) -> Iterator[None]:
    """What the server answers instead of a result becomes one of `headgate.errors`; NOT_FOUND of a workflow stays as it is."""
    try:
        yield
    except RPCError as error:
        raise translated(error, client) from error


def translated(error: RPCError, client: Client) -> HeadgateError:
    """The error of headgate that says what this RPC error means for a person."""
    address, namespace = address_of(client), client.namespace
    if error.status is RPCStatusCode.NOT_FOUND and "amespace" in error.message:
        return InvalidRequest(
            f"the Temporal server at {address} has no namespace {namespace!r}: set TEMPORAL_NAMESPACE"
        )
    if error.status in _ABSENT:
        return Unreachable(f"the Temporal server at {address} does not answer ({error.message})")
    if error.status in _REFUSED:
        return InvalidRequest(f"the Temporal server at {address} does not permit this ({error.message})")
    return HeadgateError(f"the Temporal server at {address} answered: {error.message}")


async def registered_search_attributes(client: Client) -> dict[str, str]:
    """The custom search attributes of the namespace: name -> type, spelt as in `SEARCH_ATTRIBUTES`."""
    with rpc_errors(client):
        reply = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
        )
    return {name: _type_name(value) for name, value in reply.custom_attributes.items()}


def missing_search_attributes(registered: dict[str, str]) -> dict[str, str]:
    """Those that headgate needs and the namespace does not have; one of another type counts as missing."""
    return {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if registered.get(name) != kind}


async def ensure_search_attributes(client: Client) -> bool:
    """True if the namespace has every search attribute of headgate, registered now if need be; never raises for a refusal.

    Where registering is not permitted, requests still run; `headgate doctor` prints the command for an administrator.
    """
    try:
        missing = missing_search_attributes(await registered_search_attributes(client))
        if missing:
            await _register(client, missing)
    except Unreachable:
        raise
    except HeadgateError:
        return False
    return True


async def _register(client: Client, missing: dict[str, str]) -> None:
    request = AddSearchAttributesRequest(
        namespace=client.namespace, search_attributes={name: _type_value(kind) for name, kind in missing.items()}
    )
    try:
        await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # somebody else was first
            raise translated(error, client) from error


def registration_commands(missing: dict[str, str], namespace: str) -> list[str]:
    """What an administrator types to register them by hand."""
    return [
        f"temporal operator search-attribute create --namespace {namespace} --name {name} --type {kind}"
        for name, kind in missing.items()
    ]


def _type_value(kind: str) -> IndexedValueType.ValueType:
    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")


def _type_name(value: IndexedValueType.ValueType) -> str:
    return IndexedValueType.Name(value).removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")
