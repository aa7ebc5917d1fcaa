"""The agent is killed at every step of every disk operation: each has then been done, or never was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.classes import VDI, VM
from agent.failpoints import ENVIRONMENT
from agent.messages import vdi_chains
from drivers.disk_journal import JOURNAL, STEPS
from tests.agent.disks.scenario import Scenario, play, read, summary

SHARING = tuple(step for step in STEPS if step.startswith("reflink"))
AFTERWARDS = tuple(step for step in STEPS if step.startswith("undo"))
"""Steps of what the next start does."""
BEGUN = (
    "create: named",
    "split: base named",
    "merge: overlay aside",
    "destroy: begun",
    "copy: written",
    "merge: noted",
)


def run(state: Path, step: str, *more: str) -> tuple[int, dict[str, Any]]:
    """How a run that dies at a step ended, and the last that it told."""
    state.mkdir(exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.agent.disks.scenario", str(state), *more],
        env=os.environ | ({ENVIRONMENT: f"{step}=kill"} if step else {}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )
    lines = ended.stdout.splitlines()
    return ended.returncode, json.loads(lines[-1]) if lines else {}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def require_whole(state: Path, told: dict[str, Any]) -> None:
    """What the next run of the agent finds is what there was before the operation, or after it, and nothing else."""
    scenario = Scenario(state, lambda told: None)
    try:
        scenario.door("SR.scan", scenario.sr)
        vdi_chains.sweep(scenario.door.site)
        disks = [vdi for vdi in scenario.door.store.all(VDI) if vdi.SR is scenario.sr]
        assert not [vdi for vdi in disks if vdi.missing]
        assert not [vdi for vdi in disks if not vdi.managed and not vdi_chains.children(vdi)]
        found = {
            "disks": sorted(summary(read(vdi)) for vdi in disks if vdi.managed),
            "machines": sum(vm.name_label in "mscd" for vm in scenario.door.store.all(VM)),
        }
        assert found in (told["before"], told["after"]), told["operation"]
        folder = state / "storage" / scenario.sr.uuid
        assert sorted(str(path) for path in folder.iterdir()) == sorted(vdi.location for vdi in disks)
        assert all(vdi.virtual_size == len(read(vdi)) for vdi in disks)
        assert list((state / JOURNAL).glob("*")) == []
        for vdi in disks:
            if vdi.managed and not vdi.VBDs:
                scenario.door("VDI.destroy", scenario.door("VDI.clone", vdi))
    finally:
        scenario.close()


@pytest.mark.fault("F1")
@pytest.mark.parametrize("step", [step for step in STEPS if step not in (*SHARING, *AFTERWARDS)])
def test_a_kill_at_any_step_leaves_nothing_half_done_and_nothing_lost(state: Path, step: str) -> None:
    code, told = run(state, step)
    assert code == -signal.SIGKILL, f"the step was never taken: {told}"
    require_whole(state, told)


@pytest.mark.fault("F1")
@pytest.mark.parametrize("step", SHARING)
def test_a_kill_while_blocks_are_shared_leaves_nothing_half_done(state: Path, step: str) -> None:
    code, told = run(state, step, "sharing")
    assert code == -signal.SIGKILL, f"the step was never taken: {told}"
    require_whole(state, told)


@pytest.mark.fault("F1")
@pytest.mark.parametrize("step", BEGUN)
@pytest.mark.parametrize("second", AFTERWARDS)
def test_a_kill_while_it_is_tidied_up_is_none_the_worse(state: Path, step: str, second: str) -> None:
    code, told = run(state, step)
    assert code == -signal.SIGKILL
    code, _ = run(state, second)
    assert code == -signal.SIGKILL, "nothing was tidied up"
    require_whole(state, told)


def test_a_run_that_nobody_kills_ends_well(state: Path) -> None:
    code, told = run(state, "")
    assert code == 0
    require_whole(state, {**told, "before": told["after"]})


def test_every_step_is_one_of_the_journals() -> None:
    root = Path(__file__).parents[3] / "drivers"
    sources = "".join((root / name).read_text("utf-8") for name in ("disks.py", "storage.py", "sparse.py"))
    stages = {step.split(": ")[1] for step in STEPS}
    assert all(f": {stage}" in sources for stage in stages)


def test_a_step_that_there_is_not_is_no_failpoint(state: Path) -> None:
    code, _ = run(state, "nonsense")
    assert code == 1


@pytest.mark.fault("F7")
@pytest.mark.parametrize("step", ["settle: begun", "settle: finished"])
def test_an_operation_that_a_power_cut_brings_back_later_does_no_harm(state: Path, step: str) -> None:
    """The note of what is long over is there again, after all that came later."""
    state.mkdir()
    kept = state.parent / "kept"
    kept.mkdir()
    scenario = Scenario(state, lambda told: None)
    (state / JOURNAL).mkdir(exist_ok=True)
    reached = scenario.machine.storage.journal.reached  # type: ignore[attr-defined]

    def keep(taken: str) -> None:
        reached(taken)
        if taken == step:
            shutil.copytree(state / JOURNAL, kept, dirs_exist_ok=True)

    scenario.machine.storage.journal.reached = keep  # type: ignore[attr-defined]
    play(scenario)
    told = {"operation": "all of it", "before": scenario.now(), "after": scenario.now()}
    scenario.close()
    assert len(list(kept.glob("*.json"))) > 5
    shutil.copytree(kept, state / JOURNAL, dirs_exist_ok=True)
    require_whole(state, told)
