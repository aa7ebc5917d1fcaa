"""What the classes that have no objects answer: every verb that gets as far is refused, and says as what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from agent.call import Call
from agent.classes.absent import ENUMS
from agent.classes.absent_table import TABLE, Absent
from agent.model.messages import Kind, Message
from agent.model.notation import verbs_of


def _refused(absent: Absent, name: str) -> Callable[..., NoReturn]:
    def refuse(call: Call, *args: Any) -> NoReturn:
        raise absent.refusal(name, args)

    return refuse


def _messages() -> Iterator[Message]:
    for absent in TABLE:
        for verb in verbs_of(absent.verbs, ENUMS):
            name = f"{absent.name}.{verb.name}"
            takes_one = any(param.type.name == f"{absent.name} ref" for param in verb.params)
            why = "HANDLE_INVALID" if takes_one else absent.refusal(name, [""] * len(verb.params)).code
            yield Message(
                absent.name,
                verb.name,
                verb.params,
                verb.result,
                Kind.READ if verb.name.startswith("get_") else Kind.WRITE,
                verb.role or absent.role,
                _refused(absent, name),
                f"Refused: {why}. This host has no {absent.name}.",
                has_async=True,
            )


MESSAGES = tuple(_messages())
"""For the sealed table."""
