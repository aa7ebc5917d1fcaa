"""The image of dom0: where it is kept, when it is made anew, and what the machine needs to make it.

All checkouts of a user share the images in the user's cache folder, one for each recipe: the hash of everything that
goes into it names its folder. How the image is filled is ``image.sh``'s business, how it is booted the emulator's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.progress import CannotEmulate, LabError, say

LAB = Path(__file__).resolve().parent
PROJECT = LAB.parent
RECIPE = ("image.sh", "guest.sh", "dom0", "guest")
"""Files and folders of the lab that go into the image."""

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "modprobe": "kmod",
    "cpio": "cpio",
    "zstd": "zstd",
    "ssh": "openssh-client",
}
"""What the lab runs on this machine, and Debian's package of each."""

NEEDED_DISK_BYTES = 6 << 30
DOM0_PYTHON = "3.11"
PYTHON_OF_DEBIAN = {"libvirt-python"}
"""Requirements that dom0 has from Debian, as python3-libvirt."""
TEST_TOOLS = ("pytest", "hypothesis", "XenAPI")
"""How the names of those development requirements begin that dom0 gets too."""


def cache_folder() -> Path:
    """The folder of all that the lab keeps for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xen-host-agent"


@dataclass(frozen=True)
class Requirements:
    """What must be installed for the agent, and for its tests beside, as pip understands it."""

    agent: list[str]
    tests: list[str]

    @classmethod
    def read(cls) -> Requirements:
        """From this checkout's pyproject.toml."""
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        development = project["optional-dependencies"]["dev"]
        return cls(
            [line for line in project["dependencies"] if _name(line) not in PYTHON_OF_DEBIAN],
            [line for line in development if _name(line).startswith(TEST_TOOLS)],
        )


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


@dataclass(frozen=True)
class Image:
    """The image of one recipe, which may not be there yet."""

    folder: Path
    requirements: Requirements

    @classmethod
    def of_this_checkout(cls) -> Image:
        """The image that this checkout's recipe makes."""
        requirements = Requirements.read()
        return cls(cache_folder() / f"lab-{_recipe_hash(requirements)}", requirements)

    @property
    def key(self) -> Path:
        """The private key that dom0 lets in as root."""
        return self.folder / "key"

    def ensure(self) -> None:
        """Make the image if it is not there."""
        if self.folder.exists():
            return
        with self.locked():
            if not self.folder.exists():
                self._make()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes that change this image."""
        cache_folder().mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another process is making this image; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self) -> None:
        free_bytes = shutil.disk_usage(cache_folder()).free
        if free_bytes < NEEDED_DISK_BYTES:
            raise CannotEmulate(
                f"the lab's image needs {NEEDED_DISK_BYTES >> 30} GiB in {cache_folder()}, which has "
                f"{free_bytes / (1 << 30):.1f}"
            )
        say(f"making the image of dom0, once for this recipe: {self.folder}")
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache_folder(), ignore_cleanup_errors=True) as made:
            output = Path(made) / "image"
            wheels = Path(made) / "wheels"
            output.mkdir()
            self._fetch_wheels(wheels)
            say("the wheels are here; fetching Debian's packages")
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", output / "key"], check=True
            )
            _run_logged(
                [*_as_root(), LAB / "image.sh", output, wheels, output / "key.pub"], cache_folder() / "image.log"
            )
            output.rename(self.folder)
        say("the image is made")

    def _fetch_wheels(self, folder: Path) -> None:
        """Wheels of all that the agent and its tests need, for dom0's Python whatever this machine's is."""
        folder.mkdir()
        (folder / "agent.txt").write_text("\n".join(self.requirements.agent) + "\n")
        (folder / "tests.txt").write_text("\n".join(self.requirements.tests) + "\n")
        platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 37)]  # bookworm's C library is 2.36
        platforms += ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"]
        _run_logged(
            [
                *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--dest", folder),
                *("--only-binary", ":all:", "--implementation", "cp", "--python-version", DOM0_PYTHON),
                *(word for name in platforms for word in ("--platform", name)),
                *("-r", folder / "agent.txt", "-r", folder / "tests.txt"),
            ],
            cache_folder() / "wheels.log",
        )


def _recipe_hash(requirements: Requirements) -> str:
    digest = hashlib.sha256()
    files = [file for name in RECIPE for file in sorted([LAB / name, *(LAB / name).rglob("*")]) if file.is_file()]
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(LAB)} {os.access(file, os.X_OK)} {len(content)}\n".encode() + content)
    digest.update("\n".join(["", *requirements.agent, "", *requirements.tests]).encode())
    digest.update(os.environ.get("XEN_HOST_AGENT_LAB_APT_SOURCES", "").encode())
    return digest.hexdigest()[:12]


def _run_logged(command: Sequence[str | Path], log: Path) -> None:
    """Run a long command. Its lines that begin with ``lab:`` are progress, all go to the log."""
    with (
        log.open("w") as kept,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            kept.write(line)
            if line.startswith("lab: "):
                say(line.removeprefix("lab: ").rstrip())
    if process.returncode != 0:
        ending = "\n".join(log.read_text().splitlines()[-30:])
        raise LabError(f"{Path(command[0]).name} failed, exit code {process.returncode}; the end of {log}:\n{ending}")


def _as_root() -> list[str]:
    """What makes a command root: of this machine, or of a user namespace with a range of ids."""
    if os.geteuid() == 0:
        return []
    return ["unshare", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--kill-child"]


def check_machine(memory_mib: int) -> None:
    """See that this machine can make and run the lab, and install what is missing where that is allowed.

    Raises CannotEmulate where it cannot: another processor, no memory, or programs that cannot be installed.
    """
    if platform.machine() != "x86_64":
        raise CannotEmulate(f"the lab runs x86-64 programs to make its image, and this machine is {platform.machine()}")
    available_mib = _available_memory_mib()
    if available_mib < memory_mib // 2:
        # QEMU takes memory as the lab touches it; a dom0 with a few guests touches about half.
        raise CannotEmulate(
            f"the lab needs {memory_mib // 2} MiB of memory, and this machine has {available_mib} available"
        )
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for program, package in PROGRAMS.items() if not shutil.which(program, path=search)}
    if not _has_pip():
        missing.add("python3-pip")
    if os.geteuid() != 0 and not shutil.which("newuidmap", path=search):
        missing.add("uidmap")
    if not missing:
        return
    names = " ".join(sorted(missing))
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise CannotEmulate(
            f"the lab needs these packages; install them as root and try again: apt-get install {names}"
        )
    say(f"installing on this machine: {names}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *sorted(missing)]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotEmulate(f"the lab needs {names}, and apt-get cannot install them: {done.stderr.strip()[-300:]}")


def _has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def _available_memory_mib() -> int:
    found = re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0
