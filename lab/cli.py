"""The lab's commands: what ``lab/lab`` understands, and in what order a lab is made, frozen, restored and ended."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.dom0 import Dom0
from lab.emulator import Emulator, memory_mib, state_key
from lab.image import LAB, PROJECT, Image, cache_folder, check_machine
from lab.progress import LabError, say

DISKS = {"dom0": "dom0.img", "lvm": "lvm.img"}
WARM_UP = """
virsh -c xen:///system version >/dev/null
/opt/xen-host-agent/bin/python -c 'import aiohttp, cryptography.x509, isal, libvirt, lxml.etree, orjson, psutil, uvloop'
cat /var/lib/lab/vmlinux /var/lib/lab/guest.cpio.gz >/dev/null
systemctl is-system-running --wait >/dev/null
sync
"""
"""What a restored dom0 finds in its memory instead of on its disk: all that a test starts with."""


def run_folder() -> Path:
    """Where the lab of this checkout keeps its disks, log, monitor and ports."""
    if chosen := os.environ.get("XEN_HOST_AGENT_LAB_RUN"):
        return Path(chosen).absolute().resolve()
    checkout = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:12]
    return cache_folder().resolve() / f"run-{checkout}"


def _overlay(disk: Path, backing: Path, kind: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", kind, str(disk)], check=True)


def _boot_cold(image: Image, folder: Path) -> Dom0:
    """Boot from power-on, until libvirt answers."""
    for disk, file in DISKS.items():
        _overlay(folder / f"{disk}.qcow2", image.folder / file, "raw")
    emulator = Emulator(folder)
    emulator.start(image)
    emulator.wait_until_booted()
    return _enter(image, folder)


def _enter(image: Image, folder: Path) -> Dom0:
    ports = Emulator(folder).ports()
    dom0 = Dom0(str(folder), str(image.folder), ports[22], ports[8443])
    (folder / "ssh").unlink(missing_ok=True)
    dom0.wait_until_it_answers()
    return dom0


def _freeze(image: Image) -> Path:
    """The folder of the frozen ready moment, made where it is missing."""
    frozen = image.folder / f"ready-{state_key(image)}"
    if frozen.exists():
        return frozen
    with image.locked():
        if frozen.exists():
            return frozen
        say("booting dom0 to freeze the moment when libvirt answers, once for this image")
        # In the image's folder, so that the disks' way to what they are based on stays the same.
        folder = Path(tempfile.mkdtemp(prefix="freezing-", dir=image.folder))
        emulator = Emulator(folder)
        try:
            dom0 = _boot_cold(image, folder)
            say("libvirt answers")
            dom0.run(WARM_UP)
            dom0.disconnect()
            emulator.freeze(folder / "state.zst")
            emulator.stop()
            folder.rename(frozen)
        finally:
            emulator.stop()
            shutil.rmtree(folder, ignore_errors=True)
    say(f"frozen: {(frozen / 'state.zst').stat().st_size >> 20} MiB")
    return frozen


def _restore(image: Image, folder: Path, frozen: Path) -> Dom0:
    """Go on from the frozen moment; what it writes goes to overlays, the frozen disks stay as they are."""
    for disk in DISKS:
        _overlay(folder / f"{disk}.qcow2", frozen / f"{disk}.qcow2", "qcow2")
    emulator = Emulator(folder)
    emulator.start(image, incoming=frozen / "state.zst")
    emulator.wait_until_restored()
    dom0 = _enter(image, folder)
    # Its clock stands where it was frozen; certificates and sessions would not hold.
    dom0.run(f"date -u -s @{time.time():.3f}")
    return dom0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two commands that boot or end the same lab take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(args: argparse.Namespace) -> int:
    """``up``: have a lab."""
    folder = run_folder()
    check_machine(memory_mib())
    image = Image.of_this_checkout()
    with _alone(folder):
        if Emulator(folder).pid() is not None:
            with contextlib.suppress(LabError):
                dom0 = Dom0.read(folder)
                if dom0.image == str(image.folder) and dom0.run("true", check=False).returncode == 0:
                    say("the lab is up already")
                    return _tell(dom0)
            say("the lab that runs here is not this one, or does not answer; it is replaced")
            _end(folder)
        image.ensure()
        dom0 = _boot(image, folder, cold=args.cold)
        dom0.run("until virsh -c xen:///system list >/dev/null; do sleep 1; done")
        dom0.write()
    say("the lab is up, libvirt answers")
    return _tell(dom0)


def _boot(image: Image, folder: Path, *, cold: bool) -> Dom0:
    """From the frozen moment, or else, and once more where that fails, from power-on."""
    try:
        return _boot_cold(image, folder) if cold else _restore(image, folder, _freeze(image))
    except LabError as error:
        say(f"{error}\nthis did not work; once more, from power-on")
        Emulator(folder).stop()
    try:
        return _boot_cold(image, folder)
    except LabError:
        Emulator(folder).stop()
        raise


def _tell(dom0: Dom0) -> int:
    print(f"dom0's ssh: 127.0.0.1:{dom0.ssh_port}, an agent on dom0's port 8443: https://127.0.0.1:{dom0.agent_port}")
    return 0


def _end(folder: Path) -> None:
    with contextlib.suppress(LabError):
        Dom0.read(folder).disconnect()
    Emulator(folder).stop()
    for name in ("lab.json", "ssh", *(f"{disk}.qcow2" for disk in DISKS)):
        (folder / name).unlink(missing_ok=True)


def stop(args: argparse.Namespace) -> int:
    """``stop``: end the lab."""
    folder = run_folder()
    with _alone(folder):
        was_up = Emulator(folder).pid() is not None
        _end(folder)
    say("the lab is stopped" if was_up else "no lab was up")
    return 0


def status(args: argparse.Namespace) -> int:
    """``status``: is it up, and where."""
    folder = run_folder()
    if Emulator(folder).pid() is None:
        print(f"no lab is up in {folder}")
        return 1
    dom0 = Dom0.read(folder)
    print(f"a lab is up in {folder}, image {dom0.image}")
    return _tell(dom0)


def shell(args: argparse.Namespace) -> int:
    """``shell``: a shell or a command in dom0, in place of this process."""
    dom0 = Dom0.read(run_folder())
    os.chdir(dom0.run_folder)
    command = dom0.ssh(*(["-t"] if not args.command else []))
    os.execvp(command[0], [*command, *args.command])


def put(args: argparse.Namespace) -> int:
    """``put``: copy into dom0."""
    Dom0.read(run_folder()).put(args.source, args.target)
    return 0


def get(args: argparse.Namespace) -> int:
    """``get``: copy out of dom0."""
    Dom0.read(run_folder()).get(args.source, args.target)
    return 0


def smoke(args: argparse.Namespace) -> int:
    """``smoke``: is the lab good for anything. Leaves it up."""
    up(args)
    dom0 = Dom0.read(run_folder())
    done = subprocess.run(
        [*dom0.ssh(), "python3 -u -"], cwd=dom0.run_folder, stdin=(LAB / "smoke.py").open("rb"), check=False
    )
    return done.returncode


def clean(args: argparse.Namespace) -> int:
    """``clean``: end this checkout's lab and remove all images and run folders that no lab uses."""
    stop(args)
    used = set()
    for folder in cache_folder().glob("run-*"):
        if Emulator(folder.resolve()).pid() is None:
            shutil.rmtree(folder)
        else:
            used.add(Path(Dom0.read(folder).image))
    for folder in cache_folder().glob("lab-*"):
        if folder.is_dir() and folder not in used:
            say(f"removing {folder}")
            shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        "lab/lab",
        description="A real Xen with a Debian dom0 under QEMU's software emulation.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrongly used, 77 this machine cannot emulate; shell exits as its "
        "command does. Images are kept in ~/.cache/xen-host-agent. XEN_HOST_AGENT_LAB_RUN chooses the folder of the "
        "running lab, _SSH_PORT and _AGENT_PORT its ports, _MEMORY_MIB its memory, _APT_SOURCES a file of Debian 12's "
        "sources to make the image from.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(run.__name__, help=text, description=text)
        added.set_defaults(run=run)
        return added

    for run, text in ((up, "boot a lab and wait until libvirt answers"), (smoke, "boot it and start guests in it")):
        add(run, text).add_argument(
            "--cold", action="store_true", help="from power-on, not from the frozen moment: a minute instead of seconds"
        )
    add(shell, "a shell in dom0, or a command").add_argument("command", nargs=argparse.REMAINDER)
    copy_in = add(put, "copy a file, or what a folder holds, into dom0")
    copy_in.add_argument("source", type=Path)
    copy_in.add_argument("target", help="its new place, name included")
    copy_out = add(get, "copy a file, or what a folder holds, out of dom0")
    copy_out.add_argument("source")
    copy_out.add_argument("target", type=Path, help="its new place, name included")
    add(stop, "end the lab; what was written in it is gone")
    add(status, "tell whether a lab is up (exit code 0) or not (1), and its ports")
    add(clean, "stop the lab and remove all images that no lab runs")
    return top


def main() -> int:
    """Run one command. Returns its exit code."""
    args = _parser().parse_args()
    try:
        return int(args.run(args))
    except LabError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
