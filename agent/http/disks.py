"""``/import_raw_vdi`` and ``/export_raw_vdi``: the content of one disk, as it lies or as a VHD or qcow2 image.

An upload is written beside the disk, which is what it was until the last byte has come and is on the disk. What is zero
is neither sent by the storage nor written to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from agent.call import Call
from agent.classes import VDI
from agent.classes.enums import VdiOperation
from agent.errors import InvalidValue, OperationNotAllowed, ValueNotSupported, VdiIoError, VdiTooSmall
from agent.http import qcow2, vhd
from agent.http.claims import held
from agent.http.jobs import Job, Reply
from agent.http.streams import Upload
from agent.messages.sr import note_room
from agent.messages.vdi_chains import tidy
from agent.ports import SeenVolume, VolumeReader, VolumeWriter

CHUNK = 1024 * 1024
ZEROES = bytes(CHUNK)
FORMATS = ("raw", "vhd", "qcow2")
TYPES = {"raw": "application/octet-stream", "vhd": "application/vhd", "qcow2": "application/x-qemu-disk"}
FINISHING = 0.05
"""The part of an import's progress that is left for what comes after the last byte."""
REPLACE_WAIT_SECONDS = 600.0
"""How long an upload that is all there waits for copies of the disk that are being made: it may have taken hours."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Image(Protocol):
    """A disk as a file of some format, made as it is sent."""

    length: int
    """Of the file, in bytes."""

    def parts(self) -> Iterator[bytes]:
        """All of it, in order."""


# --- out


def export_disk(job: Job) -> str:
    """Send a disk."""
    call = job.call
    vdi = job.wanted(VDI, "vdi")
    format = job.word("format", "raw", *FORMATS)
    if job.query.get("base"):
        raise ValueNotSupported("base", job.query["base"][:100], "only whole disks are exported")
    with held(call, vdi, VdiOperation.COPY):
        reader = call.storage.read_volume(vdi, lambda part: call.progress(0.0))
        try:
            _send(job, vdi, format, reader)
        finally:
            reader.close()
    return ""


def _send(job: Job, vdi: VDI, format: str, reader: VolumeReader) -> None:
    headers = {
        "Content-Type": TYPES[format],
        "Content-Disposition": f'attachment; filename="{vdi.uuid}.{format}"',
    }
    start, end = 0, reader.size
    status = 200
    if format == "raw":
        headers |= {"Accept-Ranges": "bytes", "ETag": f'"{reader.tag}"'}
        asked = _range(job, reader)
        if asked is not None:
            start, end = asked
            if start >= end:
                headers = {"Content-Range": f"bytes */{reader.size}"}
                job.begin(Reply(416, headers, 0))
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{reader.size}"
        length, parts = end - start, raw_parts(reader, start, end)
    else:
        image: Image = vhd.Image(reader, vdi.uuid) if format == "vhd" else qcow2.Image(reader)
        length, parts = image.length, image.parts()
    job.begin(Reply(status, headers, length))
    if job.head_only:
        return
    assert job.download is not None
    sent = 0
    for part in parts:
        job.download.write(part)
        sent += len(part)
        job.call.progress(sent / length)
    if sent != length:
        raise VdiIoError(f"{sent} bytes were sent instead of {length}")


def _range(job: Job, reader: VolumeReader) -> tuple[int, int] | None:
    """The one range that was asked for, as begin and end; None for the whole. More than one at once is not served."""
    unless = job.headers.get("If-Range")
    match = _RANGE.fullmatch(job.headers.get("Range", "").replace(" ", ""))
    if match is None or (unless is not None and unless != f'"{reader.tag}"'):
        return None
    first, last = match.groups()
    if not first:
        return (max(reader.size - int(last), 0), reader.size) if last else None
    return int(first), min(int(last) + 1, reader.size) if last else reader.size


def raw_parts(reader: VolumeReader, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a stretch. Holes are not read."""
    data_from, data_to = start, start
    while start < end:
        if start >= data_to:
            data_from, data_to = reader.next_data(start)
        if start < data_from:
            step = min(CHUNK, data_from - start, end - start)
            yield ZEROES if step == CHUNK else ZEROES[:step]
        else:
            step = min(CHUNK, data_to - start, end - start)
            yield reader.read(start, step)
        start += step


# --- in


