"""A file system that is really full: what is asked for is SR_FULL, nothing is lost, and room is used again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.classes import VDI
from agent.errors import SrFull
from tests.agent.disks.scenario import MIB, POOL, Scenario, read, summary


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Scenario]:
    """An agent whose storage is a file system of a few MiB; its state is elsewhere."""
    state, image = tmp_path / "state", tmp_path / "image"
    folder = state / "storage" / POOL
    folder.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(24 * MIB)
    tools = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin"), shutil.which("mount")
    if None in tools:
        pytest.skip("needs mkfs.ext4 and mount")
    subprocess.run([str(tools[0]), "-q", "-m", "0", str(image)], check=True)
    mounted = subprocess.run([str(tools[1]), "-o", "loop", str(image), str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (folder / "lost+found").rmdir()
        scenario = Scenario(state, lambda told: None)
        yield scenario
        scenario.close()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(scenario: Scenario) -> Path:
    """Take all the room there is."""
    path = Path(scenario.machine.storage.scan(scenario.sr)[0].location).with_name(".filling")
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def whole(scenario: Scenario) -> None:
    """What was there is there, and no more."""
    disks = [vdi for vdi in scenario.door.store.all(VDI) if vdi.SR is scenario.sr]
    folder = Path(disks[0].location).parent
    files = sorted(str(path) for path in folder.iterdir() if path.name != ".filling")
    assert files == sorted(vdi.location for vdi in disks)
    assert {vdi for vdi in disks if vdi.managed} == set(scenario.content)
    for vdi, content in scenario.content.items():
        assert summary(read(vdi)) == summary(content)


@pytest.mark.fault("F8")
@pytest.mark.parametrize("verb", ["clone", "snapshot", "copy"])
def test_a_full_storage_refuses_copies_and_makes_them_when_there_is_room(small: Scenario, verb: str) -> None:
    vdi = small.create("")
    small.write(vdi, 1)
    filling = fill(small)
    with pytest.raises(SrFull):
        small.copied(verb, vdi)
    whole(small)
    filling.unlink()
    made = small.copied(verb, vdi)
    assert made.virtual_size == vdi.virtual_size
    whole(small)


@pytest.mark.fault("F8")
def test_a_machine_on_full_storage_is_cloned_as_a_whole_or_not_at_all(small: Scenario) -> None:
    vm = small.machine_with(small.create(""), small.create("qcow2"))
    filling = fill(small)
    machines = small.door.store.count("VM")
    for verb, more in (("clone", ("c",)), ("snapshot", ("s",)), ("copy", ("d", small.sr))):
        with pytest.raises(SrFull):
            small.of_machine(verb, vm, *more)
        small.door.idle()
        assert small.door.store.count("VM") == machines
        whole(small)
    filling.unlink()
    small.of_machine("clone", vm, "c")
    whole(small)


def test_what_a_disk_needs_in_all_is_more_than_there_is(small: Scenario) -> None:
    small.create("")
    assert small.door.refused("VDI.create", {"SR": small.sr.ref, "virtual_size": 100 * MIB})[0] == "SR_FULL"
    whole(small)


@pytest.mark.fault("F8")
def test_a_disk_on_full_storage_can_be_destroyed(small: Scenario) -> None:
    vdi, kept = small.create(""), small.create("")
    clone = small.copied("clone", vdi)
    filling = fill(small)
    small.destroy(clone)
    small.destroy(vdi)
    whole(small)
    assert set(small.content) == {kept}
    filling.unlink()
