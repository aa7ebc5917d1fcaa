"""The host: enabling it, its clock, what it can tell of itself, its messages, and its power."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.call import Call
from agent.classes import Host
from agent.errors import HostInUse, HostNotDisabled, InvalidValue, ValueNotSupported
from agent.model.messages import Kind, message
from agent.roles import Role

KEYS_MAX = 64
HARMFUL_KEYS = {"R": "it reboots the host at once: use host.reboot", "C": "it crashes the host"}
"""What some debug keys of Xen do that no message should do by the way."""


@message(Host, kind=Kind.WRITE, has_async=True)
def enable(call: Call, host: Host) -> None:
    """Let the host start machines."""
    host.enabled = True


@message(Host, kind=Kind.WRITE, has_async=True)
def disable(call: Call, host: Host, auto_enable: bool = True) -> None:
    """Let the host start no machines until it is enabled. Those that run go on.

    `auto_enable` is not used: the host stays disabled across restarts of the agent.
    """
    host.enabled = False


@message(Host, kind=Kind.READ, role=Role.READ_ONLY)
def list_methods(call: Call) -> tuple[str, ...]:
    """List the names of all messages."""
    return tuple(call.site.api.messages)


@message(Host, kind=Kind.READ, role=Role.READ_ONLY)
def get_servertime(call: Call, host: Host) -> datetime:
    """The host's clock, in UTC."""
    return datetime.now(UTC)


@message(Host, kind=Kind.READ, role=Role.READ_ONLY)
def get_server_localtime(call: Call, host: Host) -> datetime:
    """The host's clock, as its time zone shows it."""
    return datetime.now().replace(tzinfo=UTC)


@message(Host, kind=Kind.MEASURE, role=Role.READ_ONLY)
def compute_free_memory(call: Call, host: Host) -> int:
    """Bytes that the hypervisor could give to machines now."""
    return host.metrics.memory_free if host.metrics is not None else 0


# --- the hypervisor's messages


@message(Host)
def dmesg(call: Call, host: Host) -> str:
    """The hypervisor's message buffer. OPERATION_NOT_ALLOWED where it cannot be read."""
    return call.node.control.dmesg(clear=False)


@message(Host)
def dmesg_clear(call: Call, host: Host) -> str:
    """The hypervisor's message buffer, which is empty then. OPERATION_NOT_ALLOWED where it cannot be read."""
    return call.node.control.dmesg(clear=True)


@message(Host)
def get_log(call: Call, host: Host) -> str:
    """The end of the host's log since it was booted. OPERATION_NOT_ALLOWED where it cannot be read."""
    return call.node.control.log()


@message(Host, role=Role.POOL_ADMIN)
def send_debug_keys(call: Call, host: Host, keys: str) -> None:
    """Have the hypervisor do what these keys on its console would do; host.dmesg has what it tells.

    INVALID_VALUE for what are no keys, VALUE_NOT_SUPPORTED for those that reboot or crash the host.
    """
    if not keys or len(keys) > KEYS_MAX or not keys.isascii() or not keys.isprintable():
        raise InvalidValue("keys", f"{keys[:20]!r}: keys are 1 to {KEYS_MAX} letters, digits or signs")
    for key in keys:
        if key in HARMFUL_KEYS:
            raise ValueNotSupported("keys", key, HARMFUL_KEYS[key])
    call.node.control.send_debug_keys(keys)


# --- its power


@message(Host)
def reboot(call: Call, host: Host) -> None:
    """Reboot the host, which must be disabled and run no machine. The answer comes when that is under way.

    HOST_NOT_DISABLED, HOST_IN_USE, OPERATION_NOT_ALLOWED for a host that the agent does not run on.
    """
    _require_idle(host)
    call.node.control.reboot()


@message(Host)
def shutdown(call: Call, host: Host) -> None:
    """Switch the host off, which must be disabled and run no machine. The answer comes when that is under way.

    HOST_NOT_DISABLED, HOST_IN_USE, OPERATION_NOT_ALLOWED for a host that the agent does not run on.
    """
    _require_idle(host)
    call.node.control.shutdown()


def _require_idle(host: Host) -> None:
    if host.enabled:
        raise HostNotDisabled
    for vm in host.resident_VMs:
        if not vm.is_control_domain:
            raise HostInUse(host, "VM", vm)
