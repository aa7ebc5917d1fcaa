"""Classes that no object is one of: all reads are empty, and what would make one is refused as xapi refuses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.classes import ABSENT
from agent.classes.absent import ENUMS
from agent.model.api import least_role
from agent.model.notation import type_of
from agent.model.types import NULL
from tests.door import Door, sealed
from tests.fake_machine import FakeMachine
from tests.modern import XAPI

NAMES = [cls.wire_name for cls in ABSENT]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = Door(FakeMachine().ports(), None, users=tmp_path_factory.mktemp("absent") / "users.json")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_there_is_none_and_no_reference_is_one(door: Door, name: str) -> None:
    assert list(door(f"{name}.get_all")) == []
    assert door(f"{name}.get_all_records") == {}
    assert door.refused(f"{name}.get_by_uuid", "no-such-uuid")[0] == "UUID_INVALID"
    for field in sealed().classes[name].wire_fields:
        assert door.refused(f"{name}.get_{field}", NULL) == ["HANDLE_INVALID", name, NULL]


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("VGPU.create", ["VM", NULL], ["HANDLE_INVALID", "GPU_group", NULL]),
        ("DR_task.create", ["lvmoiscsi", {}, []], ["LICENCE_RESTRICTION", "DR"]),
        ("VM_group.create", [{"name_label": "apart"}], ["LICENCE_RESTRICTION", "VM_group"]),
        ("VMPP.create", [{}], ["MESSAGE_REMOVED"]),
        ("VMPP.archive_now", ["VM"], ["MESSAGE_REMOVED"]),
        ("PVS_site.introduce", ["site", "", ""], ["LICENCE_RESTRICTION", "PVS_proxy"]),
        ("PVS_server.introduce", [[], 1, 2, NULL], ["HANDLE_INVALID", "PVS_site", NULL]),
        ("SDN_controller.introduce", [], ["OPENVSWITCH_NOT_ACTIVE"]),
        ("Cluster.pool_create", ["network", "corosync"], ["LICENCE_RESTRICTION", "Corosync"]),
        ("Repository.introduce", ["base", "", "http://a", "", True], ["NOT_IMPLEMENTED", "Repository.introduce"]),
        ("Observer.create", [{}], ["NOT_IMPLEMENTED", "Observer.create"]),
        ("Host_driver.rescan", ["host"], ["NOT_IMPLEMENTED", "Host_driver.rescan"]),
        ("Rate_limit.create", [{}], ["NOT_IMPLEMENTED", "Rate_limit.create"]),
        ("LVHD.enable_thin_provisioning", ["host", "SR", 1, 1], ["SR_OPERATION_NOT_SUPPORTED", "SR"]),
        ("pool_patch.apply", [NULL, "host"], ["HANDLE_INVALID", "pool_patch", NULL]),
    ],
)  # fmt: skip
def test_what_would_make_one_is_refused(door: Door, name: str, params: list[object], error: list[str]) -> None:
    door.vm()
    objects = {each: door(f"{each}.get_all")[0].ref for each in ("VM", "host", "SR", "network")}
    given = [objects.get(param, param) if isinstance(param, str) else param for param in params]
    assert door.refused(name, *given) == [objects.get(word, word) for word in error]


def test_an_update_is_none_of_this_host(door: Door) -> None:
    sr = door("SR.get_all")[0]
    vdi = door("VDI.create", {"SR": sr.ref, "virtual_size": 2**20, "type": "user"})
    assert door.refused("pool_update.introduce", vdi)[0] == "INVALID_UPDATE"


def test_an_asynchronous_form_fails_as_a_task(door: Door) -> None:
    task = door.ended(door("Async.DR_task.create", "nfs", {}, []))
    assert list(task.error_info) == ["LICENCE_RESTRICTION", "DR"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_back_has_the_names_it_was_written_by(name: str) -> None:
    for field, (kind, _) in XAPI["classes"][name]["fields"].items():
        assert type_of(kind, ENUMS).name == kind, field


def test_all_that_xapi_has_of_them_is_there() -> None:
    for name in NAMES:
        for part in ("messages", "removed_messages"):
            for message, fact in XAPI["classes"][name].get(part, {}).items():
                ours = sealed().messages.get(f"{name}.{message}")
                assert (ours is not None) or fact["kind"] == "get_all_where", f"{name}.{message}"
                if ours is not None and not ours.derived and fact["role"] is not None:
                    assert least_role(ours).wire == fact["role"], ours.full_name
