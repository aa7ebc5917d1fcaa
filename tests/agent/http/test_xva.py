"""The XVA file: its pieces and checksums, and what of hostile ones never gets further."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable

import pytest
import xxhash

from agent.errors import (
    ImportChecksumsFailed,
    ImportFailed,
    ImportPrematureEof,
    ImportUnexpectedFile,
    ValueNotSupported,
    VdiTooSmall,
    XenError,
)
from agent.http import xva
from tests.agent.http.volumes import Sparse, Written, reading

MIB = 2**20
OVA = xva.member("ova.xml", b"<value/>")


def piece(number: int, data: bytes, kind: str = ".checksum", id: str = "Ref:4", sum: str | None = None) -> bytes:
    name = f"{id}/{number:08d}"
    digest = hashlib.sha1(data).hexdigest() if kind == ".checksum" else xxhash.xxh64(data).hexdigest().upper()
    return xva.member(name, data) + xva.member(name + kind, (sum or digest).encode())


def filled(data: bytes, size: int = 3 * MIB, ids: tuple[str, ...] = ("Ref:4",)) -> dict[str, bytes]:
    """The disks that an archive fills."""
    archive = xva.Archive(xva.plain(reading(data)))
    assert archive.description(1000) == b"<value/>"
    writers = {id: Written(size) for id in ids}
    steps = list(archive.disks({id: xva.Disk(writer) for id, writer in writers.items()}))  # type: ignore[arg-type]
    assert sum(steps) == size * len(ids)
    return {id: bytes(writer.content) for id, writer in writers.items()}


FIRST, LAST = piece(0, b"a" * MIB), piece(2, b"c" * MIB)
CONTENT = b"a" * MIB + bytes(MIB) + b"c" * MIB


def test_pieces_that_are_zero_are_left_out_but_for_the_ends() -> None:
    reader = Sparse(5 * MIB + 1000, [(2 * MIB, b"x" * 10), (3 * MIB, bytes(MIB))])
    archive = b"".join(data for data, _ in xva.pieces(reader, "Ref:9")) + xva.END
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
    assert names[::2] == ["Ref:9/00000000", "Ref:9/00000002", "Ref:9/00000005"]
    assert names[1::2] == [f"{name}.checksum" for name in names[::2]]
    assert filled(OVA + archive, 5 * MIB + 1000, ("Ref:9",))["Ref:9"] == reader.content


@pytest.mark.parametrize("kind", [".checksum", ".xxhash"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_both_checksums_are_read_and_gzip_too(kind: str, pack: Callable[[bytes], bytes]) -> None:
    data = OVA + piece(0, b"a" * MIB, kind) + piece(2, b"c" * MIB, kind) + xva.END
    assert filled(pack(data))["Ref:4"] == CONTENT


def test_disks_may_take_turns() -> None:
    data = OVA + FIRST + piece(0, b"x" * MIB, id="Ref:10") + LAST + piece(2, b"y" * MIB, id="Ref:10") + xva.END
    found = filled(data, ids=("Ref:4", "Ref:10"))
    assert found == {"Ref:4": CONTENT, "Ref:10": b"x" * MIB + bytes(MIB) + b"y" * MIB}


def test_an_empty_piece_keeps_a_slow_connection_alive() -> None:
    # xapi counts it as a piece that brings nothing: the next number goes on where it was.
    data = OVA + FIRST + piece(1, b"") + piece(2, b"b" * MIB) + piece(3, b"c" * MIB) + xva.END
    assert filled(data)["Ref:4"] == b"a" * MIB + b"b" * MIB + b"c" * MIB


def special(name: str, kind: bytes, link: str = "") -> bytes:
    head = tarfile.TarInfo(name)
    head.type, head.linkname = kind, link
    return head.tobuf(tarfile.USTAR_FORMAT)


def pax(name: str) -> bytes:
    head = tarfile.TarInfo(name)
    head.pax_headers = {"path": "Ref:4/00000000"}
    return head.tobuf(tarfile.PAX_FORMAT)


WHOLE = FIRST + LAST + xva.END
HOSTILE: dict[str, tuple[bytes, type[XenError]]] = {
    "no description": (WHOLE, ImportUnexpectedFile),
    "nothing": (xva.END, ImportUnexpectedFile),
    "no tar": (b"x" * 2048, ImportFailed),
    "a long description": (xva.member("ova.xml", bytes(2000)) + WHOLE, ImportFailed),
    "a second description": (OVA + OVA + WHOLE, ImportUnexpectedFile),
    "a path up": (OVA + xva.member("../../etc/passwd", b"x"), ImportUnexpectedFile),
    "an absolute path": (OVA + xva.member("/etc/passwd", b"x"), ImportUnexpectedFile),
    "a path up behind an id": (OVA + piece(0, b"x", id="Ref:4/.."), ImportUnexpectedFile),
    "a disk nobody knows": (OVA + piece(0, b"x", id="Ref:5"), ImportUnexpectedFile),
    "a symbolic link": (OVA + special("Ref:4/00000000", tarfile.SYMTYPE, "/etc"), ImportUnexpectedFile),
    "a hard link": (OVA + special("Ref:4/00000000", tarfile.LNKTYPE, "/etc/passwd"), ImportUnexpectedFile),
    "a device": (OVA + special("Ref:4/00000000", tarfile.BLKTYPE), ImportUnexpectedFile),
    "a folder": (OVA + special("Ref:4", tarfile.DIRTYPE), ImportUnexpectedFile),
    "a pax header": (OVA + pax("x" * 300), ImportUnexpectedFile),
    "a wrong checksum": (OVA + piece(0, b"a" * MIB, sum="0" * 40) + LAST + xva.END, ImportChecksumsFailed),
    "a wrong xxhash": (OVA + piece(0, b"a" * MIB, ".xxhash", sum="0" * 16) + xva.END, ImportChecksumsFailed),
    "a short checksum": (OVA + piece(0, b"a" * MIB, sum="0" * 39) + xva.END, ImportUnexpectedFile),
    "no checksum": (OVA + xva.member("Ref:4/00000000", b"a" * MIB) + LAST + xva.END, ImportUnexpectedFile),
    "the sum of another piece": (
        OVA + xva.member("Ref:4/00000000", b"a") + xva.member("Ref:4/00000001.checksum", b"0" * 40),
        ImportUnexpectedFile,
    ),
    "another kind of sum later": (OVA + FIRST + piece(2, b"c" * MIB, ".xxhash") + xva.END, ImportUnexpectedFile),
    "a piece again": (OVA + FIRST + FIRST + LAST + xva.END, ImportUnexpectedFile),
    "pieces the wrong way": (OVA + FIRST + LAST + piece(1, b"b" * MIB) + xva.END, ImportUnexpectedFile),
    "no first piece": (OVA + piece(1, b"b" * MIB) + LAST + xva.END, ImportUnexpectedFile),
    "no last piece": (OVA + FIRST + xva.END, ImportPrematureEof),
    "no disk at all": (OVA + xva.END, ImportPrematureEof),
    "more than the disk holds": (OVA + FIRST + piece(3, b"c" * MIB) + xva.END, VdiTooSmall),
    "a number beyond all bounds": (OVA + FIRST + piece(999999999999, b"c") + xva.END, VdiTooSmall),
    "a cut": (OVA + WHOLE[:-513], ImportPrematureEof),
    "a cut in a piece": (OVA + FIRST[: MIB // 2], ImportPrematureEof),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(600), ValueNotSupported),
    "gzip of nothing": (b"\x1f\x8b" + bytes(600), ImportFailed),
    "gzip that is cut": (gzip.compress(OVA + WHOLE)[:-20], ImportPrematureEof),
}


@pytest.mark.threat("T9")
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_hostile_archive_is_refused(what: str) -> None:
    data, error = HOSTILE[what]
    with pytest.raises(error):
        filled(data)


@pytest.mark.threat("T5", "T9")
def test_a_bomb_of_gzip_stays_small() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    read = xva.plain(reading(bomb))
    assert len(read(1000)) == 1000
    assert isinstance(read, xva.Inflated)
    assert len(read._waiting) < 70_000
