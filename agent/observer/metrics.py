"""A measurement becomes the fields of the metrics classes. They are quiet: a new value makes no event."""

from __future__ import annotations

from agent.classes import VM, Host
from agent.ports import DomainReading, Reading
from agent.store.store import Store

SLICE = 10
"""Machines noted in one transaction, so that nobody waits long for the lock."""


def note(store: Store, reading: Reading) -> None:
    """Assign what was measured."""
    machines = [(vm, seen) for uuid, seen in reading.domains.items() if (vm := store.known(VM, uuid)) is not None]
    for start in range(0, len(machines), SLICE):
        with store.transaction(wait=False):
            for vm, seen in machines[start : start + SLICE]:
                if store.is_live(vm):
                    _machine(vm, seen, reading)
    with store.transaction(wait=False):
        _host(store, reading)


def _machine(vm: VM, seen: DomainReading, reading: Reading) -> None:
    metrics = vm.metrics
    if metrics is not None:
        metrics.VCPUs_utilisation = dict(seen.VCPUs_utilisation)
        metrics.VCPUs_CPU = dict(seen.VCPUs_CPU)
        metrics.VCPUs_flags = {number: tuple(flags) for number, flags in seen.VCPUs_flags.items()}
        metrics.memory_actual = seen.memory_actual
        metrics.last_updated = reading.when
    if vm.guest_metrics is not None and seen.guest_memory:
        vm.guest_metrics.memory = dict(seen.guest_memory)
    for vbd in vm.VBDs:
        if vbd.metrics is not None and vbd.device in seen.disks:
            vbd.metrics.io_read_kbs, vbd.metrics.io_write_kbs = seen.disks[vbd.device]
            vbd.metrics.last_updated = reading.when
    for vif in vm.VIFs:
        if vif.metrics is not None and (rates := seen.nics.get(vif.MAC.lower())) is not None:
            vif.metrics.io_read_kbs, vif.metrics.io_write_kbs = rates
            vif.metrics.last_updated = reading.when


def _host(store: Store, reading: Reading) -> None:
    host = store.only(Host)
    seen = reading.host
    if host.metrics is not None:
        host.metrics.memory_total, host.metrics.memory_free = seen.memory_total, seen.memory_free
        host.metrics.last_updated = reading.when
    for cpu in host.host_CPUs:
        if cpu.number in seen.cpus:
            cpu.utilisation = seen.cpus[cpu.number]
    for pif in host.PIFs:
        if pif.metrics is not None and pif.device in seen.interfaces:
            pif.metrics.io_read_kbs, pif.metrics.io_write_kbs = seen.interfaces[pif.device]
            pif.metrics.last_updated = reading.when
