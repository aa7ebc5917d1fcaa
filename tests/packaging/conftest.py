"""A folder with a Debian 12 in it, and the package built from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
INCLUDED = ("python3", "python3-libvirt", "systemd", "init-system-helpers", "openrc")
SYSTEMCTL = """\
#!/bin/sh
# In this folder nothing runs services. What is asked of the service manager is noted.
echo "$@" >>/var/log/systemctl
case " $* " in
*" is-active "*) exit 3 ;;
*" is-enabled "* | *" preset "*) SYSTEMD_OFFLINE=1 exec /usr/bin/systemctl "$@" ;;
esac
"""


@dataclass(frozen=True)
class Debian:
    """The folder."""

    root: Path

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it, with its /proc, and nothing mounted when it has ended."""
        return subprocess.run(self.words(*command), input=given, capture_output=True, text=True, check=False)

    def good(self, *command: str, given: str = "") -> str:
        """The output of a command that must succeed."""
        done = self.run(*command, given=given)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def words(self, *command: str) -> list[str]:
        """The command as it is run from outside."""
        mounted = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"]
        return [*clean, "unshare", "--mount", "sh", "-c", mounted, str(self.root), *command]

    def told(self) -> list[str]:
        """What the service manager was asked since this was last called."""
        log = self.root / "var/log/systemctl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def left(self) -> list[str]:
        """The files with the agent's name, but for dpkg's logs and the group that sockets and files may have."""
        found = self.good("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/dev", ")", "-prune", "-o",
                          "-name", "*xen-host-agent*", "-print")  # fmt: skip
        return found.splitlines()


@pytest.fixture(scope="session")
def package() -> Path:
    """The package, built."""
    return built_package()


def built_package() -> Path:
    """The package of this checkout; tests are skipped where none can be built."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not here: a Debian package is built and tried on Debian only")
    done = subprocess.run(["make", "--no-print-directory", "deb"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def newer(package: Path, folder: Path) -> tuple[Path, str]:
    """The same package with a higher version."""
    unpacked = folder / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", package, unpacked], check=True)
    control = unpacked / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    version = next(line for line in lines if line.startswith("Version: ")).removeprefix("Version: ") + "+later"
    control.write_text("\n".join(f"Version: {version}" if x.startswith("Version: ") else x for x in lines) + "\n")
    made = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, made], check=True)
    shutil.rmtree(unpacked)
    return made, version


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A fresh Debian 12 in a folder."""
    if os.geteuid() != 0:
        pytest.skip("not root: a Debian in a folder cannot be entered")
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not here: apt-get install mmdebstrap")
    root = tmp_path_factory.mktemp("debian") / "root"
    sources = [
        str(path)
        for path in map(Path, ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"))
        if path.is_file() and "bookworm" in path.read_text()
    ]
    done = subprocess.run(
        ["mmdebstrap", "--variant=minbase", "--aptopt=Apt::Install-Recommends false", "--dpkgopt=force-unsafe-io",
         f"--include={','.join(INCLUDED)}", "bookworm", root, *sources[:1]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(root, ignore_errors=True)
        pytest.skip(f"no Debian can be had from here: {done.stderr.strip().splitlines()[-1:]}")
    stub = root / "usr/local/bin/systemctl"
    stub.write_text(SYSTEMCTL)
    stub.chmod(0o755)
    yield Debian(root)
    shutil.rmtree(root)
