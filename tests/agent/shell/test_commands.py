"""What commands do: which objects they choose, what they send, what they print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.client import Failure
from agent.shell.asked import Misused
from agent.shell.commands import Commands
from agent.shell.objects import Missing
from tests.agent.shell.conftest import REF, UUID, Perform, Recorder, machines

ONE, TWO = (f"0000000{n}-0000-0000-0000-000000000000" for n in (1, 2))


@pytest.fixture
def two(recorder: Recorder) -> Recorder:
    """Two machines, web and db."""
    recorder.answers["VM.get_all_records"] = machines(_1="web", _2="db")
    return recorder


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_list_is_a_table_in_the_order_of_names(
    two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    perform("vm-list", "params=uuid,name-label,power-state")
    assert printed(capsys) == [
        "UUID                                  NAME-LABEL  POWER-STATE",
        f"{TWO}  db          halted",
        f"{ONE}  web         halted",
    ]


@pytest.mark.parametrize(
    "filters",
    [
        ["name-label=web"],
        ["name_label=web"],
        ["NAME-LABEL=web", "power-state=HALTED"],
        ["tags=web"],
        ["other-config:role=web"],
        [f"uuid={ONE}"],
        ["is-a-template=false", "tags=web"],
    ],
)
def test_a_list_is_narrowed_by_fields(
    two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str], filters: list[str]
) -> None:
    perform("vm-list", *filters, minimal=True)
    assert printed(capsys) == [ONE]


def test_an_empty_list_is_empty(two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]) -> None:
    perform("vm-list", "name-label=nobody")
    perform("vm-list", "name-label=nobody", json=True)
    assert printed(capsys) == ["[]"]


def test_templates_and_snapshots_are_in_lists_of_their_own(
    two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    records: dict[str, Any] = {ref: dict(record) for ref, record in machines(_1="web", _2="web").items()}
    records[f"OpaqueRef:{TWO}"]["is_a_template"] = True
    two.answers["VM.get_all_records"] = records
    perform("vm-list", minimal=True)
    perform("template-list", minimal=True)
    perform("snapshot-list", minimal=True)
    assert printed(capsys) == [ONE, TWO, ""]
    perform("template-param-set", "template=web", "name-label=new")
    assert two.changes() == [("VM.set_name_label", [f"OpaqueRef:{TWO}", "new"])]


def test_json_has_the_names_and_types_of_the_api(
    two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    perform("vm-list", "params=name-label,tags,is-a-template,affinity", "name-label=web", json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"name_label": "web", "tags": ["web"], "is_a_template": False, "affinity": None}
    ]


def test_commas_in_a_minimal_list_are_marked(
    recorder: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.answers["VM.get_all_records"] = machines(_1="a,b", _2="c\\d")
    perform("vm-list", "params=name-label", minimal=True)
    assert printed(capsys) == ["a\\,b,c\\\\d"]


def test_references_are_shown_as_uuids_or_as_names(
    two: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    two.answers["VBD.get_all_records"] = {REF: {"uuid": UUID, "VM": f"OpaqueRef:{ONE}", "device": "xvda"}}
    perform("vbd-list", "params=vm,vm-uuid,vm-name-label", json=True)
    assert json.loads(capsys.readouterr().out) == [{"VM": ONE, "VM_name_label": "web"}]
    for text in (f"vm-uuid={ONE}", "vm-name-label=web", "vm=web"):
        perform("vbd-list", text, minimal=True)
    perform("vbd-list", "vm-name-label=db", minimal=True)
    assert printed(capsys) == [UUID, UUID, UUID, ""]


def test_a_name_is_enough_where_only_one_object_has_it(two: Recorder, perform: Perform) -> None:
    perform("vm-start", "vm=web", "paused=true")
    assert two.changes() == [("VM.start", [f"OpaqueRef:{ONE}", True])]


def test_a_name_of_several_objects_is_refused_with_their_uuids(recorder: Recorder, perform: Perform) -> None:
    recorder.answers["VM.get_all_records"] = machines(_1="web", _2="web")
    with pytest.raises(Missing, match=f"2 objects are called 'web'(.|\n)*{ONE}\n  {TWO}"):
        perform("vm-start", "vm=web")
    assert recorder.changes() == []


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["vm=wbe"], "there is no vm called 'wbe'; did you mean 'web'?"),
        (["name-label=zebra"], "there is no such vm"),
        (["power-state=halted"], "2 objects are meant; say which one, or --multiple for all"),
    ],
)
def test_what_is_not_there_is_told(two: Recorder, perform: Perform, texts: list[str], complaint: str) -> None:
    with pytest.raises(Missing) as told:
        perform("vm-start", *texts)
    assert str(told.value) == complaint
    assert two.changes() == []


def test_an_unknown_uuid_is_told(recorder: Recorder, perform: Perform) -> None:
    def refuse(*params: object) -> None:
        raise Failure("UUID_INVALID", ["VM", UUID])

    recorder.answers["VM.get_by_uuid"] = refuse
    with pytest.raises(Missing, match=f"there is no vm with the uuid {UUID}"):
        perform("vm-start", f"uuid={UUID}")


def test_several_objects_are_meant_only_in_words(two: Recorder, perform: Perform) -> None:
    perform("vm-start", "power-state=halted", multiple=True)
    assert [params[0] for _, params in two.changes()] == [f"OpaqueRef:{ONE}", f"OpaqueRef:{TWO}"]


@pytest.mark.parametrize(
    ("command", "texts", "complaint"),
    [
        ("vm-list", ["power-state=runing"], "none of Halted, Paused, Running, Suspended"),
        ("vm-list", ["nam-label=x"], "a vm has no field 'nam-label'; did you mean 'name-label'?"),
        ("vm-list", ["params=uuid,nam"], "a vm has no field 'nam'"),
        (
            "vm-param-set",
            ["uuid=x", "power-state=halted"],
            "power-state of a vm cannot be changed so: it is RO/runtime",
        ),
        ("vm-param-set", ["uuid=x"], "say what to set"),
        ("vm-param-set", ["name-label=x"], "say which vm: uuid=... or vm=..."),
        ("vm-param-set", ["uuid=x", "name-label:a=b"], "name-label is no map"),
        ("vm-param-set", ["uuid=x", "auto-power-on=perhaps"], "neither true nor false"),
        ("vm-param-get", ["uuid=x"], "say which field"),
        ("vm-param-add", ["uuid=x", "param-name=other-config"], "say what to add: key=value"),
        ("vm-param-add", ["uuid=x", "param-name=tags"], "say what to add: param-key=..."),
        ("vm-param-remove", ["uuid=x", "param-name=tags"], "say what to remove"),
        ("vm-param-clear", ["uuid=x", "param-name=name-label"], "is neither set nor map"),
        ("vm-start", ["uuid=x", "pased=true"], "there is no parameter 'pased' here; did you mean 'paused' or"),
        ("vm-clone", ["uuid=x"], "it needs new-name=..."),
        ("vdi-create", ["name-label=x"], "it needs"),
        ("vdi-export", ["uuid=x"], "it needs filename=..."),
    ],
)
def test_a_wrong_use_is_told(
    command: str, texts: list[str], complaint: str, perform: Perform, recorder: Recorder
) -> None:
    with pytest.raises(Misused) as told:
        perform(command, *texts)
    assert complaint in str(told.value)
    assert recorder.changes() == []


@pytest.mark.parametrize("name", ["vm-lst", "vms-list", "vn-list"])
def test_an_unknown_command_is_told_with_what_may_be_meant(name: str, commands: Commands) -> None:
    with pytest.raises(Misused, match=f"invalid choice: '{name}'; did you mean .*'vm-list'"):
        commands.find(name)


@pytest.mark.parametrize("name", ["VM-LIST", "vm_list", "VM.list"[:2] + "-list", "vmlist"])
def test_a_command_is_known_in_any_spelling(name: str, commands: Commands) -> None:
    assert commands.find(name).name == "vm-list"


def test_one_member_of_a_map_is_replaced(recorder: Recorder, perform: Perform) -> None:
    perform("vm-param-set", f"uuid={UUID}", "other-config:a=b=c", "name-label=new")
    assert recorder.changes() == [
        ("VM.remove_from_other_config", [REF, "a"]),
        ("VM.add_to_other_config", [REF, "a", "b=c"]),
        ("VM.set_name_label", [REF, "new"]),
    ]


def test_one_member_of_a_map_is_shown(recorder: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]) -> None:
    recorder.answers["VM.get_record"] = {"other_config": {"a": "b"}, "power_state": "Running"}
    of = (f"uuid={UUID}", "param-name=other-config")
    perform("vm-param-get", *of, "param-key=a")
    perform("vm-param-get", *of)
    perform("vm-param-get", f"uuid={UUID}", "param-name=power-state")
    assert printed(capsys) == ["b", "a: b", "running"]
    with pytest.raises(Missing, match="other-config has no key 'c'"):
        perform("vm-param-get", *of, "param-key=c")


def test_create_takes_fields_one_by_one_and_fills_in_the_host(recorder: Recorder, perform: Perform) -> None:
    recorder.answers["SR.get_all_records"] = {REF: {"uuid": UUID, "name_label": "disks"}}
    perform("vdi-create", "name-label=d", "sr=disks", "virtual-size=1MiB", "type=user", "other-config:a=b")
    [(sent, [record])] = recorder.changes()
    assert sent == "VDI.create"
    given = {"name_label": "d", "SR": REF, "virtual_size": 2**20, "type": "user", "other_config": {"a": "b"}}
    assert record.items() >= given.items()


def test_what_the_wire_needs_and_a_person_does_not_is_filled_in(recorder: Recorder, perform: Perform) -> None:
    recorder.answers["host.get_all_records"] = {REF: {"uuid": UUID, "name_label": "xen"}}
    perform("sr-create", "name-label=s", "type=file", "device-config:location=/srv")
    assert recorder.changes() == [
        ("SR.create", [REF, {"location": "/srv"}, 0, "s", "", "file", "", False]),
    ]
    recorder.answers["host.get_all_records"] = {"OpaqueRef:1": {}, "OpaqueRef:2": {}}
    recorder.sent.clear()
    with pytest.raises(Misused, match="it needs host="):
        perform("sr-create", "name-label=s", "type=file")


def test_the_result_of_a_verb_is_printed(
    recorder: Recorder, perform: Perform, capsys: pytest.CaptureFixture[str]
) -> None:
    result = f"<value>{REF}</value>"
    recorder.answers["task.get_record"] = {"uuid": UUID, "status": "success", "result": result, "progress": 1.0}
    perform("vm-clone", f"uuid={UUID}", "new-name-label=copy")
    perform("vm-clone", f"uuid={UUID}", "new-name=copy", json=True)
    assert printed(capsys) == [UUID, f'"{UUID}"']
    assert recorder.changes()[0] == ("VM.clone", [REF, "copy"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [([], "VM.clean_shutdown"), (["force=false"], "VM.clean_shutdown"), (["force=true"], "VM.hard_shutdown")],
)
def test_shutdown_is_what_xe_means_by_it(recorder: Recorder, perform: Perform, texts: list[str], message: str) -> None:
    perform("vm-shutdown", f"vm={UUID}", *texts)
    assert recorder.changes() == [(message, [REF])]
