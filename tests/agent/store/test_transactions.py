"""Transactions: all or nothing, both ends at once, and no object that refers to one that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from agent.classes import VBD, VIF, VM, Console, Network
from agent.classes.enums import PowerState, VmOperation
from agent.errors import HandleInvalid, OperationNotAllowed, UuidInvalid
from agent.model.entity import Entity
from agent.rpc import xmlrpc
from agent.store.journal import Journal
from agent.store.store import Store
from tests.agent.store.conftest import Lab, furnish


class Boom(Exception):
    """What ends a transaction in the middle."""


@contextmanager
def undone(store: Store) -> Iterator[None]:
    """A transaction that raises at the end of the block."""
    with suppress(Boom), store.transaction():
        yield
        raise Boom


@pytest.fixture
def cascading(classes: Mapping[str, type[Entity]]) -> Iterator[Lab]:
    """A furnished store in which a machine takes its devices along."""
    store = Store(classes, Journal(None), cascade=True)
    store.load()
    yield furnish(store)
    store.close()


def everything(store: Store) -> dict[str, Any]:
    """All that a reader could see: every value of every object, its encoding, and who refers to it."""
    return {
        entity.ref: (
            dict(entity.__dict__),
            xmlrpc.record(entity),
            {(referrer.ref, name) for referrer, name in entity._referrers},
        )
        for cls in store.classes.values()
        for entity in store.all(cls)
    }


def test_an_assignment_outside_a_transaction_is_refused(lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="in a transaction only"):
        lab.vm.name_label = "other"
    assert lab.vm.name_label == "web"


def test_an_assignment_within_another_threads_transaction_is_refused(lab: Lab) -> None:
    refused: list[BaseException] = []

    def assign() -> None:
        try:
            lab.vm.name_label = "theirs"
        except RuntimeError as error:
            refused.append(error)

    with lab.store.transaction():
        thread = threading.Thread(target=assign)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert lab.vm.name_label == "web"


def test_a_loose_object_can_be_changed_by_its_maker() -> None:
    vm = VM(name_label="loose")
    vm.name_label = "still loose"
    assert vm.name_label == "still loose"


def test_a_field_that_a_class_does_not_have_cannot_be_set(lab: Lab) -> None:
    with lab.store.transaction(), pytest.raises(AttributeError, match="VM has no field nmae_label"):
        lab.vm.nmae_label = "typo"


def change_a_field(lab: Lab) -> None:
    lab.vm.name_label = "other"
    lab.vm.other_config = {"changed": "yes"}


def change_what_is_derived(lab: Lab) -> None:
    lab.vm.power_state = PowerState.RUNNING


def move_a_bound_reference(lab: Lab) -> None:
    lab.vif.network = lab.store.add(Network(name_label="other"))


def empty_a_reference(lab: Lab) -> None:
    lab.vbd.VDI = None


def add_objects(lab: Lab) -> None:
    lab.store.add(VIF(VM=lab.vm, network=lab.network, device="1"))
    lab.store.add(VBD(VM=lab.vm, VDI=lab.vdi, userdevice="1"))


def destroy_with_parts(lab: Lab) -> None:
    lab.store.destroy(lab.vif)
    lab.store.destroy(lab.vbd)
    lab.store.destroy(lab.vm)


def destroy_what_is_referred_to_weakly(lab: Lab) -> None:
    snapshot = lab.store.add(VM())
    snapshot.snapshot_of = lab.vm
    destroy_with_parts(lab)


def add_and_destroy(lab: Lab) -> None:
    lab.store.destroy(lab.store.add(VM()))


CHANGES = (
    change_a_field,
    change_what_is_derived,
    move_a_bound_reference,
    empty_a_reference,
    add_objects,
    destroy_with_parts,
    destroy_what_is_referred_to_weakly,
    add_and_destroy,
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_raises_in_the_middle_leaves_everything_as_it_was(lab: Lab, change: Callable[[Lab], None]) -> None:
    before = everything(lab.store)
    generation = lab.store.changes.generation
    with undone(lab.store):
        change(lab)
        everything(lab.store)  # a reader of the middle must leave no encoding of it behind
    assert everything(lab.store) == before
    assert lab.store.changes.generation == generation


def test_what_cannot_be_written_leaves_everything_as_it_was(lab: Lab) -> None:
    before = everything(lab.store)

    def change() -> None:
        with lab.store.transaction():
            change_what_is_derived(lab)
            destroy_with_parts(lab)
            lab.network.name_label = "\ud800"

    with pytest.raises(TypeError, match="surrogates"):
        change()
    assert everything(lab.store) == before


@pytest.mark.parametrize("change", [change for change in CHANGES if change is not add_and_destroy])
def test_what_ends_is_kept(lab: Lab, change: Callable[[Lab], None]) -> None:
    before = everything(lab.store)
    with lab.store.transaction():
        change(lab)
    assert everything(lab.store) != before


def test_an_undone_object_is_loose_again(lab: Lab) -> None:
    vm = VM()
    with undone(lab.store):
        lab.store.add(vm)
    assert not lab.store.is_live(vm)
    assert lab.store.known(VM, vm.uuid) is None
    vm.name_label = "nobody's"


def test_an_undone_destruction_leaves_the_object_findable(lab: Lab) -> None:
    with undone(lab.store):
        lab.store.destroy(lab.vif)
        assert lab.store.find("VIF", lab.vif.ref) is None
    assert lab.store.get(VIF, lab.vif.ref) is lab.vif
    assert lab.store.by_uuid(VIF, lab.vif.uuid) is lab.vif


def test_the_inner_of_two_transactions_is_undone_with_the_outer(lab: Lab) -> None:
    with undone(lab.store):
        with lab.store.transaction():
            lab.vm.name_label = "inner"
        assert lab.vm.name_label == "inner"
    assert lab.vm.name_label == "web"


def test_the_inner_of_two_transactions_is_kept_with_the_outer(lab: Lab) -> None:
    with lab.store.transaction():
        with lab.store.transaction():
            lab.vm.name_label = "inner"
        lab.vm.name_description = "outer"
    assert (lab.vm.name_label, lab.vm.name_description) == ("inner", "outer")


def test_one_transaction_is_one_batch_with_each_object_once(lab: Lab) -> None:
    generation = lab.store.changes.generation
    with lab.store.transaction():
        for number in range(10):
            lab.vm.name_label = f"name {number}"
        lab.vif.MTU = 9000
    told = [(change.operation, change.entity) for change in lab.store.changes.since(generation)]
    assert told == [("mod", lab.vm), ("mod", lab.vif)]


def test_an_equal_value_is_no_change(lab: Lab) -> None:
    generation = lab.store.changes.generation
    with lab.store.transaction():
        lab.vm.name_label = "web"
    assert lab.store.changes.generation == generation


def test_a_quiet_field_changes_the_record_and_makes_no_event(lab: Lab) -> None:
    metrics = lab.vif.metrics
    assert metrics is not None
    record, generation = xmlrpc.record(metrics), lab.store.changes.generation
    with lab.store.transaction():
        metrics.io_read_kbs = 12.5
    assert xmlrpc.record(metrics) != record
    assert lab.store.changes.generation == generation


# --- bound fields


def test_a_bound_field_moves_at_both_ends(lab: Lab) -> None:
    with lab.store.transaction():
        other = lab.store.add(Network(name_label="other"))
        lab.vif.network = other
        within = lab.network.VIFs, other.VIFs
    assert within == ((), (lab.vif,))
    assert (lab.network.VIFs, other.VIFs) == within


def test_a_moved_bound_field_is_an_event_of_all_three(lab: Lab) -> None:
    with lab.store.transaction():
        other = lab.store.add(Network(name_label="other"))
    generation = lab.store.changes.generation
    with lab.store.transaction():
        lab.vif.network = other
    told = {change.entity for change in lab.store.changes.since(generation)}
    assert told == {lab.vif, lab.network, other}


def test_a_new_object_appears_at_the_other_end(lab: Lab) -> None:
    with lab.store.transaction():
        vif = lab.store.add(VIF(VM=lab.vm, network=lab.network, device="1"))
    assert lab.vm.VIFs == (lab.vif, vif)
    assert lab.network.VIFs == (lab.vif, vif)


def test_a_destroyed_object_disappears_at_the_other_end(lab: Lab) -> None:
    with lab.store.transaction():
        lab.store.destroy(lab.vbd)
    assert lab.vm.VBDs == ()
    assert lab.vdi.VBDs == ()


def test_what_is_derived_follows_the_other_end(lab: Lab) -> None:
    assert not lab.vdi.allowed_operations  # its storage is not attached
    assert VmOperation.START in lab.vm.allowed_operations
    with lab.store.transaction():
        lab.vm.power_state = PowerState.RUNNING
    assert VmOperation.START not in lab.vm.allowed_operations
    assert "plug" in lab.vbd.allowed_operations


# --- destroying


def test_destroy_refuses_while_referenced_and_names_the_referrer(lab: Lab) -> None:
    with pytest.raises(OperationNotAllowed) as refused, lab.store.transaction():
        lab.store.destroy(lab.network)
    assert refused.value.reason == f"network {lab.network.ref} is still the network of VIF {lab.vif.ref}"
    assert lab.store.is_live(lab.network)


def test_assert_unreferenced_refuses_as_destroy_would(lab: Lab) -> None:
    with pytest.raises(OperationNotAllowed, match=f"VBD {lab.vbd.ref}"):
        lab.store.assert_unreferenced(lab.vdi)
    lab.store.assert_unreferenced(lab.vbd)


def test_a_weak_reference_becomes_null(lab: Lab) -> None:
    with lab.store.transaction():
        snapshot = lab.store.add(VM())
        snapshot.snapshot_of = lab.vm
    assert lab.vm.snapshots == (snapshot,)
    with lab.store.transaction():
        destroy_with_parts(lab)
    assert lab.store.get(VM, snapshot.ref).snapshot_of is None


def test_what_an_object_owns_goes_along(lab: Lab) -> None:
    metrics = lab.vif.metrics
    assert metrics is not None
    with lab.store.transaction():
        lab.store.destroy(lab.vif)
    assert not lab.store.is_live(metrics)


def test_a_part_that_the_agent_made_goes_along(lab: Lab) -> None:
    with lab.store.transaction():
        console = Console()
        console.VM = lab.vm
        lab.store.add(console, volatile=True)
        lab.store.destroy(lab.vif)
        lab.store.destroy(lab.vbd)
    with lab.store.transaction():
        lab.store.destroy(lab.vm)
    assert not lab.store.is_live(console)
    assert lab.store.count("console") == 0


def test_devices_stay_in_the_way_of_their_machines_end(lab: Lab) -> None:
    with pytest.raises(OperationNotAllowed), lab.store.transaction():
        lab.store.destroy(lab.vm)


def test_devices_go_along_where_that_is_configured(cascading: Lab) -> None:
    with cascading.store.transaction():
        cascading.store.destroy(cascading.vm)
    assert not cascading.store.is_live(cascading.vif)
    assert not cascading.store.is_live(cascading.vbd)
    assert cascading.store.is_live(cascading.vdi)
    assert cascading.vdi.VBDs == ()


def test_what_was_made_and_destroyed_in_one_transaction_is_no_event(lab: Lab) -> None:
    generation = lab.store.changes.generation
    with lab.store.transaction():
        add_and_destroy(lab)
    assert lab.store.changes.generation == generation


def test_a_reference_to_a_destroyed_object_is_refused(lab: Lab) -> None:
    with lab.store.transaction():
        gone = lab.store.add(Network(name_label="gone"))
    with lab.store.transaction():
        lab.store.destroy(gone)
    with pytest.raises(HandleInvalid) as refused, lab.store.transaction():
        lab.vif.network = gone
    assert refused.value.description == ["HANDLE_INVALID", "network", gone.ref]
    assert lab.vif.network is lab.network
    with pytest.raises(HandleInvalid), lab.store.transaction():
        lab.store.add(VIF(VM=lab.vm, network=gone, device="1"))
    assert lab.vm.VIFs == (lab.vif,)


def test_a_uuid_is_given_once(lab: Lab) -> None:
    with pytest.raises(OperationNotAllowed, match=lab.vm.uuid), lab.store.transaction():
        lab.store.add(VM(uuid=lab.vm.uuid))  # type: ignore[call-arg]
    assert lab.store.all(VM) == [lab.vm]


# --- finding


def test_an_object_is_found_by_reference_and_uuid(lab: Lab) -> None:
    assert lab.store.get(VM, lab.vm.ref) is lab.vm
    assert lab.store.by_uuid(VM, lab.vm.uuid) is lab.vm
    assert lab.store.find("VM", lab.vif.ref) is None
    assert lab.store.find("no class", lab.vm.ref) is None


def test_what_is_not_there_is_told_by_class_and_name(lab: Lab) -> None:
    with pytest.raises(HandleInvalid) as handle:
        lab.store.get(VM, lab.vif.ref)
    assert handle.value.description == ["HANDLE_INVALID", "VM", lab.vif.ref]
    with pytest.raises(UuidInvalid) as uuid:
        lab.store.by_uuid(VM, "nothing")
    assert uuid.value.description == ["UUID_INVALID", "VM", "nothing"]


def test_a_version_grows_with_every_change_of_the_class(lab: Lab) -> None:
    seen = [lab.store.versions["VM"]]
    with lab.store.transaction():
        lab.vm.name_label = "other"
    seen.append(lab.store.versions["VM"])
    with undone(lab.store):
        lab.vm.name_label = "undone"
    seen.append(lab.store.versions["VM"])
    with lab.store.transaction():
        lab.store.add(VM())
    seen.append(lab.store.versions["VM"])
    assert seen == sorted(set(seen))
