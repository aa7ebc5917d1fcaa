"""Storage repositories as libvirt storage pools: what defines, starts, stops and removes them.

An SR is the pool with its uuid. Nothing about volumes is here, except that a pool which has some is not removed: what a
volume is differs between the real driver (``storage``) and the simulated one (``folders``), which both build on this.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import libvirt
from lxml import etree

from agent.classes import PBD, SR, VDI
from agent.errors import (
    SrBackendFailure,
    SrFull,
    SrHasNoPbds,
    SrNotEmpty,
    SrUnknownDriver,
    UniquenessViolated,
    ValueNotSupported,
    VdiMissing,
    XenError,
)
from agent.ports import SeenPool, SeenStorageType
from drivers.connection import Connection
from drivers.failures import translated
from drivers.pool_xml import (
    TYPES,
    XENAPI_NAMES,
    build_flags,
    device_config_of,
    needs_mount_point,
    pool_xml,
    storage_type,
)
from drivers.text import cleaned


@contextmanager
def file_call(sr: SR, vdi: VDI | None = None, requested: int = 0, maximum: int = 0) -> Iterator[None]:
    """Raise what the file system refuses of the body as the XenError that says it.

    `requested` and `maximum` are what SR_FULL tells, should there be no room.
    """
    try:
        yield
    except FileNotFoundError as error:
        if vdi is not None:
            raise VdiMissing(sr, vdi) from error
        raise _file_failure(error) from error
    except FileExistsError as error:
        if vdi is not None:
            raise UniquenessViolated("VDI", "uuid", vdi.uuid) from error
        raise _file_failure(error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SrFull(requested, maximum) from error
        if error.errno == errno.ENOTEMPTY:
            raise SrNotEmpty() from error
        raise _file_failure(error) from error


def _file_failure(error: OSError) -> SrBackendFailure:
    return SrBackendFailure(errno.errorcode.get(error.errno or 0, ""), "file system", cleaned(error.strerror))


_NO_ROOM = re.compile(r"No space left|insufficient free (space|extents)|[Qq]uota exceeded|File too large")


def _meaning(error: libvirt.libvirtError, sr: SR, requested: int, maximum: int) -> XenError | None:
    """What an error of the storage driver says beyond its code; None where the common table knows better."""
    message = error.get_error_message() or str(error)
    if _NO_ROOM.search(message):
        return SrFull(requested, maximum)
    if "Directory not empty" in message:
        return SrNotEmpty()
    if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and "is not active" in message:
        return SrHasNoPbds(sr)
    if error.get_error_domain() == libvirt.VIR_FROM_NONE:
        # mount, lvcreate and the like failed: "Child process (...) unexpected exit status 32: ..."
        return SrBackendFailure(str(error.get_error_code()), "", cleaned(message, 1000))
    return None


class Pools:
    """The storage pools of a libvirt connection. What a volume is, a subclass says."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @contextmanager
    def _call(
        self, sr: SR, vdi: VDI | None = None, requested: int = 0, maximum: int = 0, **what: object
    ) -> Iterator[None]:
        """Raise what libvirt refuses of the body as the XenError that says it; the numbers are for SR_FULL."""
        if vdi is not None:
            what["vdi"] = vdi
        with translated(sr, connection=self.connection, sr=sr, **what):
            try:
                yield
            except libvirt.libvirtError as error:
                if self.connection.suspect():
                    raise
                meaning = _meaning(error, sr, requested, maximum)
                if meaning is None:
                    raise
                raise meaning from error

    def supported_types(self) -> Mapping[str, str]:
        """The types that create takes, each with a sentence. Those that this libvirt was built without are left out."""
        with translated(connection=self.connection):
            try:
                offered = etree.fromstring(self.connection.handle.getStoragePoolCapabilities())
            except libvirt.libvirtError as error:
                # libvirt's test driver has no such call and takes every type:
                # "this function is not supported by the connection driver: virConnectGetStoragePoolCapabilities".
                if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
                return {name: sentence for name, (_, sentence) in TYPES.items()}
        kinds = {pool.get("type") for pool in offered.iterfind("pool[@supported='yes']")}
        return {name: sentence for name, (kind, sentence) in TYPES.items() if kind in kinds}

    def types(self) -> Sequence[SeenStorageType]:
        """The same, with what can be done in such storage."""
        return [storage_type(name, sentence) for name, sentence in self.supported_types().items()]

    def pools(self) -> Sequence[SeenPool]:
        """All pools."""
        with translated(connection=self.connection):
            seen = []
            for pool in self.connection.handle.listAllStoragePools():
                with _unless_gone():
                    seen.append(_seen(pool))
            return seen

    def create(self, sr: SR, device_config: Mapping[str, str]) -> None:
        """Make the storage and start it. SR_UNKNOWN_DRIVER for a type it cannot make."""
        with self._call(sr, field="device_config", value=_written(device_config)):
            if self._find(sr.uuid) is not None:
                raise UniquenessViolated("SR", "uuid", sr.uuid)
            definition = self._definition(sr, device_config)
            described = etree.fromstring(definition)
            flags = build_flags(described, device_config)
            pool = self.connection.handle.storagePoolDefineXML(definition)
            # libvirt removes no folder that anything is in or that anything is mounted on.
            undo = [pool.delete, pool.undefine] if needs_mount_point(described) else [pool.undefine]
            with _undone(*undo):
                if flags is not None:
                    pool.build(flags)
                pool.create()
            with _undone(pool.destroy, *undo):
                pool.setAutostart(1)

    def probe(self, type: str, device_config: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
        """The device_configs of what is there. VALUE_NOT_SUPPORTED for a type whose storage cannot be looked for."""
        if type not in TYPES:
            raise SrUnknownDriver(type)
        source = etree.Element("source")
        if server := device_config.get("server") or device_config.get("host") or device_config.get("target"):
            etree.SubElement(source, "host", name=cleaned(server))
        with translated(connection=self.connection, field="type", value=type):
            kind = TYPES[type][0]
            wanted = etree.tostring(source, encoding="unicode")
            try:
                found = self.connection.handle.findStoragePoolSources(kind, wanted, 0)
            except libvirt.libvirtError as error:
                # The test driver, libvirt 9.0.0: 1 "internal error: unknown storage pool type dir".
                if "unknown storage pool type" not in (error.get_error_message() or ""):
                    raise
                raise ValueNotSupported("type", type, "storage of this type cannot be looked for") from error
        configs = []
        for each in etree.fromstring(found).iterfind("source"):
            pool = etree.Element("pool", type=kind)
            pool.append(each)
            configs.append(device_config_of(pool))
        return configs

    def attach(self, pbd: PBD) -> None:
        """Start the pool of ``pbd.SR`` as ``pbd.device_config`` says, defining it first if the host has forgotten it.

        A pool that runs is left as it is. An adopted one keeps whatever its definition says beyond the device_config.
        """
        sr = pbd.SR
        with self._call(sr, field="device_config", value=_written(pbd.device_config)):
            pool = self._find(sr.uuid)
            if pool is not None and pool.isActive():
                return
            if pool is None:
                pool = self._define(sr, pbd.device_config)
            elif not self._agrees(pool, pbd):
                pool = self._define(sr, pbd.device_config, pool.name())
            if needs_mount_point(etree.fromstring(pool.XMLDesc())):
                pool.build(0)
            pool.create()

    def detach(self, pbd: PBD) -> None:
        """Stop the pool; nothing in it is touched. One that does not run is no error."""
        with self._call(pbd.SR):
            pool = self._find(pbd.SR.uuid)
            if pool is not None and pool.isActive():
                pool.destroy()

    def forget(self, sr: SR) -> None:
        """Stop the pool and remove its definition; nothing in it is touched. One that is not defined is no error."""
        with self._call(sr):
            pool = self._find(sr.uuid)
            if pool is None:
                return
            persistent = pool.isPersistent()
            if pool.isActive():
                pool.destroy()
            if not persistent:
                return
            if needs_mount_point(etree.fromstring(pool.XMLDesc())):
                with suppress(libvirt.libvirtError):
                    pool.delete()
            pool.undefine()

    def destroy(self, sr: SR) -> None:
        """Remove the storage itself: the empty folder, the volume group. SR_NOT_EMPTY while anything is in it."""
        with self._call(sr):
            pool = self._find(sr.uuid)
            if pool is None:
                return
            # Only a started pool can be looked into, and libvirt removes a volume group with all that it holds.
            stopped = not pool.isActive()
            if stopped:
                pool.create()
            try:
                pool.refresh()
                self._require_empty(sr, pool)
            except BaseException:
                if stopped:
                    with suppress(libvirt.libvirtError):  # the first error is the one to tell
                        pool.destroy()
                raise
            pool.destroy()
            with _undone(pool.create):
                pool.delete()
            pool.undefine()

    def _require_empty(self, sr: SR, pool: libvirt.virStoragePool) -> None:
        """SR_NOT_EMPTY if anything is in a pool that runs. Within translated only."""
        if pool.numOfVolumes() > 0:
            raise SrNotEmpty()

    def _define(self, sr: SR, device_config: Mapping[str, str], name: str = "") -> libvirt.virStoragePool:
        pool = self.connection.handle.storagePoolDefineXML(self._definition(sr, device_config, name))
        pool.setAutostart(1)
        return pool

    def _agrees(self, pool: libvirt.virStoragePool, pbd: PBD) -> bool:
        """Whether the definition already is what the device_config asks for, in whichever of its words."""
        has = device_config_of(etree.fromstring(pool.XMLDesc()))
        if pbd.device_config.items() <= has.items() or pbd.SR.type not in TYPES:
            return True
        wanted = device_config_of(etree.fromstring(self._definition(pbd.SR, pbd.device_config)))
        return wanted.items() <= has.items()

    def _definition(self, sr: SR, device_config: Mapping[str, str], name: str = "") -> str:
        return pool_xml(sr.uuid, name or self._name(sr), sr.type, device_config)

    def _find(self, uuid: str) -> libvirt.virStoragePool | None:
        """The pool; None if it is not defined. Within translated only."""
        try:
            return self.connection.handle.storagePoolLookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            return None

    def _running(self, sr: SR) -> libvirt.virStoragePool:
        """The pool, which runs; SR_HAS_NO_PBDS if it does not. Within translated only."""
        pool = self._find(sr.uuid)
        if pool is None or not pool.isActive():
            raise SrHasNoPbds(sr)
        return pool

    def _name(self, sr: SR) -> str:
        """The label, as far as libvirt takes it, so that ``virsh pool-list`` is readable; made unique if it is not."""
        name = cleaned(sr.name_label, 200).replace("/", "_") or sr.uuid
        taken = {pool.name() for pool in self.connection.handle.listAllStoragePools()}
        return f"{name} {sr.uuid}" if name in taken else name


def _written(device_config: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in device_config.items())


def _seen(pool: libvirt.virStoragePool) -> SeenPool:
    described = etree.fromstring(pool.XMLDesc())
    kind = described.get("type", "")
    active = bool(pool.isActive())
    capacity, allocation = pool.info()[1:3] if active else (0, 0)
    return SeenPool(
        uuid=pool.UUIDString(),
        name=cleaned(pool.name()),
        type=XENAPI_NAMES.get(kind, kind),
        active=active,
        device_config=device_config_of(described),
        capacity=capacity,
        allocation=allocation,
    )


@contextmanager
def _undone(*undo: Callable[[], object]) -> Iterator[None]:
    """If the body raises, call what undoes what came before it, as far as it can be undone."""
    try:
        yield
    except libvirt.libvirtError:
        for step in undo:
            with suppress(libvirt.libvirtError):
                step()
        raise


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over a pool that went away while it was looked at."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
