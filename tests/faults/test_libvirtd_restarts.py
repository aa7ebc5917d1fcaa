"""libvirtd is restarted again and again while a client waits for events: each change is told once, nothing is left
behind.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.contract.daemon import Libvirtd, running_libvirtd
from tests.front_door.conftest import Daemon, eventually, make_vm

RESTARTS = 10


@pytest.fixture
def libvirtd(tmp_path: Path) -> Iterator[Libvirtd]:
    """One with the test hypervisor, whose domains are gone when it ends."""
    folder = tmp_path / "libvirtd"
    folder.mkdir()
    with running_libvirtd(folder, "test") as daemon:
        yield daemon


class Follower:
    """A client that waits for events of machines, and keeps what it is told of one of them."""

    def __init__(self, api: Any, vm: str) -> None:
        self._api, self._vm = api, vm
        self._token = ""
        self._ended = False
        self.ids: list[int] = []
        self.snapshots: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        wait = getattr(self._api.event, "from")
        while not self._ended:
            since = self._token
            batch = wait(["VM"], since, 60.0)
            self._token = batch["token"]
            for event in batch["events"]:
                if since:  # at first all that there is has one number
                    self.ids.append(int(event["id"]))
                if event["ref"] == self._vm:
                    self.snapshots.append(event["snapshot"])

    def wait_for(self, field: str, value: str) -> None:
        """Return when it was told that the machine has this now."""
        eventually(lambda: self.snapshots and self.snapshots[-1][field] == value, f"the event {value}")

    def end(self, api: Any) -> None:
        """Wait for nothing more after the next event, which a call of another session makes."""
        self._ended = True
        api.VM.set_name_description(self._vm, "the end")
        self._thread.join(60)
        assert not self._thread.is_alive()


def held(daemon: Daemon) -> tuple[int, int]:
    """How many threads and descriptors the daemon has."""
    assert daemon.process is not None
    process = Path(f"/proc/{daemon.process.pid}")
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


@pytest.mark.fault("F3", "F15")
@pytest.mark.timeout(600)
def test_who_waits_is_told_each_change_once_over_ten_restarts(libvirtd: Libvirtd, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", connect=libvirtd.uri)
    daemon.start()
    try:
        api = daemon.login().xenapi
        vm = make_vm(api, "web")
        follower = Follower(daemon.login().xenapi, vm)
        follower.wait_for("power_state", "Halted")
        counted = []
        for number in range(RESTARTS):
            api.VM.start(vm, False, False)
            follower.wait_for("power_state", "Running")
            libvirtd.stop(signal.SIGKILL if number % 2 else signal.SIGTERM)
            libvirtd.start()
            follower.wait_for("power_state", "Halted")
            counted.append(held(daemon))
        api.VM.set_name_label(vm, "the last")
        follower.wait_for("name_label", "the last")
        snapshots = list(follower.snapshots)
        assert snapshots[-1] == api.VM.get_record(vm)
        follower.end(api)

        states = [each["power_state"] for each in snapshots]
        turns = [state for before, state in pairwise([None, *states]) if state != before]
        assert turns == ["Halted", *["Running", "Halted"] * RESTARTS]
        assert [each for before, each in pairwise(snapshots) if each == before] == []
        assert follower.ids == sorted(set(follower.ids))
        # What a connection leaves behind would be nine more of it by now.
        threads, descriptors = (last - first for first, last in zip(counted[0], counted[-1], strict=True))
        assert max(threads, descriptors) < RESTARTS - 1, counted
        print(f"threads and descriptors after each restart: {counted}")
    finally:
        daemon.stop()
