"""From a method name and raw parameters to a typed result: looks the message up, checks session, role and count,
decodes every parameter by its declared type, and runs the message where its kind says. Knows no wire format.

The table is a dict: a name that is not in it does not exist. A read is answered on the loop from memory; a write
changes memory in one transaction and is answered when it is durable; a verb runs in its lane on a worker thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent import audit, users
from agent.call import Call, Site
from agent.errors import (
    FieldTypeError,
    InternalError,
    InvalidValue,
    MessageMethodUnknown,
    MessageParameterCountMismatch,
    NoAsyncForm,
    RbacPermissionDenied,
    SessionAuthenticationFailed,
    SessionInvalid,
    XenError,
)
from agent.lanes import HOST
from agent.logins import By, Caller
from agent.model.entity import MISSING, Entity
from agent.model.messages import Kind, Message, Param
from agent.model.types import Mistyped, Record, Ref, Refused, Type
from agent.roles import Role
from agent.rpc.tasks import Tasks, follow, require_in_reach, require_live
from agent.rpc.throttle import Throttle
from agent.store.journal import Commit

log = logging.getLogger(__name__)
NAME_MAX = 200
LOGIN_DELAY_SECONDS = 5.0
"""What a wrong password costs the one who guessed it; xapi's delay."""
LOGINS_AT_ONCE = {By.USERS: max(1, (os.cpu_count() or 1) // 2), By.PAM: 8}
"""Passwords that are checked at a time: a crowd of guessers leaves processors to the others, and PAM that hangs leaves
the agent its workers.
"""
FAILED_LOGINS = 30
"""Wrong passwords in a row that an address may send, or that may be sent for a user, before it has to wait."""
FORGIVEN_SECONDS = 10.0
"""One of them is forgotten in so long."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a message answered, and the type to write it by."""

    type: Type
    value: Any


class Dispatch:
    """Answers calls. All methods run on the loop that made it."""

    def __init__(
        self,
        site: Site,
        tasks: Tasks,
        *,
        login_delay_seconds: float = LOGIN_DELAY_SECONDS,
        failed_logins: int = FAILED_LOGINS,
    ) -> None:
        self.site = site
        self.login_delay_seconds = login_delay_seconds
        self.throttle = Throttle(failed_logins, FORGIVEN_SECONDS)
        self._logins = {by: asyncio.Semaphore(most) for by, most in LOGINS_AT_ONCE.items()}
        self._checking = ThreadPoolExecutor(sum(LOGINS_AT_ONCE.values()), thread_name_prefix="login")
        self._tasks = tasks
        self._messages = site.api.messages
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._wake_pending = False
        self._waiters = 0
        self._undurable: dict[Commit, asyncio.Future[None]] = {}
        self._settled: deque[Commit] = deque()
        site.store.changes.watch(self._published)
        site.sessions.watch(lambda: self._on_the_loop(self._wake))

    async def call(self, name: str, params: list[Any], caller: Caller) -> Result:
        """Answer one call, whose raw parameters are let go once they are decoded. Raises XenError, and nothing else."""
        try:
            return await self._call(name, params, caller)
        except XenError:
            raise
        except Exception as error:
            raise self._unexpected(name, error) from error

    async def _call(self, name: str, params: list[Any], caller: Caller) -> Result:
        asynchronous = name.startswith("Async.")
        message = self._find(name[6:] if asynchronous else name, name)
        if asynchronous and not message.has_async:
            raise NoAsyncForm(f"No async mode for this operation (rpc: {message.full_name})")
        call = Call(self.site, caller=caller)
        entry = audit.Entry(name, call) if audit.changes(message) else None
        if entry is None:
            return await self._answer(message, call, params, asynchronous, None)
        try:
            return await self._answer(message, call, params, asynchronous, entry)
        except BaseException as error:
            entry.end(error)
            raise

    async def _answer(
        self, message: Message, call: Call, params: list[Any], asynchronous: bool, entry: audit.Entry | None
    ) -> Result:
        """Decode, and run. What succeeds is noted in the entry, in the background where it runs there."""
        given: Sequence[object] = params
        if message.role is not None:
            given = self._enter(message, call, params, entry)
        elif params and len(params) > len(message.params):
            # xapi takes a session before the parameters of messages that need none, such as system.listMethods.
            given = params[1:]
        args = self._decode(message, given)
        given = ()
        params.clear()  # a client may have sent much more than was asked for, and may be waited for
        if asynchronous:
            task, commit = self._tasks.enter(message, call)
            if commit is not None:
                await self._durable(commit)
            lane = None if message.kind is Kind.BESIDE else self._lane(message, args)
            self._tasks.begin(task, message, call, args, lane, entry)
            return Result(Ref("task"), task)
        if entry is not None and message.role is None:
            entry.who(None, str(args[0]))
        value = await self._run(message, call, args)
        if entry is not None:
            if message.role is None:
                entry.who(self.site.sessions.identify(value))
            entry.end(None, value)
        return Result(message.result, value)

    async def _run(self, message: Message, call: Call, args: list[Any]) -> Any:
        """Run a message where its kind says."""
        match message.kind:
            case Kind.READ:
                with self.site.store.lock:
                    return message.function(call, *args)
            case Kind.MEASURE:
                await self._measure()
                with self.site.store.lock:
                    require_live(self.site, args)
                    return message.function(call, *args)
            case Kind.WRITE:
                return await self._write(message, call, args)
            case Kind.WAIT:
                return await self._wait(message, call, args)
            case Kind.BESIDE:
                if message.password:
                    return await self._check_password(message, call, args)
                return await self._worker(self.site.lanes.beside(self._tasks.foreground(message, call, args)))
            case Kind.VERB:
                run = self._tasks.foreground(message, call, args)
                return await self._worker(self.site.lanes.submit(self._lane(message, args), run))

    def _find(self, name: str, asked: str) -> Message:
        message = self._messages.get(name)
        if message is None and name.count(".") == 0 and "_" in name:
            # JSON-RPC clients of xapi may write VM_start for VM.start.
            for position, letter in enumerate(name):
                if letter == "_" and (message := self._messages.get(f"{name[:position]}.{name[position + 1 :]}")):
                    break
        if message is None:
            raise MessageMethodUnknown(asked[:NAME_MAX])
        return message

    def _enter(
        self, message: Message, call: Call, params: Sequence[object], entry: audit.Entry | None
    ) -> Sequence[object]:
        """Check the session, which is the first parameter, and the role. Returns the other parameters."""
        if not params:
            raise MessageParameterCountMismatch(message.full_name, message.required, 0)
        secret = params[0]
        if not isinstance(secret, str):
            raise SessionInvalid("")
        call.session = session = self.site.sessions.find(secret)
        call.secret = secret
        if entry is not None:
            entry.who(session)
            entry.what(self._subject(message, params[1:]))
        if message.role is not None and Role.from_wire(session.role_name) < message.role:
            raise RbacPermissionDenied(
                message.full_name, f"the role {session.role_name} may not; it needs {message.role.wire} or higher"
            )
        return params[1:]

    def _subject(self, message: Message, given: Sequence[object]) -> Entity | None:
        """The object that a call is about, if there is one: known before it is known whether the call is a good one."""
        if not given or not message.params or not isinstance(message.params[0].type, Ref):
            return None
        with suppress(XenError):
            decoded: Entity | None = self._decode_one(message.params[0], given[0])
            return decoded
        return None

    def _decode(self, message: Message, given: Sequence[object]) -> list[Any]:
        params = message.params
        if not message.required <= len(given) <= len(params):
            raise MessageParameterCountMismatch(message.full_name, message.required, len(given))
        args = [self._decode_one(param, value) for param, value in zip(params, given, strict=False)]
        args += [param.default for param in params[len(given) :]]
        return args

    def _decode_one(self, param: Param, value: object) -> Any:
        if value is None and param.default is not MISSING:
            return param.default  # so languages write an argument that is not given
        try:
            decoded = param.type.decode(value, self._object)
        except Mistyped:
            raise FieldTypeError(param.name) from None
        except (Refused, ValueError) as error:
            # Python refuses to write an integer of more than 4300 digits, and takes its time for a shorter one.
            large = isinstance(value, int) and value.bit_length() > 64
            shown = "a large number" if large else str(value)[:200].encode("ascii", "backslashreplace").decode()
            raise InvalidValue(param.name, f"{shown!r}: {error}") from None
        if isinstance(param.type, Record) and (surplus := decoded.pop("", None)):
            log.info("%s ignores %s: not for create", param.type, ", ".join(surplus)[:500])
        return decoded

    def _object(self, class_name: str, ref: str) -> Entity | None:
        """The live object that a reference names; a session also by its secret."""
        found = self.site.store.find(class_name, ref)
        if found is None and class_name == "session":
            return self.site.sessions.identify(ref)
        return found

    def _lane(self, message: Message, args: Sequence[Any]) -> str:
        """The key of the lane: of the machine or storage that the first parameter is or belongs to, else the host's.

        A snapshot has its machine's, which a revert changes.
        """
        first = args[0] if args else None
        cls = self.site.api.classes.get(message.class_name)
        if isinstance(first, Mapping) and cls is not None and cls.lane not in ("", "self"):
            first = first.get(cls.lane)
        if not isinstance(first, Entity) or not first.lane:
            return HOST
        owner = first if first.lane == "self" else first.__dict__[first.lane]
        return str((owner.__dict__.get("snapshot_of") or owner).ref)

    async def _write(self, message: Message, call: Call, args: list[Any]) -> Any:
        store = self.site.store
        with store.transaction(wait=False) as transaction:
            require_live(self.site, args)
            require_in_reach(args)
            value = message.function(call, *args)
        commit = transaction.commit
        if commit is not None:
            await self._durable(commit)
        follow(self.site, args, value)
        return value

    async def _durable(self, commit: Commit) -> None:
        """Wait until a transaction is on disk. One wake-up of the loop serves a whole group."""
        if not commit.settled:
            future: asyncio.Future[None] = self._loop.create_future()
            self._undurable[commit] = future
            commit.finished = self._finished
            if not commit.settled:
                await future
            self._undurable.pop(commit, None)
        if commit.error is not None:
            raise commit.error

    def _finished(self, commit: Commit) -> None:
        """A transaction is on disk, or lost. Called in the journal's thread."""
        self._settled.append(commit)
        if len(self._settled) == 1:
            self._on_the_loop(self._tell_settled)

    def _tell_settled(self) -> None:
        while self._settled:
            future = self._undurable.pop(self._settled[0], None)
            if future is not None and not future.done():
                future.set_result(None)
            self._settled.popleft()

    async def _worker(self, future: Future[Any]) -> Any:
        """Wait for a worker. A client that goes away does not stop what it began."""
        return await asyncio.shield(asyncio.wrap_future(future))

    async def _check_password(self, message: Message, call: Call, args: list[Any]) -> Any:
        """Log in, or change a password: a few at a time. A wrong one costs the guesser time, and holds no worker
        meanwhile.
        """
        caller, logins = call.caller, self.site.logins
        if call.session is None:
            name, password, *_ = args
            asks = logins.asks(caller, name, password)
        else:
            name = call.session.auth_user_name
            asks = By.USERS if logins.mode == By.USERS else None
        try:
            if asks is None:
                return await self._worker(self.site.lanes.beside(message.function, call, *args))
            if not self.throttle.take(caller.peer, name):
                raise SessionAuthenticationFailed(name[: users.NAME_MAX], "Authentication failure")
            async with self._logins[asks]:
                value = await self._worker(self._checking.submit(message.function, call, *args))
            self.throttle.good(caller.peer, name)
            return value
        except SessionAuthenticationFailed:
            await asyncio.sleep(self.login_delay_seconds)
            raise

    async def _measure(self) -> None:
        """Make sure that live numbers are fresh; if the machine does not answer in time, the last ones stand."""
        measuring = self.site.observer.measure()
        if measuring is not None:
            await asyncio.wait([asyncio.wrap_future(measuring)], timeout=1.0)

    async def _wait(self, message: Message, call: Call, args: list[Any]) -> Any:
        """Drive a generator: it yields how long it is ready to wait for a change, and returns the result."""
        steps = message.function(call, *args)
        while True:
            changed = self._changed
            generation = self.site.store.changes.generation
            if call.session is not None and not self.site.sessions.is_open(call.session):
                raise SessionInvalid(call.secret)
            try:
                with self.site.store.lock:
                    seconds = next(steps)
            except StopIteration as stop:
                return stop.value
            if seconds < 0:
                await asyncio.sleep(-seconds)
                continue
            self._waiters += 1
            try:
                # A change between looking and counting would wake nobody: look once more before sleeping.
                if self.site.store.changes.generation == generation:
                    # Not wait_for: Python 3.11's drops a cancellation that comes together with the change.
                    async with asyncio.timeout(seconds):
                        await changed.wait()
            except TimeoutError:
                continue
            finally:
                self._waiters -= 1

    def _published(self) -> None:
        """Wake who waits for changes. Called from any thread."""
        if self._waiters and not self._wake_pending:
            self._wake_pending = True
            self._on_the_loop(self._wake)

    def _on_the_loop(self, function: Callable[[], None]) -> None:
        """Have it called there soon; from any thread. Once the loop has ended, there is nobody to tell."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _wake(self) -> None:
        self._wake_pending = False
        self._changed.set()
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Let everybody who waits look again, such as when the agent stops."""
        self._wake()

    def _unexpected(self, name: str, error: Exception) -> InternalError:
        number = secrets.token_hex(4)
        log.error("%s failed unexpectedly [%s]", name[:NAME_MAX], number, exc_info=error)
        return InternalError(f"{type(error).__name__}: the agent's log has the rest under {number}")
