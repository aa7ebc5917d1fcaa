"""What xapi sets up on its host, and the agent leaves to the host's own operating system: it reports, and refuses.

A setting is accepted where it is what the host has already, so that a client which sets all of them is not stopped.
"""

from __future__ import annotations

import logging
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from agent.call import Call
from agent.classes import PIF, Host, Network, Pool
from agent.classes.enums import (
    HostDisplay,
    HostNtpMode,
    HostNumaAffinityPolicy,
    HostSchedGran,
    NetworkDefaultLockingMode,
)
from agent.errors import (
    DisableSshFailed,
    DisableSshPartiallyFailed,
    EnableSshFailed,
    EnableSshPartiallyFailed,
    HostPowerOnModeDisabled,
    InterfaceHasNoIP,
    MessageRemoved,
    NotImplementedHere,
    OperationNotAllowed,
    SetSshAutoModePartiallyFailed,
    SetSshTimeoutPartiallyFailed,
    ValueNotSupported,
)
from agent.messages.pool import require_management
from agent.model.entity import Entity
from agent.model.messages import Kind, message
from agent.roles import Role

log = logging.getLogger(__name__)

ADMIN, OPERATOR = Role.POOL_ADMIN, Role.POOL_OPERATOR
NO_SSH = "the host's own service manager switches its ssh"
NO_CLOCK = "the host keeps its time by its own means"
NO_DIRECTORY = "no directory is asked"
SCHED_GRAN = "sched-gran on Xen's command line says it, which the host's own boot loader has"
IN_CONFIG = "where the agent listens, and whether with TLS, is in its configuration"


# --- settings that are as they are


def _fixed(of: type[Entity], field: str, kind: object, reason: str, role: Role = ADMIN) -> Callable[..., None]:
    """The message that sets a field which only the host changes: VALUE_NOT_SUPPORTED but for the value it has."""

    def refuse(call: Call, self: Entity, value: Any) -> None:
        if value != self.__dict__[field]:
            raise ValueNotSupported(field, str(value)[:200], reason)

    refuse.__doc__ = f"Refused with VALUE_NOT_SUPPORTED, but for the value it has: {reason}."
    refuse.__annotations__ |= {"self": of, "value": kind}
    return message(of, kind=Kind.READ, role=role, has_async=True, name=f"set_{field}")(refuse)


set_ssh_enabled_timeout = _fixed(Host, "ssh_enabled_timeout", int, NO_SSH)
set_ssh_auto_mode = _fixed(Host, "ssh_auto_mode", bool, NO_SSH)
set_console_idle_timeout = _fixed(
    Host, "console_idle_timeout", int, "the host's own console is no business of the agent"
)
set_timezone = _fixed(Host, "timezone", str, "the host's own timedatectl sets it", OPERATOR)
set_ntp_mode = _fixed(Host, "ntp_mode", HostNtpMode, NO_CLOCK, OPERATOR)
set_ntp_custom_servers = _fixed(Host, "ntp_custom_servers", tuple[str, ...], NO_CLOCK, OPERATOR)
set_max_cstate = _fixed(Host, "max_cstate", str, "Xen's command line sets how deep processors sleep", OPERATOR)
set_numa_affinity_policy = _fixed(
    Host, "numa_affinity_policy", HostNumaAffinityPolicy, "Xen places machines as it likes"
)
set_https_only = _fixed(Host, "https_only", bool, IN_CONFIG, OPERATOR)
set_ext_auth_cache_enabled = _fixed(Pool, "ext_auth_cache_enabled", bool, NO_DIRECTORY, OPERATOR)
set_ext_auth_cache_size = _fixed(Pool, "ext_auth_cache_size", int, NO_DIRECTORY, OPERATOR)
set_ext_auth_cache_expiry = _fixed(Pool, "ext_auth_cache_expiry", int, NO_DIRECTORY, OPERATOR)
set_telemetry_next_collection = _fixed(Pool, "telemetry_next_collection", datetime, "no telemetry is collected")
set_default_locking_mode = _fixed(
    Network, "default_locking_mode", NetworkDefaultLockingMode, "the host filters no packets", OPERATOR
)


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def list_timezones(call: Call, self: Host) -> tuple[str, ...]:
    """The names of the time zones that the host knows."""
    return tuple(sorted(zoneinfo.available_timezones()))


