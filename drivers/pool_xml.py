"""Storage types and device_configs of the XenAPI as libvirt's pool XML, and back. Pure functions: nothing is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import libvirt
from lxml import etree

from agent.errors import SrUnknownDriver, ValueNotSupported
from drivers.text import cleaned

MOUNTS = PurePosixPath("/run/sr-mount")
"""Where storage that has to be mounted is, as Xen administrators know it from XenServer and XCP-ng."""

FOLDER_POOLS = frozenset({"dir", "fs", "netfs"})
"""The libvirt pool types whose volumes are files of a folder of this host."""

TYPES: Mapping[str, tuple[str, str]] = {
    "file": ("dir", "Disks as files in a folder of this host (device_config: location)."),
    "ext": ("dir", "The same under xapi's name for it (device_config: location); formatting a device is not offered."),
    "iso": ("dir", "A folder or NFS export of CD images (device_config: location, a path or server:/path)."),
    "nfs": ("netfs", "Disks as files on an NFS server (device_config: server, serverpath)."),
    "lvm": (
        "logical",
        "Disks as logical volumes of a volume group (device_config: device to make it of, or name).",
    ),
    "dir": ("dir", "libvirt's name for file."),
    "fs": ("fs", "A device with a file system on it, which is mounted (device_config: device)."),
    "netfs": ("netfs", "libvirt's name for nfs."),
    "logical": ("logical", "libvirt's name for lvm."),
    "disk": ("disk", "Disks as partitions of a device that has a partition table (device_config: device)."),
    "iscsi": ("iscsi", "The units of an iSCSI target; they cannot be made here (device_config: server, device)."),
}
"""XenAPI's types and those of libvirt's own that a device_config can express: the libvirt type and a sentence."""

XENAPI_NAMES = {"dir": "file", "netfs": "nfs", "logical": "lvm"}

_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_DEVICE = re.compile(r"/dev/[A-Za-z0-9_./:@+-]+")
_UPWARDS = re.compile(r"(^|/)\.\.($|[/,])")
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_\[\]-]*")
_GROUP = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}")
_TARGET = re.compile(r"(iqn|eui|naa)\.[A-Za-z0-9.:_-]+")
_NFS_VERSION = re.compile(r"[34]")


@dataclass(frozen=True)
class _Config:
    """A device_config being read: what is asked of it twice is the same, and what nobody asked for is refused."""

    given: Mapping[str, str]
    used: set[str]

    def take(self, *keys: str, like: re.Pattern[str]) -> str:
        """The value of the first key that is given; empty if none is. VALUE_NOT_SUPPORTED if it is malformed."""
        self.used.update(keys)
        value = next((self.given[key] for key in keys if self.given.get(key)), "")
        if value and (not like.fullmatch(value) or _UPWARDS.search(value)):
            raise ValueNotSupported("device_config", value, f"this is no {keys[0]}")
        return value

    def need(self, *keys: str, like: re.Pattern[str]) -> str:
        """The same, but one must be given."""
        value = self.take(*keys, like=like)
        if not value:
            raise ValueNotSupported("device_config", "", f"the key {keys[0]} is missing")
        return value

    def finish(self) -> None:
        """VALUE_NOT_SUPPORTED for a key that nothing is made of."""
        for key in self.given.keys() - self.used:
            raise ValueNotSupported(
                "device_config", f"{key}={self.given[key]}", "no storage of this type has such a key"
            )


def pool_xml(uuid: str, name: str, type: str, device_config: Mapping[str, str]) -> str:
    """The definition of a pool. SR_UNKNOWN_DRIVER for an unknown type, VALUE_NOT_SUPPORTED for a faulty config."""
    if type not in TYPES:
        raise SrUnknownDriver(type)
    config = _Config(device_config, set())
    kind = TYPES[type][0]
    if type == "ext" and config.given.get("device"):
        raise ValueNotSupported("device_config", config.given["device"], "devices are not formatted: give a location")
    if type == "iso":
        # XenAPI clients say how a CD library is reached with these two; the location itself already tells.
        config.take("type", like=re.compile("nfs_iso"))
        config.take("legacy_mode", like=re.compile("true|false"))
        server, colon, path = config.given.get("location", "").partition(":")
        if colon and not server.startswith("/"):
            config = _Config({**device_config, "server": server, "serverpath": path}, {*config.used, "location"})
            kind = "netfs"
    pool = etree.Element("pool", type=kind)
    _child(pool, "name", name)
    _child(pool, "uuid", uuid)
    _fill(kind, uuid, config, _child(pool, "source"), _child(pool, "target"))
    config.finish()
    return etree.tostring(pool, encoding="unicode")


def _fill(kind: str, uuid: str, config: _Config, source: etree._Element, target: etree._Element) -> None:
    path = str(MOUNTS / uuid)
    if kind == "dir":
        path = config.need("location", "path", like=_PATH)
    elif kind == "fs":
        _child(source, "device", path=config.need("device", like=_DEVICE))
        path = config.take("path", "location", like=_PATH) or path
    elif kind == "netfs":
        _child(source, "host", name=config.need("server", "host", like=_HOST))
        _child(source, "dir", path=config.need("serverpath", "dir", like=_PATH))
        if version := config.take("nfsversion", like=_NFS_VERSION):
            _child(source, "protocol", ver=version)
        path = config.take("path", like=_PATH) or path
    elif kind == "logical":
        devices = config.take("device", like=re.compile(rf"{_DEVICE.pattern}(,{_DEVICE.pattern})*"))
        group = config.take("name", like=_GROUP)
        if not devices and not group:
            raise ValueNotSupported("device_config", "", "the key device is missing")
        for device in filter(None, devices.split(",")):
            _child(source, "device", path=device)
        _child(source, "name", group or f"VG_XenStorage-{uuid}")
        path = f"/dev/{group or f'VG_XenStorage-{uuid}'}"
    elif kind == "disk":
        _child(source, "device", path=config.need("device", like=_DEVICE))
        path = "/dev"
    elif kind == "iscsi":
        _child(source, "host", name=config.need("server", "host", "target", like=_HOST))
        _child(source, "device", path=config.need("device", "targetIQN", like=_TARGET))
        path = "/dev/disk/by-path"
    _child(target, "path", str(PurePosixPath(path)))


def _child(parent: etree._Element, name: str, text: str | None = None, /, **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, name, attributes)
    child.text = text
    return child


def device_config_of(pool: etree._Element) -> dict[str, str]:
    """What a device_config must say to get this pool."""
    path = cleaned(pool.findtext("target/path"), 4096)
    devices = ",".join(cleaned(device.get("path"), 4096) for device in pool.iterfind("source/device"))
    host = pool.find("source/host")
    folder, protocol = pool.find("source/dir"), pool.find("source/protocol")
    config = {
        "server": cleaned(host.get("name")) if host is not None else "",
        "serverpath": cleaned(folder.get("path"), 4096) if folder is not None else "",
        "nfsversion": cleaned(protocol.get("ver")) if protocol is not None else "",
        "device": devices,
    }
    match pool.get("type"):
        case "dir":
            config["location"] = path
        case "logical":
            config["name"] = cleaned(pool.findtext("source/name"))
        case "disk" | "iscsi":
            pass
        case _:
            config["path"] = path
    return {key: value for key, value in config.items() if value}


def needs_mount_point(pool: etree._Element) -> bool:
    """Whether starting it mounts something where nobody but us makes the folder (it is gone after a reboot)."""
    path = pool.findtext("target/path", "")
    return pool.get("type") in ("fs", "netfs") and PurePosixPath(path).is_relative_to(MOUNTS)


def build_flags(pool: etree._Element) -> int | None:
    """How new storage is built: a folder, a mount point, a volume group of devices; None if nothing is to be made.

    No device is ever formatted: a file system or partition table is on it, or the pool will not start; and one that
    carries anything libvirt recognises is not made into a volume group.
    """
    if pool.get("type") in FOLDER_POOLS:
        return 0
    if pool.get("type") == "logical" and pool.find("source/device") is not None:
        return int(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
    return None
