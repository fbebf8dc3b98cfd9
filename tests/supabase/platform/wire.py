"""The two spellings of Realtime's messages: vsn 1.0.0 (objects) and 2.0.0 (arrays, and binary frames for broadcasts)."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

OBJECTS, ARRAYS = "1.0.0", "2.0.0"
CLIENT_BROADCAST, SERVER_BROADCAST = 3, 4
JSON_ENCODING = 1


@dataclass(frozen=True)
class Message:
    """One message, either way. `topic` starts with `realtime:`; but for heartbeats, whose topic is `phoenix`."""

    topic: str
    event: str
    payload: Any
    ref: str | None = None
    join_ref: str | None = None


def decoded(frame: str | bytes, vsn: str) -> Message:
    """What a client sent; ValueError: nothing that can be read."""
    try:
        if isinstance(frame, bytes):
            return _client_broadcast(frame)
        if vsn == ARRAYS:
            join_ref, ref, topic, event, payload = json.loads(frame)
            return Message(topic, event, payload, ref, join_ref)
        body = json.loads(frame)
        return Message(body["topic"], body["event"], body.get("payload"), body.get("ref"), body.get("join_ref"))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, IndexError) as problem:
        raise ValueError(f"not a message of vsn {vsn}: {problem}") from problem


def encoded(message: Message, vsn: str) -> str | bytes:
    """The frame that carries a message to a client."""
    if vsn == ARRAYS:
        if message.event == "broadcast":
            return _server_broadcast(message)
        return json.dumps([message.join_ref, message.ref, message.topic, message.event, message.payload])
    return json.dumps(
        {"topic": message.topic, "event": message.event, "payload": message.payload, "ref": message.ref}
        | ({"join_ref": message.join_ref} if message.join_ref else {})
    )


def _client_broadcast(frame: bytes) -> Message:
    """kind, five lengths (join_ref, ref, topic, event, metadata), encoding, those five, and the payload."""
    kind, *sizes, encoding = struct.unpack_from("!7B", frame)
    if kind != CLIENT_BROADCAST:
        raise ValueError(f"kind {kind} is none that clients send")
    parts, at = [], 7
    for size in sizes:
        parts.append(frame[at : at + size].decode())
        at += size
    join_ref, ref, topic, event, _ = parts
    payload = json.loads(frame[at:]) if encoding == JSON_ENCODING else frame[at:]
    return Message(topic, "broadcast", {"type": "broadcast", "event": event, "payload": payload}, ref, join_ref)


def _server_broadcast(message: Message) -> bytes:
    """kind, three lengths (topic, event, metadata; 255 bytes each at most), encoding, those three, and the payload."""
    topic, event = message.topic.encode(), str(message.payload["event"]).encode()
    meta = json.dumps(message.payload.get("meta") or {}).encode()
    head = struct.pack("!5B", SERVER_BROADCAST, len(topic), len(event), len(meta), JSON_ENCODING)
    return head + topic + event + meta + json.dumps(message.payload["payload"]).encode()
