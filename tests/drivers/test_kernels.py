"""Kernels that clients sent, as files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.errors import OperationNotAllowed, ValueNotSupported
from drivers import xml
from drivers.kernels import GRACE_SECONDS, NO_KERNELS, KernelFolder
from tests.drivers.machines import Machines


def test_the_same_content_is_one_file_that_only_the_agent_reads(tmp_path: Path) -> None:
    images = KernelFolder(tmp_path / "images")
    first = images.keep(b"kernel")
    assert images.keep(b"kernel") == first != images.keep(b"ramdisk")
    assert Path(first).read_bytes() == b"kernel"
    assert stat.S_IMODE(Path(first).stat().st_mode) == 0o600
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_what_nobody_names_goes_after_a_while(tmp_path: Path) -> None:
    images = KernelFolder(tmp_path / "images")
    images.drop_all_but(())
    old, named, fresh = (images.keep(name) for name in (b"old", b"named", b"fresh"))
    for path in (old, named):
        past = Path(path).stat().st_mtime - GRACE_SECONDS - 1
        os.utime(path, (past, past))
    images.drop_all_but([named])
    assert [Path(path).exists() for path in (old, named, fresh)] == [False, True, True]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(OperationNotAllowed):
        KernelFolder(tmp_path / "images").keep(b"kernel")


def test_a_hypervisor_elsewhere_keeps_none() -> None:
    with pytest.raises(ValueNotSupported):
        NO_KERNELS.keep(b"kernel")
    NO_KERNELS.drop_all_but(())
    assert NO_KERNELS.folders == ()


def test_a_kept_kernel_is_the_definition_s_by_its_path(machines: Machines, tmp_path: Path) -> None:
    images = KernelFolder(tmp_path / "images")
    path = images.keep(b"kernel")
    vm = machines.vm(PV_kernel=f"file://{path}", PV_ramdisk="file:///boot/initrd.img")
    root = xml.build(vm, "web", kernel_folders=(*xml.KERNEL_FOLDERS, *images.folders))
    assert (root.findtext("os/kernel"), root.findtext("os/initrd")) == (path, "/boot/initrd.img")
    with pytest.raises(ValueNotSupported):
        xml.build(vm, "web")
    machines.change(vm, PV_kernel="file://elsewhere/boot/vmlinuz")
    with pytest.raises(ValueNotSupported):
        xml.build(vm, "web")
