"""The verbs, and what they are walked on. Those that only change fields of an object follow from the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from uuid import uuid4

from agent.classes import ABSENT
from agent.model import types
from agent.model.entity import Entity
from agent.model.messages import Kind, Message
from tests.door import sealed
from tests.faults.walk import hosts as h
from tests.faults.walk.hosts import MIB, NULL
from tests.faults.walk.uploads import exported, put, raw
from tests.faults.walk.walk import ALL, Stage, Verb

NEXT_START = "a device that the machine has from its next start on, as a halted one has it from creation"
BASE = "a disk that is laid over a base of its own, which the next clone of it makes use of"
LONELY = "a base that one disk only is laid over, which goes with that disk"
PROPOSED = "which processors the pool is to have when it is activated the next time, as they were"
UNUSED = "a disk of which nobody makes use any more, as the log says"
UNNAMED = "a kernel that no machine names, which is removed after a while"
STARTED = ("VM.start",)
RESUMED = ("VM.resume",)

MACHINES = [
    Verb("VM.create", lambda s: ({"name_label": "new"},)),
    Verb("VM.create", lambda s: ({"name_label": "new", "is_a_template": True},), note="a template"),
    Verb("VM.destroy", lambda s: (h.bare(s),)),
    Verb("VM.destroy", lambda s: (h.snapshot(s, h.halted(s)),), note="a snapshot"),
    Verb("VM.destroy", lambda s: (h.checkpoint(s),), note="a snapshot with memory"),
    Verb("VM.set_is_a_template", lambda s: (h.halted(s), True), note="true"),
    Verb("VM.set_is_a_template", lambda s: (h.template(s), False), note="false"),
    Verb("VM.provision", lambda s: (h.template(s),)),
    Verb("VM.start", lambda s: (h.halted(s), False, False)),
    Verb("VM.start", lambda s: (h.halted(s), True, False), note="paused"),
    Verb("VM.start_on", lambda s: (h.halted(s), s.door.observer.host, False, False)),
    Verb("VM.pause", lambda s: (h.running(s),)),
    Verb("VM.unpause", lambda s: (h.paused(s),)),
    Verb("VM.clean_shutdown", lambda s: (h.running(s),)),
    Verb("VM.shutdown", lambda s: (h.running(s),)),
    Verb("VM.hard_shutdown", lambda s: (h.running(s),)),
    Verb("VM.hard_shutdown", lambda s: (h.suspended(s),), note="suspended"),
    Verb("VM.clean_reboot", lambda s: (h.running(s),)),
    Verb("VM.hard_reboot", lambda s: (h.running(s),), parts=STARTED),
    Verb("VM.suspend", lambda s: (h.running(s),)),
    Verb("VM.resume", lambda s: (h.suspended(s), False, False)),
    Verb("VM.resume_on", lambda s: (h.suspended(s), s.door.observer.host, False, False)),
    Verb("VM.send_trigger", lambda s: (h.running(s), "reset")),
    Verb("VM.send_sysrq", lambda s: (h.running(s), "c")),
    Verb("VM.clone", lambda s: (h.halted(s), "twin"), leaves=BASE),
    Verb("VM.clone", lambda s: (h.halted(s, format="qcow2"), "twin"), note="qcow2", leaves=BASE),
    Verb("VM.clone", lambda s: (h.template(s), "twin"), note="a template"),
    Verb("VM.copy", lambda s: (h.halted(s), "twin", NULL)),
    Verb("VM.snapshot", lambda s: (h.halted(s), "kept"), leaves=BASE),
    Verb("VM.snapshot", lambda s: (h.halted(s, format="qcow2"), "kept"), note="qcow2", leaves=BASE),
    Verb("VM.snapshot", lambda s: (h.running(s), "kept"), note="running"),
    Verb("VM.checkpoint", lambda s: (h.running(s), "kept")),
    Verb("VM.revert", lambda s: (h.snapshot(s, h.halted(s)),), leaves=UNUSED),
    Verb("VM.revert", lambda s: (h.snapshot(s, h.halted(s, format="qcow2")),), note="qcow2", leaves=UNUSED),
    Verb("VM.revert", lambda s: (h.snapshot(s, h.running(s)),), note="running", parts=("VM.revert",), leaves=UNUSED),
    Verb("VM.revert", lambda s: (h.checkpoint(s),), note="with memory", parts=("VM.revert",), leaves=UNUSED),
    Verb("VM.set_VCPUs_number_live", lambda s: (h.running(s, VCPUs_at_startup=1), 2)),
    Verb("VM.add_to_VCPUs_params_live", lambda s: (h.running(s), "weight", "512")),
    Verb("VM.add_to_VCPUs_params_live", lambda s: (h.running(s), "mask", "0"), note="mask"),
    Verb(
        "VM.set_memory_dynamic_range",
        lambda s: (h.running(s), 64 * MIB, 96 * MIB),
        parts=("VM.set_memory_dynamic_range",),
    ),
    Verb("VM.set_memory_dynamic_max", lambda s: (h.running(s), 96 * MIB), parts=("VM.set_memory_dynamic_max",)),
    Verb("VM.set_memory_dynamic_min", lambda s: (h.running(s), 64 * MIB)),
    Verb("VM.set_memory_dynamic_max_live", lambda s: (h.running(s), 96 * MIB)),
    Verb("VM.set_memory_dynamic_min_live", lambda s: (h.running(s), 64 * MIB)),
    Verb("VM.set_memory_target_live", lambda s: (h.running(s), 96 * MIB)),
    Verb("VM.set_PV_kernel", lambda s: (h.halted(s), "data:,kernel"), fresh=True, leaves=UNNAMED),
    Verb("VM.set_PV_ramdisk", lambda s: (h.halted(s), "data:,ramdisk"), fresh=True, leaves=UNNAMED),
    Verb(
        "VM.cpu_pool_migrate",
        lambda s: (h.running(s), h.cpu_pool(s, activated=True)),
        fresh=True,
        parts=("VM.cpu_pool_migrate",),
    ),
    Verb(
        "crashdump.destroy", lambda s: (h.crashed(s),), fresh=True, leaves="the file, which the next look finds again"
    ),
    Verb("VM_appliance.start", lambda s: (h.appliance(s, h.halted), False), parts=("VM_appliance.start",)),
    Verb("VM_appliance.clean_shutdown", lambda s: (h.appliance(s, h.running),), parts=("VM_appliance.clean_shutdown",)),
    Verb("VM_appliance.shutdown", lambda s: (h.appliance(s, h.running),), parts=("VM_appliance.shutdown",)),
    Verb("VM_appliance.hard_shutdown", lambda s: (h.appliance(s, h.running),), parts=("VM_appliance.hard_shutdown",)),
    Verb("VMSS.snapshot_now", lambda s: (h.schedule(s),), leaves=BASE),
]
DEVICES = [
    Verb("VBD.plug", lambda s: (h.loose_disk(s, h.running(s)),)),
    Verb("VBD.unplug", lambda s: (h.plugged_disk(s),)),
    Verb("VBD.unplug_force", lambda s: (h.plugged_disk(s),)),
    Verb("VBD.insert", lambda s: (h.drive(s), h.medium(s)), fresh=True),
    Verb("VBD.eject", lambda s: (h.drive(s, h.medium(s)),), fresh=True),
    Verb("VBD.media_change", lambda s: (h.drive(s, h.medium(s)), h.medium(s)), fresh=True),
    Verb("VIF.plug", lambda s: (h.loose_card(s, h.running(s)),)),
    Verb("VIF.unplug", lambda s: (h.running(s).VIFs[0],)),
    Verb("VIF.unplug_force", lambda s: (h.running(s).VIFs[0],)),
    Verb("VIF.move", lambda s: (h.running(s).VIFs[0], h.bridge(s)), parts=("VIF.plug",)),
    Verb("VIF.move", lambda s: (h.halted(s).VIFs[0], h.bridge(s)), note="halted"),
    Verb("DPCI.create", lambda s: ({"VM": h.halted(s).ref, "PPCI": h.spare(s).ref},)),
    Verb(
        "DPCI.create",
        lambda s: ({"VM": h.hvm_running(s).ref, "PPCI": h.spare(s).ref},),
        note="running",
        fresh=True,
        leaves=NEXT_START,
    ),
    Verb("DPCI.destroy", lambda s: (h.given(s, h.hvm_running(s)),), note="running", parts=("DPCI.destroy",)),
    Verb("DPCI.destroy", lambda s: (h.given(s, h.halted(s)),)),
    Verb("VUSB.create", lambda s: (h.hvm(s), h.stick(s).USB_group, {})),
    Verb(
        "VUSB.create",
        lambda s: (h.hvm_running(s), h.stick(s).USB_group, {}),
        note="running",
        fresh=True,
        leaves=NEXT_START,
    ),
    Verb(
        "VUSB.unplug",
        lambda s: (h.plugged_stick(s),),
        fresh=True,
        leaves="which device it had, until its machine starts",
    ),
    Verb("VUSB.destroy", lambda s: (h.loose_stick(s),)),
]
STORAGE = [
    Verb("VDI.create", lambda s: ({"SR": h.sr(s).ref, "virtual_size": MIB, "type": "user"},)),
    Verb(
        "VDI.create",
        lambda s: ({"SR": h.sr(s).ref, "virtual_size": MIB, "type": "user", "sm_config": {"type": "qcow2"}},),
        note="qcow2",
    ),
    Verb("VDI.destroy", lambda s: (h.disk(s),)),
    Verb("VDI.destroy", lambda s: (h.cloned(s),), note="with a clone", leaves=LONELY),
    Verb("VDI.forget", lambda s: (h.disk(s),)),
    Verb("VDI.resize", lambda s: (h.disk(s), 2 * MIB)),
    Verb("VDI.resize", lambda s: (h.disk(s, "qcow2"), 2 * MIB), note="qcow2"),
    Verb("VDI.resize_online", lambda s: (h.disk(s), 2 * MIB)),
    Verb("VDI.set_virtual_size", lambda s: (h.disk(s), 2 * MIB)),
    Verb("VDI.clone", lambda s: (h.disk(s),), leaves=BASE),
    Verb("VDI.clone", lambda s: (h.disk(s, "qcow2"),), note="qcow2", leaves=BASE),
    Verb("VDI.snapshot", lambda s: (h.disk(s),), leaves=BASE),
    Verb("VDI.copy", lambda s: (h.disk(s), NULL)),
    Verb("VDI.copy", lambda s: (h.disk(s, "qcow2"), h.storage(s)), note="to other storage"),
    Verb(
        "SR.create",
        lambda s: (
            s.door.observer.host,
            {"location": f"/srv/{uuid4()}"},
            0,
            f"new {uuid4()}",
            "",
            "file",
            "user",
            False,
            {},
        ),
    ),
    Verb("SR.destroy", lambda s: (h.storage(s),)),
    Verb("SR.forget", lambda s: (h.detached(s),), parts=("SR.forget",)),
    Verb("SR.scan", lambda s: (h.storage(s),)),
    Verb("SR.update", lambda s: (h.storage(s),)),
    Verb("PBD.plug", lambda s: (h.detached(s).PBDs[0],)),
    Verb("PBD.unplug", lambda s: (h.storage(s).PBDs[0],), parts=("PBD.unplug",)),
    Verb(
        "PBD.set_device_config",
        lambda s: (h.detached(s).PBDs[0], {"location": f"/srv/{uuid4()}"}),
        parts=("PBD.set_device_config",),
    ),
]
HOST = [
    Verb("network.create", lambda s: ({"name_label": "made"},)),
    Verb("network.destroy", lambda s: (h.bridge(s),)),
    Verb("PIF.plug", lambda s: (h.switched(s, up=False),)),
    Verb("PIF.unplug", lambda s: (h.switched(s, up=True),)),
    Verb("PIF.create_VLAN", lambda s: ("eth1", h.bridge(s), s.door.observer.host, 7), fresh=True),
    Verb("pool.create_VLAN", lambda s: ("eth1", h.bridge(s), 7), fresh=True),
    Verb("pool.create_VLAN_from_PIF", lambda s: (h.pif(s, "eth1"), h.bridge(s), 7), fresh=True),
    Verb("PIF.destroy", lambda s: (h.vlan(s).untagged_PIF,)),
    Verb("VLAN.create", lambda s: (h.pif(s, "eth1"), 7, h.bridge(s)), fresh=True),
    Verb("VLAN.destroy", lambda s: (h.vlan(s),)),
    Verb("Bond.create", lambda s: (h.bridge(s), [h.pif(s, f"eth{n}").ref for n in (1, 2)], "", "lacp"), fresh=True),
    Verb("Bond.destroy", lambda s: (h.bond(s),)),
    Verb("Bond.set_mode", lambda s: (h.bond(s), "lacp"), fresh=True),
    Verb("Bond.set_property", lambda s: (h.bond(s, "lacp"), "lacp-time", "fast"), fresh=True),
    Verb("cpu_pool.activate", lambda s: (h.cpu_pool(s, activated=False),), fresh=True),
    Verb("cpu_pool.deactivate", lambda s: (h.cpu_pool(s, activated=True),), fresh=True),
    Verb(
        "cpu_pool.add_host_CPU_live",
        lambda s: (h.cpu_pool(s, activated=True), h.free_cpus(s)[0]),
        fresh=True,
        leaves=PROPOSED,
    ),
    Verb(
        "cpu_pool.remove_host_CPU_live",
        lambda s: (p := h.cpu_pool(s, activated=True), p.host_CPUs[0]),
        fresh=True,
        leaves=PROPOSED,
    ),
    Verb("cpu_pool.set_name_label", lambda s: (h.cpu_pool(s, activated=True), "renamed"), fresh=True),
    Verb("host.stop_guests", lambda s: (h.running(s) and s.door.observer.host,)),
]
UPLOADS = [
    Verb("/import_raw_vdi", lambda s: (h.disk(s),), send=raw),
    Verb("/import_raw_vdi", lambda s: (h.disk(s, "qcow2"),), note="qcow2", send=raw),
    Verb("/import", lambda s: (exported(s),), send=put, leaves="networks that it brought"),
]
VERBS = [*MACHINES, *DEVICES, *STORAGE, *HOST, *UPLOADS]


# --- what follows from the table

SUBJECTS: Mapping[str, Callable[[Stage], Entity]] = {
    "VM": lambda s: h.halted(s, format=None),
    "VBD": lambda s: h.halted(s).VBDs[0],
    "VIF": lambda s: h.halted(s).VIFs[0],
    "VDI": h.disk,
    "SR": h.storage,
    "PBD": lambda s: h.detached(s).PBDs[0],
    "network": h.bridge,
    "host": lambda s: s.door.observer.host,
    "pool": lambda s: s.door.observer.pool,
    "PIF": lambda s: h.pif(s, "eth1"),
    "cpu_pool": lambda s: h.cpu_pool(s, activated=False),
    "VM_appliance": lambda s: h.appliance(s, h.bare),
    "VMSS": h.schedule,
    "secret": lambda s: s.door("secret.create", {"value": "word"}),
    "blob": lambda s: s.door("blob.create", "text/plain"),
    "VTPM": lambda s: s.door("VTPM.create", {"VM": h.bare(s).ref, "other_config": {}}),
    "USB_group": lambda s: s.door("USB_group.create", "group", "", {}),
    "GPU_group": lambda s: s.door("GPU_group.create", "group", "", {}),
    "PUSB": h.stick,
}
"""Objects of classes whose fields clients change."""
THERE = {"host", "pool", "PIF", "PUSB", "cpu_pool"}
"""Of these there are so many on a host, and no more are made."""
DERIVED_EACH = 10_000 if ALL else 2
"""How many of the setters, adders and removers that follow from a class's fields are walked: they are alike."""