def import_disk(job: Job) -> str:
    """Replace the content of a disk."""
    call = job.call
    assert job.upload is not None
    vdi = job.wanted(VDI, "vdi")
    format = job.word("format", "raw", *FORMATS)
    if job.query.get("chunked", "false").lower() == "true":
        raise ValueNotSupported("chunked", "true", "send HTTP's own chunks")
    with held(call, vdi, VdiOperation.BLOCKED):
        require_fit(vdi, format, job.upload.length)
        writer = call.storage.write_volume(vdi)
        try:
            job.begin(None)
            FILL[format](call, job.upload, vdi, writer)
            writer.finish(lambda part: call.progress(1.0 - FINISHING * (1.0 - part)))
            replace(call, vdi, writer)
        finally:
            writer.close()
    note_room(call, vdi.SR)
    return ""


def require_fit(vdi: VDI, format: str, length: int | None) -> None:
    """VDI_TOO_SMALL for an upload that by its length alone cannot fit."""
    if length is None:
        return
    if format == "raw" and length > vdi.virtual_size:
        raise VdiTooSmall(vdi, length)
    if format == "vhd" and length > vhd.longest(vdi.virtual_size):
        raise VdiTooSmall(vdi, length)
    if format == "qcow2" and length > qcow2.longest(vdi.virtual_size):
        raise VdiTooSmall(vdi, length)


def replace(call: Call, vdi: VDI, writer: VolumeWriter) -> None:
    """Put what was written in the place of the disk's content, in the lane of its storage."""
    location = vdi.location

    def swap() -> SeenVolume:
        if not call.store.is_live(vdi) or vdi.location != location:
            raise OperationNotAllowed("the disk was taken away or changed while its new content came")
        return writer.commit()

    below = vdi.parent
    with call.site.holds.holding("import", alone=[vdi], wait_seconds=REPLACE_WAIT_SECONDS):
        seen = call.site.lanes.submit(vdi.SR.ref, swap).result()
        with call.store.transaction():
            if call.store.is_live(vdi):
                vdi.location, vdi.format, vdi.parent = seen.location, seen.format, None
                vdi.physical_utilisation = seen.allocation
    tidy(call, below)


def _fill_raw(call: Call, upload: Upload, vdi: VDI, writer: VolumeWriter) -> None:
    """A raw image, which may be shorter than the disk: the rest is zero."""
    expected = upload.length or vdi.virtual_size
    position = 0
    buffer = memoryview(bytearray(CHUNK))
    while position < writer.size:
        part = buffer[: writer.size - position]
        got = upload.read_into(part)
        if not position + got:
            raise VdiIoError("nothing was sent")
        writer.write(position, part[:got])
        position += got
        call.progress((1.0 - FINISHING) * min(1.0, position / expected))
        if got < len(part):
            _require_end(upload)
            return
    if upload.bounded and upload.read(1):
        raise VdiTooSmall(vdi, position + 1)


def _require_end(upload: Upload) -> None:
    """VDI_IO_ERROR where nobody can tell whether the upload has ended or was cut."""
    if not upload.bounded:
        raise VdiIoError("the upload ended before its end")


def _fill_vhd(call: Call, upload: Upload, vdi: VDI, writer: VolumeWriter) -> None:
    def check(size: int) -> None:
        if size > writer.size:
            raise VdiTooSmall(vdi, size)

    try:
        for done in vhd.unpack(upload.read, upload.length, check, writer.write):
            call.progress((1.0 - FINISHING) * done)
    except vhd.Refused as error:
        raise InvalidValue("format", f"this is no VHD image that can be taken: {error}") from None


def _fill_qcow2(call: Call, upload: Upload, vdi: VDI, writer: VolumeWriter) -> None:
    limit = qcow2.longest(vdi.virtual_size)
    data = upload.read(qcow2.HEAD)
    size = call.storage.judge_image("qcow2", data)
    if size > writer.size:
        raise VdiTooSmall(vdi, size)
    received = len(data)
    writer.spool(data)
    buffer = memoryview(bytearray(CHUNK))
    while got := upload.read_into(buffer):
        received += got
        if received > limit:
            raise VdiTooSmall(vdi, received)
        writer.spool(buffer[:got])
        call.progress((1.0 - FINISHING) / 2 * min(1.0, received / (upload.length or limit)))
    _require_end(upload)
    writer.unpack("qcow2", lambda part: call.progress((1.0 - FINISHING) * (0.5 + part / 2)))


FILL: dict[str, Callable[[Call, Upload, VDI, VolumeWriter], None]] = {
    "raw": _fill_raw,
    "vhd": _fill_vhd,
    "qcow2": _fill_qcow2,
}
