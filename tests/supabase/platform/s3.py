"""Files in S3's form: for the holder of a secret alone (AWS Signature Version 4), path-style, to read and to delete."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiohttp import web

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
CLOCKS_DIFFER = timedelta(minutes=15)


@dataclass(frozen=True)
class Keys:
    """What an S3 client is given."""

    key_id: str
    secret: str = field(repr=False)
    region: str = "local"


async def answer(keys: Keys, request: web.Request, path: Path) -> web.StreamResponse:
    """The file, whole or a range of it, or its headers for HEAD."""
    if answer := refused(keys, request):
        return answer
    if not await asyncio.to_thread(path.exists):
        return _refused(404, "NoSuchKey")
    content = await asyncio.to_thread(path.read_bytes)
    etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    return web.FileResponse(path, headers={"ETag": etag})


def refused(keys: Keys, request: web.Request) -> web.Response | None:
    """The answer to a request whose signature is not right."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    url = request.rel_url
    why = refusal(keys, request.method, url.raw_path, url.raw_query_string, headers)
    return _refused(403, why) if why else None


def names_to_delete(body: bytes) -> list[str]:
    """The keys that a DeleteObjects names."""
    return [key.text or "" for key in ET.fromstring(body).iter(f"{{{NAMESPACE}}}Key")]


def deleted(names: Iterable[str]) -> web.Response:
    """What a DeleteObjects is told: these are gone."""
    gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
    return web.Response(
        content_type="application/xml",
        text=f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult xmlns="{NAMESPACE}">{gone}</DeleteResult>',
    )


def refusal(keys: Keys, method: str, raw_path: str, query: str, headers: Mapping[str, str]) -> str:
    """Why a request is refused, in S3's codes; "" where its signature is right. `headers` by lower-case names."""
    given = headers.get("authorization", "")
    algorithm, _, rest = given.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if algorithm != "AWS4-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
        return "AccessDenied"
    key_id, _, scope = parts["Credential"].partition("/")
    when = headers.get("x-amz-date", "")
    if key_id != keys.key_id:
        return "InvalidAccessKeyId"
    if scope != f"{when[:8]}/{keys.region}/s3/aws4_request":
        return "AuthorizationHeaderMalformed"
    try:
        sent = datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "AccessDenied"
    if abs(datetime.now(UTC) - sent) > CLOCKS_DIFFER:
        return "RequestTimeTooSkewed"
    signed = parts["SignedHeaders"].split(";")
    if "host" not in signed:
        return "AccessDenied"
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [
            method,
            raw_path,
            "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            parts["SignedHeaders"],
            headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ]
    )
    to_sign = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing_key = f"AWS4{keys.secret}".encode()
    for step in scope.split("/"):
        signing_key = hmac.digest(signing_key, step.encode(), "sha256")
    wanted = hmac.new(signing_key, to_sign.encode(), "sha256").hexdigest()
    return "" if hmac.compare_digest(wanted, parts["Signature"]) else "SignatureDoesNotMatch"


def _refused(status: int, code: str) -> web.Response:
    return web.Response(
        status=status,
        content_type="application/xml",
        text=f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>',
    )
