"""Events: a client that follows them knows all that a reader would, hears nothing twice, and is told what it missed."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from agent import sessions
from agent.classes import VIF, VM, Network
from agent.classes.enums import PowerState
from agent.logins import By
from agent.messages import event as events
from agent.model.entity import Entity
from agent.roles import Role
from agent.rpc import xmlrpc
from tests.door import WAIT_SECONDS, Block, Door, eventually
from tests.fake_machine import LAN, FakeMachine

NOW, LONG = 0.0, 30.0


def follow(door: Door, token: str, *words: str, timeout: float = NOW) -> dict[str, Any]:
    """One event.from."""
    batch: dict[str, Any] = door("event.from", list(words), token, timeout)
    return batch


def now(door: Door, *words: str) -> str:
    """The token that means that all is known."""
    door.idle()
    token: str = follow(door, "", *(words or ("*",)))["token"]
    return token


def told(batch: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The events of a batch, in short."""
    return [(event["class"], event["operation"], event["ref"]) for event in batch["events"]]


def waiting(door: Door) -> None:
    """Wait until somebody waits for a change."""
    eventually(lambda: door.dispatch._waiters > 0, "a client that waits")


# --- event.from


def test_an_empty_token_asks_for_all_there_is(door: Door) -> None:
    vm = door.vm()
    batch = follow(door, "", "*")
    assert all(operation == "add" for _, operation, _ in told(batch))
    seen = {event["ref"]: event["snapshot"] for event in batch["events"]}
    assert seen[vm.ref] is vm
    counted = {
        name.lower(): len(door(f"{name}.get_all"))
        for name, cls in door.site.api.classes.items()
        if cls.stored and cls.announced
    }
    assert batch["valid_ref_counts"] == counted
    assert len(seen) == len(batch["events"]) == sum(counted.values())


def test_each_kind_of_change_is_told(door: Door) -> None:
    kept, gone = door.vm(), door.vm()
    token = now(door)
    door("VM.set_name_label", kept, "renamed")
    metrics = gone.metrics
    door("VM.destroy", gone)
    made = door.vm()
    batch = follow(door, token, "vm")
    assert sorted(told(batch)) == sorted([("vm", "mod", kept.ref), ("vm", "del", gone.ref), ("vm", "add", made.ref)])
    by_ref = {event["ref"]: event for event in batch["events"]}
    assert by_ref[kept.ref]["snapshot"] is kept
    assert by_ref[gone.ref]["snapshot"] is None
    assert metrics is not None
    assert ("vm_metrics", "del", metrics.ref) in told(follow(door, token, "vm_metrics"))


@pytest.mark.threat("T25")
def test_changes_of_one_object_are_one_event(door: Door) -> None:
    old = door.vm()
    token = now(door)
    for name in "abc":
        door("VM.set_name_label", old, name)
    new = door.vm()
    door("VM.set_name_label", new, "new")
    assert sorted(told(follow(door, token, "vm"))) == sorted([("vm", "mod", old.ref), ("vm", "add", new.ref)])


def test_what_came_and_went_is_not_told(door: Door) -> None:
    token = now(door)
    vm = door.vm()
    door("VM.destroy", vm)
    assert vm.ref not in [ref for _, _, ref in told(follow(door, token, "*"))]


@pytest.mark.fault("F15")
def test_nothing_is_told_twice(door: Door) -> None:
    token = now(door, "vm")
    vm = door.vm()
    door.idle()
    batch = follow(door, token, "vm")
    assert told(batch) == [("vm", "add", vm.ref)]
    again = follow(door, batch["token"], "vm")
    assert again["events"] == []


def test_changes_gather_for_no_longer_than_clients_of_xapi_know() -> None:
    assert events.GATHER_SECONDS + events.SHARED_SECONDS <= 0.05


def test_without_a_change_in_time_the_batch_is_empty(door: Door) -> None:
    door.vm()
    token = now(door, "vm")
    batch = follow(door, token, "vm", timeout=0.01)
    assert batch["events"] == []
    assert batch["valid_ref_counts"]["vm"] == 1
    assert follow(door, batch["token"], "vm", timeout=-5.0)["events"] == []


