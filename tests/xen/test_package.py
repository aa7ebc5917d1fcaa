"""The Debian package in dom0, as an admin has it: installed, enabled, asked over TLS by accounts of dom0, through a
boot of the host, an upgrade and its end. Guests go down and up with the host in their order, and nothing else touches
them.

One test, since each step begins where the one before ended, in a lab of its own, which it boots.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import XenAPI

from lab.dom0 import Dom0
from tests.packaging.conftest import built_package, newer
from tests.xen.installed import PASSWORD, USER, InstalledAgent, wait_until
from tests.xen.machines import MIB, Workshop

ADMIN = "olga"
"""An account of dom0 that may look, and no more."""
CONFIGURATION = f"""
[auth]
mode = "pam"
roles = ["{ADMIN} = read-only"]

[autostart]
shutdown_seconds = 600
"""
PORT = """
[Socket]
ListenStream=
ListenStream=[::]:8443
"""
"""The lab leads to this port of dom0's alone."""
EXPOSURE = 3.5
"""The most that `systemd-analyze security` may say of the service."""


def journal(dom0: Dom0, what: str, *, boot: int = 0) -> str:
    return dom0.run(f"journalctl --unit {what} --boot {boot} --no-pager --output cat").stdout


def host_boots_again(dom0: Dom0) -> None:
    """dom0 is told to boot, and has: it has another boot's number, and lets us in."""
    number = "cat /proc/sys/kernel/random/boot_id"
    before = dom0.run(number).stdout
    dom0.run("systemctl reboot", check=False)

    def another() -> bool:
        dom0.disconnect()
        done = dom0.run(number, check=False)
        return done.returncode == 0 and done.stdout != before

    time.sleep(5)  # it lets nobody in for a while; what is asked meanwhile would only wait
    wait_until(another, "dom0 was booted anew")


@pytest.mark.timeout(2400)
def test_installed_booted_upgraded_and_purged(other_dom0: Dom0, tmp_path: Path) -> None:
    dom0, package = other_dom0, built_package()
    later, version = newer(package, tmp_path)
    dom0.put(package, "/root/first.deb")
    dom0.put(later, "/root/later.deb")
    dom0.run(f"useradd {ADMIN} && chpasswd", input=f"{USER}:{PASSWORD}\n{ADMIN}:her word\n")

    # Installed and enabled as docs/install.md says.
    dom0.run("dpkg --install /root/first.deb")
    dom0.run("cat >/etc/xen-host-agent/conf.d/lab.toml", input=CONFIGURATION)
    dom0.run("d=/etc/systemd/system/xen-host-agent-https.socket.d; mkdir $d && cat >$d/port.conf", input=PORT)
    dom0.run("systemctl daemon-reload && systemctl enable xen-host-agent-https.socket")
    dom0.run("systemctl restart xen-host-agent")
    dom0.run("systemctl enable --now xen-host-agent-guests.service")
    agent = InstalledAgent(dom0, f"https://127.0.0.1:{dom0.agent_port}")
    wait_until(agent.answers, "an account of dom0 logs in over TLS")
    exposure = re.search(
        r"exposure level for \S+: ([\d.]+)", dom0.run("systemd-analyze security xen-host-agent").stdout
    )
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE
    findings = dom0.run("xen-host-agent doctor", check=False)
    assert findings.returncode == 0, findings.stdout

    # Who has an account and a role gets in, and no further than the role goes.
    for word in ("her wrong word", ""):
        with pytest.raises(XenAPI.Failure, match="SESSION_AUTHENTICATION_FAILED"), agent.session(ADMIN, word):
            pass
    with agent.session(ADMIN, "her word") as session:
        [control] = [vm for vm, record in session.xenapi.VM.get_all_records().items() if record["is_control_domain"]]
        with pytest.raises(XenAPI.Failure, match="RBAC_PERMISSION_DENIED"):
            session.xenapi.VM.set_name_label(control, "mine")

    with agent.session() as session:
        workshop = Workshop(agent, session).prepare()
        last, first, left = (workshop.make("pv", name, memory=128 * MIB) for name in ("last", "first", "left alone"))
        for machine, order in ((first, "1"), (last, "2")):
            session.xenapi.VM.set_auto_power_on(machine.vm, True)
            session.xenapi.VM.set_order(machine.vm, order)
            session.xenapi.VM.set_start_delay(machine.vm, "3")
            machine.start()
        left.start()
        before = {machine.uuid: machine.state()["boot"] for machine in (first, last)}

    # The host is booted: the guests went down by themselves, the last first, and come up in their order.
    host_boots_again(dom0)
    wait_until(agent.answers, "the agent is back after the boot")
    ended = journal(dom0, "xen-host-agent.service", boot=-1)
    assert ended.index(last.uuid) < ended.rindex(first.uuid)
    assert "pulled" not in ended
    with agent.session() as session:
        workshop.session = session
        for machine in (first, last):
            machine.wait_for("Running")
            assert machine.wait_until_it_answers()["boot"] != before[machine.uuid]
        assert first.domid < last.domid
        assert left.power_state == "Halted"
        running = {machine.uuid: machine.state() for machine in (first, last)}

    # Upgraded, then removed for good: the guests go on, and nothing of the package is left.
    def went_on() -> None:
        for machine in (first, last):
            now = machine.wait_until_it_answers()
            assert now["boot"] == running[machine.uuid]["boot"]
            assert int(now["ticks"]) > int(running[machine.uuid]["ticks"])

    dom0.run("dpkg --install /root/later.deb")
    assert dom0.run("dpkg-query -W -f '${Version}' xen-host-agent").stdout == version
    wait_until(agent.answers, "the later agent serves")
    went_on()
    dom0.run("dpkg --purge xen-host-agent")
    went_on()
    traces = dom0.run("find / -xdev -name '*xen-host-agent*' -not -path '/opt/*'").stdout
    assert traces == "/etc/systemd/system/xen-host-agent-https.socket.d\n", "and that is the admin's own"
