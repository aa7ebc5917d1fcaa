"""Plugins and extensions: programs that the host's admin has put into a folder, run for a client by their names.

They are called as xapi calls its own. A plugin gets the XML-RPC call as its one argument, an extension on its standard
input; both print the XML-RPC response. There is no shell; a program must be root's own (or the agent's), in a folder
that nobody else can write to, it has so much time, and only so much of what it prints is read. What it may do beyond,
its author knows.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import signal
import stat
import subprocess
import tempfile
import xmlrpc.client
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any
from xml.parsers.expat import ExpatError

from agent.errors import InvalidValue, PluginFailed, XenapiMissingPlugin, XenapiPluginFailure

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 600
OUTPUT_BYTES = 4 * 2**20
SHOWN_CHARACTERS = 4096
"""So much of what a failed program printed is told to the client."""
LOOK_SECONDS = 0.5
END_SECONDS = 2.0
CALL_BYTES = 120 * 1024
"""Linux takes no longer argument than 128 KiB."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Plugins:
    """The programs of one host."""

    plugins: Path | None = None
    """The folder of plugins; None: there are none."""
    extensions: Path | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def call(self, name: str, function: str, params: Sequence[Any], watch: Callable[[], None]) -> str:
        """What a function of a plugin returns. `watch` is called meanwhile, and ends the program by raising.

        XENAPI_MISSING_PLUGIN for one that is not there or must not be run, XENAPI_PLUGIN_FAILURE where it failed, and
        whatever error it tells.
        """
        program = self._program(self.plugins, name)
        if program is None:
            raise XenapiMissingPlugin(name[:100])
        call = xmlrpc.client.dumps(tuple(params), function)
        if len(call.encode()) > CALL_BYTES:
            raise InvalidValue("args", f"they are too long: a plugin takes {CALL_BYTES} bytes in all")
        value = self._answer([str(program), call], b"", watch)
        if not isinstance(value, str):
            raise XenapiPluginFailure("result", type(value).__name__, "the plugin did not return a string")
        return value

    def has_extension(self, name: str) -> bool:
        """Whether there is an extension of this name that may be run."""
        return self._program(self.extensions, name) is not None

    def call_extension(self, name: str, params: Sequence[Any], watch: Callable[[], None]) -> Any:
        """What an extension returns. XENAPI_MISSING_PLUGIN, XENAPI_PLUGIN_FAILURE, and whatever error it tells."""
        program = self._program(self.extensions, name)
        if program is None:
            raise XenapiMissingPlugin(name[:100])
        return self._answer([str(program)], xmlrpc.client.dumps(tuple(params), name).encode(), watch)

    def _program(self, folder: Path | None, name: str) -> Path | None:
        """The program of this name in a folder, if it may be run."""
        if folder is None or not NAME.fullmatch(name):
            return None
        path = folder / name
        try:
            for place, kind in ((folder, stat.S_ISDIR), (path, stat.S_ISREG)):
                found = place.lstat()
                if not kind(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                    log.warning("%s is not run: it, or its folder, is not root's alone", path)
                    return None
        except OSError:
            return None
        return path if found.st_mode & 0o100 else None

    def _answer(self, command: list[str], call: bytes, watch: Callable[[], None]) -> Any:
        """The value that a program answers a call with."""
        with tempfile.TemporaryFile() as given:
            given.write(call)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                raise XenapiPluginFailure("exec", "", str(error)) from error
        try:
            printed, complained = self._output_of(process, watch)
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise XenapiPluginFailure("timeout", "", "it closed its output and did not end") from None
        except BaseException:
            _kill(process)
            raise
        if code != 0:
            status = "non-zero exit" if code > 0 else "signal"
            raise XenapiPluginFailure(status, _shown(printed), _shown(complained))
        return _value(printed, complained)

    def _output_of(self, process: subprocess.Popen[bytes], watch: Callable[[], None]) -> tuple[bytes, bytes]:
        """All that it prints and complains of, until it closes both."""
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = monotonic() + self.timeout_seconds
        parts: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        with selectors.DefaultSelector() as selector, process.stdout, process.stderr:
            for pipe in parts:
                selector.register(pipe, selectors.EVENT_READ, pipe)
            while selector.get_map():
                watch()
                if monotonic() > deadline:
                    raise XenapiPluginFailure("timeout", "", f"it had {self.timeout_seconds:g} seconds")
                for key, _ in selector.select(LOOK_SECONDS):
                    data = os.read(key.fd, 65536)
                    parts[key.data] += data
                    if not data:
                        selector.unregister(key.fileobj)
                if sum(map(len, parts.values())) > OUTPUT_BYTES:
                    raise XenapiPluginFailure("output", "", f"it printed more than {OUTPUT_BYTES} bytes")
            return bytes(parts[process.stdout]), bytes(parts[process.stderr])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program, and all it began that is still in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("a killed plugin (process %d) does not end: it is stuck in the kernel", process.pid)


def _value(printed: bytes, complained: bytes) -> Any:
    """What the response says that was printed."""
    try:
        loaded: tuple[Any, ...] = xmlrpc.client.loads(printed)[0]
        (answer,) = loaded
        if answer["Status"] == "Success":
            return _clean(answer["Value"])
        description = [_clean(str(word)) for word in answer["ErrorDescription"]]
    except (xmlrpc.client.Error, ExpatError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise XenapiPluginFailure(
            f"bad response: {type(error).__name__}", _shown(printed), _shown(complained)
        ) from None
    raise PluginFailed(tuple(description) or ("XENAPI_PLUGIN_FAILURE", "", "", ""))


def _clean(value: Any) -> Any:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else value


def _shown(data: bytes) -> str:
    return str(_clean(data[:SHOWN_CHARACTERS].decode("utf-8", "replace")))
