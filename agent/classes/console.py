"""The class console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes.enums import ConsoleProtocol
from agent.model.entity import Entity, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Console(Entity, name="console", role=Role.VM_ADMIN, creates=True, destroys=True, lane="VM"):
    """TODO."""

    uuid: str = runtime("TODO uuid")
    protocol: ConsoleProtocol = runtime("TODO protocol", default=ConsoleProtocol.VT100)
    location: str = runtime("TODO location", default="")
    VM: m.VM = runtime("TODO VM", bound="consoles", part=True)
    other_config: Mapping[str, str] = readwrite("TODO other config", default={})
