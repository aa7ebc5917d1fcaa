"""Storage types and device_configs of the XenAPI as libvirt's pool XML, and back. Pure functions: nothing is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import libvirt
from lxml import etree

from agent.classes.enums import ImageFormat
from agent.errors import SrUnknownDriver, ValueNotSupported
from agent.ports import SeenStorageType
from drivers.text import cleaned

MOUNTS = PurePosixPath("/run/sr-mount")
"""Where storage that has to be mounted is, as Xen administrators know it from XenServer and XCP-ng."""

FOLDER_POOLS = frozenset({"dir", "fs", "netfs"})
"""The libvirt pool types whose volumes are files of a folder of this host."""

TYPES: Mapping[str, tuple[str, str]] = {
    "file": ("dir", "Disks as files in a folder of this host (device_config: location)."),
    "ext": (
        "dir",
        "The same under xapi's name for it (device_config: location), or on a device that is formatted if format is "
        "true and nothing is on it, or if format is overwrite (device_config: device, format).",
    ),
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
    "zfs": ("zfs", "Disks as volumes of a ZFS pool or data set (device_config: name)."),
    "rbd": (
        "rbd",
        "Disks as images of a Ceph pool (device_config: server, name; username and secret, a libvirt uuid).",
    ),
    "gluster": ("gluster", "Disks as files of a Gluster volume (device_config: server, name; serverpath)."),
    "vstorage": ("vstorage", "Disks as files of a Virtuozzo cluster (device_config: name, path)."),
    "mpath": ("mpath", "The multipath devices of this host; they cannot be made here."),
}
"""XenAPI's types and those of libvirt's own that a device_config can express: the libvirt type and a sentence."""

_ALWAYS = ("VDI_ATTACH", "VDI_DETACH", "VDI_INTRODUCE", "SR_UPDATE")
_DISKS = ("VDI_CREATE", "VDI_DELETE")
_ALL = (*_DISKS, "VDI_RESIZE", "VDI_CLONE", "VDI_SNAPSHOT", "VDI_UPDATE")
CAPABILITIES: Mapping[str, Sequence[str]] = {
    "dir": _ALL,
    "fs": _ALL,
    "netfs": (*_ALL, "SR_PROBE"),
    "logical": (*_ALL, "SR_PROBE"),
    "disk": _DISKS,
    "iscsi": ("SR_PROBE",),
    "zfs": _DISKS,
    "rbd": _DISKS,
    "gluster": (*_DISKS, "SR_PROBE"),
    "vstorage": _DISKS,
    "mpath": (),
}
"""What can be done in pools of libvirt's types, in xapi's words, beside what can in all."""


def storage_type(name: str, sentence: str) -> SeenStorageType:
    """What a type of the XenAPI can, and what its disks can be."""
    kind = TYPES[name][0]
    formats = [ImageFormat.RAW, ImageFormat.QCOW2] if kind in FOLDER_POOLS else [ImageFormat.RAW]
    return SeenStorageType(name, sentence, [*_ALWAYS, *CAPABILITIES[kind]], formats)


XENAPI_NAMES = {"dir": "file", "netfs": "nfs", "logical": "lvm"}

_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_DEVICE = re.compile(r"/dev/[A-Za-z0-9_./:@+-]+")
_UPWARDS = re.compile(r"(^|/)\.\.($|[/,])")
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_\[\]-]*")
_GROUP = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}")
_TARGET = re.compile(r"(iqn|eui|naa)\.[A-Za-z0-9.:_-]+")
_NFS_VERSION = re.compile(r"[34]")
_FILE_SYSTEM = re.compile(r"ext[234]|xfs|btrfs|ocfs2|gfs2?|vfat|ufs")
_FORMAT = re.compile(r"true|false|overwrite")
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.:/-]{0,254}")
_SECRET = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    if type == "ext" and (device := config.given.get("device")):
        if not wants_format(device_config):
            why = "format=true has it formatted; one with a file system on it is taken by the type fs"
            raise ValueNotSupported("device_config", device, why)
        config = _Config({"fstype": "ext4", **device_config}, {"format"})
        kind = "fs"
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
    source, target = _child(pool, "source"), _child(pool, "target")
    _fill(kind, uuid, config, source, target)
    if not len(target):
        pool.remove(target)
    config.finish()
    return etree.tostring(pool, encoding="unicode")


def _fill(kind: str, uuid: str, config: _Config, source: etree._Element, target: etree._Element) -> None:
    path = str(MOUNTS / uuid)
    if kind == "dir":
        path = config.need("location", "path", like=_PATH)
    elif kind == "fs":
        _child(source, "device", path=config.need("device", like=_DEVICE))
        if system := config.take("fstype", like=_FILE_SYSTEM):
            _child(source, "format", type=system)
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
    elif kind == "mpath":
        path = "/dev/mapper"
    else:
        _fill_by_name(kind, config, source)
        path = config.need("path", like=_PATH) if kind == "vstorage" else ""
        if not path:
            return
    _child(target, "path", str(PurePosixPath(path)))


def _fill_by_name(kind: str, config: _Config, source: etree._Element) -> None:
    """The source of the types that libvirt finds by a name, with the servers that know it."""
    if kind in ("rbd", "gluster"):
        for server in config.need("server", like=re.compile(rf"{_HOST.pattern}(,{_HOST.pattern})*")).split(","):
            _child(source, "host", name=server)
    if kind == "gluster":
        _child(source, "dir", path=config.take("serverpath", "dir", like=_PATH) or "/")
    _child(source, "name", config.need("name", like=_NAME))
    if kind == "rbd" and (user := config.take("username", like=_NAME)):
        auth = _child(source, "auth", type="ceph", username=user)
        _child(auth, "secret", uuid=config.need("secret", like=_SECRET))


def wants_format(device_config: Mapping[str, str]) -> bool:
    """Whether the device is to be formatted. VALUE_NOT_SUPPORTED for a word that says neither."""
    wanted = device_config.get("format", "false")
    if not _FORMAT.fullmatch(wanted):
        raise ValueNotSupported("device_config", f"format={wanted}", "format is true, overwrite or false")
    return wanted != "false"


def _child(parent: etree._Element, name: str, text: str | None = None, /, **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, name, attributes)
    child.text = text
    return child


def device_config_of(pool: etree._Element) -> dict[str, str]:
    """What a device_config must say to get this pool."""
    path = cleaned(pool.findtext("target/path"), 4096)
    devices = ",".join(cleaned(device.get("path"), 4096) for device in pool.iterfind("source/device"))
    folder, protocol = pool.find("source/dir"), pool.find("source/protocol")
    config = {
        "server": ",".join(cleaned(host.get("name")) for host in pool.iterfind("source/host")),
        "serverpath": cleaned(folder.get("path"), 4096) if folder is not None else "",
        "nfsversion": cleaned(protocol.get("ver")) if protocol is not None else "",
        "device": devices,
    }
    match pool.get("type"):
        case "dir":
            config["location"] = path
        case "logical" | "zfs" | "rbd" | "gluster":
            config["name"] = cleaned(pool.findtext("source/name"))
            auth, secret = pool.find("source/auth"), pool.find("source/auth/secret")
            if auth is not None and secret is not None:
                config |= {"username": cleaned(auth.get("username")), "secret": cleaned(secret.get("uuid"))}
        case "vstorage":
            config |= {"name": cleaned(pool.findtext("source/name")), "path": path}
        case "disk" | "iscsi" | "mpath":
            pass
        case "fs":
            system = pool.find("source/format")
            config |= {"path": path, "fstype": cleaned(system.get("type")) if system is not None else ""}
        case _:
            config["path"] = path
    return {key: value for key, value in config.items() if value}


def needs_mount_point(pool: etree._Element) -> bool:
    """Whether starting it mounts something where nobody but us makes the folder (it is gone after a reboot)."""
    path = pool.findtext("target/path", "")
    return pool.get("type") in ("fs", "netfs") and PurePosixPath(path).is_relative_to(MOUNTS)


def build_flags(pool: etree._Element, device_config: Mapping[str, str]) -> int | None:
    """How new storage is built: a folder, a mount point, a volume group of devices; None if nothing is to be made.

    No device is formatted unless that is asked for: a file system or partition table is on it, or the pool will not
    start. One that carries anything libvirt recognises is neither formatted nor made into a volume group, unless it is
    to be overwritten.
    """
    if pool.get("type") == "fs" and wants_format(device_config):
        if device_config["format"] == "overwrite":
            return int(libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE)
        return int(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
    if pool.get("type") in FOLDER_POOLS:
        return 0
    if pool.get("type") == "logical" and pool.find("source/device") is not None:
        return int(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
    return None