AT_A_START = {"cpu_pool.set_auto_power_on": "the pool, which is activated, as is asked for, when an agent starts"}
"""What the next agent does because it was asked for."""


def stored(class_name: str) -> Iterator[Verb]:
    """What changes fields of a class's objects only: written by hand, and some of what is derived."""
    left = {"set": DERIVED_EACH, "add": DERIVED_EACH, "remove": DERIVED_EACH}
    for message in sealed().messages.values():
        if message.class_name != class_name or message.kind is not Kind.WRITE:
            continue
        if message.derived and message.name not in ("create", "destroy"):
            prefix = message.name.split("_")[0]
            left[prefix] -= 1
            if left[prefix] < 0:
                continue
        leaves = AT_A_START.get(message.full_name, "")
        yield Verb(message.full_name, maker(message), derived=True, fresh=class_name in THERE, leaves=leaves)


def maker(message: Message) -> Callable[[Stage], tuple[Any, ...]]:
    def make(stage: Stage) -> tuple[Any, ...]:
        return tuple(value(stage, param.type) for param in message.params)

    return make


def value(stage: Stage, kind: types.Type) -> Any:
    """Something of a type that is not what a new object has."""
    match kind:
        case types.Ref():
            return SUBJECTS[kind.to](stage).ref if kind.to in SUBJECTS else NULL
        case types.Enum():
            return str(list(kind.of)[-1])
        case types.Set():
            return []
        case types.Map():
            return {"key": "value"} if isinstance(kind.value, types.String) else {}
        case types.Record():
            return {name: value(stage, field.type) for name, field in kind.fields.items() if field.required}
    plain: Mapping[type, Any] = {types.Int: 1, types.Float: 0.5, types.Bool: True}
    return next((given for type_, given in plain.items() if isinstance(kind, type_)), "word")


