"""The simulated host's storage: what a restart forgets and what it keeps, and what a full disk says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import classes as c
from agent.classes.enums import VdiType
from agent.errors import InvalidValue, SrBackendFailure, SrFull, ValueNotSupported
from agent.model import api
from drivers.connection import Connection
from drivers.folders import SimulatedStorage

api.seal_classes(c)

MIB = 1024 * 1024

NODE = """<node><pool type='dir'><name>default-pool</name><uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>
<target><path>/default-pool</path></target></pool></node>"""


def ignore(part: float) -> None:
    """A progress callback that nobody looks at."""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SimulatedStorage]:
    """Of a simulated host of its own: a file makes every connection one."""
    yield from started(tmp_path)


def started(tmp_path: Path) -> Iterator[SimulatedStorage]:
    (tmp_path / "node.xml").write_text(NODE)
    connection = Connection(f"test://{tmp_path}/node.xml")
    connection.start()
    yield SimulatedStorage(connection, tmp_path / "state")
    connection.close()


def adopted(storage: SimulatedStorage) -> c.SR:
    """The repository that the agent makes of the pool there is."""
    (pool,) = storage.pools()
    sr = c.SR(name_label=pool.name, type=pool.type)
    sr.uuid = pool.uuid
    return sr


def disk(sr: c.SR, size: int = MIB, **fields: object) -> c.VDI:
    return c.VDI(SR=sr, virtual_size=size, type=VdiType.USER, **fields)  # type: ignore[arg-type]


def test_a_pool_that_was_there_has_a_folder_too(storage: SimulatedStorage, tmp_path: Path) -> None:
    sr = adopted(storage)
    assert storage.scan(sr) == []
    made = storage.create_volume(disk(sr))
    assert made.location == str(tmp_path / "state" / "storage" / sr.uuid / made.name)
    assert Path(made.location).exists()
    assert not Path("/default-pool").exists()


def test_disks_are_still_there_after_a_restart(storage: SimulatedStorage, tmp_path: Path) -> None:
    sr, host = c.SR(name_label="disks", type="nfs"), c.Host()
    config = {"server": "filer", "serverpath": "/srv"}
    storage.create(sr, config)
    vdi = disk(sr)
    made = storage.create_volume(vdi)
    Path(made.location).write_bytes(b"kept" + bytes(MIB - 4))
    for restarted in started(tmp_path):
        assert [pool.uuid for pool in restarted.pools()] == [adopted(restarted).uuid]
        restarted.attach(c.PBD(host=host, SR=sr, device_config=config))
        assert [(pool.uuid, pool.type, pool.active) for pool in restarted.pools() if pool.uuid == sr.uuid] == [
            (sr.uuid, "nfs", True)
        ]
        assert [volume.location for volume in restarted.scan(sr)] == [made.location]
        assert Path(made.location).read_bytes().startswith(b"kept")


def test_usage_is_what_the_files_of_this_repository_take(storage: SimulatedStorage) -> None:
    sr = adopted(storage)
    made = storage.create_volume(disk(sr, 16 * MIB))
    size, used = storage.usage(sr)
    assert (size > 0, used) == (True, 0)
    Path(made.location).write_bytes(b"x" * MIB)
    assert storage.usage(sr) == (size, MIB)


def test_disks_are_raw_unless_the_disk_or_its_repository_says_otherwise(storage: SimulatedStorage) -> None:
    sr = adopted(storage)
    assert storage.create_volume(disk(sr)).format == "raw"
    assert storage.create_volume(disk(sr, sm_config={"type": "qcow2"})).format == "qcow2"
    sr.sm_config = {"type": "qcow2"}
    assert storage.create_volume(disk(sr)).format == "qcow2"
    assert storage.create_volume(disk(sr, sm_config={"type": "raw"})).format == "raw"
    with pytest.raises(ValueNotSupported):
        storage.create_volume(disk(sr, sm_config={"type": "vhd"}))


def test_files_of_nobody_are_not_disks(storage: SimulatedStorage) -> None:
    sr = adopted(storage)
    folder = Path(storage.create_volume(disk(sr)).location).parent
    (folder / "notes.txt").write_text("mine")
    (folder / "cd.iso").write_bytes(bytes(MIB))
    assert {volume.name: volume.read_only for volume in storage.scan(sr) if volume.name == "cd.iso"} == {"cd.iso": True}
    assert len(storage.scan(sr)) == 2


def test_a_full_disk_is_a_full_repository_and_no_half_copy(storage: SimulatedStorage, mocker: MockerFixture) -> None:
    sr = adopted(storage)
    source = disk(sr)
    source.location = storage.create_volume(source).location
    Path(source.location).write_bytes(b"x" * MIB)
    mocker.patch("drivers.sparse.os.pwrite", side_effect=OSError(28, "No space left on device"))
    with pytest.raises(SrFull) as caught:
        storage.copy_volume(source, disk(sr), ignore)
    assert caught.value.requested == MIB
    assert [path.name for path in Path(source.location).parent.iterdir()] == [Path(source.location).name]


def test_what_else_the_file_system_refuses_is_told(storage: SimulatedStorage, mocker: MockerFixture) -> None:
    sr = adopted(storage)
    storage.scan(sr)
    mocker.patch("drivers.sparse.os.ftruncate", side_effect=OSError(5, "Input/output error"))
    with pytest.raises(SrBackendFailure) as caught:
        storage.create_volume(disk(sr))
    assert caught.value.description == ["SR_BACKEND_FAILURE", "EIO", "file system", "Input/output error"]


def test_a_repository_without_a_folder_is_not_made(storage: SimulatedStorage, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    sr = c.SR(type="file")
    with pytest.raises(SrBackendFailure):
        storage.create(sr, {"location": "/srv"})
    assert sr.uuid not in [pool.uuid for pool in storage.pools()]


def test_a_uuid_that_is_a_path_leads_nowhere(storage: SimulatedStorage, tmp_path: Path) -> None:
    (tmp_path / "state" / "storage").mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    sr = c.SR(type="file")
    sr.uuid = "../../victim"
    with pytest.raises(InvalidValue):
        storage.destroy(sr)
    assert (tmp_path / "victim").exists()
