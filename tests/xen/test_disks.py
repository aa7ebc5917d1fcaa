"""Disks of a running guest on a real Xen: cloned and snapshotted while it writes, with what is in them compared.

The guest writes numbered lines to its disk, one after the other. A snapshot of it must be a moment of that: all lines
up to one number, in order, and nothing after it. The disk is a file of a folder, or a volume of a group on the second
disk of dom0. A PV guest shows it: what the others have between them and the disk is not ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.xen.installed import wait_until
from tests.xen.machines import MIB, Machine, Workshop

DISK = 16 * MIB
LINE = 4096
SECOND_DISK = "/dev/vdb"
WRITER = (
    'setsid sh -c \'n=0; while [ $n -lt {lines} ]; do n=$((n + 1)); printf "%-4095s\\n" line$n;'
    " [ $((n % 100)) = 0 ] && read -r -t 1 nothing <>/run/never; done"
    " | dd of=/dev/xvda bs=4096 iflag=fullblock oflag=direct conv=notrunc 2>/dev/null' </dev/null >/dev/null 2>&1 &"
)
"""A line a block, each on the disk before the next, and a rest of a second after a hundred."""


@pytest.fixture(scope="module", params=["file", "lvm"])
def storage(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[str]:
    """An SR of the kind that the guest's disk is in; what is made in it goes with it."""
    if request.param == "file":
        yield workshop.SR
        return
    api = workshop.api
    [host] = api.host.get_all()
    workshop.dom0.run(f"vgs lab_group 2>/dev/null || vgcreate --yes lab_group {SECOND_DISK}")
    SR = str(api.SR.create(host, {"name": "lab_group"}, "0", "lab group", "", "lvm", "user", False, {}))
    yield SR
    for vdi in api.SR.get_VDIs(SR):
        if api.VDI.get_managed(vdi):
            api.VDI.destroy(vdi)
    for pbd in api.SR.get_PBDs(SR):
        api.PBD.unplug(pbd)
    api.SR.forget(SR)
    workshop.dom0.run("vgremove --force --yes lab_group")


