"""The paths of uploads, downloads, consoles and numbers."""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import ImportPrematureEof
from agent.http import disks, numbers
from agent.http.blobs import BlobEndpoint, Blobs
from agent.http.consoles import Consoles
from agent.http.machine_export import export_machine
from agent.http.machine_import import import_machine
from agent.http.numbers import Numbers
from agent.http.transfers import Endpoint, Transfers
from agent.rpc import server

GET, PUT = frozenset({"GET", "HEAD"}), frozenset({"PUT"})


def endpoints(transfers: Transfers, blobs: Blobs) -> Mapping[str, server.Endpoint]:
    """Every path, with what is there."""
    return {
        "/import_raw_vdi": Endpoint(transfers, "VDI.import_raw", "http/put_import_raw_vdi", PUT, disks.import_disk),
        "/export_raw_vdi": Endpoint(transfers, "VDI.export_raw", "http/get_export_raw_vdi", GET, disks.export_disk),
        "/export": Endpoint(transfers, "VM.export", "http/get_export", GET, export_machine),
        "/rrd_updates": Numbers(transfers, numbers.updates),
        "/host_rrd": Numbers(transfers, numbers.host_archive),
        "/host_rrds": Numbers(transfers, numbers.host_archive),
        "/vm_rrd": Numbers(transfers, numbers.vm_archive),
        "/vm_rrds": Numbers(transfers, numbers.vm_archive),
        "/sr_rrd": Numbers(transfers, numbers.sr_archive),
        "/import": Endpoint(transfers, "VM.import", "http/put_import", PUT, import_machine, ImportPrematureEof),
        "/console": Consoles(transfers),
        "/blob": BlobEndpoint(transfers, blobs),
    }
