"""Runs in dom0: prints what libvirt and the API each tell of changes, a line of JSON each, stamped by one clock.

    listen.py URL USER PASSWORD

A libvirtd or an agent that goes away is connected to again.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
import xmlrpc.client
from typing import Any

import libvirt

CLASSES = ["vm", "vbd", "vif"]
TOLD = ("uuid", "power_state", "domid", "name_label", "currently_attached", "device", "MAC", "VM")
"""The fields of an object that are printed."""
_printing = threading.Lock()


def say(by: str, **what: Any) -> None:
    """Print what `by` told just now, by the clock of /proc/uptime."""
    at = time.clock_gettime(time.CLOCK_BOOTTIME)
    with _printing:
        print(json.dumps({"at": at, "by": by, **what}), flush=True)


def _lifecycle(handle: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, opaque: object) -> None:
    say("libvirt", uuid=domain.UUIDString(), event=event, detail=detail)


def listen_to_libvirt() -> None:
    """Tell each event of a domain's life as libvirt sends it, for ever."""
    libvirt.registerErrorHandler(lambda context, error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    while True:
        try:
            handle = libvirt.openReadOnly("xen:///system")
            handle.setKeepAlive(5, 3)
            handle.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, _lifecycle, None)
            say("libvirt", ready=True)
            libvirt.virEventAddTimeout(1000, lambda timer, opaque: None, None)
            while handle.isAlive():
                libvirt.virEventRunDefaultImpl()
            handle.close()
        except libvirt.libvirtError as error:
            say("libvirt", error=str(error))
            time.sleep(1)


def _asked(proxy: xmlrpc.client.ServerProxy, method: str, *arguments: Any) -> Any:
    answer: Any = getattr(proxy, method)(*arguments)
    if answer["Status"] != "Success":
        raise OSError(str(answer["ErrorDescription"]))
    return answer["Value"]


def listen_to_the_api(url: str, user: str, password: str) -> None:
    """Tell each event that a client gets who waits in event.from, for ever."""
    while True:
        try:
            with xmlrpc.client.ServerProxy(url, context=ssl._create_unverified_context(), allow_none=True) as proxy:
                session = _asked(proxy, "session.login_with_password", user, password, "2.21", "listen.py")
                token = ""
                while True:
                    told = _asked(proxy, "event.from", session, CLASSES, token, 30.0)
                    for event in told["events"]:
                        snapshot = event.get("snapshot") or {}
                        fields = {name: snapshot[name] for name in TOLD if name in snapshot}
                        say("api", kind=event["class"], operation=event["operation"], ref=event["ref"], **fields)
                    if not token:
                        say("api", ready=True)
                    token = told["token"]
        except (OSError, xmlrpc.client.Error) as error:
            say("api", error=str(error))
            time.sleep(1)


if __name__ == "__main__":
    threading.Thread(target=listen_to_the_api, args=sys.argv[1:4], daemon=True).start()
    listen_to_libvirt()
