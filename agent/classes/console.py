"""The class console. The bytes of a console travel through ``agent.http``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.classes import checks
from agent.classes.enums import ConsoleProtocol
from agent.model.entity import Entity, internal, readwrite, runtime
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m


class Console(Entity, name="console", role=Role.VM_ADMIN, creates=True, destroys=True, lane="VM"):
    """A console of a running machine: its screen, or its terminal."""

    uuid: str = runtime("permanent name of this console")
    protocol: ConsoleProtocol = runtime(
        "what the console speaks: rfb (VNC) for a screen, vt100 for a terminal", default=ConsoleProtocol.VT100
    )
    location: str = runtime(
        "URL at which a client opens the console, by CONNECT or as a WebSocket; where the agent has no listener on the"
        " network, the address on the host",
        default="",
    )
    VM: m.VM = runtime("machine that the console belongs to", bound="consoles", part=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients; location_on_host, where the hypervisor has the console, is the agent's",
        default={},
        check=checks.modest,
    )
    endpoint: str = internal("where it is on this host, as the driver calls it", default="", passing=True)
