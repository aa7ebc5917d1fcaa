"""The host's USB devices become objects: PUSB, and USB_group for each kind; what domains have of them, VUSB."""

from __future__ import annotations

from agent.classes import PUSB, VM, Host, USBGroup
from agent.observer.devices import part_of
from agent.ports import Node, SeenUsb
from agent.store.store import Store


def note(store: Store, node: Node) -> None:
    """Make the devices what was seen. One that was pulled goes, and with it that machines may be given it."""
    devices = node.usb_devices()
    with store.transaction():
        host = store.only(Host)
        gone = {pusb.uuid: pusb for pusb in host.PUSBs}
        for seen in devices:
            uuid = part_of(host, f"PUSB {seen.path} {seen.kind}")
            pusb = gone.pop(uuid, None)
            if pusb is None:
                pusb = PUSB(USB_group=_group(store, host, seen), host=host, path=seen.path)
                pusb.uuid = uuid
                store.add(pusb)
            pusb.device = seen.device
            pusb.vendor_id, _, pusb.product_id = seen.kind.partition(":")
            pusb.vendor_desc, pusb.product_desc = seen.vendor_name, seen.product_name
            pusb.description = f"{seen.vendor_name} {seen.product_name}"
            pusb.serial, pusb.version, pusb.speed = seen.serial, seen.version, seen.speed
        for pusb in gone.values():
            store.destroy(pusb)


def _group(store: Store, host: Host, seen: SeenUsb) -> USBGroup:
    """The group of a kind, made if there is none."""
    uuid = part_of(host, f"USB group {seen.kind}")
    group = store.known(USBGroup, uuid)
    if group is None:
        group = USBGroup(name_label=f"Group of {seen.vendor_name} {seen.product_name} USBs")
        group.uuid, group.kind = uuid, seen.kind
        store.add(group)
    return group


def attached(vm: VM, devices: frozenset[str]) -> None:
    """Note which of its devices the running machine has; none, where it does not run. In a transaction."""
    for vusb in vm.VUSBs:
        vusb.currently_attached = vusb.device in devices
