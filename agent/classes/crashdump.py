"""The class crashdump. The hypervisor writes the files, the observer finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Crashdump(Entity, name="crashdump", role=Role.POOL_OPERATOR, destroys=True, lane="VM"):
    """The memory of a machine as it was when its guest crashed, as a file on the host.

    A guest leaves one if its actions_after_crash say so.
    """

    uuid: str = runtime("permanent name of this dump")
    VM: m.VM = constructor("machine that crashed", bound="crash_dumps", cascade=True)
    VDI: m.VDI = constructor("file that has the memory: an ELF core as Xen writes it", bound="crash_dumps")
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
