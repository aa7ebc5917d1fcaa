"""The journal as it is read: what was acknowledged is there again, and what no longer fits is named and left out."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent.classes import SR, VBD, VDI, VIF, VM, Console, Network, Task
from agent.classes.enums import OnCrash, PowerState, TaskStatus, VmOperation
from agent.errors import InternalError
from agent.model.entity import Entity
from agent.rpc import xmlrpc
from agent.store.journal import Journal, JournalError
from tests.agent.store.conftest import Lab, Open, furnish, kept, killed


def tamper(file: Path, statement: str, *values: object) -> None:
    """Change a journal that no store has open."""
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement, values)
    connection.close()


def rewrite(file: Path, uuid: str, **values: object) -> None:
    """Change members of the record of one object."""
    connection = sqlite3.connect(file)
    (data,) = connection.execute("SELECT data FROM records WHERE uuid=?", (uuid,)).fetchone()
    record = {**orjson.loads(data), **values}
    with connection:
        connection.execute("UPDATE records SET data=? WHERE uuid=?", (orjson.dumps(record), uuid))
    connection.close()


@pytest.fixture
def closed(open_store: Open) -> Lab:
    """What a furnished store had; its file is closed."""
    lab = furnish(open_store())
    lab.store.close()
    return lab


# --- what is kept


def test_all_that_was_acknowledged_is_there_after_reopening(open_store: Open, closed: Lab) -> None:
    again = open_store()
    assert kept(again) == kept(closed.store)
    vm = again.get(VM, closed.vm.ref)
    assert [vif.ref for vif in vm.VIFs] == [closed.vif.ref]
    assert [vbd.ref for vbd in again.get(VDI, closed.vdi.ref).VBDs] == [closed.vbd.ref]
    assert again.get(VIF, closed.vif.ref).network is again.get(Network, closed.network.ref)


@pytest.mark.fault("F7")
def test_all_that_was_acknowledged_is_there_after_a_kill(open_store: Open, file: Path) -> None:
    lab = furnish(open_store())
    with lab.store.transaction():
        lab.vm.name_label = "renamed"
        lab.store.destroy(lab.vif)
    again = open_store(killed(file, "killed"))
    assert kept(again) == kept(lab.store)
    assert again.get(VM, lab.vm.ref).name_label == "renamed"
    assert again.find("VIF", lab.vif.ref) is None


def test_every_kind_of_value_survives(open_store: Open) -> None:
    store = open_store()
    values: dict[str, Any] = {
        "name_label": "häuser \U0001f3e0 <&>\n",
        "memory_static_max": 2**62,
        "HVM_shadow_multiplier": 1.5,
        "has_vendor_device": True,
        "actions_after_crash": OnCrash.PRESERVE,
        "tags": ("b", "a"),
        "other_config": {"": "empty", "a b": "c"},
        "blocked_operations": {VmOperation.START: "because"},
        "snapshot_time": datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    }
    with store.transaction():
        vm = store.add(VM())
        for name, value in values.items():
            setattr(vm, name, value)
    store.close()
    again = open_store().get(VM, vm.ref)
    assert {name: getattr(again, name) for name in values} == values
    assert type(again.actions_after_crash) is OnCrash


@pytest.mark.fault("F7")
def test_what_the_hypervisor_owns_is_not_kept(open_store: Open) -> None:
    lab = furnish(open_store())
    with lab.store.transaction():
        lab.vm.power_state = PowerState.RUNNING
        lab.vm.domid = 7
    lab.store.close()
    again = open_store().get(VM, lab.vm.ref)
    assert (again.power_state, again.domid) == (PowerState.HALTED, -1)


def test_a_volatile_object_is_not_kept(open_store: Open) -> None:
    lab = furnish(open_store())
    with lab.store.transaction():
        console = Console()
        console.VM = lab.vm
        lab.store.add(console, volatile=True)
    with lab.store.transaction():
        console.other_config = {"a": "b"}
    lab.store.close()
    assert open_store().count("console") == 0


def test_bound_sets_are_made_again_from_their_other_ends(open_store: Open) -> None:
    lab = furnish(open_store())
    with lab.store.transaction():
        vifs = {lab.vif.ref} | {
            lab.store.add(VIF(VM=lab.vm, network=lab.network, device=str(n))).ref for n in (1, 2, 3)
        }
    lab.store.close()
    again = open_store()
    assert {vif.ref for vif in again.get(VM, lab.vm.ref).VIFs} == vifs
    assert {vif.ref for vif in again.get(Network, lab.network.ref).VIFs} == vifs


def test_what_is_derived_is_right_again_at_the_next_change(open_store: Open, closed: Lab) -> None:
    store = open_store()
    vm = store.get(VM, closed.vm.ref)
    with store.transaction():
        vm.name_label = "touched"
    assert VmOperation.START in vm.allowed_operations


def test_each_run_has_another_epoch(open_store: Open) -> None:
    epochs = []
    for _ in range(3):
        store = open_store()
        epochs.append(store.epoch)
        store.close()
    assert epochs == [1, 2, 3]


def test_nothing_can_be_changed_after_the_end(open_store: Open) -> None:
    lab = furnish(open_store())
    lab.store.close()
    with pytest.raises(InternalError, match="the agent is ending"), lab.store.transaction():
        lab.vm.name_label = "too late"
    assert lab.vm.name_label == "web"


# --- what no longer fits


def test_a_class_that_is_no_more_is_named_and_left_out(
    open_store: Open, closed: Lab, file: Path, classes: Mapping[str, type[Entity]], caplog: pytest.LogCaptureFixture
) -> None:
    without = {name: cls for name, cls in classes.items() if name not in ("VIF", "VIF_metrics")}
    again = open_store(file, without)
    assert "the journal has VIF, which this version does not keep" in caplog.text
    assert again.get(VM, closed.vm.ref).VIFs == ()
    again.close()
    assert open_store(file).count("VIF") == 1  # an older version, put back, has them still


def test_a_field_that_is_no_more_is_named_and_left_out(
    open_store: Open, closed: Lab, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(file, closed.vm.uuid, colour="blue", power_state="Running")
    again = open_store().get(VM, closed.vm.ref)
    assert "the journal has VM.colour, which this version does not keep" in caplog.text
    assert "the journal has VM.power_state," in caplog.text
    assert again.name_label == "web"
    assert again.power_state is PowerState.HALTED


def test_a_new_field_takes_its_default(open_store: Open, closed: Lab, file: Path) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE records SET data='{}' WHERE uuid=?", (closed.vm.uuid,))
    connection.close()
    again = open_store().get(VM, closed.vm.ref)
    assert again.VCPUs_max == VM().VCPUs_max
    assert again.HVM_shadow_multiplier == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name_label", 5),
        ("user_version", "five"),
        ("user_version", True),
        ("is_a_template", "yes"),
        ("HVM_shadow_multiplier", "1.0"),
        ("tags", "web"),
        ("tags", [1]),
        ("other_config", []),
        ("other_config", {"a": 1}),
        ("actions_after_crash", "explode"),
        ("blocked_operations", {"fly": "no wings"}),
        ("snapshot_time", "yesterday"),
    ],
)
def test_a_value_of_another_type_is_named_and_becomes_the_default(
    open_store: Open, closed: Lab, file: Path, caplog: pytest.LogCaptureFixture, name: str, value: object
) -> None:
    rewrite(file, closed.vm.uuid, **{name: value})
    again = open_store().get(VM, closed.vm.ref)
    assert getattr(again, name) == VM.fields[name].default
    assert f"the journal's value for {name} is not one of type" in caplog.text
    assert xmlrpc.record(again)


@pytest.mark.fault("F9")
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_record_that_cannot_be_read_is_named_and_left_out(
    open_store: Open, closed: Lab, file: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    tamper(file, "UPDATE records SET data=? WHERE uuid=?", data, closed.vbd.uuid)
    again = open_store()
    assert f"record of the VBD {closed.vbd.uuid} cannot be read" in caplog.text
    assert again.count("VBD") == 0
    assert again.count("VIF") == 1


@pytest.mark.parametrize("value", ["OpaqueRef:gone", "", None, 5, ["OpaqueRef:gone"], {}])
def test_an_object_without_what_it_needs_is_named_and_left_out(
    open_store: Open, closed: Lab, file: Path, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    rewrite(file, closed.vif.uuid, network=value)
    again = open_store()
    assert "refers to something that is gone; it is left out" in caplog.text
    assert again.count("VIF") == 0
    assert again.count("VIF_metrics") == 0
    assert again.get(VM, closed.vm.ref).VIFs == ()
    again.close()
    caplog.clear()
    open_store()
    assert "is left out" not in caplog.text


def test_a_reference_that_may_be_null_becomes_null(open_store: Open, closed: Lab, file: Path) -> None:
    rewrite(file, closed.vbd.uuid, VDI="OpaqueRef:gone")
    again = open_store()
    assert again.get(VBD, closed.vbd.ref).VDI is None


def test_a_lost_storage_takes_its_disks_along_and_empties_their_devices(
    open_store: Open, closed: Lab, file: Path
) -> None:
    tamper(file, "DELETE FROM records WHERE uuid=?", closed.sr.uuid)
    again = open_store()
    assert again.count("VDI") == 0
    assert again.get(VBD, closed.vbd.ref).VDI is None
    again.close()
    assert open_store().get(VBD, closed.vbd.ref).VDI is None


def test_a_lost_machine_takes_its_devices_along(open_store: Open, closed: Lab, file: Path) -> None:
    tamper(file, "DELETE FROM records WHERE uuid=?", closed.vm.uuid)
    again = open_store()
    assert (again.count("VBD"), again.count("VIF")) == (0, 0)
    assert again.get(VDI, closed.vdi.ref).VBDs == ()


@pytest.mark.fault("F9")
def test_a_newer_format_is_refused_with_what_to_do(open_store: Open, closed: Lab, file: Path) -> None:
    tamper(file, "PRAGMA user_version=2")
    with pytest.raises(JournalError) as refused:
        Journal(file)
    assert str(refused.value) == (
        f"{file} was written by a newer xen-host-agent (format 2, this one reads 1): "
        "install that version again, or move the file away to start anew"
    )


@pytest.mark.fault("F9")
def test_a_file_that_is_no_journal_is_refused_by_name(file: Path) -> None:
    file.write_bytes(b"a letter to my aunt, longer than a header. " * 20)
    with pytest.raises(JournalError, match=f"{file} cannot be used as the journal: file is not a database"):
        Journal(file)


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no/such/journal\.db cannot be used as the journal"):
        Journal(tmp_path / "no" / "such" / "journal.db")


def test_a_task_that_has_ended_is_kept_whole(open_store: Open) -> None:
    store = open_store()
    with store.transaction():
        task = store.add(Task())
        task.status, task.error_info, task.progress = TaskStatus.FAILURE, ("CODE", "why"), 1.0
    store.close()
    again = open_store().get(Task, task.ref)
    assert (again.status, again.error_info, again.progress) == (TaskStatus.FAILURE, ("CODE", "why"), 1.0)


def test_a_warning_names_the_object_that_is_left_out(
    open_store: Open, closed: Lab, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(file, closed.vdi.uuid, SR="OpaqueRef:gone")
    with caplog.at_level(logging.WARNING):
        again = open_store()
    assert f"<VDI {closed.vdi.uuid} 'root'> refers to something that is gone" in caplog.text
    assert again.all(SR)[0].VDIs == ()
