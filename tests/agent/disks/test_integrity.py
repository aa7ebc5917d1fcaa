"""Whatever is done to disks in whatever order, each holds what was written to it, and nothing else is left."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from agent.classes import VDI, VM
from agent.messages import vdi_chains
from drivers.disk_journal import JOURNAL
from tests.agent.disks.scenario import MIB, NULL, Scenario, read, summary

DISKS_MAX = 8
EXAMPLES = 4
STEPS = 14


class Disks(RuleBasedStateMachine):
    """An agent on real files, and what its disks must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.scenario = Scenario(Path(self.folder.name), lambda told: None)
        self.snapshots: list[VM] = []

    def any_disk(self, number: int) -> VDI:
        disks = list(self.scenario.content)
        return disks[number % len(disks)]

    def free(self) -> list[VDI]:
        """Disks that no machine or snapshot has."""
        return [vdi for vdi in self.scenario.content if not vdi.VBDs]

    def has_room(self) -> bool:
        return len(self.scenario.content) < DISKS_MAX

    @precondition(has_room)
    @rule(format=st.sampled_from(["", "raw", "qcow2"]))
    def create(self, format: str) -> None:
        self.scenario.create(format)

    @precondition(lambda self: self.scenario.content)
    @rule(number=st.integers(0, 99), place=st.integers(0, 100))
    def write(self, number: int, place: int) -> None:
        self.scenario.write(self.any_disk(number), place)

    @precondition(lambda self: self.scenario.content and self.has_room())
    @rule(verb=st.sampled_from(["clone", "snapshot", "copy"]), number=st.integers(0, 99))
    def copy(self, verb: str, number: int) -> None:
        self.scenario.copied(verb, self.any_disk(number))

    @precondition(lambda self: self.scenario.content)
    @rule(number=st.integers(0, 99))
    def resize(self, number: int) -> None:
        vdi = self.any_disk(number)
        if vdi.virtual_size < 4 * MIB:
            self.scenario.resize(vdi, vdi.virtual_size + MIB // 2)

    @precondition(lambda self: self.free())
    @rule(number=st.integers(0, 99))
    def destroy(self, number: int) -> None:
        free = self.free()
        self.scenario.destroy(free[number % len(free)])
        self.check()

    @precondition(lambda self: self.free() and self.has_room() and not self.snapshots)
    @rule(number=st.integers(0, 99))
    def snapshot_machine(self, number: int) -> None:
        free = self.free()
        vm = self.scenario.machine_with(free[number % len(free)])
        self.snapshots.append(self.scenario.of_machine("snapshot", vm, "s"))

    @precondition(lambda self: self.snapshots)
    @rule()
    def revert(self) -> None:
        vm = self.snapshots[-1].snapshot_of
        assert vm is not None
        self.scenario.revert(vm, self.snapshots[-1])
        self.check()

    @precondition(lambda self: self.snapshots and self.has_room())
    @rule(verb=st.sampled_from(["clone", "copy"]))
    def copy_machine(self, verb: str) -> None:
        vm = self.snapshots[-1].snapshot_of
        assert vm is not None
        more: list[Any] = [NULL] if verb == "copy" else []
        self.scenario.of_machine(verb, vm, "c", *more)

    def check(self) -> None:
        """Every disk, every file, every chain."""
        scenario = self.scenario
        scenario.door.idle()
        scenario.door("SR.scan", scenario.sr)
        disks = scenario.sr.VDIs
        assert {vdi for vdi in disks if vdi.managed} == set(scenario.content)
        for vdi, content in scenario.content.items():
            assert summary(read(vdi)) == summary(content)
        folder = Path(self.folder.name) / "storage" / scenario.sr.uuid
        assert sorted(str(path) for path in folder.iterdir()) == sorted(vdi.location for vdi in disks)
        assert not any(vdi.missing for vdi in disks)
        assert all(vdi_chains.children(vdi) for vdi in disks if not vdi.managed)
        assert all(len(vdi_chains.ancestors(vdi)) < vdi_chains.DEPTH_MAX for vdi in disks)
        assert list((Path(self.folder.name) / JOURNAL).glob("*")) == []
        for vm in scenario.door.store.all(VM):
            seen = None if vm.is_a_template else scenario.machine.domains.look(vm.uuid)
            if seen is not None:
                assert [disk.source for disk in seen.disks] == [vbd.VDI.location for vbd in vm.VBDs if vbd.VDI]

    def teardown(self) -> None:
        try:
            self.check()
        finally:
            self.scenario.close()
            self.folder.cleanup()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("depth", [3, 16])
def test_every_disk_holds_what_was_written_to_it(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vdi_chains, "DEPTH_MAX", depth)
    chosen = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Disks, settings=chosen)
