"""What each virtual CPU of a domain has used, and where it runs: one call of libvirt that its Python binding cannot do.

``virDomain.vcpus()`` of libvirt-python (12.8.0) first asks for the node's CPU map, to lay out the masks of a second
answer that nobody needs here, and libvirt's Xen driver (9.0.0) has none: "this function is not supported by the
connection driver: virNodeGetCPUMap". So libvirt's C function is called itself, for the first answer alone.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import libvirt

_CAPSULE = b"virDomainPtr"
"""What the binding writes on the pointer that a virDomain carries; another one is refused, not followed."""


class _Info(ctypes.Structure):
    """libvirt's ``virVcpuInfo``."""

    number: int
    state: int
    cpuTime: int
    cpu: int
    _fields_: ClassVar = [
        ("number", ctypes.c_uint),
        ("state", ctypes.c_int),
        ("cpuTime", ctypes.c_ulonglong),
        ("cpu", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Vcpu:
    """One virtual CPU."""

    number: int
    used_ns: int
    cpu: int
    """The processor that it runs on, or ran on last."""
    running: bool
    blocked: bool


_library = ctypes.CDLL("libvirt.so.0")
_get_vcpus = _library.virDomainGetVcpus
_get_vcpus.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Info), ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_get_vcpus.restype = ctypes.c_int
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer.restype = ctypes.c_void_p


def vcpus_of(domain: libvirt.virDomain, count: int) -> list[Vcpu]:
    """The first `count` virtual CPUs of a running domain. libvirtError if it is gone."""
    infos = (_Info * count)()
    found = _get_vcpus(_pointer(domain._o, _CAPSULE), infos, count, None, 0)
    if found < 0:
        raise libvirt.libvirtError("virDomainGetVcpus() failed")
    return [
        Vcpu(
            number=info.number,
            used_ns=info.cpuTime,
            cpu=info.cpu,
            running=info.state == libvirt.VIR_VCPU_RUNNING,
            blocked=info.state == libvirt.VIR_VCPU_BLOCKED,
        )
        for info in infos[:found]
    ]
