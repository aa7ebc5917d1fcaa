"""An admin with the stock XenAPI package takes a machine from create to destroy, in one sitting."""

from __future__ import annotations

import threading
import xmlrpc.client
from typing import Any

import pytest
import XenAPI

from tests.front_door.conftest import Daemon, eventually, make_card, make_disk, make_vm, remove_vm

NULL = "OpaqueRef:NULL"


def failure(of: Any, *args: Any) -> list[str]:
    """The ErrorDescription that a call ends with."""
    with pytest.raises(XenAPI.Failure) as caught:
        of(*args)
    details: list[str] = caught.value.details
    return details


def test_a_machines_whole_life(api: Any) -> None:
    vm = make_vm(api)
    vbd, vdi = make_disk(api, vm)
    vif = make_card(api, vm)
    record = api.VM.get_record(vm)
    assert (record["power_state"], record["domid"], record["resident_on"]) == ("Halted", "-1", NULL)
    assert record["VBDs"] == [vbd]
    assert record["VIFs"] == [vif]
    assert api.VDI.get_VBDs(vdi) == [vbd]
    assert "start" in record["allowed_operations"]

    api.VM.start(vm, True, False)
    assert api.VM.get_power_state(vm) == "Paused"
    api.VM.unpause(vm)
    running = api.VM.get_record(vm)
    assert running["power_state"] == "Running"
    assert int(running["domid"]) > 0
    assert running["resident_on"] == api.host.get_all()[0]
    assert api.VBD.get_currently_attached(vbd)
    assert api.VIF.get_currently_attached(vif)
    assert failure(api.VM.start, vm, False, False) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]

    api.VM.pause(vm)
    assert api.VM.get_power_state(vm) == "Paused"
    api.VM.unpause(vm)
    api.VM.suspend(vm)
    assert api.VM.get_power_state(vm) == "Suspended"
    api.VM.resume(vm, False, False)
    before = api.VM.get_domid(vm)
    api.VM.clean_reboot(vm)
    assert api.VM.get_power_state(vm) == "Running"
    assert api.VM.get_domid(vm) != before
    api.VM.hard_reboot(vm)
    api.VM.set_VCPUs_number_live(vm, "2")
    assert api.VM_metrics.get_VCPUs_number(api.VM.get_metrics(vm)) == "2"
    api.VM.set_memory_dynamic_range(vm, str(128 * 2**20), str(192 * 2**20))
    assert api.VM_metrics.get_memory_actual(api.VM.get_metrics(vm)) == str(192 * 2**20)

    second, _ = make_disk(api, vm, "1")
    api.VBD.plug(second)
    assert api.VBD.get_currently_attached(second)
    api.VBD.unplug(second)
    assert not api.VBD.get_currently_attached(second)
    api.VIF.unplug(vif)
    assert not api.VIF.get_currently_attached(vif)
    api.VIF.plug(vif)

    api.VM.clean_shutdown(vm)
    assert api.VM.get_power_state(vm) == "Halted"
    details = failure(api.VM.destroy, vm)
    assert details[0] == "OPERATION_NOT_ALLOWED"
    assert vbd in details[1] or vif in details[1]
    remove_vm(api, vm)
    assert failure(api.VM.get_record, vm) == ["HANDLE_INVALID", "VM", vm]


def test_snapshot_clone_and_revert(api: Any) -> None:
    vm = make_vm(api, "original", name_description="before")
    vbd, _ = make_disk(api, vm)
    snapshot = api.VM.snapshot(vm, "kept")
    assert api.VM.get_snapshots(vm) == [snapshot]
    assert api.VM.get_snapshot_of(snapshot) == vm
    assert failure(api.VM.start, snapshot, False, False)[0] == "VM_IS_SNAPSHOT"
    api.VM.set_name_description(vm, "after")
    changed = api.VBD.get_VDI(vbd)
    api.VM.revert(snapshot)
    assert api.VM.get_name_description(vm) == "before"
    assert api.VBD.get_VDI(vbd) != changed
    twin = api.VM.clone(vm, "twin")
    assert api.VM.get_name_label(twin) == "twin"
    assert len(api.VM.get_VBDs(twin)) == 1
    copied = api.VBD.get_VDI(api.VM.get_VBDs(twin)[0])
    assert api.VDI.get_virtual_size(copied) == str(2**24)
    disks = [api.VBD.get_VDI(each) for each in api.VM.get_VBDs(snapshot)]
    api.VM.destroy(snapshot)
    for disk in disks:
        api.VDI.destroy(disk)
    remove_vm(api, twin)
    remove_vm(api, vm)


