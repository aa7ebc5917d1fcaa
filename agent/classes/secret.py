"""The class secret: passwords that clients leave with the agent."""

from __future__ import annotations

from collections.abc import Mapping

from agent.classes import checks
from agent.model.entity import Entity, readwrite, runtime
from agent.roles import Role


class Secret(
    Entity,
    name="secret",
    role=Role.POOL_OPERATOR,
    reads=Role.POOL_OPERATOR,
    announced=False,
    creates=True,
    destroys=True,
):
    """A text that only a pool-operator can read, such as the password that a script needs.

    It makes no events, which anybody could follow. The journal keeps it as it is, in a file that is its owner's alone.
    """

    uuid: str = runtime("permanent name of this secret")
    value: str = readwrite("the text that is secret", default="", check=checks.modest)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
