"""A report of trouble: what the host can tell of itself, packed and sent to where its reader wants it."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from agent.call import Call
from agent.classes import VM, Host, Task
from agent.errors import InvalidValue, OperationNotAllowed, ValueNotSupported, XenError
from agent.messages.task import is_a_verbs
from agent.model.messages import message

TIMEOUT_SECONDS = 60.0
OF_HOST = ("uuid", "software_version", "cpu_info", "cpu_configuration", "capabilities", "sched_policy", "enabled")
OF_MACHINES = ("uuid", "power_state", "domid", "domain_type", "memory_static_max", "VCPUs_max", "is_a_template")
OF_TASKS = ("uuid", "name_label", "status", "error_info")


@message(Host)
def bugreport_upload(call: Call, host: Host, url: str, options: Mapping[str, str]) -> None:
    """Send a report to `url` by HTTP PUT, as JSON packed with gzip: versions, the hypervisor's messages, the log, and
    the state of machines and tasks. Of the machines' names, notes and consoles the agent puts nothing into it.

    `options` can have ``http_proxy``. INVALID_VALUE for what is no http or https address, VALUE_NOT_SUPPORTED for other
    options, OPERATION_NOT_ALLOWED, with the reason, where it does not arrive.
    """
    _require_address("url", url)
    for key, value in options.items():
        if key != "http_proxy":
            raise ValueNotSupported("options", key, "the only option is http_proxy")
        _require_address(key, value)
    _send(url, gzip.compress(json.dumps(_report(call, host)).encode()), options.get("http_proxy", ""))


def _require_address(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not url.isascii() or " " in url:
        raise InvalidValue(name, f"{url[:100]!r} is no http or https address")


def _report(call: Call, host: Host) -> dict[str, Any]:
    tasks = [task for task in call.store.all(Task) if is_a_verbs(call.site.api, task)]
    return {
        "agent": call.site.version,
        "host": {name: host.__dict__[name] for name in OF_HOST},
        "machines": [{name: vm.__dict__[name] for name in OF_MACHINES} for vm in call.store.all(VM)],
        "tasks": [{name: task.__dict__[name] for name in OF_TASKS} for task in tasks],
        "dmesg": _told(lambda: call.node.control.dmesg(clear=False)),
        "log": _told(call.node.control.log),
    }


def _told(read: Callable[[], str]) -> str:
    """What there is to read, or why it cannot be read: one that is missing spoils no report."""
    try:
        return read()
    except XenError as error:
        return str(error)


def _send(url: str, report: bytes, proxy: str) -> None:
    proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
    request = urllib.request.Request(url, report, {"Content-Type": "application/gzip"}, method="PUT")
    try:
        with urllib.request.build_opener(proxies).open(request, timeout=TIMEOUT_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise OperationNotAllowed(f"the report was refused: {error}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise OperationNotAllowed(f"the report did not arrive: {error}") from error
