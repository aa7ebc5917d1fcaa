"""XenGarden of PyPI, which asks for every field by its own call and does every verb as a task (``garden.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, run
from tests.front_door.conftest import PASSWORD, Daemon


@pytest.mark.timeout(300)
def test_its_main_jobs(ansible: Path, daemon: Daemon, tmp_path: Path) -> None:
    api: Any = daemon.login().xenapi
    before = {name: getattr(api, name).get_all() for name in ("VM", "VBD", "VDI", "VIF")}
    told = run([ansible / "python", HERE / "garden.py", daemon.url, "root", PASSWORD], tmp_path)
    assert told.splitlines()[-1] == "ok"
    assert {name: getattr(api, name).get_all() for name in before} == before