@message(Host, kind=Kind.READ, has_async=True)
def set_servertime(call: Call, self: Host, value: datetime) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the host keeps its time by its own means."""
    raise OperationNotAllowed(NO_CLOCK)


@message(Host, kind=Kind.MEASURE, role=Role.READ_ONLY, has_async=True)
def get_ntp_synchronized(call: Call, self: Host) -> bool:
    """Whether the host's clock follows another, as its kernel says. OPERATION_NOT_ALLOWED where the agent cannot see
    it: on a host that it does not run on.
    """
    return call.node.control.clock_synchronized()


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_ntp_servers_status(call: Call, self: Host) -> Mapping[str, str]:
    """Always empty: which servers the host keeps its time by, its own time service knows."""
    return {}


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_tracked_user_agents(call: Call, self: Host) -> Mapping[str, str]:
    """Always empty: the agent keeps no account of its clients' names."""
    return {}


@message(Host, kind=Kind.READ, role=ADMIN, has_async=True)
def get_sched_gran(call: Call, self: Host) -> HostSchedGran:
    """Refused with OPERATION_NOT_ALLOWED: Xen's command line says it, which its boot loader has."""
    raise OperationNotAllowed(SCHED_GRAN)


@message(Host, kind=Kind.READ, role=ADMIN, has_async=True)
def set_sched_gran(call: Call, self: Host, value: HostSchedGran) -> None:
    """Refused with OPERATION_NOT_ALLOWED: Xen's command line says it, which its boot loader has."""
    raise OperationNotAllowed(SCHED_GRAN)


@message(Host, kind=Kind.READ, role=ADMIN, has_async=True)
def rescan_drivers(call: Call, self: Host) -> None:
    """Refused with NOT_IMPLEMENTED: XenServer has drivers in several versions to choose from, this host has Linux'."""
    raise NotImplementedHere("host.rescan_drivers")


@message(Host, kind=Kind.READ, role=ADMIN, has_async=False)
def emergency_clear_mandatory_guidance(call: Call) -> None:
    """Forget what must be done after an update. The agent installs none, so nothing is to be done."""


@message(Host, kind=Kind.READ, has_async=False)
def set_hostname_live(call: Call, host: Host, hostname: str) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for the name it has: the host's own hostnamectl changes it."""
    if hostname != host.hostname:
        raise ValueNotSupported("hostname", hostname[:200], "change it with the host's own hostnamectl")


@message(Host, kind=Kind.READ, has_async=True)
def syslog_reconfigure(call: Call, host: Host) -> None:
    """Say in the log where host.logging has it sent, which it is since that was set."""
    log.info("the log is sent to %s", host.logging.get("syslog_destination") or "no other host")


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=False)
def get_system_status_capabilities(call: Call, host: Host) -> str:
    """Refused with OPERATION_NOT_ALLOWED: the agent makes no report of the host's state but host.bugreport_upload."""
    raise OperationNotAllowed("the agent makes no report of the host's state but host.bugreport_upload")


@message(Host, kind=Kind.READ, has_async=False)
def set_cpu_features(call: Call, host: Host, features: str) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


@message(Host, kind=Kind.READ, has_async=False)
def reset_cpu_features(call: Call, host: Host) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


# --- its power and its screen


@message(Host, kind=Kind.READ, has_async=True)
def power_on(call: Call, host: Host) -> None:
    """Refused with HOST_POWER_ON_MODE_DISABLED: the one host is on, and no other could switch it on."""
    raise HostPowerOnModeDisabled


@message(Host, kind=Kind.READ, has_async=True)
def set_power_on_mode(call: Call, self: Host, power_on_mode: str, power_on_config: Mapping[str, str]) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for an empty mode: no other host could switch this one on."""
    if power_on_mode:
        raise ValueNotSupported("power_on_mode", power_on_mode[:200], "no other host could switch this one on")


@message(Host, kind=Kind.READ, has_async=True)
def enable_display(call: Call, host: Host) -> HostDisplay:
    """Let the host's own screen show its console, as it does: what it does from now on is the result."""
    return host.display


@message(Host, kind=Kind.READ, has_async=True)
def disable_display(call: Call, host: Host) -> HostDisplay:
    """Refused with OPERATION_NOT_ALLOWED: the agent does not hand the host's screen to a guest."""
    raise OperationNotAllowed("the agent does not hand the host's screen to a guest")


# --- how it is reached


@message(Host, kind=Kind.READ, has_async=True)
def get_management_interface(call: Call, host: Host) -> PIF | None:
    """The card with the address at which clients reach the host; null where that is on no card, such as on loopback."""
    return next((pif for pif in host.PIFs if pif.management), None)


