"""What each virtual CPU of a domain has used, where it runs and where it may: calls that libvirt's binding cannot do.

``virDomain.vcpus()`` and ``pinVcpu()`` of libvirt-python (12.8.0) first ask for the node's CPU map, to lay out masks of
its length, and libvirt's Xen driver (9.0.0) has none: "this function is not supported by the connection driver:
virNodeGetCPUMap". So libvirt's C functions are called themselves, the first without its second answer, the masks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
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
_pin_vcpu = _library.virDomainPinVcpu
_pin_vcpu.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_int]
_pin_vcpu.restype = ctypes.c_int
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


def pin_vcpu(domain: libvirt.virDomain, number: int, cpus: Collection[int]) -> None:
    """Let a virtual CPU of a running domain run on these processors only. libvirtError if it cannot."""
    mask = bytearray(max(cpus) // 8 + 1)
    for cpu in cpus:
        mask[cpu // 8] |= 1 << cpu % 8
    if _pin_vcpu(_pointer(domain._o, _CAPSULE), number, bytes(mask), len(mask)) < 0:
        raise libvirt.libvirtError("virDomainPinVcpu() failed")
