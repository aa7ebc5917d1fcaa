"""One emulated machine: QEMU, its command line, its monitor, and its end. It knows nothing of who logs in to dom0.

The processor, the machine and the arguments of Xen are what a real Xen was found to live with under software
emulation; ``docs/xen.md`` tells what happened without each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.image import Image
from lab.progress import LabError, say

PROCESSOR = "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+lahf-lm,+cx16,+pdpe1gb"
"""What is not there matters. monitor: Xen's idle loop faults, and it panics. smap, smep: dom0 faults early. rdtscp:
Xen cannot decode its exit, and PVH guests die in a loop. AVX: user processes were seen to spin for ever (QEMU 7.2)."""
PROCESSORS = 2
DOM0_MEMORY_MIB = 1024
XEN_ARGUMENTS = (
    f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MEMORY_MIB}M,max:{DOM0_MEMORY_MIB}M dom0_max_vcpus={PROCESSORS} "
    # Without scrubbing, the host gives memory only where guests touch it.
    "loglvl=info guest_loglvl=info noreboot bootscrub=0 spec-ctrl=no xpti=off"
)
DOM0_ARGUMENTS = "root=/dev/vda rw console=hvc0 net.ifnames=0 mitigations=off"

BOOT_SECONDS = 900.0
RESTORE_SECONDS = 180.0
FREEZE_SECONDS = 300.0
NOTICE_SECONDS = 30.0
"""How often a long boot says that it goes on."""
STANDSTILL_SECONDS = 30.0
STANDSTILL_CPU_SECONDS = 0.5
"""What a machine that lives takes many times of in that time, for its timers alone."""
FAILURES = re.compile(r"Panic on CPU|Domain 0 .*crashed|Kernel panic|LAB-FAILED")


def memory_mib() -> int:
    """Memory of the emulated machine; what dom0 does not have is the guests'."""
    return int(os.environ.get("XEN_HOST_AGENT_LAB_MEMORY_MIB", "4096"))


def _wanted_port(name: str) -> int:
    """A port of this machine, 0 where any will do."""
    return int(os.environ.get(f"XEN_HOST_AGENT_LAB_{name}_PORT", "0"))


def command_line(image: Image) -> list[str]:
    """The emulated machine, but for its disks. Run in a folder, it keeps its log and monitor there."""
    forwards = f"hostfwd=tcp:127.0.0.1:{_wanted_port('SSH')}-:22,hostfwd=tcp:127.0.0.1:{_wanted_port('AGENT')}-:8443"
    return [
        *("qemu-system-x86_64", "-name", "xen-lab", "-machine", "q35,kernel-irqchip=split", "-cpu", PROCESSOR),
        *("-smp", str(PROCESSORS), "-m", str(memory_mib()), "-accel", "tcg,thread=multi,tb-size=1024"),
        *("-nodefaults", "-display", "none"),
        *("-serial", "file:serial.log", "-qmp", "unix:qmp,server=on,wait=off"),
        *("-kernel", str(image.folder / "xen"), "-append", XEN_ARGUMENTS),
        *("-initrd", f"{image.folder / 'vmlinux'} {DOM0_ARGUMENTS},{image.folder / 'initrd.img'}"),
        *(
            "-netdev",
            f"user,id=lan,restrict=on,{forwards}",
            "-device",
            "virtio-net-pci,netdev=lan,mac=52:54:00:12:34:57",
        ),
        *("-device", "virtio-rng-pci"),
        # Intel's IOMMU beside an AMD processor is odd, but Xen takes it, and gives PCI devices to guests. The card is
        # one that dom0 can spare, plugged into nothing, and that libvirt can reset, which it insists on.
        *("-device", "intel-iommu,intremap=on", "-device", "e1000e,addr=0x10,romfile="),
    ]


