"""``/export``: a whole machine with its disks, sent as an XVA file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from isal import isal_zlib

from agent import __version__
from agent.call import Call
from agent.classes import VDI, VM
from agent.classes.enums import PowerState, VbdType, VdiOperation, VmOperation
from agent.classes.lifecycle import require
from agent.errors import (
    HandleInvalid,
    ValueNotSupported,
)
from agent.http import ova, xva
from agent.http.claims import held
from agent.http.jobs import Job, Reply
from agent.http.streams import Download
from agent.model.entity import Entity
from agent.model.types import EPOCH
from agent.ports import VolumeReader

AS_HALTED: Mapping[str, Any] = {
    "power_state": PowerState.HALTED,
    "domid": -1,
    "current_operations": {},
    "allowed_operations": (),
    "is_a_snapshot": False,
    "snapshot_of": None,
    "snapshots": (),
    "snapshot_time": EPOCH,
    "snapshot_info": {},
    "resident_on": None,
    "consoles": (),
    "metrics": None,
    "guest_metrics": None,
    "parent": None,
    "children": (),
}
"""What an exported machine is told to be, as xapi tells it."""
IDLE: Mapping[str, Any] = {
    "current_operations": {},
    "allowed_operations": (),
    "currently_attached": False,
    "metrics": None,
}


def export_machine(job: Job) -> str:
    """Send a machine."""
    call = job.call
    vm = job.wanted(VM, "ref", "uuid")
    compression = job.word("use_compression", "false", "false", "true", "gzip", "zstd")
    if compression == "zstd":
        raise ValueNotSupported("use_compression", "zstd", "gzip is the only compression")
    with _exporting(call, vm), ExitStack() as opened:
        description, disks = _described(call, vm)
        readers: dict[str, VolumeReader] = {}
        for id, vdi in disks.items():
            opened.enter_context(held(call, vdi, VdiOperation.COPY))
            readers[id] = call.storage.read_volume(vdi, lambda part: call.progress(0.0))
            opened.callback(readers[id].close)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="export.xva"',
        }
        job.begin(Reply(200, headers, None))
        if not job.head_only:
            assert job.download is not None
            _send(call, description, readers, _Sink(job.download, packed=compression != "false"))
    return ""


class _Sink:
    """Where the archive goes, compressed or not."""

    def __init__(self, download: Download, *, packed: bool) -> None:
        self._download = download
        self._stream = isal_zlib.compressobj(1, wbits=31) if packed else None

    def write(self, data: bytes) -> None:
        packed = data if self._stream is None else self._stream.compress(data)
        if packed:
            self._download.write(packed)

    def end(self) -> None:
        if self._stream is not None:
            self._download.write(self._stream.flush())


def _send(call: Call, description: bytes, readers: Mapping[str, VolumeReader], sink: _Sink) -> None:
    sink.write(xva.member("ova.xml", description))
    whole = sum(reader.size for reader in readers.values()) or 1
    before = 0
    for id, reader in readers.items():
        for data, done in xva.pieces(reader, id):
            sink.write(data)
            call.progress((before + done) / whole)
        before += reader.size
    sink.write(xva.END)
    sink.end()


@contextmanager
def _exporting(call: Call, vm: VM) -> Iterator[None]:
    """Meanwhile the machine shows that it is exported."""
    task = call.task
    assert task is not None
    with call.store.transaction(wait=False):
        if not call.store.is_live(vm):
            raise HandleInvalid("VM", vm.ref)
        require(vm, VmOperation.EXPORT)
        vm.current_operations = {**vm.current_operations, task.ref: VmOperation.EXPORT}
    try:
        yield
    finally:
        with call.store.transaction(wait=False):
            if call.store.is_live(vm):
                vm.current_operations = {key: what for key, what in vm.current_operations.items() if key != task.ref}


def _described(call: Call, vm: VM) -> tuple[bytes, dict[str, VDI]]:
    """The description of a machine, and the disks whose content goes with it, by their ids in it and in their order."""
    with call.store.lock:
        parts: dict[Entity, None] = dict.fromkeys([vm, *vm.VBDs, *vm.VIFs])
        for vif in vm.VIFs:
            parts[vif.network] = None
        disks: dict[VDI, None] = {}
        for vbd in vm.VBDs:
            if vbd.VDI is not None:
                parts[vbd.VDI] = parts[vbd.VDI.SR] = None
                if vbd.type is not VbdType.CD:
                    disks[vbd.VDI] = None
        entities = list(parts)
        instead = {entity: AS_HALTED if entity is vm else IDLE for entity in entities}
        host = call.host.software_version
        version = {
            "hostname": call.host.hostname,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "product_version": host.get("product_version", ""),
            "product_brand": host.get("product_brand", ""),
            "build_number": __version__,
        }
        ids = {entity: f"Ref:{number}" for number, entity in enumerate(entities)}
        # xapi reads the disks in the order of their ids as text.
        sent = sorted((ids[vdi], vdi) for vdi in disks)
        return ova.write(entities, instead, version), dict(sent)
