"""Ansible's modules xenserver_guest, xenserver_guest_info and xenserver_guest_powerstate, in a playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, run
from tests.front_door.conftest import PASSWORD, Daemon


def play(ansible: Path, url: str, folder: Path, within: tuple[str, ...] = (), **variables: str) -> str:
    """Play the playbook; it fails where something is not as it says."""
    extra = {"url": url, "password": PASSWORD, "linked": "false", **variables}
    given = [part for name, value in extra.items() for part in ("-e", f"{name}='{value}'")]
    command: list[str | Path] = [*within, ansible / "ansible-playbook", "-i", "localhost,", *given, HERE / "play.yml"]
    return run(command, folder, ANSIBLE_HOME=str(folder), ANSIBLE_LOCALHOST_WARNING="false")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("template", "linked"),
    [("Generic PVH", "false"), ("Generic HVM (BIOS)", "true"), ("Other install media", "false")],
)
def test_the_life_of_a_machine(ansible: Path, cascading: Daemon, tmp_path: Path, template: str, linked: str) -> None:
    api: Any = cascading.login().xenapi
    before = {name: getattr(api, name).get_all() for name in ("VM", "VBD", "VDI", "VIF", "task")}
    told = play(ansible, cascading.url, tmp_path, template=template, linked=linked, name="web")
    assert "failed=0" in told
    # The module destroys the disks by itself and counts on xapi's destroy for the rest.
    assert {name: getattr(api, name).get_all() for name in before} == before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1"])
def test_without_a_scheme_it_goes_to_xapi_s_socket_or_to_port_80(
    ansible: Path, within: tuple[str, ...], tmp_path: Path, hostname: str
) -> None:
    listen = ("unix:/var/lib/xcp/xapi", "http://127.0.0.1:80")
    daemon = Daemon(tmp_path / "state", listen=listen, configuration='[api]\ndestroy = "xapi"\n', within=within)
    daemon.start()
    try:
        told = play(ansible, hostname, tmp_path, within, template="Generic PVH", name="web")
    finally:
        daemon.stop()
    assert "failed=0" in told
