"""The pool that this one host makes up: what its coordinator can be asked, and what needs other hosts.

High availability, load balancing, directories of users and updates are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import PIF, SR, Host, Network, Pool
from agent.errors import (
    CannotEnableRedoLog,
    HostsFailedToEnableCaching,
    InvalidEdition,
    LicenseDoesNotSupportPooling,
    OpenvswitchNotActive,
    OperationNotAllowed,
    PifHasNoNetworkConfiguration,
    PifNotPresent,
)
from agent.model.messages import Kind, message
from agent.roles import Role

# --- who is in it


@message(Pool)
def join(call: Call, master_address: str, master_username: str, master_password: str) -> None:
    """Refused with LICENSE_DOES_NOT_SUPPORT_POOLING: the agent serves one host, which is a pool of its own."""
    raise LicenseDoesNotSupportPooling


@message(Pool)
def join_force(call: Call, master_address: str, master_username: str, master_password: str) -> None:
    """Refused with LICENSE_DOES_NOT_SUPPORT_POOLING: the agent serves one host, which is a pool of its own."""
    raise LicenseDoesNotSupportPooling


@message(Pool)
def eject(call: Call, host: Host) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the one host is the coordinator, and a coordinator stays in its pool."""
    raise OperationNotAllowed("the host is the coordinator of its pool, and the only host in it: it cannot leave")


@message(Pool)
def designate_new_master(call: Call, host: Host) -> None:
    """Make a host the coordinator. The only one is already, so nothing is to be done."""


@message(Pool, has_async=False)
def emergency_transition_to_master(call: Call) -> None:
    """Make this host the coordinator. It is already, so nothing is to be done."""


@message(Pool, has_async=False)
def emergency_reset_master(call: Call, master_address: str) -> None:
    """Refused with OPERATION_NOT_ALLOWED: this host is the coordinator, and follows no other."""
    raise OperationNotAllowed("this host is the coordinator of its pool and follows no other")


@message(Pool, kind=Kind.READ, has_async=True)
def recover_slaves(call: Call) -> tuple[Host, ...]:
    """The members that were told who coordinates them: none, for there is no other host."""
    return ()


# --- what it keeps


@message(Pool)
def sync_database(call: Call) -> None:
    """Return when all that was acknowledged until now is on the disk. There is no other host to send it to."""
    flush(call)


def flush(call: Call) -> None:
    """Wait until all that the store took in so far is durable: transactions are in turn, also one of nothing."""
    with call.store.transaction():
        pass


@message(Pool)
def enable_redo_log(call: Call, sr: SR) -> None:
    """Refused with CANNOT_ENABLE_REDO_LOG: the journal is on the host, and durable without a copy elsewhere."""
    raise CannotEnableRedoLog("the agent keeps its journal on the host, and nothing of it in a storage")


@message(Pool)
def disable_redo_log(call: Call) -> None:
    """Keep no copy of the journal in a storage. There is none, so nothing is to be done."""


@message(Pool)
def enable_local_storage_caching(call: Call, self: Pool) -> None:
    """Refused with HOSTS_FAILED_TO_ENABLE_CACHING: the agent caches no disks."""
    raise HostsFailedToEnableCaching(call.host)


@message(Pool)
def disable_local_storage_caching(call: Call, self: Pool) -> None:
    """Cache no disks on the hosts. None are, so nothing is to be done."""


@message(Host, role=Role.POOL_ADMIN, has_async=False)
def sync_data(call: Call, host: Host) -> None:
    """Return when all that was acknowledged until now is on the host's disk."""
    flush(call)


@message(Host, has_async=False, name="enable_local_storage_caching")
def cache_disks(call: Call, host: Host, sr: SR) -> None:
    """Refused with HOSTS_FAILED_TO_ENABLE_CACHING: the agent caches no disks."""
    raise HostsFailedToEnableCaching(host)


@message(Host, has_async=False, name="disable_local_storage_caching")
def cache_no_disks(call: Call, host: Host) -> None:
    """Cache no disks on the host. None are, so nothing is to be done."""


# --- its networks


@message(Pool)
def management_reconfigure(call: Call, network: Network) -> None:
    """Let clients reach the pool on this network. Nothing is to be done where they do already.

    PIF_NOT_PRESENT where the host has no card on it; else as host.management_reconfigure.
    """
    if not network.PIFs:
        raise PifNotPresent(call.host, network)
    require_management(network.PIFs[0])


def require_management(pif: PIF) -> None:
    """PIF_HAS_NO_NETWORK_CONFIGURATION for a card without an address, OPERATION_NOT_ALLOWED for one that is not the
    host's way to its clients.
    """
    if pif.management:
        return
    if not pif.IP and not pif.IPv6:
        raise PifHasNoNetworkConfiguration(pif)
    raise OperationNotAllowed(
        "where the agent listens is in its own configuration, and the host's addresses in that of the host"
    )


@message(Pool)
def set_vswitch_controller(call: Call, address: str) -> None:
    """Refused with OPENVSWITCH_NOT_ACTIVE, but for an empty address: the networks are Linux bridges."""
    if address:
        raise OpenvswitchNotActive


@message(Pool)
def set_igmp_snooping_enabled(call: Call, self: Pool, value: bool) -> None:
    """Refused with OPENVSWITCH_NOT_ACTIVE, but for false: the agent does not set how bridges treat multicast."""
    if value:
        raise OpenvswitchNotActive


@message(Pool, role=Role.POOL_ADMIN)
def send_test_post(call: Call, host: str, port: int, body: str) -> str:
    """Refused with OPERATION_NOT_ALLOWED: the agent calls no other server for a client."""
    raise OperationNotAllowed("the agent calls no other server for a client")


# --- its licence and its secret


@message(Pool, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def get_license_state(call: Call, self: Pool) -> Mapping[str, str]:
    """The edition of the pool, which is the host's, and when it ends: ``never``, for there is no licence."""
    return {"edition": call.host.edition, "expiry": "never"}


@message(Pool)
def apply_edition(call: Call, self: Pool, edition: str) -> None:
    """Refused with INVALID_EDITION, but for the edition that the host has: there are no others."""
    require_edition(call.host, edition)


def require_edition(host: Host, edition: str) -> None:
    """INVALID_EDITION for another than the one the host has."""
    if edition != host.edition:
        raise InvalidEdition(edition)


@message(Pool, role=Role.POOL_ADMIN)
def rotate_secret(call: Call) -> None:
    """Refused with OPERATION_NOT_ALLOWED: hosts of a pool share a secret, and one alone has none."""
    raise OperationNotAllowed("a pool of one host has no secret that hosts share")