# --- what is not walked

NOT_WALKED: Mapping[str, str] = {
    "Refused*": "by its description it does nothing",
    "SECURITY_ERROR*": "by its description it does nothing",
    "get_* query_* has_* assert_* probe* scan dmesg update wait_* power_state_reset": "it looks",
    "PIF.forget PIF.db_forget PIF.introduce PIF.db_introduce": "each look at the host's cards does the same",
    "VDI.introduce": "a look at everything adopts what is in a storage, before it could be introduced",
    "*.disable_local_storage_caching SR.disable_database_replication pool.disable_redo_log": "nothing is to be done",
    "pool.disable_repository_proxy pool.designate_new_master pool.set_repositories": "nothing is to be done",
    "pool.emergency_transition_to_master pool.management_reconfigure": "nothing is to be done",
    "*.sync_*": "it waits for the journal",
    "session.* event.* task.* debug.* message.*": "these come and go with those who ask",
    "*.record_data_source *.forget_data_source_archives host.backup_rrds": "a file of numbers, replaced as a whole",
    "host.*_server_certificate user.*": "files of the agent's own, replaced as a whole",
    "*.call_host_plugin host.call_* host.bugreport_upload": "others' programs and servers",
    "host.reboot host.shutdown host.evacuate host.*_agent host.dmesg_clear host.send_debug_keys": "of the host itself",
    "DSCSI* PGPU.*": "there is none on the simulated host",
}
"""Why, by patterns of descriptions or names."""


def left_out() -> Iterator[Message]:
    """Messages that change something and are not walked."""
    walked, absent = {verb.name for verb in VERBS}, {cls.wire_name for cls in ABSENT}
    for message in sealed().messages.values():
        if message.full_name in walked or message.class_name in absent:
            continue
        stored = message.kind is Kind.WRITE and message.class_name in SUBJECTS
        alike = message.derived and message.name not in ("create", "destroy")
        if message.kind not in (Kind.READ, Kind.MEASURE, Kind.WAIT) and not stored and not alike:
            yield message


def is_explained(message: Message, patterns: str) -> bool:
    """Whether patterns of `NOT_WALKED` are about this message."""
    return any(
        fnmatchcase(text, pattern)
        for pattern in patterns.split()
        for text in (message.full_name, message.name, message.doc.split()[0].rstrip(":"))
    )
