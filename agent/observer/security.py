"""The hypervisor's security module becomes the one XSPolicy there is, or none."""

from __future__ import annotations

import uuid as uuids

from agent.classes import Host, XSPolicy
from agent.classes.xs_policy import Instantiation, Kind
from agent.ports import SeenSecurity
from agent.store.store import Store


def note(store: Store, seen: SeenSecurity) -> None:
    """Make the policy what was seen."""
    with store.transaction():
        known = store.all(XSPolicy)
        if not seen.module:
            for policy in known:
                store.destroy(policy)
        elif not known:
            policy = XSPolicy()
            policy.uuid = str(uuids.uuid5(uuids.UUID(store.only(Host).uuid), "security policy"))
            # That it is loaded is all Xen tells; whether the boot loader will load it again, it does not know.
            policy.type, policy.flags = int(Kind.FLASK), int(Instantiation.LOAD)
            store.add(policy, volatile=True)
