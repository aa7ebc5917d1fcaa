"""Plugins and extensions: which programs are run, how, and what becomes of those that fail."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import plugins
from agent.call import Site
from agent.errors import XenapiPluginFailure
from agent.plugins import Plugins
from agent.roles import Role
from tests.door import Door, eventually
from tests.fake_machine import FakeMachine

PLUGIN = f"""#!{sys.executable}
import os, sys, time, xmlrpc.client
source = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()
params, function = xmlrpc.client.loads(source)
def answer(**members):
    print(xmlrpc.client.dumps((members,), methodresponse=True))
if function == "echo":
    answer(Status="Success", Value=params[1]["text"] + " " + os.environ["PATH"][:5])
elif function == "session":
    answer(Status="Success", Value=params[0])
elif function == "sum":
    answer(Status="Success", Value=sum(params))
elif function == "number":
    answer(Status="Success", Value=7)
elif function == "fail":
    answer(Status="Failure", ErrorDescription=["MY_OWN_ERROR", "with words"])
elif function == "die":
    print("so far"); print("no further", file=sys.stderr); sys.exit(3)
elif function == "babble":
    print("this is no response")
elif function == "hang":
    open(params[1]["pid"], "w").write(str(os.getpid())); time.sleep(600)
elif function == "flood":
    sys.stdout.write("x" * 10_000_000)
else:
    answer(Status="Failure", ErrorDescription=["UNKNOWN_XENAPI_PLUGIN_FUNCTION", function])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "plugins"
    made.mkdir(mode=0o755)
    for name in ("good", "sum"):
        (made / name).write_text(PLUGIN)
        (made / name).chmod(0o755)
    return made


@pytest.fixture
def house(machine: FakeMachine, folder: Path) -> Iterator[Door]:
    door = Door(machine.ports(), None)
    use(door, Plugins(folder, folder, 30.0))
    yield door
    door.close()


def use(door: Door, programs: Plugins) -> None:
    site: Site = replace(door.site, plugins=programs)
    door.site = door.dispatch.site = door.tasks._site = site


def call(door: Door, function: str, plugin: str = "good", **args: str) -> object:
    return door("host.call_plugin", door.observer.host, plugin, function, args)


def refused(door: Door, function: str, plugin: str = "good", **args: str) -> list[str]:
    return door.refused("host.call_plugin", door.observer.host, plugin, function, args)


def test_a_plugin_is_called_with_its_arguments_and_answers(house: Door) -> None:
    assert call(house, "echo", text="<ö> & 'x'; $(id)") == "<ö> & 'x'; $(id) /usr/"


def test_it_has_a_session_of_its_own_that_ends_with_it(house: Door) -> None:
    secret = call(house, "session")
    assert secret != house.session
    assert house.refused("pool.get_all", session=str(secret))[0] == "SESSION_INVALID"


@pytest.mark.parametrize("name", ["none", "", "../good", "good/../good", "/bin/true", "a" * 200, ".hidden", "-rf"])
def test_a_program_that_is_not_there_is_missing(house: Door, name: str) -> None:
    assert refused(house, "echo", name)[0] == "XENAPI_MISSING_PLUGIN"


def test_without_a_folder_there_are_none(door: Door) -> None:
    assert refused(door, "echo") == ["XENAPI_MISSING_PLUGIN", "good"]
    assert door("host.has_extension", door.observer.host, "good") is False


@pytest.mark.threat("T13")
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o644])
def test_a_program_that_others_can_write_to_or_nobody_can_run_is_not_run(house: Door, folder: Path, mode: int) -> None:
    (folder / "good").chmod(mode)
    assert refused(house, "echo", text="")[0] == "XENAPI_MISSING_PLUGIN"


@pytest.mark.threat("T13")
def test_a_folder_that_others_can_write_to_and_a_link_are_not_trusted(house: Door, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "good")
    assert refused(house, "echo", "link")[0] == "XENAPI_MISSING_PLUGIN"
    folder.chmod(0o777)
    assert refused(house, "echo", text="")[0] == "XENAPI_MISSING_PLUGIN"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_program_of_another_user_is_not_run(house: Door, folder: Path) -> None:
    os.chown(folder / "good", 12345, 12345)
    assert refused(house, "echo", text="")[0] == "XENAPI_MISSING_PLUGIN"


def test_the_error_of_a_plugin_is_told_as_it_is(house: Door) -> None:
    assert refused(house, "fail") == ["MY_OWN_ERROR", "with words"]
    assert refused(house, "nothing") == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "nothing"]


def test_one_that_fails_is_told_with_what_it_printed(house: Door) -> None:
    assert refused(house, "die") == ["XENAPI_PLUGIN_FAILURE", "non-zero exit", "so far\n", "no further\n"]
    assert refused(house, "babble")[:2] == ["XENAPI_PLUGIN_FAILURE", "bad response: ExpatError"]
    assert refused(house, "number") == ["XENAPI_PLUGIN_FAILURE", "result", "int", "the plugin did not return a string"]
    assert refused(house, "flood")[:2] == ["XENAPI_PLUGIN_FAILURE", "output"]
    assert refused(house, "echo", text="x" * 200_000)[:2] == ["INVALID_VALUE", "args"]


def is_there(pid: Path) -> bool:
    return pid.exists() and pid.read_text() != ""


def runs(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_takes_too_long_is_ended(house: Door, folder: Path, tmp_path: Path) -> None:
    use(house, Plugins(folder, None, 0.5))
    pid = tmp_path / "pid"
    pid.write_text("")
    assert refused(house, "hang", pid=str(pid))[:2] == ["XENAPI_PLUGIN_FAILURE", "timeout"]
    assert not is_there(pid) or not runs(pid)


def test_a_cancelled_task_ends_it(house: Door, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = house("Async.host.call_plugin", house.observer.host, "good", "hang", {"pid": str(pid)})
    eventually(lambda: is_there(pid), "the plugin's beginning")
    house("task.cancel", task)
    assert house.ended(task).status == "cancelled"
    assert not runs(pid)


def test_only_an_admin_of_the_pool_calls_them(house: Door) -> None:
    session = house.log_in(Role.POOL_OPERATOR)
    refusal = house.refused("host.call_plugin", house.observer.host, "good", "echo", {}, session=session)
    assert refusal[0] == "RBAC_PERMISSION_DENIED"


def test_an_extension_is_called_by_its_name(house: Door) -> None:
    host = house.observer.host
    assert house("host.has_extension", host, "sum") is True
    assert house("pool.has_extension", house.observer.pool, "sum") is True
    assert house("host.call_extension", host, json.dumps({"method": "sum", "params": [1, 2, 3]})) == "6"
    missing = json.dumps({"method": "none", "params": []})
    assert house.refused("host.call_extension", host, missing) == ["XENAPI_MISSING_PLUGIN", "none"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"method": 1, "params": []}', '{"method": "sum", "params": [null]}']
)
def test_a_call_that_is_none_is_refused(house: Door, text: str) -> None:
    assert house.refused("host.call_extension", house.observer.host, text)[:2] == ["INVALID_VALUE", "call"]


def test_a_program_that_cannot_be_begun_is_told(folder: Path) -> None:
    (folder / "broken").write_text("#!/no/such/interpreter\n")
    (folder / "broken").chmod(0o755)
    with pytest.raises(XenapiPluginFailure):
        Plugins(folder).call("broken", "x", (), lambda: None)


def test_what_it_prints_is_cleaned(folder: Path, tmp_path: Path) -> None:
    assert plugins._shown(b"a\x00b\xff") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
