"""A host with an xl to run that is none of Xen's: the state it keeps, and the tool itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from drivers.xl import Xl
from tests.drivers import xl_program


class XlHost:
    """A host of so many processors; its files are in `folder`."""

    def __init__(self, folder: Path, cpus: int = 4) -> None:
        self._state = folder / "xl.json"
        self.write(xl_program.new(cpus))
        tool = folder / "xl"
        program = Path(xl_program.__file__)
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{program}" "{self._state}" "$@"\n')
        tool.chmod(0o755)
        self.xl = Xl(str(tool), timeout_seconds=60)

    def read(self) -> dict[str, Any]:
        """What is so now."""
        state: dict[str, Any] = json.loads(self._state.read_text())
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Make it so."""
        self._state.write_text(json.dumps(state))

    def run_domain(self, uuid: str, name: str = "web", pool: str = "Pool-0") -> None:
        """Let a domain run, under a number of its own."""
        state = self.read()
        domid = 1 + max(domain["domid"] for domain in state["domains"])
        state["domains"].append({"domid": domid, "name": name, "uuid": uuid, "pool": pool})
        self.write(state)

    def stop_domain(self, uuid: str) -> None:
        """Let a domain run no more."""
        state = self.read()
        state["domains"] = [domain for domain in state["domains"] if domain["uuid"] != uuid]
        self.write(state)
