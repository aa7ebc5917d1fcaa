"""Image files: whole or not there at all, whatever happens while they are made."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from drivers import sparse
from drivers.sparse import Folder

MIB = 1024 * 1024


def ignore(part: float) -> None:
    """A progress callback that nobody looks at."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path / "images", create=True) as folder:
        yield folder


def names(folder: Folder) -> list[str]:
    """All that is really there."""
    return sorted(path.name for path in folder.path.iterdir())


def test_a_new_image_is_readable_by_nobody_else(folder: Folder) -> None:
    image = folder.create("a.raw", MIB)
    assert (image.name, image.size, image.used) == ("a.raw", MIB, 0)
    assert (folder.path / "a.raw").stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_that_is_a_path_is_no_name(folder: Folder, name: str) -> None:
    for call in (folder.image, lambda name: folder.create(name, 1), lambda name: folder.grow(name, 1)):
        with pytest.raises(FileNotFoundError):
            call(name)
    folder.remove(name)
    assert names(folder) == []


def test_only_files_are_images(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"secret")
    (folder.path / "link").symlink_to(tmp_path / "victim")
    (folder.path / "folder").mkdir()
    os.mkfifo(folder.path / "pipe")
    assert folder.images() == []
    for name in ("link", "folder", "pipe"):
        with pytest.raises(FileNotFoundError):
            folder.image(name)
    for name in ("link", "pipe"):
        with pytest.raises(FileNotFoundError), folder.opened(name):
            pass
        with pytest.raises(FileNotFoundError):
            folder.rename(name, "a.raw")
        with pytest.raises(OSError, match=r"link|pipe"):
            folder.grow(name, MIB)
    assert (tmp_path / "victim").read_bytes() == b"secret"


