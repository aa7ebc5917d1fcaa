"""A load balancer beside the pool (WLB), which the agent does not work with: it has one host to balance between."""

from __future__ import annotations

from collections.abc import Mapping

from agent.call import Call
from agent.classes import VM, Host, Pool
from agent.errors import LicenceRestriction, WlbNotInitialized
from agent.model.messages import Kind, message
from agent.roles import Role


@message(Pool)
def initialize_wlb(
    call: Call,
    wlb_url: str,
    wlb_username: str,
    wlb_password: str,
    xenserver_username: str,
    xenserver_password: str,
) -> None:
    """Refused with LICENCE_RESTRICTION: there are no hosts to balance between. Nothing of it is kept."""
    raise LicenceRestriction("WLB")


@message(Pool)
def deconfigure_wlb(call: Call) -> None:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized


@message(Pool)
def send_wlb_configuration(call: Call, config: Mapping[str, str]) -> None:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized


@message(Pool, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def retrieve_wlb_configuration(call: Call) -> Mapping[str, str]:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized


@message(Pool, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def retrieve_wlb_recommendations(call: Call) -> Mapping[VM, tuple[str, ...]]:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized


@message(Host, kind=Kind.READ, role=Role.READ_ONLY, has_async=True)
def retrieve_wlb_evacuate_recommendations(call: Call, self: Host) -> Mapping[VM, tuple[str, ...]]:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized


@message(VM, kind=Kind.READ, role=Role.READ_ONLY, has_async=True, name="retrieve_wlb_recommendations")
def retrieve_wlb_recommendations_of_vm(call: Call, vm: VM) -> Mapping[Host, tuple[str, ...]]:
    """Refused with WLB_NOT_INITIALIZED: there is no load balancer."""
    raise WlbNotInitialized
