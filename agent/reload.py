"""Reading the configuration again while the agent serves. What a key does, the one says who applies it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agent import config, systemd
from agent.config import Config, ConfigError
from agent.lanes import Lanes

log = logging.getLogger(__name__)


class Reload:
    """The configuration that a running agent has. `run` follows the files, as far as that can be done running."""

    def __init__(
        self, settings: Config, load: Callable[[], Config], apply: Callable[[Config], None], lanes: Lanes
    ) -> None:
        """`load` reads the files, in a worker thread; `apply` puts the live keys in use, on the loop, all or, with an
        OSError, none.
        """
        self.settings = settings
        self._load = load
        self._apply = apply
        self._lanes = lanes
        self._turn = asyncio.Lock()
        self._runs: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Have `run` run soon. For a signal handler of the loop."""
        task = asyncio.ensure_future(self.run())
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def run(self) -> None:
        """Read the configuration again. With a fault in it the agent keeps what it has, and the log says which."""
        async with self._turn:
            systemd.reloading()
            try:
                fresh = await asyncio.wrap_future(self._lanes.beside(self._load))
                then, changed, later = config.reloaded(self.settings, fresh)
                self._apply(then)
            except (ConfigError, OSError) as error:
                for line in str(error).splitlines():
                    log.error("the configuration stays as it was: %s", line)
            else:
                self.settings = then
                log.info("the configuration was read again; changed: %s", ", ".join(changed) or "nothing")
                if later:
                    log.warning("these keys changed too, and count after a restart: %s", ", ".join(later))
            finally:
                systemd.notify("READY=1")
