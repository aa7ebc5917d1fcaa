"""``/blob``: the bytes of a binary piece, sent and fetched whole.

Each upload is a file of its own, which the piece names once all of it is on the disk: what a reader gets is the old or
the new, also after a crash. A sweep removes the files that no piece names.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from agent.classes import Blob
from agent.errors import InvalidValue, OperationNotAllowed, RbacPermissionDenied, XenError
from agent.http.jobs import Job, Reply, find, refusal
from agent.http.transfers import Endpoint, Transfers
from agent.roles import Role
from agent.rpc.connection import Connection, Refusal
from agent.store.store import Store

SIZE_MAX = 16 * 1024 * 1024
TOTAL_MAX = 1024 * 1024 * 1024
CHUNK = 1024 * 1024
UPLOAD_SECONDS = 24 * 3600.0
"""A file that no piece names may belong to an upload under way, unless it is older."""


class Blobs:
    """The files of the binary pieces, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def serve(self, job: Job) -> str:
        """Fetch or send the bytes of a piece."""
        blob = job.wanted(Blob, "ref", "uuid")
        if job.upload is None:
            self._fetch(job, blob)
        else:
            self._take(job, blob)
        return ""

    def read(self, blob: Blob) -> bytes:
        """The bytes of a piece."""
        return (self.folder / blob.content).read_bytes() if blob.content else b""

    def _fetch(self, job: Job, blob: Blob) -> None:
        data = self.read(blob)
        job.begin(Reply(200, headers_of(blob), len(data)))
        if job.head_only:
            return
        assert job.download is not None
        for start in range(0, len(data), CHUNK):
            job.download.write(data[start : start + CHUNK])

    def _take(self, job: Job, blob: Blob) -> None:
        assert job.upload is not None
        assert job.call.session is not None
        store = job.call.store
        if Role.from_wire(job.call.session.role_name) < Role.VM_POWER_ADMIN:
            raise RbacPermissionDenied("http/put_blob", "it needs vm-power-admin or higher")
        if (job.upload.length or 0) > SIZE_MAX:
            raise InvalidValue("Content-Length", f"a binary piece has {SIZE_MAX} bytes at the most")
        if sum(each.size for each in store.all(Blob)) > TOTAL_MAX - SIZE_MAX:
            raise OperationNotAllowed("the binary pieces have no more room: destroy some")
        job.begin(None)
        data = job.upload.read(SIZE_MAX + 1)
        if len(data) > SIZE_MAX:
            raise InvalidValue("body", f"a binary piece has {SIZE_MAX} bytes at the most")
        name = f"{blob.uuid}.{secrets.token_hex(4)}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self.folder / name, data)
        with store.transaction():
            if store.is_live(blob):
                old, blob.content, blob.size = blob.content, name, len(data)
                blob.last_updated = datetime.now(UTC).replace(microsecond=0)
            else:
                old = name
        if old:
            (self.folder / old).unlink(missing_ok=True)

    def sweep(self, store: Store) -> None:
        """Remove the files that no piece names."""
        if not self.folder.is_dir():
            return
        named = {blob.content for blob in store.all(Blob)}
        uuids = {blob.uuid for blob in store.all(Blob)}
        for path in self.folder.iterdir():
            old = time.time() - path.stat().st_mtime > UPLOAD_SECONDS
            if path.name not in named and (old or path.name.partition(".")[0] not in uuids):
                path.unlink(missing_ok=True)


def headers_of(blob: Blob) -> dict[str, str]:
    """Headers of the bytes: they are never shown as a page of this host's."""
    return {"Content-Type": blob.mime_type, "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}


class BlobEndpoint(Endpoint):
    """The path, which answers for public pieces without a session too."""

    def __init__(self, transfers: Transfers, blobs: Blobs) -> None:
        methods = frozenset({"GET", "HEAD", "PUT"})
        super().__init__(transfers, "blob", "http/get_blob", methods, blobs.serve, least=Role.READ_ONLY)
        self._blobs = blobs

    async def answer(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        known = "session_id" in request.query or "session_id" in request.cookies or "Authorization" in request.headers
        if request.method == "PUT" or known:
            return await super().answer(connection, request)
        site = self.transfers.site
        value = request.query.get("ref") or request.query.get("uuid") or ""
        try:
            blob = find(site, Blob, value)
        except XenError as error:
            raise refusal(error) from None
        if not blob.public:
            return await super().answer(connection, request)
        try:
            data = await asyncio.wrap_future(site.lanes.beside(self._blobs.read, blob))
        except OSError as error:
            raise Refusal(500, f"it cannot be read: {error.strerror}") from error
        return web.Response(body=data, headers={"Server": "xen-host-agent", **headers_of(blob)})


def _write(path: Path, data: bytes) -> None:
    """Write a file that is on the disk when this returns."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OperationNotAllowed(f"the bytes cannot be kept: {error.strerror}") from error