@pytest.fixture
def writing(workshop: Workshop, storage: str) -> Iterator[Machine]:
    """A running PV guest that writes to its disk."""
    api = workshop.api
    machine = workshop.make("pv")
    record = {"name_label": "written to", "SR": storage, "virtual_size": str(DISK), "type": "user"}
    vdi = api.VDI.create(record)
    api.VBD.create({"VM": machine.vm, "VDI": vdi, "userdevice": "0", "mode": "RW", "type": "Disk"})
    zero(machine, vdi)
    machine.start()
    machine.run(WRITER.format(lines=DISK // LINE))
    wait_until(lambda: machine.number("disk.xvda.written_bytes") > 16 * LINE, "the guest writes")
    yield machine
    for snapshot in api.VM.get_snapshots(machine.vm):
        remove(machine, snapshot)
    machine.remove()


def zero(machine: Machine, vdi: str) -> None:
    """What a volume had in it before must not be taken for lines."""
    machine.dom0.run(f"dd if=/dev/zero of={machine.api.VDI.get_location(vdi)} bs=1M count={DISK // MIB} conv=notrunc")


def remove(machine: Machine, vm: str) -> None:
    """A machine, or a snapshot, with its disks."""
    api: Any = machine.api
    vdis = [api.VBD.get_VDI(vbd) for vbd in api.VM.get_VBDs(vm) if not api.VBD.get_empty(vbd)]
    if not api.VM.get_is_a_snapshot(vm):
        for vbd in api.VM.get_VBDs(vm):
            api.VBD.destroy(vbd)
        for vif in api.VM.get_VIFs(vm):
            api.VIF.destroy(vif)
    api.VM.destroy(vm)
    for vdi in vdis:
        api.VDI.destroy(vdi)


def disk_of(machine: Machine, vm: str) -> str:
    [vdi] = [machine.api.VBD.get_VDI(vbd) for vbd in machine.api.VM.get_VBDs(vm)]
    return str(vdi)


def whole(machine: Machine, vdi: str) -> str:
    """The raw content of a disk in dom0: a file to compare and to look into."""
    location = str(machine.api.VDI.get_location(vdi))
    if not location.endswith(".qcow2"):
        return location
    raw = f"/root/{machine.api.VDI.get_uuid(vdi)}.raw"
    machine.dom0.run(f"qemu-img convert -U -f qcow2 -O raw {location} {raw}")
    return raw


def lines_in(machine: Machine, vdi: str) -> int:
    """How many lines are on a disk; fails unless they are all up to one, in order, with zeroes behind."""
    place = whole(machine, vdi)
    script = (
        "import sys\n"
        f"data = open({place!r}, 'rb').read({DISK})\n"
        f"blocks = [data[at:at + {LINE}] for at in range(0, {DISK}, {LINE})]\n"
        "count = next((n for n, block in enumerate(blocks) if not block.startswith(b'line')), len(blocks))\n"
        f"wanted = [(b'line%d' % (n + 1)).ljust({LINE - 1}) + b'\\n' for n in range(count)]\n"
        "assert blocks[:count] == wanted, 'torn'\n"
        "assert not any(map(any, blocks[count:])), 'something lies behind'\n"
        "print(count)\n"
    )
    return int(machine.dom0.run("python3 -", input=script).stdout)


def digest(machine: Machine, vdi: str) -> str:
    return machine.dom0.run(f"sha256sum {whole(machine, vdi)}").stdout.split()[0]


def test_a_snapshot_of_a_guest_that_writes_is_a_moment_of_it(writing: Machine) -> None:
    api = writing.api
    counts, digests = [], {}
    for number in range(3):
        snapshot = str(api.VM.snapshot(writing.vm, f"moment {number}"))
        vdi = disk_of(writing, snapshot)
        counts.append(lines_in(writing, vdi))
        digests[vdi] = digest(writing, vdi)
        assert writing.power_state == "Running"
        wait_until(lambda: api.VM.get_power_state(writing.vm) == "Running", "the guest goes on")
    assert counts == sorted(counts)
    assert counts[0] > 0
    wait_until(lambda: writing.number("disk.xvda.written_bytes") >= DISK, "the guest has written all")
    assert {vdi: digest(writing, vdi) for vdi in digests} == digests, "a snapshot changed after it was taken"
    writing.halt()
    assert lines_in(writing, disk_of(writing, writing.vm)) == DISK // LINE


def test_a_clone_of_a_snapshot_goes_its_own_way(writing: Machine) -> None:
    """What is written to the clone neither the snapshot nor the running guest sees, and the other way round."""
    api = writing.api
    snapshot = str(api.VM.snapshot(writing.vm, "moment"))
    kept = disk_of(writing, snapshot)
    before, count = digest(writing, kept), lines_in(writing, kept)
    clone = str(api.VM.clone(snapshot, "another"))
    api.VM.set_is_a_template(clone, False)
    own = disk_of(writing, clone)
    assert digest(writing, own) == before
    wait_until(lambda: writing.number("disk.xvda.written_bytes") > (count + 8) * LINE, "the guest writes on")
    assert (digest(writing, own), digest(writing, kept)) == (before, before)
    api.VDI.resize(own, str(2 * DISK))
    assert lines_in(writing, own) == count
    assert digest(writing, kept) == before
    remove(writing, clone)
    assert lines_in(writing, kept) == count


def test_a_revert_brings_the_moment_back_and_leaves_no_disk_behind(writing: Machine, storage: str) -> None:
    api = writing.api
    disks = len(api.SR.get_VDIs(storage))
    snapshot = str(api.VM.snapshot(writing.vm, "moment"))
    before = digest(writing, disk_of(writing, snapshot))
    wait_until(lambda: writing.number("disk.xvda.written_bytes") >= DISK, "the guest has written all")
    api.VM.revert(snapshot)
    assert writing.power_state == "Halted"
    assert digest(writing, disk_of(writing, writing.vm)) == before
    remove(writing, snapshot)
    assert len(api.SR.get_VDIs(storage)) == disks


def test_a_checkpoint_brings_memory_and_disk_of_one_moment_back(writing: Machine) -> None:
    """The guest that comes back is the one that was booted then, and it writes the rest of its lines to the disk that
    it has now: none is missing, none was written by another guest.
    """
    api = writing.api
    boot = writing.state()["boot"]
    checkpoint = str(api.VM.checkpoint(writing.vm, "with memory"))
    assert (writing.power_state, api.VM.get_power_state(checkpoint)) == ("Running", "Suspended")
    assert writing.wait_until_it_answers()["boot"] == boot
    kept = disk_of(writing, checkpoint)
    before, count = digest(writing, kept), lines_in(writing, kept)
    assert 0 < count < DISK // LINE
    wait_until(lambda: writing.number("disk.xvda.written_bytes") >= DISK, "the guest has written all")
    writing.halt()
    api.VM.revert(checkpoint)
    assert writing.power_state == "Suspended"
    assert digest(writing, disk_of(writing, writing.vm)) == before
    api.VM.resume(writing.vm, False, False)
    assert writing.wait_until_it_answers()["boot"] == boot, "it was booted anew"
    wait_until(lambda: writing.number("disk.xvda.written_bytes") >= DISK, "the guest writes the rest again")
    assert digest(writing, kept) == before
    writing.halt()
    assert lines_in(writing, disk_of(writing, writing.vm)) == DISK // LINE


def test_a_disk_of_a_guest_that_writes_is_neither_replaced_nor_resized_nor_destroyed(writing: Machine) -> None:
    api = writing.api
    vdi = disk_of(writing, writing.vm)
    for verb, more in (("resize", [str(2 * DISK)]), ("resize_online", [str(2 * DISK)]), ("snapshot", [])):
        with pytest.raises(Exception, match="VDI_IN_USE"):
            getattr(api.VDI, verb)(vdi, *more)
    with pytest.raises(Exception, match=r"VDI_IN_USE|OPERATION_NOT_ALLOWED"):
        api.VDI.destroy(vdi)
