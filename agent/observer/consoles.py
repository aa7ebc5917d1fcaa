"""Consoles of running machines, and where they are opened: at the agent's own front door, if it can be reached.

The hypervisor says where a console is on this host (a VNC server, a terminal). Clients from elsewhere come through
``/console``, which ``agent.http.consoles`` serves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from agent.classes import VM, Console, Host
from agent.classes.enums import ConsoleProtocol
from agent.ports import SeenDomain
from agent.store.store import Store

PATH = "/console"
ON_HOST = "location_on_host"
"""The key of console.other_config under which the hypervisor's own address of the console is told."""
SCHEMES = {"rfb": "vnc", "vt100": "file"}
DEFAULT_PORTS = {"http": 80, "https": 443}


def note(store: Store, host: Host, vm: VM, seen: SeenDomain) -> None:
    """Make the consoles of a running machine those that were seen, screens first: clients take the first one. In a
    transaction.
    """
    wanted = {console.location: ConsoleProtocol(console.protocol) for console in seen.consoles}
    for console in vm.consoles:
        if wanted.pop(console.endpoint, None) is None:
            store.destroy(console)
        else:
            _tell(console)
    door = front_door(host)
    for endpoint, protocol in wanted.items():
        made = Console()
        made.VM, made.endpoint, made.protocol = vm, endpoint, protocol
        made.location = _location(made, door)
        _tell(made)
        store.add(made, volatile=True)
    vm.consoles = tuple(sorted(vm.consoles, key=lambda console: console.protocol is not ConsoleProtocol.RFB))


def locate(store: Store) -> None:
    """Let all consoles be where the front door is now. In a transaction."""
    door = front_door(store.only(Host))
    for console in store.all(Console):
        location = _location(console, door)
        if console.location != location:
            console.location = location


def _tell(console: Console) -> None:
    """Say where it is on this host; clients may have replaced the map."""
    address = _on_host(console)
    if console.other_config.get(ON_HOST) != address:
        console.other_config = {**console.other_config, ON_HOST: address}


def _location(console: Console, door: str) -> str:
    return f"{door}{PATH}?uuid={console.uuid}" if door else _on_host(console)


def _on_host(console: Console) -> str:
    unix = console.protocol is ConsoleProtocol.RFB and console.endpoint.startswith("/")
    return f"{'vnc+unix' if unix else SCHEMES[console.protocol.value]}://{console.endpoint}"


def best_listener(urls: Sequence[str]) -> str:
    """The listener for clients from elsewhere: one that they can reach before this host's own, then TLS before none.
    Empty where there is none on the network.
    """
    return min((url for url in urls if not url.startswith("unix:")), key=_rank, default="")


def _rank(url: str) -> tuple[bool, bool]:
    name = urlsplit(url).hostname or ""
    address = _address(name)
    return (name == "localhost" if address is None else address.is_loopback), not url.startswith("https:")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def front_door(host: Host) -> str:
    """The URL by which clients reach the agent, without a path; empty where only Unix sockets lead to it.

    A listener on all addresses is reached at the host's own; a port is told where it is not the scheme's.
    """
    if not host.listener:
        return ""
    parts = urlsplit(host.listener)
    name = parts.hostname or ""
    address = _address(name)
    if address is not None and address.is_unspecified:
        name = host.address or host.hostname or ("127.0.0.1" if address.version == 4 else "::1")
    shown = f"[{name}]" if ":" in name else name
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}"
