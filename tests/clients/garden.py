"""What XenGarden is for, by itself: a machine of a template, its life, and its end. Run by ``test_xengarden.py``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from XenGarden.Host import Host
from XenGarden.Network import Network
from XenGarden.session import create_session
from XenGarden.SR import SR
from XenGarden.VBD import VBD
from XenGarden.VDI import VDI
from XenGarden.VM import VM

MIB = 2**20


def look(session: Any) -> None:
    """Everything that can be listed, each field by its own call."""
    [host] = Host.list_host(session)
    assert int(host.get_free_memory()) <= int(host.get_total_memory())
    assert host.get_enabled()
    assert host.get_software_version()["product_version"]
    for each in (*Network.get_all(session), *SR.get_all(session), *VBD.get_all(session), *VDI.get_all(session)):
        assert each.get_record()["uuid"] == each.get_uuid()
    assert [vm for vm in VM.list_vm(session) if vm.get_power_state() == "Running"]


async def live(session: Any) -> None:
    """One machine from a template to its end."""
    [template] = [each for each in VM.list_templates(session) if each.get_name() == "Generic PVH"]
    vm = await template.clone("of the garden")
    await vm.provision()
    vm.set_description("grown")
    vm.set_vCPUs(2)
    vm.set_memory(str(256 * MIB))
    vm.add_xenstore({"vm-data/note": "green"})
    assert (vm.get_vCPUs(), vm.get_platform()["cores-per-socket"], vm.get_memory()) == ("2", "2", str(256 * MIB))
    [disk] = vm.get_Disks()
    content = disk.get_VDI()
    await vm.start()
    assert vm.get_power_state() == "Running"
    for step, state in ((vm.pause, "Paused"), (vm.unpause, "Running"), (vm.suspend, "Suspended")):
        await step()
        assert vm.get_power_state() == state
    session.xenapi.VM.resume(vm.vm, False, False)  # its own resume waits for a task that it never asked for
    await vm.force_reboot()
    await vm.snapshot("kept")
    await vm.shutdown()
    assert vm.get_power_state() == "Halted"
    await content.resize(str(int(content.get_virtual_size()) + 8 * MIB))
    for reference in session.xenapi.VM.get_snapshots(vm.vm):
        snapshot = VM(session, reference)
        kept = [each.get_VDI() for each in snapshot.get_Disks()]
        await snapshot.destroy()
        for each in kept:
            each.destroy()
    await vm.destroy()
    content.destroy()


def main(url: str, user: str, password: str) -> None:
    """Both, in one session."""
    session = create_session("here", {"here": {"host": url, "username": user, "password": password}})
    look(session)
    asyncio.run(live(session))
    print("ok")


main(*sys.argv[1:])
