"""Storage types and device_configs as pool XML: what is written is valid, and reads back as what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from agent.errors import SrUnknownDriver, ValueNotSupported
from drivers.pool_xml import TYPES, build_flags, device_config_of, needs_mount_point, pool_xml

UUID = "dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566"
SCHEMA = Path("/usr/share/libvirt/schemas/storagepool.rng")

CONFIGS: list[tuple[str, dict[str, str], str, dict[str, str]]] = [
    ("file", {"location": "/srv/disks"}, "dir", {"location": "/srv/disks"}),
    ("dir", {"path": "/srv/disks/"}, "dir", {"location": "/srv/disks"}),
    ("ext", {"location": "/srv/Grüße & <more>"}, "dir", {"location": "/srv/Grüße & <more>"}),
    ("iso", {"location": "/srv/iso", "legacy_mode": "true"}, "dir", {"location": "/srv/iso"}),
    (
        "iso",
        {"location": "filer:/srv/iso", "type": "nfs_iso"},
        "netfs",
        {"server": "filer", "serverpath": "/srv/iso", "path": f"/run/sr-mount/{UUID}"},
    ),
    (
        "nfs",
        {"server": "filer.example", "serverpath": "/srv", "nfsversion": "4"},
        "netfs",
        {"server": "filer.example", "serverpath": "/srv", "nfsversion": "4", "path": f"/run/sr-mount/{UUID}"},
    ),
    (
        "netfs",
        {"host": "192.0.2.1", "dir": "/srv", "path": "/mnt/x"},
        "netfs",
        {"server": "192.0.2.1", "path": "/mnt/x"},
    ),
    ("fs", {"device": "/dev/sdb1"}, "fs", {"device": "/dev/sdb1", "path": f"/run/sr-mount/{UUID}"}),
    (
        "lvm",
        {"device": "/dev/sdb,/dev/sdc"},
        "logical",
        {"device": "/dev/sdb,/dev/sdc", "name": f"VG_XenStorage-{UUID}"},
    ),
    ("logical", {"name": "vg0"}, "logical", {"name": "vg0"}),
    ("disk", {"device": "/dev/sdb"}, "disk", {"device": "/dev/sdb"}),
    (
        "iscsi",
        {"target": "192.0.2.1", "targetIQN": "iqn.2001-05.com.example:storage"},
        "iscsi",
        {"server": "192.0.2.1", "device": "iqn.2001-05.com.example:storage"},
    ),
    (
        "ext",
        {"device": "/dev/sdb", "format": "true"},
        "fs",
        {"device": "/dev/sdb", "fstype": "ext4", "path": f"/run/sr-mount/{UUID}"},
    ),
    ("zfs", {"name": "tank/disks"}, "zfs", {"name": "tank/disks"}),
    (
        "rbd",
        {"server": "a.example,192.0.2.7", "name": "rbd", "username": "agent", "secret": UUID},
        "rbd",
        {"server": "a.example,192.0.2.7", "name": "rbd", "username": "agent", "secret": UUID},
    ),
    ("gluster", {"server": "a", "name": "v", "serverpath": "/x"}, "gluster", {"server": "a", "serverpath": "/x"}),
    ("vstorage", {"name": "cluster", "path": "/mnt/v"}, "vstorage", {"name": "cluster", "path": "/mnt/v"}),
    ("mpath", {}, "mpath", {}),
]


@pytest.mark.parametrize(("type", "given", "kind", "told"), CONFIGS)
def test_a_pool_says_what_its_device_config_asked_for(
    type: str, given: dict[str, str], kind: str, told: dict[str, str]
) -> None:
    pool = etree.fromstring(pool_xml(UUID, "a name", type, given))
    assert (pool.get("type"), pool.findtext("uuid"), pool.findtext("name")) == (kind, UUID, "a name")
    assert told.items() <= device_config_of(pool).items()


def test_every_type_is_tried() -> None:
    assert {type for type, *_ in CONFIGS} == set(TYPES)


@pytest.mark.skipif(not SCHEMA.exists(), reason="needs libvirt's schemas, which come with libvirt0")
@pytest.mark.parametrize(("type", "given", "kind", "told"), CONFIGS)
def test_a_pool_is_valid_by_libvirts_schema(type: str, given: dict[str, str], kind: str, told: dict[str, str]) -> None:
    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    assert schema.validate(etree.fromstring(pool_xml(UUID, "name", type, given))), schema.error_log


@pytest.mark.parametrize(("type", "given", "kind", "told"), CONFIGS)
def test_what_a_pool_tells_makes_the_same_pool_again(
    type: str, given: dict[str, str], kind: str, told: dict[str, str]
) -> None:
    first = pool_xml(UUID, "name", type, given)
    again = device_config_of(etree.fromstring(first))
    assert pool_xml(UUID, "name", kind, again) == first


@pytest.mark.parametrize(
    ("type", "given"),
    [
        ("ext", {"device": "/dev/sdb"}),
        ("ext", {"device": "/dev/sdb", "format": "false"}),
        ("ext", {"device": "/dev/sdb", "format": "yes"}),
        ("ext", {"device": "/etc/passwd", "format": "true"}),
        ("file", {"location": "/srv", "format": "true"}),
        ("fs", {"device": "/dev/sdb", "fstype": "ext4 -F"}),
        ("zfs", {"name": "-f"}),
        ("zfs", {}),
        ("rbd", {"name": "x"}),
        ("rbd", {"server": "a,-o", "name": "x"}),
        ("rbd", {"server": "a", "name": "x", "username": "u"}),
        ("vstorage", {"name": "x"}),
        ("file", {"location": "relative"}),
        ("file", {"location": "/srv/.."}),
        ("file", {"location": "/srv\n/x"}),
        ("lvm", {"device": "/dev/sdb,/dev/../etc/passwd"}),
        ("lvm", {"name": "-f"}),
        ("lvm", {}),
        ("nfs", {"server": "-o x", "serverpath": "/srv"}),
        ("nfs", {"server": "filer", "serverpath": "/srv", "nfsversion": "4.1,exec"}),
        ("nfs", {"server": "filer", "serverpath": "/srv", "options": "exec"}),
        ("iso", {"location": "filer:/srv", "options": "exec"}),
        ("iso", {"location": "filer:/srv", "type": "cifs"}),
        ("iscsi", {"server": "filer", "device": "/dev/sdb"}),
    ],
)
def test_a_device_config_that_cannot_be_honoured_is_refused(type: str, given: dict[str, str]) -> None:
    with pytest.raises(ValueNotSupported):
        pool_xml(UUID, "name", type, given)


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(SrUnknownDriver) as caught:
        pool_xml(UUID, "name", "hba", {})
    assert caught.value.driver == "hba"


def test_a_pool_of_a_type_we_cannot_make_still_tells_where_it_is() -> None:
    pool = etree.fromstring("<pool type='scsi'><target><path>/dev/disk/by-path</path></target></pool>")
    assert device_config_of(pool) == {"path": "/dev/disk/by-path"}


def test_devices_are_formatted_only_if_that_is_asked_for() -> None:
    for type, given, kind, _ in CONFIGS:
        flags = build_flags(etree.fromstring(pool_xml(UUID, "name", type, given)), given)
        expected = {"dir": 0, "netfs": 0, "fs": 0}
        if "format" in given:
            assert flags == 4  # libvirt's VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
        elif kind == "logical":
            # libvirt's VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
            assert flags == (4 if "device" in given else None)
        else:
            assert flags == expected.get(kind)
    given = {"device": "/dev/sdb", "format": "overwrite"}
    assert build_flags(etree.fromstring(pool_xml(UUID, "name", "ext", given)), given) == 8


def test_only_our_own_mount_points_are_made() -> None:
    ours = etree.fromstring(pool_xml(UUID, "name", "nfs", {"server": "a", "serverpath": "/b"}))
    theirs = etree.fromstring(pool_xml(UUID, "name", "nfs", {"server": "a", "serverpath": "/b", "path": "/mnt"}))
    assert (needs_mount_point(ours), needs_mount_point(theirs)) == (True, False)
