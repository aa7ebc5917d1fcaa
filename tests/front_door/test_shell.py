"""The commands that follow from the table, as people type them, against a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import messages
from agent.__main__ import main
from agent.shell.words import spell
from tests.front_door.conftest import PASSWORD, WAIT_SECONDS, Daemon, eventually, make_disk, make_vm, remove_vm

COMMAND = (str(Path(sys.executable).with_name("xen-host-agent")),)
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(daemon: Daemon, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "XEN_HOST_AGENT_URL": daemon.url,
        "XEN_HOST_AGENT_PASSWORD": PASSWORD,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


@pytest.fixture
def shell(environment: dict[str, str]) -> Shell:
    """Run one command line; it must end with `code`."""

    def run(*arguments: str, code: int = 0, text: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environment, input=text, capture_output=True, text=True, timeout=WAIT_SECONDS
        )
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def web(api: Any) -> Iterator[str]:
    """The reference of a halted machine."""
    made = make_vm(api)
    yield made
    remove_vm(api, made)


def test_a_machine_is_made_changed_started_stopped_and_removed(shell: Shell, api: Any) -> None:
    size = "memory-static-max=256MiB memory-dynamic-max=256MiB memory-dynamic-min=256MiB pv-bootloader=pygrub"
    uuid = shell("vm-create", "name-label=typed", *size.split()).stdout.strip()
    disk = shell("vm-disk-add", "vm=typed", "sr=default-pool", "disk-size=16MiB", "device=0").stdout.strip()
    assert shell("vm-list", "name-label=typed", "--minimal").stdout == f"{uuid}\n"
    assert shell("vm-start", "vm=typed").stdout == ""
    assert api.VM.get_power_state(api.VM.get_by_uuid(uuid)) == "Running"
    shell("vm-param-set", f"uuid={uuid}", "name-description=by hand", "other-config:owner=me")
    assert shell("vm-param-get", f"uuid={uuid}", "param-name=other-config", "param-key=owner").stdout == "me\n"
    again = shell("vm-start", f"uuid={uuid}", code=1)
    assert again.stderr.splitlines()[0].endswith("(VM_BAD_POWER_STATE)")
    assert f"  vm: {uuid}" in again.stderr
    assert "  actual: running" in again.stderr
    shell("vm-uninstall", f"uuid={uuid}", code=1)
    shell("vm-uninstall", f"uuid={uuid}", "force=true")
    assert shell("vm-list", f"uuid={uuid}", "--minimal").stdout == "\n"
    assert shell("vdi-list", f"uuid={disk}", "--minimal").stdout == "\n"
    assert api.task.get_all() == []


def test_every_class_is_listed(
    shell: Shell, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shell("help").stdout
    verbs = {f"{spell(verb.class_name)}-{spell(verb.name)}" for verb in messages.api().messages.values()}
    lists = {word.strip(",") for word in told.split() if word.strip(",").endswith("-list")} - verbs
    assert len(lists) > 30
    monkeypatch.setattr(os, "environ", environment)
    for name in sorted(lists):  # in this process: a new one for each takes long
        assert main([name, "params=all", "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)


def test_a_list_has_what_the_api_has(shell: Shell, api: Any, web: str) -> None:
    record = api.VM.get_record(web)
    [shown] = json.loads(shell("vm-list", f"uuid={record['uuid']}", "params=all", "--json").stdout)
    assert set(shown) == set(record)
    assert shown["name_label"] == record["name_label"]
    assert shown["memory_static_max"] == int(record["memory_static_max"])


def test_a_disk_goes_into_a_file_and_back(shell: Shell, api: Any, web: str, tmp_path: Path) -> None:
    _, vdi = make_disk(api, web)
    uuid = api.VDI.get_uuid(vdi)
    content = tmp_path / "in.raw"
    content.write_bytes(bytes(2**20) + os.urandom(2**20) + bytes(2**24 - 2**21))
    shell("vdi-import", f"uuid={uuid}", f"filename={content}")
    shell("vdi-export", f"uuid={uuid}", f"filename={tmp_path / 'out.raw'}")
    assert (tmp_path / "out.raw").read_bytes() == content.read_bytes()
    assert (tmp_path / "out.raw").stat().st_blocks * 512 < 2**24
    refused = shell("vdi-export", f"uuid={uuid}", f"filename={content}", code=1)
    assert "exists already" in refused.stderr
    shell("vdi-export", f"uuid={uuid}", f"filename={tmp_path / 'out.vhd'}", "format=vhd")
    assert (tmp_path / "out.vhd").read_bytes()[:8] == b"conectix"
    wrong = shell("vdi-import", f"uuid={uuid}", f"filename={content}", "format=qcow2", code=1)
    assert "(INVALID_VALUE)\n  field: format\n" in wrong.stderr
    assert api.task.get_all() == []


def test_a_machine_goes_into_a_file_and_becomes_another(shell: Shell, api: Any, web: str, tmp_path: Path) -> None:
    make_disk(api, web)
    uuid = api.VM.get_uuid(web)
    shell("vm-export", f"uuid={uuid}", f"filename={tmp_path / 'web.xva'}")
    made = shell("vm-import", f"filename={tmp_path / 'web.xva'}").stdout.strip()
    assert made != uuid
    assert api.VM.get_name_label(api.VM.get_by_uuid(made)) == api.VM.get_name_label(web)
    remove_vm(api, api.VM.get_by_uuid(made))
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.threat("T20")
def test_the_agent_is_known_by_its_certificate(own_daemon: Daemon, tmp_path: Path) -> None:
    own_daemon.stop()
    own_daemon.listen = ("https://127.0.0.1:0",)
    own_daemon.start()
    pem = own_daemon.state / "server.pem"
    certificate = ssl.PEM_cert_to_DER_cert(
        pem.read_text()[pem.read_text().index("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")[0]
        + "-----END CERTIFICATE-----\n"
    )
    good = hashlib.sha256(certificate).hexdigest()
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("XEN_HOST_AGENT")}

    def list_with(*trust: str) -> subprocess.CompletedProcess[str]:
        words = ("vm-list", "--minimal", "--url", own_daemon.url, "--password-file", str(secret), *trust)
        return subprocess.run([*COMMAND, *words], env=clean, capture_output=True, text=True, timeout=WAIT_SECONDS)

    trusted = list_with("--fingerprint", good.upper())
    assert trusted.returncode == 0, trusted.stderr
    assert len(trusted.stdout) > 30
    other = list_with("--fingerprint", "0" * 64)
    assert other.returncode == 1
    assert f"the certificate has the fingerprint {good}" in other.stderr
    assert list_with().returncode == 1
    assert list_with("--insecure").returncode == 0
    assert list_with("--ca", str(pem)).returncode == 0
    assert list_with("--ca", str(tmp_path / "none")).returncode == 1
    assert list_with("--fingerprint", "xyz").returncode == 2


def test_a_wrong_password_is_a_failure(shell: Shell, environment: dict[str, str], own_daemon: Daemon) -> None:
    environment["XEN_HOST_AGENT_PASSWORD"] = "wrong"
    environment["XEN_HOST_AGENT_URL"] = own_daemon.url
    assert "SESSION_AUTHENTICATION_FAILED" in shell("vm-list", code=1).stderr


def test_several_machines_are_started_at_once(shell: Shell, api: Any) -> None:
    made = [make_vm(api, "many"), make_vm(api, "many")]
    try:
        assert "2 objects are meant" in shell("vm-start", "name-label=many", code=1).stderr
        shell("vm-start", "name-label=many", "--multiple")
        eventually(lambda: all(api.VM.get_power_state(vm) == "Running" for vm in made), "both run")
        ambiguous = shell("vm-shutdown", "vm=many", "force=true", code=1).stderr
        assert all(api.VM.get_uuid(vm) in ambiguous for vm in made)
    finally:
        for vm in made:
            remove_vm(api, vm)


BASH = """source <(xen-host-agent completion bash)
COMP_LINE=$1; COMP_POINT=${#1}; _xen_host_agent; printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source (xen-host-agent completion fish | psub); complete -C $argv[1]"


@pytest.mark.parametrize(
    ("program", "line", "offered"),
    [
        (["bash", "-c", BASH, "bash"], "xen-host-agent vm-start vm=te", "test"),
        (["bash", "-c", BASH, "bash"], "xen-host-agent vm-shutd", "vm-shutdown"),
        (["fish", "--no-config", "-c", FISH], "xen-host-agent vm-start vm=te", "vm=test"),
    ],
)
def test_a_shell_completes_names(environment: dict[str, str], program: list[str], line: str, offered: str) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    path = {"PATH": f"{Path(COMMAND[0]).parent}:{environment['PATH']}"}
    done = subprocess.run(
        [*program, line], env=environment | path, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert done.stdout.splitlines() == [offered]
    assert done.stderr == ""