@pytest.mark.parametrize("word", ["vm", "VM", "Vm"])
def test_a_class_is_named_in_any_case(door: Door, word: str) -> None:
    vm = door.vm()
    assert told(follow(door, "", word)) == [("vm", "add", vm.ref)]


@pytest.mark.parametrize("word", ["vm/{}", "VM/{}"])
def test_a_single_object_can_be_followed(door: Door, word: str) -> None:
    followed, other = door.vm(), door.vm()
    words = word.format(followed.ref)
    assert told(follow(door, "", words)) == [("vm", "add", followed.ref)]
    token = now(door, words)
    door("VM.set_name_label", other, "x")
    assert follow(door, token, words)["events"] == []
    door("VM.set_name_label", followed, "x")
    assert told(follow(door, token, words)) == [("vm", "mod", followed.ref)]


def test_several_words_are_one_subscription(door: Door) -> None:
    vm = door.vm()
    heard = told(follow(door, "", "network", f"vm/{vm.ref}"))
    assert {name for name, _, _ in heard} == {"network", "vm"}


@pytest.mark.parametrize("word", ["", "wm", "event", "vm ", "wm/OpaqueRef:x", "**", "/", "x" * 500])
def test_a_word_that_names_nothing_is_refused(door: Door, word: str) -> None:
    assert door.refused("event.from", [word], "", NOW) == ["EVENT_SUBSCRIPTION_PARSE_FAILURE", word[:200]]


@pytest.mark.parametrize("token", ["x", "1", "1,", ",1", "-1,1", "1,1,1", " 1,1", "1.0,1", "9" * 21 + ",1", "٣,1"])
def test_a_token_that_is_none_is_refused(door: Door, token: str) -> None:
    assert door.refused("event.from", ["*"], token, NOW) == ["EVENT_FROM_TOKEN_PARSE_FAILURE", token]


@pytest.mark.fault("F15")
def test_a_token_of_another_run_is_lost(door: Door) -> None:
    generation, epoch = now(door).split(",")
    assert door.refused("event.from", ["*"], f"{generation},{int(epoch) + 1:020d}", NOW) == ["EVENTS_LOST"]


@pytest.mark.fault("F15")
def test_a_token_of_the_future_is_lost(door: Door) -> None:
    generation, epoch = now(door).split(",")
    assert door.refused("event.from", ["*"], f"{int(generation) + 1:020d},{epoch}", NOW) == ["EVENTS_LOST"]


@pytest.mark.threat("T25")
def test_a_client_fallen_off_the_ring_is_told_and_can_begin_again(door: Door) -> None:
    changes = door.store.changes
    changes._ring = deque(changes._ring, maxlen=8)
    vm = door.vm()
    token = now(door)
    for number in range(20):
        door("VM.set_name_label", vm, str(number))
    assert door.refused("event.from", ["*"], token, NOW) == ["EVENTS_LOST"]
    again = follow(door, "", "vm")
    assert [event["snapshot"].name_label for event in again["events"]] == ["19"]


# --- waiting


def test_who_waits_is_woken_by_a_change(door: Door) -> None:
    token = now(door, "vm")
    heard = door.later("event.from", ["vm"], token, LONG)
    waiting(door)
    vm = door.vm()
    assert ("vm", "add", vm.ref) in told(heard.result(WAIT_SECONDS).value)


def test_who_waits_is_woken_by_a_change_behind_our_back(door: Door, machine: FakeMachine) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    token = now(door, "vm")
    heard = door.later("event.from", ["vm"], token, LONG)
    waiting(door)
    machine.domains.known[vm.uuid] = replace(machine.domains.known[vm.uuid], power_state=PowerState.PAUSED)
    machine.domains.changed(vm.uuid)
    batch = heard.result(WAIT_SECONDS).value
    assert told(batch) == [("vm", "mod", vm.ref)]
    assert batch["events"][0]["snapshot"].power_state is PowerState.PAUSED


def test_who_waits_is_not_woken_by_what_it_did_not_ask_for(door: Door) -> None:
    vm = door.vm()
    token = now(door, "network")
    heard = door.later("event.from", ["network"], token, LONG)
    waiting(door)
    door("VM.set_name_label", vm, "other")
    assert not heard.done()
    network = door("network.create", {"name_label": "new"})
    assert told(heard.result(WAIT_SECONDS).value) == [("network", "add", network.ref)]


