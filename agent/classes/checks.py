"""What a field's type cannot say about its value: ranges, formats, and what no plain Xen host can do.

A check gets a decoded value that a client sent and returns if it will do. It raises ValueError with the reason
(INVALID_VALUE on the wire), or a XenError of its own where xapi has a code for the case. Checks are pure: what depends
on another field or on the machine below is for the verbs and the driver to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from agent.errors import InvalidDevice, MacInvalid, ValueNotSupported

TEXT_MAX = 64 * 1024
"""Most characters that one field keeps, so that no client fills memory and journal through a text or a map."""
VCPUS_MAX = 4096
CPUS_MAX = 4096
"""Processors that a host can have: Xen's own limit."""
MTU_MIN, MTU_MAX = 68, 65535
"""The least frame that IPv4 can live with (RFC 791), and the most that a 16-bit length can say."""

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII | re.IGNORECASE)
_DISK = re.compile(r"(?:/dev/)?(?:xvd|hd|sd)[a-z]{1,2}[0-9]{0,2}", re.ASCII)
_PLACE = re.compile(r"[0-9]{1,3}", re.ASCII)
_HOST = re.compile(
    r"(?:\[([0-9a-fA-F:.]+)\]|([0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.]*)|(\w[\w.-]{0,252}))(?::([0-9]{1,5}))?",
    re.ASCII,
)
"""A host, and perhaps a port: an IPv6 address in brackets or bare, or a name or IPv4 address."""
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_CPU_POOL = re.compile(r"[A-Za-z0-9_.:/+-]{1,18}", re.ASCII)

NEEDS_FILTER = "it needs a packet filter beside libvirt's Xen driver, which this host does not have"

Check = Callable[[Any], object]


def modest(value: str | Collection[str] | Mapping[str, str]) -> None:
    """At most TEXT_MAX characters, those of all keys and values together."""
    if isinstance(value, str):
        length = len(value)
    elif isinstance(value, Mapping):
        length = sum(len(key) + len(item) for key, item in value.items())
    else:
        length = sum(map(len, value))
    if length > TEXT_MAX:
        raise ValueError(f"it has {length} characters; a field keeps {TEXT_MAX} at the most")


def image(value: str) -> None:
    """A path or ``file:`` URI of modest length, or a ``data:`` URI of any that a request can have."""
    if value[:5].lower() != "data:":
        modest(value)


def address(value: str) -> None:
    """An IPv4 address, or nothing."""
    if value:
        IPv4Address(value)


def netmask(value: str) -> None:
    """A mask of IPv4 addresses, such as 255.255.255.0, or nothing."""
    if value and ("." not in value or str(IPv4Network(f"0.0.0.0/{value}").netmask) != value):
        raise ValueError("it is no mask such as 255.255.255.0")


def not_negative(value: int) -> None:
    """A size, a delay, a place in an order: zero or more."""
    if value < 0:
        raise ValueError("it is less than 0")


def vcpus(value: int) -> None:
    """A number of virtual CPUs, 1 to VCPUS_MAX."""
    if not 1 <= value <= VCPUS_MAX:
        raise ValueError(f"a machine has 1 to {VCPUS_MAX} virtual CPUs")


def vcpus_params(value: Mapping[str, str]) -> None:
    """Settings of the credit scheduler: ``weight`` 1 to 65535, ``cap`` in percent of one CPU, 0 for none."""
    modest(value)
    for key, least, most in (("weight", 1, 65535), ("cap", 0, 65535)):
        if key in value and not (_NUMBER.fullmatch(value[key]) and least <= int(value[key]) <= most):
            raise ValueError(f"{key} is no number from {least} to {most}")


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """A name or address of a host and, behind a colon, a port, which is else `port`. ValueError for what is none."""
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError("it is no NAME or ADDRESS, with :PORT behind it or without")
    literal, bare, name, given = match.groups()
    if literal or bare:
        IPv6Address(literal or bare)
    if given is not None and not 1 <= int(given) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return literal or bare or name, port if given is None else int(given)


def log_destinations(value: Mapping[str, str]) -> None:
    """Where the agent's log goes: ``syslog_destination``, a host. VALUE_NOT_SUPPORTED for other keys."""
    modest(value)
    for key, text in value.items():
        if key != "syslog_destination":
            raise ValueNotSupported("logging", key[:200], "the agent knows syslog_destination alone")
        if text:
            host_and_port(text, 0)


def cpu_pool_name(value: str) -> None:
    """1 to 18 of the characters that the original server took, not all digits, since xl takes those for a number; or
    nothing.
    """
    if value and (not _CPU_POOL.fullmatch(value) or value.isdecimal()):
        raise ValueError("a pool's name has 1 to 18 letters, digits and _ - . : / +, and is no number")


def cpu_count(value: int) -> None:
    """A number of processors, 1 to CPUS_MAX."""
    if not 1 <= value <= CPUS_MAX:
        raise ValueError(f"a pool has 1 to {CPUS_MAX} processors")


def cpu_numbers(value: Collection[str]) -> None:
    """Numbers of processors, as text, from 0."""
    for number in value:
        if not _NUMBER.fullmatch(number) or int(number) >= CPUS_MAX:
            raise ValueError(f"processors are numbered from 0, as digits: {number[:20]!r} is none")


def mtu(value: int) -> None:
    """Octets of a frame, MTU_MIN to MTU_MAX."""
    if not MTU_MIN <= value <= MTU_MAX:
        raise ValueError(f"a frame has {MTU_MIN} to {MTU_MAX} octets")


def mtu_or_zero(value: int) -> None:
    """An MTU; or 0, which is what clients written in Go send for a field that their user did not set."""
    if value != 0:
        mtu(value)


def mac_or_empty(value: str) -> None:
    """Six pairs of hexadecimal digits, neither multicast nor all zero; or nothing. MAC_INVALID."""
    if value == "":
        return
    if not _MAC.fullmatch(value) or int(value[:2], 16) & 1 or not value.strip("0:"):
        raise MacInvalid(value[:64])


def disk_place(value: str) -> None:
    """Place of a disk: a number, a name such as ``xvda``, ``autodetect`` or nothing. INVALID_DEVICE."""
    if value not in ("", "autodetect") and not _PLACE.fullmatch(value) and not _DISK.fullmatch(value):
        raise InvalidDevice(value[:64])


def card_place(value: str) -> None:
    """Place of a network card: a number, ``autodetect`` or nothing. INVALID_DEVICE."""
    if value not in ("", "autodetect") and not _PLACE.fullmatch(value):
        raise InvalidDevice(value[:64])


def rate_params(value: Mapping[str, str]) -> None:
    """Settings of the ``ratelimit`` shaper: ``kbps``, a whole number of KiB/s above 0."""
    modest(value)
    if "kbps" in value and not (_NUMBER.fullmatch(value["kbps"]) and int(value["kbps"])):
        raise ValueError("kbps is no whole number above 0")


def only(field: str, *allowed: object, reason: str) -> Check:
    """A check that lets pass only what this host can do. VALUE_NOT_SUPPORTED with the reason for all else."""

    def check(value: object) -> None:
        if value not in allowed:
            raise ValueNotSupported(field, str(value)[:200], reason)

    return check


def fixed(field: str, where: str) -> Check:
    """A check for an RW field that the agent only reports: `where` says where it is changed. VALUE_NOT_SUPPORTED."""
    return only(field, reason=f"the agent reports it and does not set it: {where}")
