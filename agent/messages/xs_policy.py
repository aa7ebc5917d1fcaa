"""The hypervisor's security policy, and the labels of machines.

Xen's module is FLASK, where it was built with one. Its policy comes from the boot loader and cannot be read or written
here; a label is one of its contexts, ``user:role:type``, and only domains have one. All else is a SECURITY_ERROR with
the original server's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from agent.call import Call
from agent.classes import VDI, VIF, VM, ACMPolicy, XSPolicy
from agent.classes.enums import PowerState
from agent.classes.lifecycle import small
from agent.classes.xs_policy import XsError, XsInstantiation, XsType
from agent.errors import SecurityError, VMBadPowerState
from agent.model.messages import Kind, message
from agent.model.types import Flags, Record, Ref, String, Struct
from agent.roles import Role

STATE = Struct(
    "struct xs_policystate",
    (
        ("xserr", Flags()),
        ("xs_ref", Ref("XSPolicy", nullable=True)),
        ("repr", String()),
        ("type", Flags("flags xs_type")),
        ("flags", Flags("flags xs_instantiationflags")),
        ("version", String()),
        ("errors", String()),
    ),
)
HEADER = Struct(
    "struct acm_policyheader",
    tuple((name, String()) for name in ("policyname", "policyurl", "date", "reference", "namespaceurl", "version")),
)
State = Annotated[Mapping[str, Any], STATE]
Header = Annotated[Mapping[str, Any], HEADER]
_CONTEXT = re.compile(r"[\w.-]{1,64}(?::[\w.-]{1,64}){2,3}", re.ASCII)


def _policy(call: Call) -> XSPolicy | None:
    return next(iter(call.store.all(XSPolicy)), None)


def require_module(call: Call) -> None:
    """SECURITY_ERROR where the hypervisor has no security module."""
    if _policy(call) is None:
        raise SecurityError(-XsError.POLICY_NOT_LOADED, "the hypervisor runs without a security module")


def _cannot(call: Call, reason: str) -> NoReturn:
    """Refuse what the module that there is cannot do, or for there being none."""
    require_module(call)
    raise SecurityError(-XsError.POLICY_TYPE_UNSUPPORTED, reason)


# --- the policy


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_record(call: Call, xspolicy: XSPolicy) -> Annotated[XSPolicy, Record("XSPolicy")]:
    """Read all fields of a policy."""
    return xspolicy


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_xstype(call: Call) -> XsType:
    """The kinds of policy that the hypervisor has, in bits: FLASK 2, or 0 for none."""
    policy = _policy(call)
    return policy.type if policy is not None else 0


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_xspolicy(call: Call) -> State:
    """The policy in force; with a null reference where there is none."""
    policy = _policy(call)
    kind, flags = (policy.type, policy.flags) if policy is not None else (0, 0)
    return {"xserr": 0, "xs_ref": policy, "repr": "", "type": kind, "flags": flags, "version": "", "errors": ""}


@message(XSPolicy, kind=Kind.WRITE)
def set_xspolicy(call: Call, type: XsType, repr: str, flags: XsInstantiation, overwrite: bool) -> State:
    """SECURITY_ERROR: the policy comes from the boot loader."""
    _cannot(call, "FLASK's policy comes from the boot loader: change it there, or with xl loadpolicy")


@message(XSPolicy, kind=Kind.WRITE)
def reset_xspolicy(call: Call, type: XsType) -> State:
    """SECURITY_ERROR: the policy comes from the boot loader."""
    _cannot(call, "FLASK's policy comes from the boot loader: change it there, or with xl loadpolicy")


@message(XSPolicy, kind=Kind.WRITE)
def rm_xsbootpolicy(call: Call) -> None:
    """SECURITY_ERROR: the policy comes from the boot loader."""
    _cannot(call, "FLASK's policy comes from the boot loader: change it there")


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def can_run(call: Call, security_label: str) -> int:
    """SECURITY_ERROR: whether a domain with this label may run, FLASK tells when it is made and not before."""
    _cannot(call, "whether a domain with this label may run, FLASK tells when it is made")


# --- labels


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_labeled_resources(call: Call) -> Mapping[str, str]:
    """Disks and other resources that have a label: none, since only domains have one."""
    return {}


@message(XSPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_resource_label(call: Call, resource: str) -> str:
    """The label of a resource: none, since only domains have one."""
    return ""


@message(XSPolicy, kind=Kind.WRITE)
def set_resource_label(call: Call, resource: str, label: str, old_label: str) -> None:
    """SECURITY_ERROR: only domains have a label. That a resource has none can be said again."""
    _stay_unlabelled(call, label, old_label)


@message(VIF, kind=Kind.WRITE, name="set_security_label")
def set_card_label(call: Call, self: VIF, security_label: str, old_label: str) -> None:
    """SECURITY_ERROR: only domains have a label. That a card has none can be said again."""
    _stay_unlabelled(call, security_label, old_label)


@message(VDI, kind=Kind.WRITE, name="set_security_label")
def set_disk_label(call: Call, self: VDI, security_label: str, old_label: str) -> None:
    """SECURITY_ERROR: only domains have a label. That a disk has none can be said again."""
    _stay_unlabelled(call, security_label, old_label)


def _stay_unlabelled(call: Call, label: str, old_label: str) -> None:
    _require_old("", old_label)
    if label:
        _cannot(call, "FLASK labels domains, no disks, cards or other resources")


def _require_old(label: str, old_label: str) -> None:
    """SECURITY_ERROR unless the client knows the present label."""
    if label != old_label:
        raise SecurityError(-XsError.BAD_LABEL, f"the label is {label!r} now, not {old_label[:200]!r}")


@message(VM, kind=Kind.WRITE)
def set_security_label(call: Call, self: VM, security_label: str, old_label: str) -> int:
    """Give a halted machine a label of FLASK's, ``user:role:type``, which it has from its next start on; 0 when done.

    `old_label` is its present label. SECURITY_ERROR where that is another, the hypervisor has no security module, the
    label is malformed, or the machine is not halted. An empty label leaves it to the policy.
    """
    _require_old(self.security_label, old_label)
    if security_label == old_label:
        return 0
    require_module(call)
    if security_label and not _CONTEXT.fullmatch(security_label):
        raise SecurityError(-XsError.BAD_LABEL_FORMAT, "a label of FLASK's is user:role:type")
    if self.power_state is not PowerState.HALTED:
        raise SecurityError(-XsError.VM_WRONG_STATE, f"the machine is {small(self.power_state)}, not halted")
    self.wanted_label = self.security_label = security_label
    return 0


# --- sHype, which is gone


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY, name="get_record")
def get_acm_record(call: Call, xspolicy: XSPolicy) -> Annotated[XSPolicy, Record("XSPolicy")]:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_header(call: Call, self: XSPolicy) -> Header:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_xml(call: Call, self: XSPolicy) -> str:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_map(call: Call, self: XSPolicy) -> str:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_binary(call: Call, self: XSPolicy) -> str:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_enforced_binary(call: Call, self: XSPolicy) -> str:
    """SECURITY_ERROR: no policy of today's Xen is one of ACM's."""
    _not_acm()


@message(ACMPolicy, kind=Kind.READ, role=Role.READ_ONLY)
def get_VM_ssidref(call: Call, vm: VM) -> int:
    """SECURITY_ERROR: the number that stands for a label in ACM. VM_BAD_POWER_STATE where the machine does not run."""
    if vm.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
        raise VMBadPowerState(vm, "running, paused", small(vm.power_state))
    require_module(call)
    _not_acm()


def _not_acm() -> NoReturn:
    raise SecurityError(-XsError.WRONG_POLICY_TYPE, "it is no policy of ACM's: Xen has that module no more")