def test_many_who_wait_are_all_woken(door: Door) -> None:
    token = now(door, "vm")
    heard = [door.later("event.from", ["vm"], token, LONG) for _ in range(50)]
    eventually(lambda: door.dispatch._waiters == 50, "all of them waiting")
    vm = door.vm()
    for each in heard:
        assert ("vm", "add", vm.ref) in told(each.result(WAIT_SECONDS).value)


def test_measuring_the_host_is_no_event(door: Door, machine: FakeMachine) -> None:
    token = now(door)
    record = xmlrpc.record(door("host_metrics.get_record", door.observer.host.metrics))
    assert machine.meters.calls == ["read"]
    assert str(8 * 2**30).encode() in record  # it was measured
    assert told(follow(door, token, "*")) == []


def test_measuring_a_machine_is_no_event(door: Door) -> None:
    vm = door.vm()
    door("VM.start", vm, False)
    token = now(door)
    door("VM_metrics.get_record", vm.metrics)
    assert told(follow(door, token, "*")) == []


@pytest.mark.threat("T16")
def test_a_logout_ends_the_waiting(door: Door) -> None:
    secret = door.log_in(Role.READ_ONLY)
    token = now(door)
    heard = door.later("event.from", ["*"], token, LONG, session=secret)
    waiting(door)
    door.send("session.logout", secret)
    error: Any = heard.exception(WAIT_SECONDS)
    assert error.description == ["SESSION_INVALID", secret]


