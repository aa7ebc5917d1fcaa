"""npm's xen-api, on which Xen Orchestra is built: its calls and event cache (``xen_api.mjs``), and its command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, run
from tests.front_door.conftest import PASSWORD, Daemon


@pytest.mark.timeout(300)
def test_its_main_jobs(npm: Path, daemon: Daemon, tmp_path: Path) -> None:
    api: Any = daemon.login().xenapi
    before = {name: getattr(api, name).get_all() for name in ("VM", "VBD", "VDI", "VIF", "task")}
    # A module is looked for beside the program that asks for it.
    (tmp_path / "node_modules").symlink_to(npm / "node_modules")
    shutil.copy(HERE / "xen_api.mjs", tmp_path)
    told = run(["node", "xen_api.mjs", daemon.url, "root", PASSWORD], tmp_path)
    assert told.splitlines()[-1] == "ok disconnect"
    after = {name: getattr(api, name).get_all() for name in before}
    after["task"] = [task for task in after["task"] if api.task.get_status(task) == "pending"]
    assert after == before


@pytest.mark.timeout(300)
def test_its_command(npm: Path, daemon: Daemon, tmp_path: Path) -> None:
    command = npm / "node_modules" / ".bin" / "xen-api"
    script = "xapi.call('VM.get_all').then(all => console.log(JSON.stringify(all)))\n"
    told = run([command, daemon.url, "root", PASSWORD], tmp_path, feed=script, NO_COLOR="1")
    api: Any = daemon.login().xenapi
    [listed] = [line for line in told.splitlines() if line.lstrip("> ").startswith('["OpaqueRef:')]
    assert sorted(json.loads(listed.lstrip("> "))) == sorted(api.VM.get_all())
