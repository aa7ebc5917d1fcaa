"""USB devices, read from a tree like sysfs; and their XML, written and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from agent.classes import VM, VUSB, USBGroup
from agent.classes.enums import DomainType
from agent.errors import ValueNotSupported
from agent.ports import SeenUsb
from drivers import usb, xml_devices, xml_read

STICK = {
    "idVendor": "0951",
    "idProduct": "1666",
    "bDeviceClass": "00",
    "busnum": "1",
    "devnum": "4",
    "manufacturer": "Kingston",
    "product": "DataTraveler",
    "serial": "0001",
    "version": " 2.00",
    "speed": "480",
}


def put(sys: Path, name: str, **files: str) -> None:
    folder = sys / "bus/usb/devices" / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text + "\n")


def test_what_a_device_tells_of_itself_is_shown(tmp_path: Path) -> None:
    put(tmp_path, "1-2.1", **STICK)
    assert usb.devices(tmp_path, tmp_path) == [
        SeenUsb("1-2.1", "0951:1666", "0951:1666:1:4", "Kingston", "DataTraveler", "0001", "2.00", 480.0)
    ]


def test_hubs_interfaces_and_damage_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "usb1", **STICK)
    put(tmp_path, "1-1", **STICK | {"bDeviceClass": "09"})
    put(tmp_path, "1-2:1.0", **STICK)
    put(tmp_path, "1-3", **STICK | {"idVendor": "zz"})
    assert usb.devices(tmp_path, tmp_path) == []


def test_a_device_without_words_has_those_of_the_list_or_its_numbers(tmp_path: Path) -> None:
    silent = {key: text for key, text in STICK.items() if key not in ("manufacturer", "product", "speed")}
    put(tmp_path, "1-1", **silent)
    put(tmp_path, "1-2", **silent | {"idVendor": "ffff"})
    (tmp_path / "misc").mkdir()
    (tmp_path / "misc/usb.ids").write_text("0951  Kingston Technology\n\t1666  DataTraveler 100\n")
    known, unknown = usb.devices(tmp_path, tmp_path)
    assert (known.vendor_name, known.product_name) == ("Kingston Technology", "DataTraveler 100")
    assert (unknown.vendor_name, unknown.product_name, unknown.speed) == ("ffff", "1666", 0.0)


def given(vm: VM, device: str, kind: str = "0951:1666") -> VUSB:
    group = USBGroup()
    group.kind = kind
    vusb = VUSB()
    vusb.VM, vusb.USB_group, vusb.device = vm, group, device
    vm.VUSBs = (*vm.VUSBs, vusb)
    return vusb


def names(root: etree._Element) -> list[str]:
    return [xml_read.usb_device_of(hostdev) for hostdev in root.iterfind("devices/hostdev")]


def test_what_was_chosen_is_written_and_read_back() -> None:
    vm = VM(domain_type=DomainType.HVM)
    vusb = given(vm, "0951:1666:1:4")
    root = etree.fromstring("<domain><devices/></domain>")
    xml_devices.apply_usb(vm, root)
    assert names(root) == ["0951:1666:1:4"]
    vusb.device = "0951:1666:1:7"
    xml_devices.apply_usb(vm, root)
    assert names(root) == ["0951:1666:1:7"]
    vusb.device = ""
    xml_devices.apply_usb(vm, root)
    assert names(root) == []


def test_devices_of_other_kinds_are_left_alone() -> None:
    vm = VM(domain_type=DomainType.HVM)
    other = given(VM(domain_type=DomainType.HVM), "0403:6001:1:3", "0403:6001")
    root = etree.fromstring("<domain><devices/></domain>")
    root[0].append(xml_devices.usb_element(other))
    given(vm, "0951:1666:1:4")
    xml_devices.apply_usb(vm, root)
    assert names(root) == ["0403:6001:1:3", "0951:1666:1:4"]


def test_a_guest_that_is_not_hvm_gets_none() -> None:
    vm = VM(domain_type=DomainType.PVH)
    given(vm, "0951:1666:1:4")
    with pytest.raises(ValueNotSupported):
        xml_devices.apply_usb(vm, etree.fromstring("<domain><devices/></domain>"))


@pytest.mark.parametrize(
    "source",
    [
        "<vendor id='0x0951'/><product id='0x1666'/>",
        "<address bus='1' device='4'/>",
        "<vendor id='x'/><product id='y'/><address bus='1' device='4'/>",
    ],
)
def test_a_device_that_is_not_named_whole_is_none_of_ours(source: str) -> None:
    hostdev = etree.fromstring(f"<hostdev mode='subsystem' type='usb'><source>{source}</source></hostdev>")
    assert xml_read.usb_device_of(hostdev) == ""