@pytest.mark.threat("T16")
@pytest.mark.parametrize("how", ["revoked", "idle", "too many"])
def test_a_session_that_is_ended_by_the_agent_ends_the_waiting(
    door: Door, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    secret = door.log_in(Role.READ_ONLY)
    heard = door.later("event.from", ["*"], now(door), LONG, session=secret)
    waiting(door)
    match how:
        case "revoked":
            door.sessions.revoke(lambda by, name: None, {By.USERS})
        case "idle":
            door.sessions.idle_seconds = -1.0
            door.sessions.sweep()
        case _:
            monkeypatch.setattr(sessions, "PER_USER", 1)
            door.log_in(Role.READ_ONLY)
    error: Any = heard.exception(WAIT_SECONDS / 2)
    assert error.description == ["SESSION_INVALID", secret]


@pytest.mark.threat("T16")
def test_a_session_that_has_ended_is_told_nothing_more(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    gathers, gathered = threading.Event(), threading.Event()

    async def gather(seconds: float) -> None:
        gathers.set()
        await asyncio.to_thread(gathered.wait, WAIT_SECONDS)

    monkeypatch.setattr(asyncio, "sleep", gather)
    secret = door.log_in(Role.READ_ONLY)
    token = now(door)
    door.vm()
    heard = door.later("event.from", ["*"], token, LONG, session=secret)
    assert gathers.wait(WAIT_SECONDS)
    door.sessions.revoke(lambda by, name: None, {By.USERS})
    gathered.set()
    error: Any = heard.exception(WAIT_SECONDS)
    assert error.description == ["SESSION_INVALID", secret]


def test_sessions_are_in_no_event(door: Door) -> None:
    token = now(door)
    secret = door.log_in(Role.READ_ONLY, "newcomer")
    session = door.sessions.find(secret)
    door("session.add_to_other_config", session, "a", "b")
    door("event.inject", "session", session)
    door.send("session.logout", secret)
    for start in ("", token):
        assert "session" not in [name for name, _, _ in told(follow(door, start, "*"))]
        assert follow(door, start, "session")["events"] == []
    assert "session" not in follow(door, "", "*")["valid_ref_counts"]


# --- event.register and event.next


def test_next_needs_a_registration(door: Door) -> None:
    assert door.refused("event.next") == ["SESSION_NOT_REGISTERED", door.session]


def test_next_tells_each_change_once(door: Door) -> None:
    vm = door.vm()
    door.idle()
    door("event.register", ["vm"])
    for name in ("a", "b"):
        door("VM.set_name_label", vm, name)
    first = door("event.next")
    assert [(event["operation"], event["ref"], event["obj_uuid"]) for event in first] == [("mod", vm.ref, vm.uuid)] * 2
    assert [event["id"] for event in first] == sorted({event["id"] for event in first})
    heard = door.later("event.next")
    waiting(door)
    door("VM.set_name_label", vm, "c")
    assert len(heard.result(WAIT_SECONDS).value) == 1


def test_next_tells_nothing_of_what_came_before(door: Door) -> None:
    vm = door.vm()
    door.idle()
    door("event.register", ["VM"])
    door("VM.set_name_label", vm, "after")
    assert [event["operation"] for event in door("event.next")] == ["mod"]


@pytest.mark.parametrize("words", [[], ["*"]])
def test_no_word_and_a_star_register_for_all(door: Door, words: list[str]) -> None:
    door("event.register", words)
    network = door("network.create", {"name_label": "new"})
    assert (network.ref, "add") in [(event["ref"], event["operation"]) for event in door("event.next")]


def test_registrations_add_up_and_can_be_taken_back(door: Door) -> None:
    vm = door.vm()
    door.idle()
    door("event.register", ["vm"])
    door("event.register", ["network"])
    door("event.unregister", ["vm"])
    door("VM.set_name_label", vm, "unheard")
    network = door("network.create", {"name_label": "new"})
    assert {event["ref"] for event in door("event.next")} == {network.ref}
    door("event.unregister", ["network"])
    assert door.refused("event.next")[0] == "SESSION_NOT_REGISTERED"
    door("event.register", ["vm"])
    door("event.unregister", [])
    assert door.refused("event.next")[0] == "SESSION_NOT_REGISTERED"
    door("event.unregister", ["vm"])  # nothing to take back is no error


def test_register_refuses_a_class_that_is_none(door: Door) -> None:
    assert door.refused("event.register", ["wm"]) == ["EVENT_SUBSCRIPTION_PARSE_FAILURE", "wm"]
    assert door.refused("event.next")[0] == "SESSION_NOT_REGISTERED"


def test_a_registration_is_the_sessions_own(door: Door) -> None:
    door("event.register", ["vm"])
    assert door.refused("event.next", session=door.log_in(Role.READ_ONLY))[0] == "SESSION_NOT_REGISTERED"


def test_next_that_missed_changes_is_told_and_goes_on(door: Door) -> None:
    vm = door.vm()
    door.idle()
    door("event.register", ["vm"])
    changes = door.store.changes
    changes._ring = deque(changes._ring, maxlen=4)
    for number in range(10):
        door("VM.set_name_label", vm, str(number))
    assert door.refused("event.next") == ["EVENTS_LOST"]
    door("VM.set_name_label", vm, "after")
    assert [event["snapshot"].name_label for event in door("event.next")] == ["after"]


def test_a_logout_ends_next_too(door: Door) -> None:
    secret = door.log_in(Role.READ_ONLY)
    door.send("event.register", secret, ["vm"])
    heard = door.later("event.next", session=secret)
    waiting(door)
    door.send("session.logout", secret)
    error: Any = heard.exception(WAIT_SECONDS)
    assert error.description == ["SESSION_INVALID", secret]


# --- get_current_id and inject


def test_the_current_id_grows_with_every_change(door: Door) -> None:
    before = door("event.get_current_id")
    door("VM.set_name_label", door.vm(), "other")
    assert door("event.get_current_id") > before


@pytest.mark.parametrize("name", ["vm", "VM"])
def test_an_injected_event_is_told_and_changes_nothing(door: Door, name: str) -> None:
    vm = door.vm()
    door.idle()
    before = dict(vm.__dict__)
    token = door("event.inject", name, vm)
    assert told(follow(door, token, "vm")) == [("vm", "mod", vm.ref)]
    assert vm.__dict__ == before


@pytest.mark.parametrize(("name", "reference"), [("vm", "OpaqueRef:gone"), ("wm", "x"), ("event", "x"), ("", "")])
def test_an_event_of_nothing_cannot_be_injected(door: Door, name: str, reference: str) -> None:
    assert door.refused("event.inject", name, reference) == ["HANDLE_INVALID", name, reference]


# --- the history


class Follower:
    """A client that keeps copies by event.from alone."""

    def __init__(self, door: Door) -> None:
        self._door, self._token = door, ""
        self.known: dict[str, bytes] = {}

    def catch_up(self) -> None:
        batch = follow(self._door, self._token, "*")
        for event in batch["events"]:
            if event["operation"] == "del":
                self.known.pop(event["ref"], None)
            elif event["snapshot"] is not None:
                self.known[event["ref"]] = xmlrpc.record(event["snapshot"])
        self._token = batch["token"]


def readable(door: Door) -> dict[str, bytes]:
    """What get_all_records says."""
    found: dict[str, bytes] = {}
    for name, cls in door.site.api.classes.items():
        if cls.stored and cls.announced:
            records: dict[Entity, Entity] = door(f"{name}.get_all_records")
            found |= {entity.ref: xmlrpc.record(entity) for entity in records}
    return found


def random_change(door: Door, machine: FakeMachine, chance: random.Random) -> None:
    """One step of somebody, through the API or behind our back; what is refused is a step too."""
    store = door.store
    vms, networks, vifs = store.all(VM), store.all(Network), store.all(VIF)
    vm = chance.choice(vms) if vms else None
    lan = store.known(Network, LAN)  # which a step may have destroyed
    network = lan if lan is not None and chance.random() < 0.7 else chance.choice(networks)
    steps: list[tuple[str, list[Any]]] = [("VM.create", [{"name_label": str(chance.random())}])]
    steps.append(("network.create", [{"name_label": str(chance.random())}]))
    steps.append(("network.destroy", [chance.choice(networks).ref]))
    if vm is not None:
        steps += [(f"VM.{verb}", [vm.ref]) for verb in ("pause", "unpause", "suspend", "hard_shutdown", "destroy")]
        steps += [("VM.start", [vm.ref, False])] * 2
        steps += [("VM.set_name_label", [vm.ref, str(chance.random())]), ("VM.snapshot", [vm.ref, "kept"])]
        steps.append(("VIF.create", [{"VM": vm.ref, "network": network.ref, "device": ""}]))
        if vm.uuid in machine.domains.known and chance.random() < 0.2:
            machine.domains.known.pop(vm.uuid)
            machine.domains.changed(vm.uuid)
    if vifs:
        vif = chance.choice(vifs)
        steps += [(f"VIF.{verb}", [vif.ref]) for verb in ("plug", "unplug", "destroy")]
        steps.append(("VIF.move", [vif.ref, network.ref]))
    name, params = chance.choice(steps)
    future = door.later(name, *params)
    future.exception(WAIT_SECONDS)


@pytest.mark.fault("F15")
@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_follows_events_knows_what_a_reader_reads(door: Door, machine: FakeMachine, seed: int) -> None:
    chance = random.Random(seed)
    follower = Follower(door)
    for _ in range(60):
        random_change(door, machine, chance)
        if chance.random() < 0.3:
            follower.catch_up()
    door.idle()
    follower.catch_up()
    measured = {"VM_metrics", "VIF_metrics", "VBD_metrics", "PIF_metrics", "host_metrics", "host_cpu"}
    skipped = {entity.ref for name in measured for entity in door.store.all(door.site.api.classes[name])}
    wanted = {ref: record for ref, record in readable(door).items() if ref not in skipped}
    assert {ref: record for ref, record in follower.known.items() if ref not in skipped} == wanted
    assert skipped <= follower.known.keys()


@pytest.mark.fault("F15")
def test_a_client_that_read_what_was_then_undone_learns_what_holds(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = door.vm()
    door.idle()
    follower = Follower(door)
    journal = door.store._journal
    write = journal.write
    block = Block(FakeMachine().domains, "disk")  # only its events are used

    def full(rows: Any) -> None:
        if rows:
            block._hold()
            raise OSError(28, "No space left on device")
        write(rows)

    monkeypatch.setattr(journal, "write", full)
    writing = door.later("VM.set_name_label", vm, "lost")
    block.await_entry()
    follower.catch_up()
    assert b"lost" in follower.known[vm.ref]
    block.release()
    assert writing.exception(WAIT_SECONDS) is not None
    follower.catch_up()
    assert b"lost" not in follower.known[vm.ref]
    monkeypatch.setattr(journal, "write", write)
