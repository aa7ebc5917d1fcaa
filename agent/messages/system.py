"""Introspection, as XML-RPC servers offer it: what can be called, how, and what it does. Needs no session."""

from __future__ import annotations

from agent.call import Call
from agent.errors import MessageMethodUnknown
from agent.model.messages import Kind, Message, Namespace, message

SYSTEM = Namespace("system")


UNLISTED = {"session.get_all_records"}
"""npm's xen-api (4.7.6) fetches all of every class that it finds listed, and then refuses to ask for sessions."""


def _message(call: Call, name: str) -> Message:
    found = call.site.api.messages.get(name.removeprefix("Async."))
    if found is None or (name.startswith("Async.") and not found.has_async):
        raise MessageMethodUnknown(name[:200])
    return found


@message(SYSTEM, kind=Kind.READ, anybody=True)
def listMethods(call: Call) -> tuple[str, ...]:
    """List the names of all messages, the asynchronous forms included."""
    messages = [each for each in call.site.api.messages.values() if each.full_name not in UNLISTED]
    return tuple(
        [each.full_name for each in messages] + [f"Async.{each.full_name}" for each in messages if each.has_async]
    )


@message(SYSTEM, kind=Kind.READ, anybody=True)
def methodSignature(call: Call, name: str) -> tuple[tuple[str, ...], ...]:
    """Name the type of a message's result and those of its parameters, as XML-RPC's introspection does: a set of
    one.
    """
    found = _message(call, name)
    session = ("session ref",) if found.role is not None else ()
    result = "task ref" if name.startswith("Async.") else found.result.name
    return ((result, *session, *(param.type.name for param in found.params)),)


@message(SYSTEM, kind=Kind.READ, anybody=True)
def methodHelp(call: Call, name: str) -> str:
    """Describe a message: its line of the reference and its text."""
    found = _message(call, name)
    return f"{found.line}\n\n{found.doc}"
