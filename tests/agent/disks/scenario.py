"""Disk operations of an agent on real files, one after the other, each told before it begins. For tests that kill it.

``python -m tests.agent.disks.scenario STATE`` prints a line before each operation: what there is now, and what there
will be when it is done. A failpoint kills the process where its environment says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import drivers
from agent import failpoints
from agent.classes import SR, VDI, VM
from drivers import sparse
from drivers.disk_journal import nothing
from tests.door import Door

MIB = 2**20
NULL = "OpaqueRef:NULL"
POOL = "66666666-6666-4666-8666-666666666666"


def read(vdi: VDI) -> bytes:
    """What a guest reads, on the way through the chain that the images themselves tell, as QEMU goes it."""
    return shown(Path(vdi.location), vdi.format or "raw")


def shown(path: Path, format: str) -> bytes:
    """What an image shows. A qcow2 image is read as its specification says, for a process each would take too long."""
    raw = path.read_bytes()
    if format == "raw":
        return raw
    assert raw[:8] == b"QFI\xfb\0\0\0\x03"
    name_at, name_length, bits, size = struct.unpack(">QIIQ", raw[8:32])
    entries, table_at = struct.unpack(">4xIQ", raw[32:48])
    cluster, position = 1 << bits, struct.unpack(">I", raw[100:104])[0]
    result, below = bytearray(size), ""
    while (kind := struct.unpack(">II", raw[position : position + 8]))[0]:
        if kind[0] == 0xE2792ACA:
            below = raw[position + 8 : position + 8 + kind[1]].decode()
        position += 8 + (kind[1] + 7) // 8 * 8
    if name_at:
        under = shown(path.with_name(raw[name_at : name_at + name_length].decode()), below)[:size]
        result[: len(under)] = under
    for high, (upper,) in enumerate(struct.iter_unpack(">Q", raw[table_at : table_at + 8 * entries])):
        if upper := upper & 0x00FFFFFFFFFFFE00:
            for low, (entry,) in enumerate(struct.iter_unpack(">Q", raw[upper : upper + cluster])):
                start, data = (high * (cluster // 8) + low) * cluster, entry & 0x00FFFFFFFFFFFE00
                assert not entry >> 62 & 1, "a compressed cluster, which nobody makes here"
                if start < size and (data or entry & 1):
                    part = bytes(cluster) if entry & 1 else raw[data : data + cluster].ljust(cluster, b"\0")
                    result[start : start + cluster] = part[: size - start]
    return bytes(result)


def write(vdi: VDI, content: bytes, offset: int) -> None:
    """What a guest writes."""
    if (vdi.format or "raw") == "raw":
        with Path(vdi.location).open("r+b") as file:
            file.seek(offset)
            file.write(content)
        return
    with tempfile.NamedTemporaryFile() as told:
        told.write(content)
        told.flush()
        command = f"write -q -s {told.name} {offset} {len(content)}"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, vdi.location], check=True)


def summary(content: bytes) -> str:
    """A content, shortly."""
    return f"{len(content)}:{hashlib.sha256(content).hexdigest()[:16]}"


def pattern(number: int) -> bytes:
    """Sectors that are like no other number's."""
    return bytes([number % 255 + 1]) * 4096


