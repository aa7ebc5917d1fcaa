"""Lanes: what changes one machine, one storage or the host does so alone and in the order it was asked.

A lane is a queue under a key (a reference); lanes run beside each other on a bounded pool of worker threads, and a lane
that waits holds no thread. What runs in a lane, and which one it takes, others decide.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
BESIDE = 8
"""Workers for what is in no lane: they are free even if every other waits for a guest to shut down."""
HOST = "host"
"""The key of what concerns the whole host."""


class Lanes:
    """The lanes and their workers. Threads are made as they are needed, `workers` at the most."""

    def __init__(self, workers: int = 64) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lane")
        self._apart = ThreadPoolExecutor(BESIDE, thread_name_prefix="beside")
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, key: str, job: Callable[[], T]) -> Future[T]:
        """Run `job` after all that was submitted under this key before. The future has its result."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # whatever it is belongs to the one who asked
                future.set_exception(error)

        with self._lock:
            if self._closed:
                raise RuntimeError("the agent is stopping")
            queue = self._waiting.get(key)
            if queue is not None:
                queue.append(run)
                return future
            self._waiting[key] = deque([run])
        self._pool.submit(self._drain, key)
        return future

    def beside(self, job: Callable[..., T], *args: Any) -> Future[T]:
        """Run `job` on a worker in no lane, for what only reads the machine."""
        return self._apart.submit(job, *args)

    def idle(self) -> bool:
        """Whether nothing runs or waits in any lane."""
        with self._lock:
            return not self._waiting

    def close(self, timeout_seconds: float) -> bool:
        """Take no more, and wait for what runs and waits, so long at the most. Whether all of it ended."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=False)
        self._apart.shutdown(wait=False, cancel_futures=False)
        done = threading.Event()
        for _ in range(int(timeout_seconds * 100)):
            if self.idle():
                return True
            done.wait(0.01)
        return self.idle()

    def _drain(self, key: str) -> None:
        """Run one job of the lane, then let others have the thread before the next."""
        with self._lock:
            job = self._waiting[key][0]
        job()
        with self._lock:
            queue = self._waiting[key]
            queue.popleft()
            if not queue:
                del self._waiting[key]
                return
            closed = self._closed
        if not closed:
            try:
                self._pool.submit(self._drain, key)
                return
            except RuntimeError:  # closed in between: the rest runs here
                pass
        self._drain(key)
