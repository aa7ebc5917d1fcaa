"""PCI and SCSI devices as made-up files of the kernel show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.ports import SeenPci, SeenScsi
from drivers import pci, scsi
from drivers.pci import PciBus

PCI_IDS = """# a comment
1af4  Red Hat, Inc.
\t1000  Virtio network device
8086  Intel Corporation
\t10d3  82574L Gigabit Network Connection
\t\t1af4 1100  A board
\t\t8086 a01f  Gigabit CT Desktop Adapter
\t2922  a controller
C 01  Mass storage controller
\t06  SATA controller
\t\t01  AHCI 1.0
C 02  Network controller
\t00  Ethernet controller
C ff  Unassigned class
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def device(root: Path, address: str, class_: str, ids: str, *, board: str = "", driver: str = "") -> None:
    """A device of a made-up sysfs; `ids` and `board` are a vendor and a device."""
    folder = root / "sys/bus/pci/devices" / address
    vendor, model = ids.split(":")
    for name, text in (("class", class_), ("vendor", vendor), ("device", model), ("revision", "03")):
        write(folder / name, f"0x{text}")
    if board:
        vendor, model = board.split(":")
        write(folder / "subsystem_vendor", f"0x{vendor}")
        write(folder / "subsystem_device", f"0x{model}")
    if driver:
        (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(root / "sys/bus/pci/drivers" / driver)


@pytest.fixture
def bus(tmp_path: Path) -> PciBus:
    """A card that nobody drives, a controller, and a device of a class without a better word."""
    device(tmp_path, "0000:00:10.0", "020000", "8086:10d3", board="8086:a01f")
    device(tmp_path, "0000:00:1f.2", "010601", "8086:2922", driver="ahci")
    device(tmp_path, "10000:e1:00.0", "ff4200", "dead:beef", board="1af4:1100")
    write(tmp_path / "usr/share/misc/pci.ids", PCI_IDS)
    return PciBus(tmp_path / "sys", tmp_path / "usr/share")


def test_devices_have_numbers_and_names(bus: PciBus) -> None:
    card, controller, other = bus.devices()
    assert card == SeenPci(
        "0000:00:10.0",
        0x0200,
        "Ethernet controller",
        0x8086,
        "Intel Corporation",
        0x10D3,
        "82574L Gigabit Network Connection",
        3,
        0x8086,
        "Intel Corporation",
        0xA01F,
        "Gigabit CT Desktop Adapter",
    )
    assert (controller.class_name, controller.driver, controller.device_name) == (
        "SATA controller",
        "ahci",
        "a controller",
    )
    assert (other.address, other.class_code, other.class_name) == ("10000:e1:00.0", 0xFF42, "Unassigned class")
    assert (other.vendor_name, other.device_name, other.subsystem_name) == ("", "", "")
    assert other.subsystem_vendor_name == "Red Hat, Inc."


def test_without_a_list_of_names_there_are_none(bus: PciBus) -> None:
    (bus.share / "misc/pci.ids").unlink()
    assert {(each.vendor_name, each.class_name) for each in bus.devices()} == {("", "")}
    assert bus.devices()[0].vendor_id == 0x8086


def test_the_list_of_names_is_read_once_for_the_same_devices(bus: PciBus, tmp_path: Path) -> None:
    before = bus.devices()
    (bus.share / "misc/pci.ids").unlink()
    assert bus.devices() == before
    device(tmp_path, "0000:00:11.0", "020000", "1af4:1000")
    assert bus.devices()[1].vendor_name == ""


def test_a_host_without_such_a_bus_has_no_devices(tmp_path: Path) -> None:
    assert PciBus(tmp_path).devices() == []
    assert scsi.devices(tmp_path) == []
    assert scsi.adapters(tmp_path) == []


def test_what_is_no_number_counts_as_none(bus: PciBus, tmp_path: Path) -> None:
    device(tmp_path, "0000:00:12.0", "what", "zzzz:1 2")
    broken = bus.devices()[1]
    assert (broken.vendor_id, broken.device_id, broken.class_code) == (0, 0, 0)


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """Two adapters, and a disk and a tape on the second of them."""
    (tmp_path / "class/scsi_host/host0").mkdir(parents=True)
    (tmp_path / "class/scsi_host/host10").mkdir()
    disk = tmp_path / "bus/scsi/devices/10:0:2:1"
    told = {"vendor": "SEAGATE ", "model": "ST4000NM0023    ", "rev": "0004", "type": "0", "scsi_level": "7"}
    for name, text in {**told, "wwid": "naa.5000c50057f1a2b3"}.items():
        write(disk / name, text)
    (disk / "block/sdb").mkdir(parents=True)
    (disk / "scsi_generic/sg1").mkdir(parents=True)
    tape = tmp_path / "bus/scsi/devices/10:0:0:0"
    write(tape / "type", "1")
    (tape / "scsi_tape/st0").mkdir(parents=True)
    (tape / "scsi_tape/st0a").mkdir()
    (tmp_path / "bus/scsi/devices/host10").mkdir()
    (tmp_path / "bus/scsi/devices/target10:0:2").mkdir()
    return tmp_path


def test_adapters_are_counted_by_their_numbers(sys: Path) -> None:
    assert scsi.adapters(sys) == [0, 10]


def test_devices_tell_what_they_are(sys: Path) -> None:
    tape, disk = scsi.devices(sys)
    assert disk == SeenScsi(
        10,
        0,
        2,
        1,
        "SEAGATE",
        "ST4000NM0023",
        0,
        "disk",
        "/dev/sdb",
        "/dev/sg1",
        "0004",
        "naa.5000c50057f1a2b3",
        7,
    )
    assert (tape.type, tape.dev_name, tape.sg_name, tape.scsi_id) == ("tape", "/dev/st0", "", "")


def test_a_kind_that_has_no_word_has_its_number(sys: Path) -> None:
    write(sys / "bus/scsi/devices/10:0:0:0/type", "31")
    assert (scsi.devices(sys)[0].type_id, scsi.devices(sys)[0].type) == (31, "")


def test_names_are_found_under_their_own_maker_only() -> None:
    wanted = [pci.Ids("1af4", "10d3", "8086", "a01f", "0200")]
    names = pci.names_in(PCI_IDS.splitlines(keepends=True), wanted)
    assert names.devices == {}
    assert names.subsystems == {}
    assert names.vendors == {"1af4": "Red Hat, Inc.", "8086": "Intel Corporation"}