def state_key(image: Image) -> str:
    """Names what a frozen state fits: the same QEMU with the same devices; ports and folders may differ."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    machine = re.sub(r"hostfwd=[^, ]+,?", "", " ".join(command_line(image)))
    return hashlib.sha256(f"{version}{machine}".encode()).hexdigest()[:12]


class Emulator:
    """The machine whose files are in one folder, running or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def serial_log(self) -> Path:
        """What Xen and dom0 say."""
        return self.folder / "serial.log"

    def pid(self) -> int | None:
        """The process, None where there is none. Another process under its number is not mistaken for it."""
        try:
            pid = int((self.folder / "pid").read_text())
            is_ours = Path(f"/proc/{pid}/cwd").readlink() == self.folder
        except (OSError, ValueError):
            return None
        return pid if is_ours else None

    def start(self, image: Image, *, incoming: Path | None = None) -> None:
        """Launch it on the disks in its folder, from power-on or, with `incoming`, from a frozen state."""
        for name in ("qmp", "serial.log", "pid"):
            (self.folder / name).unlink(missing_ok=True)
        command = command_line(image)
        for disk in ("dom0", "lvm"):
            command += ["-drive", f"file={disk}.qcow2,if=virtio,format=qcow2,cache=unsafe"]
        if incoming:
            command += ["-incoming", f"exec:zstd -q -dc {shlex.quote(str(incoming))}"]
        with (self.folder / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + 60
        while not (self.folder / "qmp").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"QEMU did not start:\n{self._ending('qemu.log')}")
            time.sleep(0.05)

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """One command to QEMU's monitor; its answer."""
        # A socket's path may have 107 octets, the folder's more: through its descriptor it is short.
        descriptor = os.open(self.folder, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.settimeout(60)
                monitor.connect(f"/proc/self/fd/{descriptor}/qmp")
                lines = monitor.makefile("r")
                lines.readline()  # the greeting
                for sent in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments or {}}):
                    monitor.sendall(json.dumps(sent).encode())
                    while "event" in (answer := json.loads(lines.readline() or '{"error": "QEMU has gone"}')):
                        pass
                    if "error" in answer:
                        raise LabError(f"QEMU refused {command}: {answer['error']}")
        except (OSError, ValueError) as error:
            raise LabError(f"QEMU's monitor does not answer: {error}") from error
        finally:
            os.close(descriptor)
        return answer["return"]

    def ports(self) -> dict[int, int]:
        """Ports of this machine by the port of dom0 that each leads to."""
        text = self.ask("human-monitor-command", {"command-line": "info usernet"})
        return {
            int(to): int(port) for port, to in re.findall(r"HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", text)
        }

    def wait_until_booted(self) -> None:
        """Until dom0 says on its console that libvirt answers."""
        deadline = time.monotonic() + BOOT_SECONDS
        notice = time.monotonic() + NOTICE_SECONDS
        while "LAB-READY" not in (text := self._read_serial()):
            if FAILURES.search(text) or self.pid() is None or time.monotonic() > deadline:
                raise LabError(f"dom0 did not come up:\n{self._ending('serial.log')}\n{self._ending('qemu.log')}")
            if time.monotonic() > notice:
                notice += NOTICE_SECONDS
                last = next((line for line in reversed(text.splitlines()) if line.strip()), "nothing yet")
                say(f"still booting: {last.strip()[:90]}")
            time.sleep(0.3)

    def wait_until_restored(self) -> None:
        """Until the processors run from where they were frozen."""
        deadline = time.monotonic() + RESTORE_SECONDS
        while (status := self.ask("query-status")["status"]) != "running":
            if status in ("paused", "postmigrate"):
                self.ask("cont")
            elif self.pid() is None or time.monotonic() > deadline:
                raise LabError(f"QEMU cannot restore the frozen state ({status}):\n{self._ending('qemu.log')}")
            time.sleep(0.1)

    def stands_still(self) -> bool:
        """Whether no processor does anything for half a minute, though neither Xen nor dom0 panicked: the emulation has
        lost a timer, and nothing will ever happen in it again.
        """
        pid = self.pid()
        if pid is None or FAILURES.search(self._read_serial()):
            return False
        before = _cpu_seconds(pid)
        time.sleep(STANDSTILL_SECONDS)
        return self.pid() == pid and _cpu_seconds(pid) - before < STANDSTILL_CPU_SECONDS

    def triple_faults(self) -> int:
        """How often Xen told that the processor of a guest gave up; nobody makes a guest's do so from outside."""
        return self._read_serial().count("Triple fault")

    def freeze(self, target: Path) -> None:
        """Stop the processors for good and write all their state to a file."""
        self.ask("stop")
        self.ask("migrate-set-parameters", {"max-bandwidth": 4 << 30})
        self.ask("migrate", {"uri": f"exec:zstd -q -1 -T0 >{shlex.quote(str(target))}"})
        deadline = time.monotonic() + FREEZE_SECONDS
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise LabError(f"QEMU cannot freeze the machine ({status}):\n{self._ending('qemu.log')}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it at once, as by pulling the plug; nothing happens where it does not run."""
        if (pid := self.pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while self.pid() is not None:
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # it is our child where we started it ourselves
                time.sleep(0.1)
        for name in ("pid", "qmp"):
            (self.folder / name).unlink(missing_ok=True)

    def _read_serial(self) -> str:
        try:
            return self.serial_log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _ending(self, name: str) -> str:
        try:
            lines = (self.folder / name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return "\n".join([f"--- the end of {self.folder / name}", *lines[-30:]])


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")
