"""The record of who did what: a line of the log for every login, logout and change, good or refused. Reads have none.

A line says who, from where, in which session, which message, about which object, how it ended and how long it took. It
has no parameter but the object, since others may be secret, and of errors only the code: some repeat what was sent.
Whatever the level of the log is, these lines are in it. Calls without a valid session are nobody's and change nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from agent.call import Call
from agent.classes import Session
from agent.errors import XenError
from agent.model.entity import Entity
from agent.model.messages import Kind, Message

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

LOOKING = ("get_", "assert_", "query_", "list_", "has_", "probe", "wait_", "precheck", "dmesg")
"""How the names of messages begin that change nothing, though they may block or write to the journal."""
ALTERING = frozenset({"dmesg_clear"})
CLASSES_BESIDE = frozenset({"event"})
"""Classes of which no message changes more than what its own client is told."""
NAME_SHOWN = 80
SESSION_SHOWN = 8
"""Letters of the uuid of a session, which opens nothing, by which lines are found that belong together."""


def changes(message: Message) -> bool:
    """Whether it changes anything, so that sending it is recorded."""
    if message.kind not in (Kind.WRITE, Kind.VERB, Kind.BESIDE) or message.class_name in CLASSES_BESIDE:
        return False
    return message.name in ALTERING or not message.name.startswith(LOOKING)


@dataclass(slots=True)
class Entry:
    """One line on its way."""

    name: str
    """Of the message, or of what is asked for beside messages."""
    call: Call
    user: str = ""
    session: str = ""
    about: str = ""
    began: float = field(default_factory=monotonic)

    def who(self, session: Session | None, user: str = "") -> None:
        """Note whose session it is, or as whom somebody tries to log in."""
        self.user = (user if session is None else session.auth_user_name)[:NAME_SHOWN]
        self.session = "" if session is None else session.uuid[:SESSION_SHOWN]

    def what(self, subject: object) -> None:
        """Note the object, as long as there is none and as it is called now."""
        if not self.about:
            self.about = described(subject)

    def end(self, error: BaseException | None = None, result: object = None) -> None:
        """Write the line. A result that is an object is what it was about, where nothing else was."""
        code = error.code if isinstance(error, XenError) else "INTERNAL_ERROR" if isinstance(error, Exception) else ""
        if code == "SESSION_INVALID" and not self.session:
            return
        self.what(result)
        fields = {
            "call": self.name,
            "user": self.user,
            "from": self.call.caller.peer,
            "session": self.session,
            "object": self.about,
            "task": "" if self.call.task is None else self.call.task.uuid,
            "result": code or ("ok" if error is None else "unanswered"),
            "seconds": round(monotonic() - self.began, 3),
        }
        shown = {key: value for key, value in fields.items() if value != ""}
        log.info("%s", " ".join(f"{key}={_quoted(value)}" for key, value in shown.items()), extra={"audit": shown})


def described(subject: object) -> str:
    """An object by its class, uuid and name; a text that stands for one as it is; anything else as nothing."""
    if isinstance(subject, Entity):
        known: dict[str, Any] = subject.__dict__
        words = [
            subject.wire_name,
            str(known.get("uuid") or subject.ref),
            str(known.get("name_label", ""))[:NAME_SHOWN],
        ]
        return " ".join(word for word in words if word)
    return ""


def _quoted(value: object) -> str:
    """In quotes, unless it is a plain word: nothing in a value can look like another field."""
    text = str(value)
    plain = text.isascii() and all(letter.isalnum() or letter in "._:-" for letter in text)
    return text if plain and text else json.dumps(text, ensure_ascii=False)
