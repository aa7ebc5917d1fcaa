"""A libvirtd of this run's own with libvirt's test hypervisor, which shares nothing with the one of the machine."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import Process
from benchmarks.rows import Failed, NotHere

START_SECONDS = 60.0
_AS_ROOT = """
for folder in /run/libvirt /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $folder && mount -t tmpfs tmpfs $folder || exit 77
done
exec libvirtd --config "$1/libvirtd.conf" --pid-file "$1/pid"
"""
_AS_USER = 'exec libvirtd --config "$1/libvirtd.conf" --pid-file "$1/pid"'
# libvirtd of an ordinary user keeps to these; that of root to fixed paths, hence the mount namespace.
_USER_FOLDERS = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@contextmanager
def private_libvirtd(folder: Path) -> Iterator[Path]:
    """Run it, with all its files in `folder`. Yields the path of its socket. NotHere where it is not installed."""
    needed = ("libvirtd", "unshare") if os.geteuid() == 0 else ("libvirtd",)
    lacking = [name for name in needed if not shutil.which(name)]
    if lacking:
        raise NotHere(f"needs {' and '.join(lacking)}, for a libvirtd of its own")
    (folder / "drivers").mkdir(parents=True)  # empty: the test hypervisor is built in
    (folder / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{folder}"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0700"\n'
    )
    env = os.environ | {"LIBVIRT_DRIVER_DIR": str(folder / "drivers")}
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-c", _AS_ROOT, "sh", str(folder)]
    else:
        command = ["sh", "-c", _AS_USER, "sh", str(folder)]
        env |= dict.fromkeys(_USER_FOLDERS, str(folder))
    path = folder / "libvirt-sock"
    with Process(command, folder / "log", env=env) as libvirtd:
        deadline = time.monotonic() + START_SECONDS
        while not path.exists():
            if not libvirtd.running:
                raise NotHere(f"a libvirtd of its own does not start here: {libvirtd.logged()}")
            if time.monotonic() > deadline:
                raise Failed(f"libvirtd has no socket after a minute: {libvirtd.logged()}")
            time.sleep(0.02)
        yield path
