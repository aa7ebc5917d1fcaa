"""Run in dom0: is the lab good for anything? A PV and a PVH guest start, answer, pause, and go off when asked.

Arguments name the kinds to try; without any all are. It uses libvirt alone, so that a failure is the lab's and not
the agent's.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import libvirt

PATIENCE_SECONDS = 300
TYPES = {
    "pv": "<type arch='x86_64' machine='xenpv'>linux</type>",
    "pvh": "<type arch='x86_64' machine='xenpvh'>xenpvh</type>",
}


def definition(kind: str, number: int) -> str:
    """A domain with one processor, one card and no disk."""
    # Without ACPI a PVH guest never hears that it should go off.
    features = "<features><acpi/></features>" if kind == "pvh" else ""
    return f"""
        <domain type='xen'>
          <name>smoke-{kind}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
          <os>{TYPES[kind]}<kernel>/var/lib/lab/vmlinux</kernel><initrd>/var/lib/lab/guest.cpio.gz</initrd>
            <cmdline>console=hvc0 quiet ip4=10.0.2.{100 + number}/24</cmdline></os>
          {features}
          <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
          <devices>
            <interface type='bridge'><mac address='00:16:3e:00:02:{number:02x}'/><source bridge='br0'/></interface>
            <console type='pty'/>
          </devices>
        </domain>"""


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait with patience; a failure names what never came true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.3)


def answers(number: int) -> bool:
    """Does the guest tell its state."""
    asked = subprocess.run(["guest", f"10.0.2.{100 + number}", "state"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and "ticks=" in asked.stdout


def try_guest(connection: libvirt.virConnect, kind: str, number: int) -> str:
    """The guest's life; returns how long its parts took. AssertionError or libvirtError where it goes wrong."""
    domain = connection.defineXML(definition(kind, number))
    began = time.monotonic()
    times = []

    def done(what: str) -> None:
        nonlocal began
        times.append(f"{what} {time.monotonic() - began:.1f} s")
        began = time.monotonic()

    try:
        domain.create()
        done("create")
        wait_until(lambda: answers(number), "the guest answers over the network")
        done("answers")
        domain.suspend()
        assert domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        domain.resume()
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        done("pause and resume")
        domain.shutdown()
        wait_until(lambda: not domain.isActive(), "the guest goes off when asked")
        done("shutdown")
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    return ", ".join(times)


def main() -> int:
    """Try each kind. Returns the exit code."""
    libvirt.registerErrorHandler(lambda *ignored: None, None)
    connection = libvirt.open("xen:///system")
    failed = 0
    for number, kind in enumerate(sys.argv[1:] or TYPES, 1):
        try:
            print(f"{kind}: good; {try_guest(connection, kind, number)}")
        except (AssertionError, libvirt.libvirtError) as error:
            failed += 1
            print(f"{kind}: FAILED: {error}")
    return int(failed > 0)


sys.exit(main())
