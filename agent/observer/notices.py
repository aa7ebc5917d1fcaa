"""Notices to admins, as messages: written here, by whoever has one, and bounded in number.

What becomes of a machine is told as it is seen, so that a guest that powers itself off is told of like one that a
client stopped. Names and priorities are xapi's.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from agent.classes import VM, Message
from agent.classes.enums import Cls, PowerState, VmOperation
from agent.errors import InternalError
from agent.store.store import Store

log = logging.getLogger(__name__)

KEPT = 1000
"""So many messages there are at the most: the oldest make room."""
SERVICE_FAILS, INFORMATION = 2, 5
"""Priorities: of what an admin should look at now, and of what happens day by day."""

RUNNING, PAUSED, SUSPENDED, HALTED = PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED, PowerState.HALTED
BECAME = {
    (HALTED, RUNNING): ("VM_STARTED", "was started"),
    (HALTED, PAUSED): ("VM_STARTED", "was started"),
    (SUSPENDED, RUNNING): ("VM_RESUMED", "goes on where it was suspended"),
    (SUSPENDED, PAUSED): ("VM_RESUMED", "goes on where it was suspended"),
    (RUNNING, HALTED): ("VM_SHUTDOWN", "has ended"),
    (PAUSED, HALTED): ("VM_SHUTDOWN", "has ended"),
    (RUNNING, SUSPENDED): ("VM_SUSPENDED", "was suspended"),
    (PAUSED, SUSPENDED): ("VM_SUSPENDED", "was suspended"),
}
"""What a machine became, from what it was: the name of the message, and the words."""
REBOOTS = {VmOperation.CLEAN_REBOOT, VmOperation.HARD_REBOOT}


def tell(store: Store, name: str, priority: int, cls: Cls, obj_uuid: str, body: str) -> Message:
    """Write a message. In a transaction."""
    while store.count("message") >= KEPT:
        store.destroy(min(store.all(Message), key=lambda each: each.timestamp))
    made = Message()
    made.name, made.priority, made.cls, made.obj_uuid, made.body = name, priority, cls, obj_uuid, body
    made.timestamp = datetime.now(UTC).replace(microsecond=0)
    return store.add(made)


def tell_of_machine(store: Store, vm: VM, before: PowerState, domid_before: int) -> None:
    """Tell what became of a machine since it was so. In a transaction."""
    name, words = BECAME.get((before, vm.power_state), ("", ""))
    again = not name and vm.power_state is RUNNING and -1 != domid_before != vm.domid
    if again or (name and REBOOTS.intersection(vm.current_operations.values())):
        # A reboot that a client asked for may be seen as an end and a start.
        name, words = ("", "") if vm.power_state is HALTED else ("VM_REBOOTED", "has rebooted")
    if name and not vm.is_control_domain:
        tell(store, name, INFORMATION, Cls.VM, vm.uuid, f"{vm.name_label or vm.uuid} {words}.")


def tell_trouble(store: Store, vm: VM, name: str, words: str) -> None:
    """Write a message of what an admin should look at now. One that the journal cannot take now is lost."""
    try:
        with store.transaction():
            tell(store, name, SERVICE_FAILS, Cls.VM, vm.uuid, f"{vm.name_label or vm.uuid} {words}")
    except InternalError as error:
        log.warning("what became of %r cannot be told now: %s", vm, error)
