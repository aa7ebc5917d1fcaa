"""Counters of device models: QEMU's own answers understood, and a QEMU that hangs or rambles not waited for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from drivers.qmp import ANSWER_BYTES, QmpError, block_counters, counters_in

GREETING = {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}


def device(node: str = "", name: str = "", read: Any = 0, written: Any = 0) -> dict[str, Any]:
    """A device in the answer to ``query-blockstats``, as QEMU 7.2 gives it, shortened."""
    stats = {"rd_bytes": read, "wr_bytes": written, "rd_operations": 3, "account_invalid": True}
    parent = {"stats": {"rd_bytes": 1, "wr_bytes": 1}, "node-name": "#block055"}
    return {
        "device": name,
        "parent": parent,
        "stats": stats,
        "node-name": node,
        "qdev": "/machine/unattached/device[2]",
    }


def test_disks_are_found_by_the_names_that_xens_device_model_gives_them() -> None:
    answer = [
        device("xvda-raw", read=12288, written=512),
        device("xvdb-qcow2", read=1),
        device("xvdaa-vpc", written=2),
        device("#block123", "ide0-hd0", read=7),
        device("#block456", "ide1-cd0", read=8),
    ]
    assert counters_in(answer) == {
        "xvda": (12288, 512),
        "xvdb": (1, 0),
        "xvdaa": (0, 2),
        "hda": (7, 0),
        "hdc": (8, 0),
    }


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        [None, 3, "x", {}],
        [{"stats": []}, {"stats": {}, "node-name": "xvda-raw"}],
        [device("xvda-raw", read="1"), device("xvda-raw", written=None), device("floppy0"), device("", "")],
        [device("../xvda-raw"), device("xvdaaaaa-raw"), device("", "ide7-hd9")],
    ],
)
def test_what_is_no_counter_of_a_disk_is_left_out(answer: Any) -> None:
    assert counters_in(answer) == {}


class DeviceModel:
    """A QEMU that answers one client after another from a script: what is said when it is connected to, and then after
    each line that it hears.
    """

    def __init__(self, folder: Path) -> None:
        self.script: list[bytes] = []
        self.heard: list[str] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / "qmp-libxenstat-7"))
        self._listening.listen()
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._done.set()
        self._listening.close()

    def says(self, *messages: Any) -> None:
        """Each a message, or bytes as they are."""
        self.script = [said if isinstance(said, bytes) else json.dumps(said).encode() + b"\r\n" for said in messages]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with suppress(OSError, ValueError), client, client.makefile("rb") as lines:
                for said in self.script:
                    client.sendall(said)
                    self.heard.append(json.loads(lines.readline() or b"{}").get("execute", ""))
                if b"" in self.script:
                    self._done.wait(60)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[DeviceModel]:
    made = DeviceModel(tmp_path)
    yield made
    made.close()


def test_a_device_model_is_asked_and_left(model: DeviceModel, tmp_path: Path) -> None:
    event = {"event": "SHUTDOWN", "timestamp": {}}
    answer = json.dumps(event).encode() + b"\n" + json.dumps({"return": [device("xvda-raw", read=5)]}).encode() + b"\n"
    model.says(GREETING, {"return": {}}, answer)
    for _ in range(2):
        assert block_counters(7, tmp_path, timeout_seconds=60) == {"xvda": (5, 0)}
    assert model.heard[:2] == ["qmp_capabilities", "query-blockstats"]


def test_a_guest_without_a_device_model_has_no_such_disks(tmp_path: Path) -> None:
    assert block_counters(8, tmp_path) == {}


@pytest.mark.parametrize(
    "script",
    [
        (b"",),
        (GREETING, b""),
        ({"return": {}}, b""),
        (GREETING, {"error": {"class": "GenericError", "desc": "no"}}),
        (b"3\n",),
        (b"{\n",),
        (b"\xff\n",),
        (b"x" * (ANSWER_BYTES + 70_000),),
        (GREETING,),
    ],
    ids=["hangs", "hangs-later", "no-greeting", "refuses", "no-object", "no-json", "no-text", "too-long", "leaves"],
)
def test_a_device_model_that_does_not_tell_is_an_error(
    model: DeviceModel, tmp_path: Path, script: tuple[Any, ...]
) -> None:
    model.says(*script)
    with pytest.raises(QmpError):
        block_counters(7, tmp_path, timeout_seconds=1)


def test_a_socket_that_nobody_listens_on_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "qmp-libxenstat-7"))
    with pytest.raises(QmpError):
        block_counters(7, tmp_path)
