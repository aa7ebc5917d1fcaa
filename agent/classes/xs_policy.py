"""The classes XSPolicy and ACMPolicy: the hypervisor's security policy. What Xen has today is FLASK, or none.

The original's policies (sHype's ACM) went out of Xen long ago, so there is never an ACMPolicy.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from agent.classes import checks
from agent.model.entity import Entity, readwrite, runtime
from agent.model.types import Flags
from agent.roles import Role

XsType = Annotated[int, Flags("flags xs_type")]
XsInstantiation = Annotated[int, Flags("flags xs_instantiationflags")]


class Kind(IntFlag):
    """The bits of ``flags xs_type``. FLASK is the original server's, though its reference has ACM alone."""

    ACM = 1
    FLASK = 2


class Instantiation(IntFlag):
    """The bits of ``flags xs_instantiationflags``: is the policy there at the next boot, and is it in force now."""

    BOOT = 1
    LOAD = 2


class XsError(IntEnum):
    """The numbers of SECURITY_ERROR, by the original server's names. On the wire they are negative."""

    BAD_LABEL_FORMAT = 0x1007
    WRONG_POLICY_TYPE = 0x100A
    POLICY_TYPE_UNSUPPORTED = 0x100F
    BAD_LABEL = 0x1014
    VM_WRONG_STATE = 0x1015
    POLICY_NOT_LOADED = 0x1016


class XSPolicy(Entity, role=Role.POOL_ADMIN):
    """The policy of the hypervisor's security module: one where Xen runs with FLASK, else none."""

    uuid: str = runtime("permanent name of this policy")
    repr: str = readwrite(
        "text of the policy; always empty, since FLASK does not give its policy out",
        default="",
        setter=False,
        check=checks.modest,
    )
    type: XsType = runtime("kind of policy, in bits: ACM 1, FLASK 2", default=0)
    flags: XsInstantiation = runtime("how it came, in bits: boot 1, loaded 2", default=0)


class ACMPolicy(Entity, role=Role.POOL_ADMIN):
    """A policy of sHype's access control module, which Xen has no more. There are none."""

    uuid: str = runtime("permanent name of this policy")
    repr: str = readwrite("text of the policy; there is none", default="", setter=False, check=checks.modest)
    type: XsType = runtime("kind of policy, in bits: ACM 1", default=0)
    flags: XsInstantiation = runtime("how it came, in bits: boot 1, loaded 2", default=0)
