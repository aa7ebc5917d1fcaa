"""What the lines share: a hypervisor with 1,000 domains, the agent that serves them, and servers to compare with.

Everything is made when a line first needs it and ended with the run.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks import domains
from benchmarks.agents import Agent
from benchmarks.hypervisor import private_libvirtd
from benchmarks.processes import Process
from benchmarks.rows import Failed, NotHere
from benchmarks.wire import Address, xml_call

T = TypeVar("T")
MACHINES = 1000
HOST = "127.0.0.1"
FOLDER = "/var/tmp"
"""On a disk, most likely, as an agent's state is; /tmp may be memory, where fdatasync costs nothing."""


class Lab:
    """One run."""

    def __init__(self, *, quick: bool = False, folder: Path | None = None) -> None:
        self.quick = quick
        self.rounds = 5 if quick else 9
        self.slow_rounds = 3 if quick else 7
        """Where one takes seconds."""
        self._opened = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="xen-host-agent-benchmarks-", dir=folder or FOLDER))
        self._opened.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._begun = time.monotonic()
        self._numbers = 0
        self._measured: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def say(self, text: str) -> None:
        """Tell who waits what goes on."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", file=sys.stderr, flush=True)

    def once(self, name: str, measure: Callable[[], T]) -> T:
        """What `measure` returns, for the lines that show several sides of one measurement; or its failure again."""
        if name not in self._measured:
            try:
                self._measured[name] = measure()
            except (NotHere, Failed) as error:
                self._measured[name] = error
        known = self._measured[name]
        if isinstance(known, (NotHere, Failed)):
            raise known
        value: T = known
        return value

    @staticmethod
    def timed(work: Callable[[], object]) -> float:
        """The seconds that it takes."""
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    def path(self, name: str) -> Path:
        """A new place in the folder of this run."""
        self._numbers += 1
        return self.folder / f"{self._numbers}-{name}"

    # --- the hypervisor

    @cached_property
    def libvirt_socket(self) -> Path:
        """The socket of a libvirtd of our own. NotHere if there can be none."""
        self.say("starting a libvirtd")
        return self._opened.enter_context(private_libvirtd(self.folder / "libvirt"))

    @cached_property
    def uri(self) -> str:
        """That libvirtd, with 1,000 domains on its test hypervisor, as long as the changer is connected."""
        uri = f"test+unix:///default?socket={self.libvirt_socket}"
        self.changer = self.child("domains", uri)
        self.say(f"defining {MACHINES} domains")
        self.changer.ask("define", count=MACHINES)
        return uri

    changer: Process
    """A process that changes the domains of `uri`."""

    @cached_property
    def listener(self) -> Process:
        """A process that listens to them, and does nothing else."""
        listener = self.child("domains", self.uri)
        listener.ask("listen")
        return listener

    @cached_property
    def file_uri(self) -> str:
        """A hypervisor with the same domains within whatever process opens it."""
        path = self.path("node.xml")
        path.write_text(domains.node(MACHINES))
        return f"test://{path}"

    def empty_uri(self) -> str:
        """A hypervisor without any domain, reached in the same way as the full one."""
        path = self.path("empty.xml")
        path.write_text(domains.node(0))
        return f"test+unix://{path}?socket={self.libvirt_socket}"

    def empty_file_uri(self) -> str:
        """A hypervisor without any domain, within whatever process opens it: its disks are files."""
        path = self.path("empty.xml")
        pool = "<pool type='dir'><name>disks</name><target><path>/disks</path></target></pool>"
        path.write_text(domains.node(0).replace("</node>", f"{pool}</node>"))
        return f"test://{path}"

    # --- the agent

    @cached_property
    def agent(self) -> Agent:
        """The agent with 1,000 machines; on a hypervisor in its own process where there is no libvirtd."""
        try:
            uri = self.uri
        except NotHere:
            uri = self.file_uri
        agent = Agent(uri, self.path("agent"))
        self._opened.callback(agent.stop)
        self.say(f"starting an agent that takes over {MACHINES} domains")
        agent.start()
        agent.await_machines(MACHINES)
        agent.process.settle()
        return agent

    @contextmanager
    def fresh_agent(self, uri: str) -> Iterator[Agent]:
        """Another one, that has served nobody yet."""
        agent = Agent(uri, self.path("fresh"))
        try:
            agent.start()
            yield agent
        finally:
            agent.stop()

    @property
    def agent_alone(self) -> Agent:
        """The agent on a libvirtd that only it and the lines' own processes look at. NotHere where there is none."""
        self.uri  # noqa: B018 - NotHere if it cannot be
        inside = self.__dict__.pop("inside", None)
        if inside is not None:
            inside.end()
        return self.agent

    @cached_property
    def inside(self) -> Process:
        """Parts of the agent without its HTTP, with the same machines; until `agent_alone` is needed."""
        self.say("putting an agent together without its front door")
        return self.child("inside", self.agent.uri, str(self.path("inside")))

    # --- others

    def child(self, module: str, *arguments: str) -> Process:
        """A process of a module of this package, until the end of the run."""
        process = Process.module(f"benchmarks.{module}", *arguments, log=self.path(f"{module}.log"))
        self._opened.callback(process.end)
        return process

    def server(self, kind: str, content: bytes) -> tuple[Process, Address]:
        """A server to compare with, and where it listens."""
        path = self.path(kind)
        path.write_bytes(content)
        process = self.child("peers", kind, str(path))
        return process, (HOST, int(process.line()))

    @cached_property
    def all_records(self) -> bytes:
        """The request for all machines' records."""
        return xml_call("VM.get_all_records", self.agent.session)

    @cached_property
    def answer(self) -> bytes:
        """The answer to it, warm."""
        self.agent.channel.fetch(self.all_records)
        return self.agent.channel.fetch(self.all_records)

    @cached_property
    def stdlib(self) -> tuple[Process, Address]:
        """The standard library's server with the same records."""
        self.say("starting SimpleXMLRPCServer with the same records")
        return self.server("stdlib", self.answer)

    @cached_property
    def raw(self) -> tuple[Process, Address]:
        """A plain socket that sends the same octets."""
        return self.server("raw", self.answer)

    @cached_property
    def name_call(self) -> bytes:
        """The request for one machine's name."""
        return xml_call("VM.get_name_label", self.agent.session, self.agent.machines()[-1])

    @cached_property
    def stdlib_name_call(self) -> bytes:
        """The same, as the standard library's server knows it."""
        return xml_call("VM.get_name_label", "OpaqueRef:session", self.agent.machines()[-1])

    @cached_property
    def stdlib_all_records(self) -> bytes:
        """The request for all records, as the standard library's server knows it."""
        return xml_call("VM.get_all_records", "OpaqueRef:session")

    @cached_property
    def echo(self) -> tuple[Process, Address]:
        """Bare aiohttp that answers with what the agent answers to `name_call`."""
        return self.server("echo", self.agent.channel.fetch(self.name_call))

    def references(self) -> dict[int, str]:
        """The reference of every machine by the number of its domain."""
        answer: Any = xmlrpc.client.loads(self.answer)[0][0]
        titles = {record["name_label"]: ref for ref, record in answer["Value"].items()}
        return {number: titles[domains.title_of(number)] for number in range(MACHINES)}
