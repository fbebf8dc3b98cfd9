"""The stand-in for Storage: files with a row in storage.objects, whose policies decide as the user (`/storage/v1`).

1. Who may upload is asked by trying the insert as the user; a signed address is given where it would have gone through.
2. A signed address is good for one path, for two hours, and for nothing that is there already.
3. The row and the file appear together, once all has arrived; what a bucket's limit forbids leaves nothing behind.
4. The S3 form reads and removes whatever there is, for the holder of its secret alone.
5. Refusals have the platform's shape: HTTP 400, with the status that is meant in `statusCode`.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import jwt
import psycopg
from aiohttp import BodyPartReader, web

from tests.supabase.platform import s3
from tests.supabase.platform.permissions import AS_THE_USER, settings_of
from tests.supabase.platform.tokens import Claims, Refused, verified

SIGNED_SECONDS = 7200
_INSERT = "insert into storage.objects (bucket_id, name, owner_id, metadata) values (%s, %s, %s, %s)"


class Storage:
    """Files in `folder` for one database. `url` is a superuser's, `jwks` the keys of access tokens."""

    def __init__(self, url: str, folder: Path, jwks: Iterable[Mapping[str, Any]], keys: s3.Keys) -> None:
        self._url = url
        self._folder = folder
        self._jwks = list(jwks)
        self._secret = uuid.uuid4().hex
        self._keys = keys
        self.signed_seconds: float = SIGNED_SECONDS

    def routes(self) -> list[web.RouteDef]:
        """Under /storage/v1."""
        path = r"/{bucket}/{name:.+}"
        return [
            web.post("/storage/v1/object/upload/sign" + path, self._sign),
            web.put("/storage/v1/object/upload/sign" + path, self._upload_signed),
            web.post("/storage/v1/object/list/{bucket}", self._list),
            web.get("/storage/v1/object/{kind:authenticated|public}" + path, self._download),
            web.post("/storage/v1/object" + path, self._upload),
            web.put("/storage/v1/object" + path, self._upload),
            web.get("/storage/v1/object" + path, self._download),
            web.delete("/storage/v1/object/{bucket}", self._remove),
            web.get("/storage/v1/s3" + path, self._s3),
            web.post("/storage/v1/s3/{bucket}", self._s3_delete),
        ]

    def content(self, bucket: str, name: str) -> bytes | None:
        """What a file holds, for tests; None: there is none."""
        path = self._path(bucket, name)
        return path.read_bytes() if path.exists() else None

    async def _sign(self, request: web.Request) -> web.Response:
        bucket, name = _object(request)
        claims = self._user(request)
        async with self._connection() as connection, _rolled_back(connection):
            await _become(connection, claims)
            await _inserted(connection, bucket, name, claims, {})
        full = f"{bucket}/{name}"
        expiry = time.time() + self.signed_seconds
        body = {"url": full, "upsert": False, "owner": claims.get("sub"), "iat": int(time.time()), "exp": expiry}
        token = jwt.encode(body, self._secret, algorithm="HS256")
        return web.json_response({"url": f"/object/upload/sign/{full}?token={token}", "token": token})

    async def _upload_signed(self, request: web.Request) -> web.Response:
        bucket, name = _object(request)
        try:
            signed = jwt.decode(request.query.get("token", ""), self._secret, algorithms=["HS256"])
        except jwt.ExpiredSignatureError:
            _refuse(400, "InvalidJWT", '"exp" claim timestamp check failed')
        except jwt.InvalidTokenError:
            _refuse(400, "InvalidJWT", "signature verification failed")
        if signed["url"] != f"{bucket}/{name}":
            _refuse(400, "InvalidSignature", "Invalid signature")
        return await self._keep(request, bucket, name, {"sub": signed["owner"]}, as_the_user=False)

    async def _upload(self, request: web.Request) -> web.Response:
        bucket, name = _object(request)
        return await self._keep(request, bucket, name, self._user(request), as_the_user=True)

    async def _keep(
        self, request: web.Request, bucket: str, name: str, claims: Claims, as_the_user: bool
    ) -> web.Response:
        """Takes the body in, then makes row and file in one go."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arriving = self._folder / f".{uuid.uuid4()}"
        digest, size, kind = hashlib.md5(usedforsecurity=False), 0, "application/octet-stream"
        try:
            async with self._connection() as connection:
                limit = await _limit(connection, bucket)
                with arriving.open("wb") as file:
                    async for chunk, of_type in _body(request):
                        kind = of_type
                        size += len(chunk)
                        if limit is not None and size > limit:
                            _refuse(413, "Payload too large", "The object exceeded the maximum allowed size")
                        digest.update(chunk)
                        file.write(chunk)
                metadata = {
                    "eTag": f'"{digest.hexdigest()}"',
                    "size": size,
                    "contentLength": size,
                    "mimetype": kind,
                    "lastModified": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
                    "httpStatusCode": 200,
                }
                async with connection.transaction():
                    if as_the_user:
                        await _become(connection, claims)
                    await _inserted(connection, bucket, name, claims, metadata)
                    path = self._path(bucket, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    arriving.rename(path)
        finally:
            arriving.unlink(missing_ok=True)
        return web.json_response({"Key": f"{bucket}/{name}"})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        bucket, name = _object(request)
        claims = self._user(request)
        async with self._connection() as connection, _rolled_back(connection):
            await _become(connection, claims)
            found = "select 1 from storage.objects where bucket_id = %s and name = %s"
            if not await (await connection.execute(found, (bucket, name))).fetchone():
                _refuse(404, "not_found", "Object not found")
        return web.FileResponse(self._path(bucket, name))

    async def _list(self, request: web.Request) -> web.Response:
        prefix = (await request.json()).get("prefix", "")
        claims = self._user(request)
        async with self._connection() as connection, _rolled_back(connection):
            await _become(connection, claims)
            found = "select name, id::text from storage.objects where bucket_id = %s and starts_with(name, %s)"
            rows = await (await connection.execute(found, (request.match_info["bucket"], prefix))).fetchall()
        return web.json_response([{"name": name, "id": number} for name, number in rows])

    async def _remove(self, request: web.Request) -> web.Response:
        names = (await request.json()).get("prefixes", [])
        claims = self._user(request)
        bucket = request.match_info["bucket"]
        async with self._connection() as connection, connection.transaction():
            await _become(connection, claims)
            gone = "delete from storage.objects where bucket_id = %s and name = any(%s) returning name"
            rows = await (await connection.execute(gone, (bucket, names))).fetchall()
        for (name,) in rows:
            self._path(bucket, name).unlink(missing_ok=True)
        return web.json_response([{"bucket_id": bucket, "name": name} for (name,) in rows])

    async def _s3(self, request: web.Request) -> web.StreamResponse:
        return await s3.answer(self._keys, request, self._path(*_object(request)))

    async def _s3_delete(self, request: web.Request) -> web.Response:
        bucket, body = request.match_info["bucket"], await request.read()
        if refused := s3.refused(self._keys, request):
            return refused
        names = s3.names_to_delete(body)
        async with self._connection() as connection:
            gone = "delete from storage.objects where bucket_id = %s and name = any(%s)"
            await connection.execute(gone, (bucket, names))
        for name in names:
            self._path(bucket, name).unlink(missing_ok=True)
        return s3.deleted(names)

    def _user(self, request: web.Request) -> Claims:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token or token.startswith("sb_publishable_"):
            return {"role": "anon"}
        try:
            return verified(token, self._jwks)
        except Refused as refusal:
            _refuse(403, "Unauthorized", refusal.message)

    def _path(self, bucket: str, name: str) -> Path:
        """Where a file lies: under a hash of its name, so that no name leads anywhere else."""
        return self._folder / bucket.replace("/", "_") / hashlib.sha256(f"{bucket}/{name}".encode()).hexdigest()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            _refuse(544, "DatabaseTimeout", "The connection to the database timed out", http=544)
        async with connection:
            yield connection


def _object(request: web.Request) -> tuple[str, str]:
    return request.match_info["bucket"], request.match_info["name"]


async def _become(connection: psycopg.AsyncConnection[Any], claims: Claims) -> None:
    await connection.execute(AS_THE_USER, settings_of("", claims))


@asynccontextmanager
async def _rolled_back(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    async with connection.transaction(force_rollback=True):
        yield


async def _limit(connection: psycopg.AsyncConnection[Any], bucket: str) -> int | None:
    found = await connection.execute("select file_size_limit from storage.buckets where id = %s", (bucket,))
    row = await found.fetchone()
    if row is None:
        _refuse(404, "Bucket not found", "Bucket not found")
    limit: int | None = row[0]
    return limit


async def _inserted(
    connection: psycopg.AsyncConnection[Any], bucket: str, name: str, claims: Claims, metadata: Mapping[str, Any]
) -> None:
    try:
        await connection.execute(_INSERT, (bucket, name, claims.get("sub"), json.dumps(metadata)))
    except psycopg.errors.InsufficientPrivilege as problem:
        _refuse(403, "Unauthorized", problem.diag.message_primary or "not allowed")
    except psycopg.errors.UniqueViolation:
        _refuse(409, "Duplicate", "The resource already exists")
    except psycopg.errors.ForeignKeyViolation:
        _refuse(404, "Bucket not found", "Bucket not found")


async def _body(request: web.Request) -> AsyncIterator[tuple[bytes, str]]:
    """The file's pieces and its type: a raw body, or the form's part that has no name or is called `file`."""
    if not request.content_type.startswith("multipart/"):
        async for chunk in request.content.iter_any():
            yield chunk, request.content_type
        return
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name in ("", "file"):
            while chunk := await part.read_chunk():
                yield chunk, part.headers.get("Content-Type", "application/octet-stream")


def _refuse(status: int, error: str, message: str, http: int = 400) -> NoReturn:
    body = json.dumps({"statusCode": str(status), "error": error, "message": message})
    refusal = web.HTTPBadRequest(text=body, content_type="application/json")
    refusal.set_status(http)
    raise refusal
