"""The verbs: what a field cannot say. One module a class; `api` seals them and the classes into the table."""

from __future__ import annotations

from agent import classes
from agent.messages import (
    absent,
    bond,
    bugreport,
    console,
    cpu_pool,
    crashdump,
    debug,
    dpci,
    dscsi,
    event,
    host,
    network,
    pbd,
    pif,
    session,
    sr,
    system,
    task,
    vbd,
    vdi,
    vif,
    vlan,
    vm,
    vm_copies,
    vm_kernels,
    vm_memory,
    vtpm,
    xs_policy,
)
from agent.model.api import Api, seal

VERBS = (
    absent,
    bond,
    bugreport,
    console,
    cpu_pool,
    crashdump,
    debug,
    dpci,
    dscsi,
    event,
    host,
    network,
    pbd,
    pif,
    session,
    sr,
    system,
    task,
    vbd,
    vdi,
    vif,
    vlan,
    vm,
    vm_copies,
    vm_kernels,
    vm_memory,
    vtpm,
    xs_policy,
)


def api() -> Api:
    """The sealed table of all that this build serves."""
    return seal(classes, VERBS)