class Scenario:
    """An agent, and what its disks must hold."""

    def __init__(self, state: Path, tell: Callable[[dict[str, Any]], None]) -> None:
        (state / "node.xml").write_text(
            f"<node><pool type='dir'><name>p</name><uuid>{POOL}</uuid><target><path>/p</path></target></pool></node>"
        )
        failpoint = failpoints.armed(os.environ, drivers.STEPS)
        reached = nothing if failpoint is None else failpoint.reached
        self.machine = drivers.open(f"test://{state}/node.xml", state, reached)
        self.door = Door(self.machine, state / "journal.db")
        self.content: dict[VDI, bytes] = {}
        self.vms = 0
        self._tell = tell
        self.sr = self.door.store.by_uuid(SR, POOL)

    def close(self) -> None:
        self.door.close()
        self.machine.close()

    def now(self) -> dict[str, Any]:
        return {"disks": sorted(map(summary, self.content.values())), "machines": self.vms}

    def does(
        self, name: str, *params: Any, adds: tuple[bytes, ...] = (), drops: tuple[VDI, ...] = (), vms: int = 0
    ) -> Any:
        """Call a message, after telling what there will be then."""
        before = self.now()
        left = [content for vdi, content in self.content.items() if vdi not in drops]
        after = {"disks": sorted(map(summary, (*left, *adds))), "machines": self.vms + vms}
        self._tell({"operation": name, "before": before, "after": after})
        value = self.door(name, *params)
        for vdi in drops:
            del self.content[vdi]
        self.vms += vms
        return value

    def create(self, type: str, size: int = MIB) -> VDI:
        args = {
            "SR": self.sr.ref,
            "virtual_size": size,
            "name_label": type,
            "sm_config": {"type": type} if type else {},
        }
        vdi: VDI = self.does("VDI.create", args, adds=(bytes(size),))
        self.content[vdi] = bytes(size)
        return vdi

    def write(self, vdi: VDI, number: int) -> None:
        self.door.idle()
        offset = 8192 * number
        write(vdi, pattern(number), offset)
        old = self.content[vdi]
        self.content[vdi] = old[:offset] + pattern(number) + old[offset + 4096 :]

    def copied(self, verb: str, vdi: VDI, *params: Any) -> VDI:
        made: VDI = self.does(f"VDI.{verb}", vdi, *params, adds=(self.content[vdi],))
        self.content[made] = self.content[vdi]
        return made

    def resize(self, vdi: VDI, size: int) -> None:
        grown = self.content[vdi] + bytes(size - len(self.content[vdi]))
        self.does("VDI.resize", vdi, size, adds=(grown,), drops=(vdi,))
        self.content[vdi] = grown

    def destroy(self, vdi: VDI) -> None:
        self.does("VDI.destroy", vdi, drops=(vdi,))

    def machine_with(self, *vdis: VDI) -> VM:
        vm: VM = self.does("VM.create", {"name_label": "m"}, vms=1)
        for place, vdi in enumerate(vdis):
            self.door("VBD.create", {"VM": vm.ref, "VDI": vdi.ref, "userdevice": str(place)})
        return vm

    def of_machine(self, verb: str, vm: VM, *params: Any) -> VM:
        """VM.clone, copy or snapshot."""
        disks = [vbd.VDI for vbd in vm.VBDs if vbd.VDI is not None]
        made: VM = self.does(f"VM.{verb}", vm, *params, adds=tuple(self.content[vdi] for vdi in disks), vms=1)
        for vbd, vdi in zip(made.VBDs, disks, strict=True):
            assert vbd.VDI is not None
            self.content[vbd.VDI] = self.content[vdi]
        return made

    def revert(self, vm: VM, snapshot: VM) -> None:
        old = tuple(vbd.VDI for vbd in vm.VBDs if vbd.VDI is not None)
        kept = tuple(self.content[vbd.VDI] for vbd in snapshot.VBDs if vbd.VDI is not None)
        self.does("VM.revert", snapshot, adds=kept, drops=old)
        for vbd, content in zip(vm.VBDs, kept, strict=True):
            assert vbd.VDI is not None
            self.content[vbd.VDI] = content


def play(scenario: Scenario) -> None:
    """Every disk operation there is."""
    raw, qcow2 = scenario.create(""), scenario.create("qcow2")
    for number, vdi in enumerate((raw, qcow2)):
        scenario.write(vdi, number)
    clone = scenario.copied("clone", raw)
    scenario.write(raw, 2)
    scenario.write(clone, 3)
    snapshot = scenario.copied("snapshot", qcow2)
    scenario.resize(clone, 2 * MIB)
    whole = scenario.copied("copy", clone)
    scenario.copied("copy", whole)
    scenario.destroy(clone)
    scenario.write(snapshot, 4)
    vm = scenario.machine_with(raw, qcow2)
    taken = scenario.of_machine("snapshot", vm, "s")
    scenario.write(raw, 5)
    scenario.write(qcow2, 6)
    scenario.revert(vm, taken)
    scenario.of_machine("clone", vm, "c")
    scenario.of_machine("copy", vm, "d", NULL)
    scenario.destroy(snapshot)
    scenario.destroy(whole)


def share(source: int, target: int) -> bool:
    """Stands for a file system that can share blocks."""
    for done in sparse._copied(source, target, 2**30):
        assert done
    return True


def main() -> None:
    """One run. With a second word, on a file system that can share blocks."""
    if len(sys.argv) > 2:
        sparse.share = share
    scenario = Scenario(Path(sys.argv[1]), lambda told: print(json.dumps(told), flush=True))
    play(scenario)
    scenario.close()


if __name__ == "__main__":
    main()
