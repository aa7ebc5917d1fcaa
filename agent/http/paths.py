"""The paths of uploads, downloads and consoles."""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import ImportPrematureEof
from agent.http import disks, machines
from agent.http.consoles import Consoles
from agent.http.transfers import Endpoint, Transfers
from agent.rpc import server

GET, PUT = frozenset({"GET", "HEAD"}), frozenset({"PUT"})


def endpoints(transfers: Transfers) -> Mapping[str, server.Endpoint]:
    """Every path, with what is there."""
    return {
        "/import_raw_vdi": Endpoint(transfers, "VDI.import_raw", "http/put_import_raw_vdi", PUT, disks.import_disk),
        "/export_raw_vdi": Endpoint(transfers, "VDI.export_raw", "http/get_export_raw_vdi", GET, disks.export_disk),
        "/export": Endpoint(transfers, "VM.export", "http/get_export", GET, machines.export_machine),
        "/import": Endpoint(
            transfers, "VM.import", "http/put_import", PUT, machines.import_machine, ImportPrematureEof
        ),
        "/console": Consoles(transfers),
    }
