"""Disks that QEMU serves, or not: told by xenstore, and QEMU's own words about it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
from lxml import etree

from agent.errors import OperationNotAllowed
from drivers.back_ends import BackEnds, served_by_qemu
from drivers.xenstore import Xenstore
from tests.drivers.fake_xenstored import FakeXenstored

FOLDER = "/local/domain/0/backend/qdisk/7"


@pytest.fixture
def xenstored(tmp_path: Path) -> Iterator[FakeXenstored]:
    served = FakeXenstored(tmp_path)
    yield served
    served.close()


@pytest.fixture
def back_ends(xenstored: FakeXenstored, tmp_path: Path) -> BackEnds:
    return BackEnds(lambda: Xenstore.connect([xenstored.path]), logs=tmp_path, answer_seconds=0.5)


def disk(xenstored: FakeXenstored, number: int, dev: str, state: str) -> None:
    xenstored.write(f"{FOLDER}/{number}/dev", dev)
    xenstored.write(f"{FOLDER}/{number}/state", state)


@pytest.mark.parametrize("state", ["2", "3", "4"])
def test_what_qemu_initialised_is_served(back_ends: BackEnds, xenstored: FakeXenstored, state: str) -> None:
    disk(xenstored, 51712, "xvda", state)
    disk(xenstored, 51728, "xvdb", "2")
    back_ends.require_taken("web", 7, ["xvda", "xvdb"])


def test_qemu_is_waited_for(back_ends: BackEnds, xenstored: FakeXenstored) -> None:
    disk(xenstored, 51712, "xvda", "1")
    answer = Timer(0.1, xenstored.write, (f"{FOLDER}/51712/state", "2"))
    answer.start()
    back_ends.require_taken("web", 7, ["xvda"])
    answer.join()


def test_a_disk_that_stays_as_libxl_left_it_is_refused(back_ends: BackEnds, xenstored: FakeXenstored) -> None:
    disk(xenstored, 51712, "xvda", "4")
    disk(xenstored, 51728, "xvdb", "1")
    with pytest.raises(OperationNotAllowed, match=r"QEMU does not serve the disk xvdb$"):
        back_ends.require_taken("web", 7, ["xvda", "xvdb"])


def test_a_disk_that_qemu_threw_out_is_refused_in_its_words(
    back_ends: BackEnds, xenstored: FakeXenstored, tmp_path: Path
) -> None:
    xenstored.write(f"{FOLDER}/51760")
    begin = "xen-qemu-system-i386: failed to create 'qdisk' device "
    (tmp_path / "qemu-dm-web.log").write_text(
        f"{begin}'51760': realization of device xen-disk failed: Block node is read-only\n"
        f"{begin}'5696': failed to create drive: Could not stat file '': No such file or directory\n"
    )
    with pytest.raises(OperationNotAllowed, match=r"xvdd: failed to .* Block node is read-only$"):
        back_ends.require_taken("web", 7, ["xvdd"])


def test_the_words_of_a_qemu_that_ended_at_once(back_ends: BackEnds, tmp_path: Path) -> None:
    begun = time.time()
    assert back_ends.last_words("web", begun) == ""
    log = tmp_path / "qemu-dm-web.log"
    log.write_text("char device redirected to /dev/pts/1 (label serial0)\n")
    assert back_ends.last_words("web", begun) == ""
    # Debian 12, Xen 4.17, QEMU 7.2.
    said = "-drive file=/srv/x.raw,if=ide,index=1: Could not open '/srv/x.raw': No such file or directory"
    log.write_text(f"xen-qemu-system-i386: {said}\n")
    assert back_ends.last_words("web", begun) == said
    os.utime(log, (begun - 60, begun - 60))  # of a start before this one
    assert back_ends.last_words("web", begun) == ""


@pytest.mark.parametrize("state", ["1", "2", None])
def test_a_drive_that_qemu_never_took_is_left_alone(
    back_ends: BackEnds, xenstored: FakeXenstored, state: str | None
) -> None:
    disk(xenstored, 51712, "xvda", "4")
    if state is not None:
        disk(xenstored, 5696, "hdd", state)
    if state == "1":
        with pytest.raises(OperationNotAllowed, match="hdd: it has been empty since"):
            back_ends.require_drive(7, "hdd")
    else:
        back_ends.require_drive(7, "hdd")


def test_where_xenstore_cannot_be_asked_nothing_is_refused(tmp_path: Path) -> None:
    BackEnds(lambda: Xenstore.connect([tmp_path / "absent"])).require_taken("web", 7, ["xvda"])


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("<disk type='file'><driver name='qemu'/><source file='/a'/></disk>", True),
        ("<disk type='file' device='disk'><driver name='qemu'/><source file='/a'/><readonly/></disk>", True),
        ("<disk type='file' device='cdrom'><driver name='qemu'/><source file='/a'/></disk>", False),
        ("<disk type='file'><driver name='qemu'/></disk>", False),
        ("<disk type='block'><driver name='phy'/><source dev='/dev/a'/></disk>", False),
        ("<disk type='file'><source file='/a'/></disk>", False),
    ],
)
def test_only_disks_that_are_there_from_the_start_are_qemus(definition: str, expected: bool) -> None:
    assert served_by_qemu(etree.fromstring(definition)) is expected