def test_nothing_replaces_an_image(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(b"here")
    folder.create("b.raw", MIB)
    with pytest.raises(FileExistsError):
        folder.create("a.raw", MIB)
    with pytest.raises(FileExistsError):
        folder.copy(folder, "b.raw", "a.raw", MIB, ignore)
    assert (folder.path / "a.raw").read_bytes() == b"here"
    assert names(folder) == ["a.raw", "b.raw"]


def test_an_image_that_appears_while_a_copy_is_made_is_not_replaced(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(b"source")

    def interfere(part: float) -> None:
        (folder.path / "b.raw").write_bytes(b"other")

    with pytest.raises(FileExistsError):
        folder.copy(folder, "a.raw", "b.raw", MIB, interfere)
    assert (folder.path / "b.raw").read_bytes() == b"other"
    assert names(folder) == ["a.raw", "b.raw"]


def test_an_image_being_made_is_not_seen_and_not_swept(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(b"source")
    seen: list[list[str]] = []

    def look(part: float) -> None:
        folder.sweep()
        seen.append([image.name for image in folder.images()])

    folder.copy(folder, "a.raw", "b.raw", MIB, look)
    assert seen
    assert all(found == ["a.raw"] for found in seen)
    assert names(folder) == ["a.raw", "b.raw"]


def test_two_cannot_make_one_image_at_once(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(b"source")
    begun, go_on = threading.Event(), threading.Event()

    def wait(part: float) -> None:
        begun.set()
        assert go_on.wait(60)

    first = threading.Thread(target=folder.copy, args=(folder, "a.raw", "b.raw", MIB, wait))
    first.start()
    assert begun.wait(60)
    with pytest.raises(BlockingIOError):
        folder.create("b.raw", MIB)
    go_on.set()
    first.join(60)
    assert (folder.path / "b.raw").read_bytes().startswith(b"source")


def test_what_a_crash_left_does_not_stand_in_the_way(folder: Folder) -> None:
    (folder.path / ".a.raw.partial").write_bytes(b"half")
    folder.create("a.raw", MIB)
    assert names(folder) == ["a.raw"]
    assert (folder.path / "a.raw").read_bytes() == bytes(MIB)


def test_a_sweep_takes_nothing_but_temporary_files(folder: Folder) -> None:
    for name in ("a.partial", ".hidden", ".partial", "b.raw"):
        (folder.path / name).write_bytes(b"kept")
    (folder.path / ".c.raw.partial").write_bytes(b"half")
    folder.sweep()
    assert names(folder) == [".hidden", ".partial", "a.partial", "b.raw"]


def test_a_disk_that_is_full_leaves_nothing(folder: Folder, mocker: MockerFixture) -> None:
    (folder.path / "a.raw").write_bytes(b"source")
    mocker.patch("drivers.sparse.os.pwrite", side_effect=OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        folder.copy(folder, "a.raw", "b.raw", MIB, ignore)
    assert names(folder) == ["a.raw"]


def test_what_is_not_safely_on_the_disk_is_not_there(folder: Folder, mocker: MockerFixture) -> None:
    (folder.path / "a.raw").write_bytes(b"source")
    for failing_call in range(2):
        outcomes: list[Any] = [None] * failing_call + [OSError(5, "Input/output error")]
        mocker.patch("drivers.sparse.os.fsync", side_effect=outcomes)
        with pytest.raises(OSError, match="Input/output"):
            folder.copy(folder, "a.raw", "b.raw", MIB, ignore)
        assert names(folder) == ["a.raw"]


def test_a_source_that_becomes_shorter_makes_no_copy(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(os.urandom(3 * sparse.CHUNK_BYTES))

    def cut(part: float) -> None:
        os.truncate(folder.path / "a.raw", 10)

    with pytest.raises(sparse.Written):
        folder.copy(folder, "a.raw", "b.raw", 3 * sparse.CHUNK_BYTES, cut)
    assert names(folder) == ["a.raw"]


def test_a_source_that_is_written_to_makes_no_copy(folder: Folder) -> None:
    (folder.path / "a.raw").write_bytes(os.urandom(3 * sparse.CHUNK_BYTES))

    def write(part: float) -> None:
        if part == 1 / 3:
            with (folder.path / "a.raw").open("r+b") as file:
                file.write(b"behind its back")

    with pytest.raises(sparse.Written):
        folder.copy(folder, "a.raw", "b.raw", None, write)
    assert names(folder) == ["a.raw"]


def test_an_image_shares_blocks_where_the_file_system_can(folder: Folder, mocker: MockerFixture) -> None:
    (folder.path / "a.raw").write_bytes(b"content" + bytes(MIB))
    asked: list[tuple[int, int]] = []

    def clone(target: int, request: int, source: int) -> None:
        asked.append((request, os.fstat(target).st_size))
        os.pwrite(target, os.pread(source, 2 * MIB, 0), 0)

    mocker.patch("drivers.sparse.fcntl.ioctl", side_effect=clone)
    copied = mocker.patch("drivers.sparse._copied")
    assert folder.can_share("a.raw")
    folder.copy(folder, "a.raw", "b.raw", 2 * MIB, lambda part: None)
    assert asked == [(sparse.FICLONE, 0), (sparse.FICLONE, 0)]
    copied.assert_not_called()
    assert (folder.path / "b.raw").read_bytes() == b"content" + bytes(2 * MIB - 7)
    assert names(folder) == ["a.raw", "b.raw"]


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY])
def test_where_blocks_cannot_be_shared_they_are_copied(folder: Folder, mocker: MockerFixture, error: int) -> None:
    (folder.path / "a.raw").write_bytes(b"content")
    mocker.patch("drivers.sparse.fcntl.ioctl", side_effect=OSError(error, "no"))
    assert not folder.can_share("a.raw")
    folder.copy(folder, "a.raw", "b.raw", None, lambda part: None)
    assert (folder.path / "b.raw").read_bytes() == b"content"


def test_short_writes_are_gone_on_with(folder: Folder, mocker: MockerFixture) -> None:
    content = os.urandom(64 * 1024)
    (folder.path / "a.raw").write_bytes(content)
    write = os.pwrite
    mocker.patch("drivers.sparse.os.pwrite", side_effect=lambda fd, data, at: write(fd, data[:1000], at))
    folder.copy(folder, "a.raw", "b.raw", len(content), ignore)
    assert (folder.path / "b.raw").read_bytes() == content


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=9000)), max_size=5))
def test_any_pattern_of_data_and_holes_is_copied(
    folder: Folder, mocker: MockerFixture, pieces: list[tuple[int, bytes]]
) -> None:
    for constant, size in (("PIECE_BYTES", 4096), ("CHUNK_BYTES", 8192), ("BEHIND_BYTES", 16384)):
        mocker.patch.object(sparse, constant, size)
    for name in ("a.raw", "b.raw"):
        folder.remove(name)
    with (folder.path / "a.raw").open("wb") as file:
        for place, data in pieces:
            file.seek(place * 4096 + place)
            file.write(data)
    size = (folder.path / "a.raw").stat().st_size
    parts: list[float] = []
    image = folder.copy(folder, "a.raw", "b.raw", size + 10, parts.append)
    assert (folder.path / "b.raw").read_bytes() == (folder.path / "a.raw").read_bytes() + bytes(10)
    assert image.used <= folder.image("a.raw").used + 8192
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)
