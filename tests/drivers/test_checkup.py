"""What a host is found fit for, from files laid out as on one."""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest
from pytest_mock import MockerFixture

from drivers import checkup
from drivers.checkup import Seen

XEN = "xen:///system"


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a fit host."""
    files = {
        "proc/xen/capabilities": "control_d\n",
        "sys/hypervisor/type": "xen\n",
        "sys/hypervisor/version/major": "4\n",
        "sys/hypervisor/version/minor": "18\n",
        "run/xenstored/socket": "",
        **dict.fromkeys(checkup.DEVICE_MODEL, ""),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(checkup, "installed", lambda name: f"/usr/sbin/{name}")
    return tmp_path


def bad(findings: list[Seen]) -> list[tuple[str, str]]:
    """What is not well; each says what to do."""
    found = [item for item in findings if item.level != "ok"]
    assert all(item.todo for item in found)
    return [(item.level, item.subject) for item in found]


def test_a_fit_host_has_nothing_to_do(dom0: Path) -> None:
    found = list(checkup.host(XEN, dom0))
    assert bad(found) == []
    assert Seen("ok", "xen", "Xen 4.18") in found


@pytest.mark.parametrize("place", checkup.QEMU)
@pytest.mark.parametrize(("version", "known"), [("7.2.18 (Debian 1:7.2+dfsg-7+deb12u18)", True), ("8.2.2", False)])
def test_a_device_model_that_is_known_to_be_bad_is_named(dom0: Path, place: str, version: str, known: bool) -> None:
    (dom0 / checkup.DEVICE_MODEL[0]).unlink()
    (dom0 / place).parent.mkdir(parents=True, exist_ok=True)
    (dom0 / place).write_text(f"#!/bin/sh\necho 'QEMU emulator version {version}'\n")
    (dom0 / place).chmod(0o755)
    told = Seen("note", "device model", *checkup.BAD_QEMU["7.2"])
    assert (told in checkup.host(XEN, dom0)) is known


def test_a_xen_that_is_known_to_be_bad_is_named(dom0: Path) -> None:
    (dom0 / "sys/hypervisor/version/minor").write_text("17\n")
    found = list(checkup.host(XEN, dom0))
    assert Seen("ok", "xen", "Xen 4.17") in found
    assert bad(found) == [("note", "xen")]


@pytest.mark.parametrize(
    ("gone", "made", "finding"),
    [
        ("proc/xen/capabilities", "", ("error", "dom0")),
        ("run/xenstored/socket", "", ("error", "xenstore")),
        (checkup.DEVICE_MODEL[0], "", ("note", "device model")),
        ("", "etc/xensource", ("error", "toolstack")),
    ],
)
def test_what_is_wrong_is_found(dom0: Path, gone: str, made: str, finding: tuple[str, str]) -> None:
    if gone:
        (dom0 / gone).unlink()
    if made:
        (dom0 / made).mkdir(parents=True)
    assert bad(list(checkup.host(XEN, dom0))) == [finding]


def test_a_socket_of_the_agents_where_xapi_has_one_is_not_taken_for_xapi(dom0: Path) -> None:
    (dom0 / "var/lib/xcp").mkdir(parents=True)
    (dom0 / "var/lib/xcp/xapi").touch()
    assert bad(list(checkup.host(XEN, dom0))) == [("error", "toolstack")]
    assert bad(list(checkup.host(XEN, dom0, own=["unix:/var/lib/xcp/xapi"]))) == []


def test_a_system_without_xen_is_told_to_boot_it(tmp_path: Path) -> None:
    first = next(iter(checkup.host(XEN, tmp_path)))
    assert (first.level, first.todo) == ("error", "boot the Xen entry of the boot loader's menu")


def test_missing_tools_are_named(dom0: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "installed", lambda name: None)
    found = list(checkup.host(XEN, dom0))
    assert bad(found) == [("error", "tools"), ("error", "tools"), ("note", "tools")]


def test_the_test_hypervisor_is_found_fit() -> None:
    found = list(checkup.hypervisor("test:///default"))
    assert bad(found) == []
    assert "the driver TEST answers at test:///default" in [item.text for item in found]


def test_an_old_libvirt_is_told(mocker: MockerFixture) -> None:
    mocker.patch.object(libvirt, "getVersion", return_value=8_002_001)
    found = next(iter(checkup.hypervisor("test:///default")))
    assert (found.level, found.text) == ("error", "the library is version 8.2.1")


@pytest.mark.parametrize(
    ("said", "todo"),
    [
        ("no connection driver available for xen:///system", "libvirt-daemon-driver-xen"),
        ("Failed to connect socket to '/run/x': No such file or directory", "systemctl start libvirtd"),
        ("Failed to connect socket: Permission denied", "as root"),
        ("something else", "journalctl"),
    ],
)
def test_a_libvirt_that_cannot_be_reached_has_its_remedy(mocker: MockerFixture, said: str, todo: str) -> None:
    mocker.patch.object(libvirt, "open", side_effect=libvirt.libvirtError(said))
    *_, last = checkup.hypervisor(XEN)
    assert last.level == "error"
    assert todo in last.todo


def test_a_pool_that_is_not_active_is_told(mocker: MockerFixture) -> None:
    pool = mocker.create_autospec(libvirt.virStoragePool, instance=True)
    pool.isActive.return_value = 0
    pool.name.return_value = "disks"
    connection = mocker.create_autospec(libvirt.virConnect, instance=True)
    connection.getLibVersion.return_value = 9_000_000
    connection.getType.return_value = "Xen"
    connection.listAllStoragePools.return_value = [pool]
    mocker.patch.object(libvirt, "open", return_value=connection)
    *_, last = checkup.hypervisor(XEN)
    assert (last.level, last.todo) == ("warning", "virsh pool-start disks")
