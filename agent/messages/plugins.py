"""Programs of the host's admin that clients call by name: plugins and extensions, as xapi has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from agent.call import Call
from agent.classes import VM, Host, Pool
from agent.classes.enums import PowerState
from agent.classes.lifecycle import small
from agent.errors import InvalidValue, VMBadPowerState
from agent.logins import By
from agent.model.messages import Kind, message
from agent.roles import Role

ADMIN = Role.POOL_ADMIN


@contextmanager
def _session(call: Call) -> Iterator[str]:
    """A session of the caller's for the program alone, which ends with it: its secret is seen by all of the host."""
    assert call.session is not None
    sessions = call.site.sessions
    role = Role.from_wire(call.session.role_name)
    secret = sessions.open(call.session.auth_user_name, role, "plugin", by=By(call.session.vouched_by))
    try:
        yield secret
    finally:
        sessions.close(sessions.find(secret))


@message(Host, kind=Kind.BESIDE, role=ADMIN)
def call_plugin(call: Call, host: Host, plugin: str, fn: str, args: Mapping[str, str]) -> str:
    """Call a function of a plugin: a program in the folder that ``[plugins] folder`` of the configuration names.

    XENAPI_MISSING_PLUGIN for one that is not there, or is not root's alone; XENAPI_PLUGIN_FAILURE, with status, what it
    printed and what it complained of, where it fails or takes too long; UNKNOWN_XENAPI_PLUGIN_FUNCTION or another error
    where it says so.
    """
    return _run(call, plugin, fn, args)


def _run(call: Call, plugin: str, fn: str, args: Mapping[str, str]) -> str:
    with _session(call) as secret:
        return call.site.plugins.call(plugin, fn, (secret, dict(args)), lambda: call.progress(0.0))


@message(Host, kind=Kind.BESIDE, role=ADMIN)
def has_extension(call: Call, host: Host, name: str) -> bool:
    """Whether the folder that ``[plugins] extensions`` of the configuration names has an extension of this name."""
    return call.site.plugins.has_extension(name)


@message(Pool, kind=Kind.BESIDE, role=ADMIN, name="has_extension")
def has_extension_of_pool(call: Call, self: Pool, name: str) -> bool:
    """Whether all hosts, of which there is one, have an extension of this name."""
    return call.site.plugins.has_extension(name)


@message(Host, kind=Kind.BESIDE, role=ADMIN, has_async=False)
def call_extension(call: Call, host: Host, call_: str) -> str:
    """Call an extension. `call` is JSON: the `method`, which is its name, and its `params`; so is the result.

    Errors as of call_plugin; INVALID_VALUE for a call that is none.
    """
    try:
        asked = json.loads(call_)
        name, params = asked["method"], asked["params"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidValue("call", "it is no JSON object with method and params") from None
    if not isinstance(name, str) or not isinstance(params, list):
        raise InvalidValue("call", "its method is text, and its params a list")
    try:
        value = call.site.plugins.call_extension(name, params, lambda: call.progress(0.0))
    except (TypeError, OverflowError) as error:  # null and long numbers have no form in XML-RPC
        raise InvalidValue("call", str(error)) from None
    return json.dumps(value, default=str)


@message(VM, kind=Kind.BESIDE, role=ADMIN)
def call_host_plugin(call: Call, vm: VM, plugin: str, fn: str, args: Mapping[str, str]) -> str:
    """Call a function of a plugin on the host that the machine runs on, as host.call_plugin does.

    VM_BAD_POWER_STATE for one that runs on none.
    """
    if vm.resident_on is None:
        raise VMBadPowerState(vm, small(PowerState.RUNNING), small(vm.power_state))
    return _run(call, plugin, fn, args)
