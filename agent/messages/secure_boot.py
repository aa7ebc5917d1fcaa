"""Secure Boot, which libvirt's Xen driver has none of: who asks is told so, and who sets it up is refused."""

from __future__ import annotations

from agent.call import Call
from agent.classes import VM, Pool
from agent.classes.enums import PoolGuestSecurebootReadiness, VmSecurebootReadiness, VmUefiMode
from agent.errors import OperationNotAllowed
from agent.model.messages import Kind, message
from agent.roles import Role

NONE = "libvirt's Xen driver has no Secure Boot, and no hold of a guest's UEFI variables"


@message(Pool, kind=Kind.READ, has_async=True)
def get_guest_secureboot_readiness(call: Call, self: Pool) -> PoolGuestSecurebootReadiness:
    """Always not_ready: libvirt's Xen driver has no Secure Boot."""
    return PoolGuestSecurebootReadiness.NOT_READY


@message(VM, kind=Kind.READ, role=Role.POOL_ADMIN, has_async=True)
def get_secureboot_readiness(call: Call, self: VM) -> VmSecurebootReadiness:
    """disabled for a guest with UEFI firmware, which has it without Secure Boot; else not_supported."""
    if self.HVM_boot_params.get("firmware") == "uefi":
        return VmSecurebootReadiness.DISABLED
    return VmSecurebootReadiness.NOT_SUPPORTED


@message(VM, kind=Kind.READ, role=Role.POOL_ADMIN, has_async=True)
def set_uefi_mode(call: Call, self: VM, mode: VmUefiMode) -> str:
    """Refused with OPERATION_NOT_ALLOWED: the agent has no hold of a guest's UEFI variables."""
    raise OperationNotAllowed(NONE)


@message(VM, kind=Kind.READ, has_async=True)
def update_secureboot_certificates_on_boot(call: Call, self: VM, value: bool) -> None:
    """Refused with OPERATION_NOT_ALLOWED, but for false: the agent has no hold of a guest's UEFI variables."""
    if value:
        raise OperationNotAllowed(NONE)
