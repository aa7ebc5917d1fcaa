"""The host: enabling it, its clock, and what it can tell of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.call import Call
from agent.classes import Host
from agent.model.messages import Kind, message
from agent.roles import Role


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