@message(Host, kind=Kind.READ, has_async=True)
def management_reconfigure(call: Call, pif: PIF) -> None:
    """Let clients reach the host by this card. Nothing is to be done where they do already.

    PIF_HAS_NO_NETWORK_CONFIGURATION, OPERATION_NOT_ALLOWED for a card with another of the host's addresses.
    """
    require_management(pif)


@message(Host, kind=Kind.READ, has_async=False)
def local_management_reconfigure(call: Call, interface: str) -> None:
    """Let clients reach the host by the card of this name, as host.management_reconfigure. INTERFACE_HAS_NO_IP."""
    pif = next((pif for pif in call.host.PIFs if pif.device == interface), None)
    if pif is None or not (pif.IP or pif.IPv6):
        raise InterfaceHasNoIP(interface[:200])
    require_management(pif)


@message(Host, kind=Kind.READ, has_async=False)
def management_disable(call: Call) -> None:
    """Refused with OPERATION_NOT_ALLOWED: where the agent listens is in its configuration."""
    raise OperationNotAllowed(IN_CONFIG)


@message(Host, kind=Kind.READ, role=ADMIN, has_async=True)
def enable_ssh(call: Call, self: Host) -> None:
    """Refused with ENABLE_SSH_FAILED: the host's own service manager switches its ssh."""
    raise EnableSshFailed(self)


@message(Host, kind=Kind.READ, role=ADMIN, has_async=True)
def disable_ssh(call: Call, self: Host) -> None:
    """Refused with DISABLE_SSH_FAILED: the host's own service manager switches its ssh."""
    raise DisableSshFailed(self)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True, name="enable_ssh")
def enable_ssh_of_pool(call: Call, self: Pool) -> None:
    """Refused with ENABLE_SSH_PARTIALLY_FAILED: the host's own service manager switches its ssh."""
    raise EnableSshPartiallyFailed(call.host)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True, name="disable_ssh")
def disable_ssh_of_pool(call: Call, self: Pool) -> None:
    """Refused with DISABLE_SSH_PARTIALLY_FAILED: the host's own service manager switches its ssh."""
    raise DisableSshPartiallyFailed(call.host)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True, name="set_ssh_enabled_timeout")
def set_ssh_enabled_timeout_of_pool(call: Call, self: Pool, value: int) -> None:
    """Refused with SET_SSH_TIMEOUT_PARTIALLY_FAILED, but for what the host has."""
    if value != call.host.ssh_enabled_timeout:
        raise SetSshTimeoutPartiallyFailed(call.host)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True, name="set_ssh_auto_mode")
def set_ssh_auto_mode_of_pool(call: Call, self: Pool, value: bool) -> None:
    """Refused with SET_SSH_AUTO_MODE_PARTIALLY_FAILED, but for what the host has."""
    if value != call.host.ssh_auto_mode:
        raise SetSshAutoModePartiallyFailed(call.host)


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=True, name="set_console_idle_timeout")
def set_console_idle_timeout_of_pool(call: Call, self: Pool, value: int) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for what the host has: its own console is no business of the agent."""
    if value != call.host.console_idle_timeout:
        raise ValueNotSupported("console_idle_timeout", value, "the host's own console is no business of the agent")


@message(Pool, kind=Kind.READ, has_async=True, name="set_https_only")
def set_https_only_of_pool(call: Call, self: Pool, value: bool) -> None:
    """Refused with VALUE_NOT_SUPPORTED, but for what the host has: where the agent listens is in its configuration."""
    if value != call.host.https_only:
        raise ValueNotSupported("https_only", str(value), IN_CONFIG)


@message(Pool, kind=Kind.READ, has_async=True)
def enable_ssl_legacy(call: Call, self: Pool) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


@message(Pool, kind=Kind.READ, has_async=True)
def disable_ssl_legacy(call: Call, self: Pool) -> None:
    """Offer no TLS older than 1.2. None is offered, so nothing is to be done."""


@message(Pool, kind=Kind.READ, role=ADMIN, has_async=False)
def enable_tls_verification(call: Call) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other host whose certificate it could verify."""
    raise OperationNotAllowed("the agent calls no other host whose certificate it could verify")


@message(Pool, kind=Kind.READ, has_async=True)
def enable_client_certificate_auth(call: Call, self: Pool, name: str) -> None:
    """Refused with OPERATION_NOT_ALLOWED: users log in with a password."""
    raise OperationNotAllowed("users log in with a password")


@message(Pool, kind=Kind.READ, has_async=True)
def disable_client_certificate_auth(call: Call, self: Pool) -> None:
    """Let nobody log in by a certificate. Nobody can, so nothing is to be done."""