def test_verbs_as_tasks(api: Any) -> None:
    vm = make_vm(api, "patient")
    task = api.Async.VM.start(vm, False, False)
    record = eventually(lambda: (found := api.task.get_record(task))["status"] != "pending" and found, "the task's end")
    assert (record["status"], record["progress"], record["error_info"]) == ("success", 1.0, [])
    task = api.Async.VM.start(vm, False, False)
    eventually(lambda: api.task.get_status(task) == "failure", "the second start's failure")
    assert api.task.get_error_info(task) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    task = api.Async.VM.snapshot(vm, "kept")
    eventually(lambda: api.task.get_status(task) == "success", "the snapshot")
    snapshot = api.task.get_result(task).removeprefix("<value>").removesuffix("</value>")
    assert api.VM.get_snapshot_of(snapshot) == vm
    api.task.destroy(task)
    assert failure(api.task.get_status, task)[0] == "HANDLE_INVALID"
    api.VM.destroy(snapshot)
    remove_vm(api, vm)


def test_events_reach_a_waiting_client(daemon: Daemon, api: Any) -> None:
    start = getattr(api.event, "from")(["vm"], "", 0.0)
    known = {event["ref"] for event in start["events"]}
    assert known == set(api.VM.get_all())
    assert int(start["valid_ref_counts"]["vm"]) == len(known)
    heard: list[Any] = []
    waiting = daemon.login()
    waiter = threading.Thread(
        target=lambda: heard.append(getattr(waiting.xenapi.event, "from")(["vm"], start["token"], 30.0))
    )
    waiter.start()
    vm = make_vm(api, "news")
    waiter.join()
    (event,) = heard[0]["events"]
    assert (event["class"], event["operation"], event["ref"]) == ("vm", "add", vm)
    assert event["snapshot"] == api.VM.get_record(vm)
    api.VM.set_name_label(vm, "newer")
    later = getattr(api.event, "from")(["VM"], heard[0]["token"], 30.0)
    assert later["events"][-1]["snapshot"]["name_label"] == "newer"
    api.VM.destroy(vm)
    last = getattr(api.event, "from")([f"vm/{vm}"], later["token"], 30.0)
    assert [(each["operation"], "snapshot" in each) for each in last["events"]] == [("del", False)]
    waiting.xenapi.session.logout()


def test_live_numbers(api: Any) -> None:
    host = api.host.get_all()[0]
    metrics = api.host_metrics.get_record(api.host.get_metrics(host))
    assert int(metrics["memory_total"]) > int(metrics["memory_free"]) > 0
    processors = api.host_cpu.get_all_records().values()
    assert len(processors) > 0
    assert all(0.0 <= each["utilisation"] <= 1.0 for each in processors)
    vm = make_vm(api, "busy")
    vbd, _ = make_disk(api, vm)
    vif = make_card(api, vm)
    api.VM.start(vm, False, False)
    eventually(
        lambda: api.VM_metrics.get_VCPUs_utilisation(api.VM.get_metrics(vm)).get("0", 0.0) > 0.0, "a busy processor"
    )
    eventually(lambda: api.VBD_metrics.get_io_read_kbs(api.VBD.get_metrics(vbd)) > 0.0, "disk traffic")
    eventually(lambda: api.VIF_metrics.get_io_write_kbs(api.VIF.get_metrics(vif)) > 0.0, "network traffic")
    remove_vm(api, vm)


def test_what_the_hypervisor_has_is_adopted(api: Any) -> None:
    """libvirt's test hypervisor comes with a running domain called test, a network and a pool."""
    (vm,) = api.VM.get_by_name_label("test")
    record = api.VM.get_record(vm)
    assert record["power_state"] == "Running"
    assert record["uuid"] == "6695eb01-f6a4-8304-79aa-97f2502e193f"
    assert [each["bridge"] for each in api.network.get_all_records().values() if each["name_label"] == "default"]
    assert api.SR.get_by_name_label("default-pool")


def test_introspection_needs_no_session(daemon: Daemon) -> None:
    with xmlrpc.client.ServerProxy(daemon.url) as proxy:
        methods: Any = proxy.system.listMethods()
        assert "VM.start" in methods
        assert "Async.VM.start" in methods
        assert proxy.system.methodSignature("VM.get_name_label") == [["string", "session ref", "VM ref"]]
        assert "plug" in str(proxy.system.methodHelp("VM.hard_shutdown"))
