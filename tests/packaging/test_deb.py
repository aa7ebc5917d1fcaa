"""The Debian package: it installs, serves, upgrades with its state kept, and purges without a trace.

One test, since each step begins where the one before ended. A service manager is played by a program that notes what it
is asked: that libvirt and guests are left alone shows in what is not there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.packaging.conftest import PROJECT, Debian, newer

SOCKET = "unix:/run/xen-host-agent/socket"
SERVE = ("xen-host-agent", "serve", "--connect", "test:///default", "--listen", SOCKET)


@contextmanager
def serving(debian: Debian) -> Iterator[subprocess.Popen[str]]:
    """The installed agent, run in the folder."""
    command = debian.words(*SERVE, "--listen", "https://127.0.0.1:0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first == f"listening on {SOCKET}\n", process.communicate()
            assert process.stdout.readline().startswith("listening on https://")
            yield process
        finally:
            process.terminate()


def call(debian: Debian, *message: str) -> object:
    """Ask the agent in the folder, as its root may without a password."""
    return json.loads(debian.good("xen-host-agent", "call", "--url", SOCKET, *message))


@pytest.mark.timeout(1200)
def test_it_installs_serves_upgrades_and_purges(package: Path, debian: Debian, tmp_path: Path) -> None:
    before = debian.left()
    shutil.copy(package, debian.root / "root/first.deb")
    later, version = newer(package, tmp_path)
    shutil.copy(later, debian.root / "root/later.deb")
    (debian.root / "run/systemd/system").mkdir(parents=True)

    # Installed: the units are enabled, the group is there, and the service manager is asked for these units only.
    said = debian.good("dpkg", "--install", "/root/first.deb")
    assert "xen-host-agent user add" in said
    started = [line for line in debian.told() if "start" in line.split()]
    assert started
    for line in started:
        assert set(line.split()) - {"start", "--system", "--quiet"} <= {
            "xen-host-agent.socket",
            "xen-host-agent-http.socket",
            "xen-host-agent.service",
        }
    wanted = debian.root / "etc/systemd/system"
    assert (wanted / "multi-user.target.wants/xen-host-agent.service").is_symlink()
    assert (wanted / "sockets.target.wants/xen-host-agent.socket").is_symlink()
    assert not (wanted / "sockets.target.wants/xen-host-agent-https.socket").is_symlink()
    assert debian.good("getent", "group", "xen-host-agent")
    state = debian.root / "var/lib/xen-host-agent"
    assert state.stat().st_mode & 0o777 == 0o700
    assert debian.good("dpkg", "--verify", "xen-host-agent") == ""
    assert "connect =" in debian.good("xen-host-agent", "check-config")

    # It serves, with a certificate made by the libraries that came along, and keeps what it was asked.
    debian.good("xen-host-agent", "user", "add", "monitor", "--role", "read-only", given="word\n")
    with serving(debian):
        vm = str(call(debian, "VM.get_by_name_label", "test")).strip("[']")
        call(debian, "VM.set_name_description", vm, "kept")
    assert (state / "server.pem").exists()

    # Upgraded: own changes of the configuration, users and state stay; the agent alone is restarted, and not stopped
    # before the new one is in place.
    config = debian.root / "etc/xen-host-agent/config.toml"
    config.write_text(config.read_text().replace("workers = 32", "workers = 31"))
    debian.good("dpkg", "--install", "/root/later.deb")
    told = debian.told()
    restarted = [line.split()[-1] for line in told if "restart" in line.split()]
    assert restarted == ["xen-host-agent.service"]
    assert not [line for line in told if "stop" in line.split() or "virt" in line]
    assert debian.good("dpkg-query", "-W", "-f", "${Version}", "xen-host-agent") == version
    assert "limits.workers = 31" in debian.good("xen-host-agent", "check-config")
    assert debian.good("xen-host-agent", "user", "list") == "monitor\tread-only\n"
    with serving(debian):
        vm = str(call(debian, "VM.get_by_name_label", "test")).strip("[']")
        assert call(debian, "VM.get_name_description", vm) == "kept"

    # Removed: the program is gone, configuration and state stay. Purged: so are they.
    debian.good("dpkg", "--remove", "xen-host-agent")
    assert [line for line in debian.told() if "stop" in line.split()]
    assert not (debian.root / "usr/lib/xen-host-agent").exists()
    assert config.exists()
    assert (state / "users.json").exists()
    enabled_by_hand = wanted / "sockets.target.wants/xen-host-agent-https.socket"
    enabled_by_hand.symlink_to("/lib/systemd/system/xen-host-agent-https.socket")
    debian.good("dpkg", "--purge", "xen-host-agent")
    assert debian.left() == before
    assert not list(wanted.rglob("*xen-host-agent*"))


OPENRC = """
for folder in exclusive starting started stopping inactive wasinactive failed hotplugged options scheduled daemons; do
    mkdir -p /run/openrc/$folder
done
touch /run/openrc/softlevel
rm -rf /run/xen-host-agent
cat >/etc/xen-host-agent/conf.d/test.toml <<TOML
connect = "test:///default"
listen = ["unix:/run/xen-host-agent/socket"]
TOML
echo 'rc_ulimit="-n 1024"' >/etc/conf.d/xen-host-agent
rc-service xen-host-agent start || exit 1
for try in $(seq 300); do
    [ ! -S /run/xen-host-agent/socket ] || break
    sleep 0.1
done
xen-host-agent call --url unix:/run/xen-host-agent/socket VM.get_by_name_label test || exit 1
rc-service xen-host-agent reload || exit 1
for try in $(seq 300); do
    ! grep -q 'the configuration was read again' /var/log/xen-host-agent.log || break
    sleep 0.1
done
rc-service xen-host-agent stop || exit 1
cat /var/log/xen-host-agent.log
rm -f /etc/init.d/xen-host-agent /etc/conf.d/xen-host-agent /var/log/xen-host-agent.log
"""


@pytest.mark.timeout(1200)
def test_openrc_starts_reloads_and_stops_it(package: Path, debian: Debian) -> None:
    shutil.copy(package, debian.root / "root/first.deb")
    debian.good("dpkg", "--install", "/root/first.deb")
    script = debian.root / "etc/init.d/xen-host-agent"
    shutil.copy(PROJECT / "openrc" / "xen-host-agent", script)
    script.chmod(0o755)
    said = debian.good("sh", given=OPENRC)
    debian.good("dpkg", "--purge", "xen-host-agent")
    assert "OpaqueRef:" in said
    assert "the configuration was read again" in said
    assert "agent.daemon: ended" in said
