"""A libvirtd of the tests' own, with one of its drivers, that shares nothing with one of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SCRIPT = """
if [ ! -x /usr/sbin/iptables ] || [ -x "$1/sbin/lvs" ]; then
    mount -t overlay overlay -o "lowerdir=$1/sbin:/usr/sbin" /usr/sbin || exit 77
fi
for folder in /run/libvirt /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $folder && mount -t tmpfs tmpfs $folder || exit 77
done
exec libvirtd --config "$1/libvirtd.conf" --pid-file "$1/pid"
"""


class Libvirtd:
    """The daemon; it keeps the domains of its test driver for as long as it runs."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.folder = folder
        self._driver = driver
        self._socket = folder / "libvirt-sock"
        path = "default" if driver == "test" else "system"
        self.uri = f"{driver}+unix:///{path}?socket={self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, until it answers. The test is skipped where that is not possible."""
        self._socket.unlink(missing_ok=True)  # of one that was killed
        namespaces = ["--mount", *(["--net"] if self._driver == "network" else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", *namespaces, "sh", "-c", _SCRIPT, "sh", self.folder],
                env=os.environ | {"LIBVIRT_DRIVER_DIR": str(self.folder / "drivers")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not self._socket.exists():
            if self._process.poll() is not None:
                pytest.skip(f"a private libvirtd does not start here: {(self.folder / 'log').read_text()[-500:]}")
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by this signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)

    @contextmanager
    def held(self) -> Iterator[None]:
        """It hangs for as long as this lasts: its socket takes what comes, and nothing answers."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def running_libvirtd(folder: Path, driver: str, programs: Path | None = None) -> Iterator[Libvirtd]:
    """Run libvirtd with the storage, network or test driver alone, in namespaces of its own.

    The test driver is a part of the daemon itself. The files and socket are in `folder`. The programs in the folder
    `programs`, which are links there, it finds before those of the machine. The test is skipped, with the reason, where
    this is not possible.
    """
    module = next(Path("/").glob(f"usr/lib*/**/libvirt/connection-driver/libvirt_driver_{driver}.so"), None)
    if (
        (module is None and driver != "test")
        or not shutil.which("libvirtd")
        or not shutil.which("unshare")
        or os.geteuid() != 0
    ):
        pytest.skip(f"needs root, unshare, and libvirtd with its {driver} driver")
    (folder / "drivers").mkdir()
    if module is not None:
        (folder / "drivers" / module.name).symlink_to(module)
    (folder / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{folder}"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0700"\n'
    )
    (folder / "sbin").mkdir()
    for tool in ("iptables", "ip6tables", "ebtables"):
        # Where there is no iptables, one that does nothing will do: in its namespace there is nothing to filter.
        (folder / "sbin" / tool).write_text("#!/bin/sh\n")
        (folder / "sbin" / tool).chmod(0o700)
    for program in programs.iterdir() if programs is not None else ():
        if program.is_symlink():
            (folder / "sbin" / program.name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
            (folder / "sbin" / program.name).chmod(0o700)
    daemon = Libvirtd(folder, driver)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@contextmanager
def private_libvirtd(folder: Path, driver: str, programs: Path | None = None) -> Iterator[str]:
    """The same for whom the URI to reach it is enough."""
    with running_libvirtd(folder, driver, programs) as daemon:
        yield daemon.uri
