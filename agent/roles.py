"""The roles a user can have, in the order of what they may do. Which message needs which role is said where it is
declared.
"""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """A role of xapi's access control; a higher one may do all that a lower one may.

    The value orders the roles; the wire name is the member's name in lower case with hyphens (``vm-admin``).
    """

    READ_ONLY = 1
    VM_OPERATOR = 2
    VM_ADMIN = 3
    VM_POWER_ADMIN = 4
    POOL_OPERATOR = 5
    POOL_ADMIN = 6

    @property
    def wire(self) -> str:
        """The name that users and clients write, such as ``pool-admin``."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def from_wire(cls, text: str) -> Role:
        """The role called `text`; ValueError with the list of known ones otherwise."""
        found = BY_WIRE.get(text)
        if found is None:
            raise ValueError(f"no role is called {text!r}; the roles are {', '.join(BY_WIRE)}")
        return found


BY_WIRE = {role.wire: role for role in Role}
"""The roles by wire name, least first."""
