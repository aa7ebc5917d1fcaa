"""Memory dumps that the hypervisor wrote of crashed guests become crash dumps, each with a VDI that stands for its
file.
"""

from __future__ import annotations

from agent.classes import VDI, VM, Crashdump
from agent.classes.enums import Cls, VdiType
from agent.observer.notices import SERVICE_FAILS, tell
from agent.observer.storage import outside_sr
from agent.ports import Domains, SeenDump
from agent.store.store import Store


def note(store: Store, domains: Domains) -> None:
    """Make the crash dumps what was seen."""
    seen = {dump.location: dump for dump in domains.crash_dumps()}
    if not seen and not store.count(Crashdump.wire_name):
        return
    with store.transaction():
        known = {dump.VDI.location: dump for dump in store.all(Crashdump)}
        for location, dump in seen.items():
            found = known.pop(location, None)
            if found is None:
                _adopt(store, dump)
            else:
                found.VDI.virtual_size, found.VDI.physical_utilisation = dump.size, dump.allocation
        for gone in known.values():
            vdi = gone.VDI
            store.destroy(gone)
            if not vdi.VBDs:
                store.destroy(vdi)


def _adopt(store: Store, dump: SeenDump) -> None:
    vm = store.known(VM, dump.domain_uuid)
    if vm is None:
        return
    made = vm.metrics.install_time if vm.metrics is not None else None
    if vm.ours and made is not None and dump.when < made.replace(microsecond=0):
        return  # of another machine of that name, which is gone
    vdi = VDI(
        SR=outside_sr(store),
        name_label=dump.location.rsplit("/", 1)[-1],
        name_description=f"memory of {vm.name_label} when it crashed"[:255],
        type=VdiType.CRASHDUMP,
        virtual_size=dump.size,
        read_only=True,
    )
    vdi.format, vdi.location, vdi.managed = "raw", dump.location, False
    vdi.physical_utilisation = dump.allocation
    store.add(vdi)
    store.add(Crashdump(VM=vm, VDI=vdi))
    tell(
        store, "VM_CRASHED", SERVICE_FAILS, Cls.VM, vm.uuid, f"{vm.name_label or vm.uuid} crashed, and left its memory."
    )
