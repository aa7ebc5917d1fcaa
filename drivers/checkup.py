"""What can be told from below of a host's fitness for the agent: dom0, Xen, libvirt and its driver, and the
combinations of them that are known not to work. Looks only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import libvirt

from drivers import reasons
from drivers.program import Program, installed
from drivers.xenstore import PLACES

LEAST_LIBVIRT = 9_000_000
TOOLS = (
    ("xl", True, "install Xen's tools (Debian: xen-utils)"),
    ("qemu-img", True, "install it, or no disk can be made or copied (Debian: qemu-utils)"),
    ("lvs", False, "install it to have snapshots of logical volumes (Debian: lvm2)"),
)
XAPI = ("run/xapi", "var/lib/xcp/xapi", "etc/xensource")
"""What is there on a host of xapi's. The second is its socket, where some clients look for the agent's too."""
DEVICE_MODEL = ("usr/lib/xen/bin/qemu-system-i386", "usr/lib/xen/boot/hvmloader")
"""Where libvirt 9.0 looks for what an HVM guest needs; Debian has them elsewhere."""
QEMU = ("usr/libexec/xen-qemu-system-i386", DEVICE_MODEL[0], "usr/bin/qemu-system-i386")
"""Where the device model is on Debian and on others; the first that is there counts."""
BAD_XEN = {
    "4.17": (
        "Xen 4.17 was seen to panic when a processor leaves a CPU pool",
        "take processors out of CPU pools only while no machine has to go on",
    )
}
BAD_QEMU = {
    "7.2": (
        "QEMU 7.2 serves no file read-only, and dies when a CD drive that was empty at the guest's start gets a medium;"
        " the agent refuses both",
        "have the medium in the drive when the machine starts: later it can be changed, and ejected and inserted again",
    )
}
"""What was seen on a real Xen (docs/xen.md), by version, and what to do about it."""


class Seen(NamedTuple):
    """One finding."""

    level: str
    """``ok``, ``note``, ``warning`` (something does not work) or ``error`` (the agent does not)."""
    subject: str
    text: str
    todo: str = ""


def host(uri: str, root: Path = Path("/"), own: Sequence[str] = ()) -> Iterator[Seen]:
    """What the host's files say. `root` is where they are, `own` the URLs that the agent listens on."""
    if not uri.startswith("xen:///"):
        yield Seen("note", "xen", f"{uri} is not this host's Xen: dom0 and its tools are not looked at")
        return
    capabilities = _read(root / "proc/xen/capabilities")
    if "control_d" in capabilities:
        yield Seen("ok", "dom0", "this is a Xen control domain")
    elif _read(root / "sys/hypervisor/type") == "xen":
        todo = "run the agent in dom0" if capabilities else "load the module xenfs and mount it at /proc/xen"
        yield Seen("error", "dom0", "this runs on Xen and is not its control domain, or /proc/xen is not there", todo)
    else:
        yield Seen("error", "dom0", "no Xen runs below this system", "boot the Xen entry of the boot loader's menu")
    version = ".".join(_read(root / "sys/hypervisor/version" / part) for part in ("major", "minor")).strip(".")
    if version:
        yield Seen("ok", "xen", f"Xen {version}")
    if version in BAD_XEN:
        yield Seen("note", "xen", *BAD_XEN[version])
    for name, needed, todo in TOOLS:
        if installed(name) is None:
            yield Seen("error" if needed else "note", "tools", f"{name} is not there", todo)
    if not any((root / str(path).lstrip("/")).exists() for path in PLACES):
        yield Seen("error", "xenstore", "neither its socket nor its device is there", "start xenstored, or xencommons")
    if any((root / path).exists() for path in XAPI if f"unix:/{path}" not in own):
        todo = "run one of them only: this host belongs to xapi"
        yield Seen("error", "toolstack", "xapi is on this host and expects to be alone", todo)
    missing = [f"/{path}" for path in DEVICE_MODEL if not (root / path).exists()]
    if missing:
        todo = "if HVM guests do not start, link them there, as docs/xen.md tells"
        yield Seen("note", "device model", f"libvirt on Debian looks for {' and '.join(missing)}", todo)
    if (version := _qemu_version(root)) in BAD_QEMU:
        yield Seen("note", "device model", *BAD_QEMU[version])


def _qemu_version(root: Path) -> str:
    """The first two numbers; empty where no device model tells."""
    path = next((root / path for path in QEMU if (root / path).exists()), None)
    said = None if path is None else Program(str(path)).read("--version")
    match = re.search(r"version (\d+\.\d+)", said or "")
    return match[1] if match else ""


def hypervisor(uri: str) -> Iterator[Seen]:
    """What libvirt says."""
    reasons.keep()
    yield from _version(libvirt.getVersion(), "the library")
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        yield Seen("error", "libvirt", f"{uri} cannot be opened: {error}", _remedy(str(error)))
        return
    try:
        yield from _version(connection.getLibVersion(), "the daemon")
        yield Seen("ok", "libvirt", f"the driver {connection.getType()} answers at {uri}")
        if uri.startswith("xen:") and connection.getType() != "Xen":
            yield Seen("error", "libvirt", "the driver is not Xen's", "install libvirt's Xen driver, and boot Xen")
        yield from _storage(connection)
    except libvirt.libvirtError as error:
        yield Seen("error", "libvirt", f"it answers with an error: {error}", "look at: journalctl -u libvirtd")
    finally:
        connection.close()


def _version(number: int, whose: str) -> Iterator[Seen]:
    text = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
    if number < LEAST_LIBVIRT:
        yield Seen("error", "libvirt", f"{whose} is version {text}", "upgrade to libvirt 9.0 or later")
    else:
        yield Seen("ok", "libvirt", f"{whose} is version {text}")


def _remedy(error: str) -> str:
    if "No connection driver" in error or "no connection driver" in error:
        return "install libvirt's Xen driver (Debian: libvirt-daemon-driver-xen) and restart libvirtd"
    if "No such file" in error or "refused" in error:
        return "start it: systemctl start libvirtd.service (or virtxend.socket)"
    if "ermission denied" in error or "authentication" in error:
        return "run this as root"
    return "look at: journalctl -u libvirtd"


def _storage(connection: libvirt.virConnect) -> Iterator[Seen]:
    pools = connection.listAllStoragePools()
    if not pools:
        todo = "make one: sr-create, or virsh pool-define-as default dir --target /var/lib/libvirt/images"
        yield Seen("warning", "storage", "libvirt has no storage pool: no disk can be made", todo)
    for pool in pools:
        if not pool.isActive():
            yield Seen("warning", "storage", f"the pool {pool.name()} is not active", f"virsh pool-start {pool.name()}")
            continue
        _, capacity, _, available = pool.info()
        if capacity and available < capacity // 20:
            yield Seen(
                "warning", "storage", f"the pool {pool.name()} is full but for {available >> 20} MiB", "make room"
            )
        else:
            yield Seen("ok", "storage", f"the pool {pool.name()} is active")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
