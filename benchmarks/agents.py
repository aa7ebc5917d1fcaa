"""The agent as a process, started and spoken to as an admin would."""

from __future__ import annotations

import re
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.processes import Process, run
from benchmarks.rows import Failed
from benchmarks.wire import Address, Channel, insecure_context

USER, PASSWORD = "root", "correct horse"
LISTENERS = ("http://127.0.0.1:0", "https://127.0.0.1:0")


class Agent:
    """One agent with its state folder, which outlives a stop."""

    def __init__(self, uri: str, state: Path) -> None:
        self.uri = uri
        self.state = state
        self.session = ""
        self.tls = insecure_context()
        self._process: Process | None = None
        self._addresses: dict[str, Address] = {}
        self._channel: Channel | None = None
        state.mkdir(mode=0o700, parents=True)
        run([*self._command("user", "add", USER)], given=f"{PASSWORD}\n")

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agent", *words, "--config", "/dev/null", "--state", str(self.state)]

    def start(self, urls: Sequence[str] = LISTENERS) -> None:
        """Start it, and return when it answers. Its sessions outlive a stop too."""
        listeners = [word for url in urls for word in ("--listen", url)]
        self._process = Process(
            self._command("serve", "--connect", self.uri, *listeners), self.state.with_name(f"{self.state.name}.log")
        )
        while len(self._addresses) < len(urls):
            listening = re.fullmatch(r"listening on (\S+)", self._process.line())
            if listening is not None:
                url = urlsplit(listening[1])
                self._addresses[url.scheme] = (url.hostname or "", url.port or 0)
        if not self.session:
            answer = self.channel.call("session.login_with_password", USER, PASSWORD)
            self.session = str(answer)

    def stop(self) -> None:
        """Stop it."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.end()
        self._process, self._channel, self._addresses = None, None, {}

    @property
    def process(self) -> Process:
        """Its process, while it runs."""
        if self._process is None:
            raise Failed("the agent does not run")
        return self._process

    @property
    def http(self) -> Address:
        """Where it listens."""
        return self._addresses["http"]

    @property
    def https(self) -> Address:
        """Where it listens with TLS."""
        return self._addresses["https"]

    def address(self, context: ssl.SSLContext | None) -> Address:
        """The one for such a connection."""
        return self.http if context is None else self.https

    @property
    def channel(self) -> Channel:
        """A kept connection to it."""
        if self._channel is None:
            self._channel = Channel(self.http)
        return self._channel

    def call(self, method: str, *params: Any) -> Any:
        """The value of a call in a session of a pool admin."""
        return self.channel.call(method, self.session, *params)

    def machines(self) -> list[str]:
        """The references of all machines, when there are as many as there should be."""
        refs = self.call("VM.get_all")
        assert isinstance(refs, list)
        return refs

    def await_machines(self, count: int, seconds: float = 120.0) -> list[str]:
        """The references of its machines, as soon as there are so many. Failed if there never are."""
        deadline = time.monotonic() + seconds
        while len(refs := self.machines()) < count:
            if time.monotonic() > deadline:
                raise Failed(f"the agent has {len(refs)} machines, not {count}")
            time.sleep(0.1)
        return refs
