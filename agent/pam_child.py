"""Asks PAM about one user and password, in a process of its own, which needs nothing else of the agent.

Modules of PAM may hang, crash or change their process, and none of that is to happen to the agent. The question is one
line of JSON on standard input, the answer one on standard output. When to ask, and for how long, is ``pam``'s business.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

LIBRARY = "libpam.so.0"
SUCCESS, CONVERSATION_FAILED, MEMORY_FAILED = 0, 19, 5
USER, RHOST, FAIL_DELAY = 2, 4, 10
HIDDEN_PROMPT, SHOWN_PROMPT = 1, 2
QUIET = 0x8000 | 0x1
"""No words for a terminal, and no log-in where the account has no password."""
MESSAGES_MAX = 32


class _Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class _Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


_CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)
_DELAY = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class Conversation(ctypes.Structure):
    """What PAM asks through."""

    _fields_ = [("converse", _CONVERSE), ("data", ctypes.c_void_p)]


def open_library() -> Any:
    """libpam. OSError where there is none."""
    library = ctypes.CDLL(LIBRARY)
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    place = ctypes.POINTER(handle)
    library.pam_start.argtypes = [text, text, ctypes.POINTER(Conversation), place]
    if hasattr(library, "pam_start_confdir"):  # since Linux-PAM 1.4
        library.pam_start_confdir.argtypes = [text, text, ctypes.POINTER(Conversation), text, place]
    library.pam_set_item.argtypes = [handle, number, handle]
    library.pam_get_item.argtypes = [handle, number, place]
    library.pam_strerror.argtypes = [handle, number]
    library.pam_strerror.restype = text
    for name in ("pam_authenticate", "pam_acct_mgmt", "pam_end"):
        getattr(library, name).argtypes = [handle, number]
    return library


def _memory() -> Any:
    libc = ctypes.CDLL(None)
    libc.calloc.argtypes, libc.calloc.restype = [ctypes.c_size_t, ctypes.c_size_t], ctypes.c_void_p
    libc.strdup.argtypes, libc.strdup.restype = [ctypes.c_char_p], ctypes.c_void_p
    return libc


def conversation(password: bytes) -> Callable[[int, Any, Any, Any], int]:
    """Answers prompts for something hidden with the password; what else is asked for cannot be answered here."""
    libc = _memory()

    def converse(count: int, messages: Any, responses: Any, _data: Any) -> int:
        if not 0 < count <= MESSAGES_MAX or any(messages[n].contents.style == SHOWN_PROMPT for n in range(count)):
            return CONVERSATION_FAILED
        memory = libc.calloc(count, ctypes.sizeof(_Response))  # PAM frees it, and the texts
        if not memory:
            return MEMORY_FAILED
        made = ctypes.cast(memory, ctypes.POINTER(_Response))
        for n in range(count):
            if messages[n].contents.style == HIDDEN_PROMPT:
                made[n].text = libc.strdup(password)
        responses[0] = made
        return SUCCESS

    return converse


def ask(question: Mapping[str, str], library: Any) -> dict[str, object]:
    """What PAM says: ``good``, the ``user`` as PAM knows it, and the ``reason`` where it is not good.

    The question has ``service``, ``user``, ``password``, ``address``, and ``folder`` where services are not those of
    the host. An account that has expired or must change its password first is not good.
    """
    told = Conversation(_CONVERSE(conversation(question["password"].encode())), None)
    handle = ctypes.c_void_p()
    service, user = question["service"].encode(), question["user"].encode()
    if question["folder"]:
        folder = question["folder"].encode()
        code = library.pam_start_confdir(service, user, ctypes.byref(told), folder, ctypes.byref(handle))
    else:
        code = library.pam_start(service, user, ctypes.byref(told), ctypes.byref(handle))
    if code != SUCCESS:
        return {"good": False, "user": "", "reason": f"PAM does not start: {code}"}
    no_delay = _DELAY(lambda code, microseconds, data: None)  # the agent has its own, which holds no process
    items = ((RHOST, ctypes.cast(ctypes.c_char_p(question["address"].encode()), ctypes.c_void_p)),)
    try:
        for item, value in (*items, (FAIL_DELAY, ctypes.cast(no_delay, ctypes.c_void_p))):
            code = code or library.pam_set_item(handle, item, value)
        code = code or library.pam_authenticate(handle, QUIET) or library.pam_acct_mgmt(handle, QUIET)
        if code != SUCCESS:
            reason = library.pam_strerror(handle, code)
            return {"good": False, "user": "", "reason": (reason or b"").decode("utf-8", "replace") or str(code)}
        known = ctypes.c_void_p()
        code = library.pam_get_item(handle, USER, ctypes.byref(known))
        name = ctypes.cast(known, ctypes.c_char_p).value if code == SUCCESS and known else None
        return {"good": bool(name), "user": (name or b"").decode("utf-8", "replace"), "reason": ""}
    finally:
        library.pam_end(handle, code)


def main() -> None:
    """Answer the question on standard input."""
    question = json.loads(sys.stdin.buffer.readline())
    signal.alarm(int(question["seconds"]) + 1)  # should the agent be gone, and a module hang
    try:
        answer = ask(question, open_library())
    except (OSError, AttributeError) as error:  # no library, or one that is too old for a folder of services
        answer = {"good": False, "user": "", "reason": f"PAM cannot be used: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
