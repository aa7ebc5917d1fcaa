"""The history of live numbers over HTTP, as exporters, Xen Orchestra and XenCenter fetch it."""

from __future__ import annotations

import base64
import json
import math
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.front_door.conftest import PASSWORD, Daemon, eventually, make_card, make_disk, make_vm
from tests.front_door.web import Web


@pytest.fixture(scope="module")
def web(daemon: Daemon) -> Web:
    made = Web(daemon, daemon.login())
    vm = make_vm(made.api, "measured")
    make_disk(made.api, vm)
    make_card(made.api, vm)
    made.api.VM.start(vm, False, False)
    eventually(lambda: f"AVERAGE:vm:{made.api.VM.get_uuid(vm)}:cpu0" in legend_of(made), "rates of the machine")
    return made


def fetched(web: Web, **query: str) -> Any:
    """The updates of the last minute."""
    answer = web.send("GET", "/rrd_updates", None, {}, **{"start": "-60", "json": "true", **query})
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)


def legend_of(web: Web, **query: str) -> list[str]:
    return list(fetched(web, **query)["meta"]["legend"])


def column(got: Any, entry: str) -> list[float]:
    place = got["meta"]["legend"].index(entry)
    return [row["values"][place] for row in got["data"]]


def measured(web: Web) -> Iterator[str]:
    for ref in web.api.VM.get_by_name_label("measured"):
        yield web.api.VM.get_uuid(ref)


def test_the_newest_row_is_first_and_rows_are_a_step_apart(web: Web) -> None:
    got = fetched(web, host="true", cf="AVERAGE")
    times = [row["t"] for row in got["data"]]
    assert got["meta"]["step"] == 5
    assert got["meta"]["rows"] == len(times) > 0
    assert got["meta"]["end"] == times[0]
    assert times == [times[0] - 5 * number for number in range(len(times))]
    assert all(len(row["values"]) == got["meta"]["columns"] == len(got["meta"]["legend"]) for row in got["data"])
    assert all(entry.startswith("AVERAGE:") for entry in got["meta"]["legend"])


def test_the_values_are_those_of_the_machine_and_the_host(web: Web) -> None:
    [uuid] = measured(web)
    got = fetched(web, host="true")
    assert column(got, f"AVERAGE:vm:{uuid}:memory")[0] == 256 * 2**20
    assert {f"AVERAGE:vm:{uuid}:{name}" for name in ("vbd_xvda_read", "vif_0_rx", "cpu0", "memory_target")} <= set(
        got["meta"]["legend"]
    )
    [host] = web.api.host.get_all_records().values()
    total = web.api.host_metrics.get_memory_total(host["metrics"])
    assert column(got, f"AVERAGE:host:{host['uuid']}:memory_total_kib")[0] * 1024 == int(total)
    busy = column(got, f"AVERAGE:host:{host['uuid']}:cpu_avg")
    assert all(0.0 <= value <= 1.0 or math.isnan(value) for value in busy)


def test_hosts_machines_and_storage_are_there_where_they_are_asked_for(web: Web) -> None:
    [uuid] = measured(web)
    assert not any(":host:" in entry for entry in legend_of(web))
    assert {entry.split(":")[2] for entry in legend_of(web, vm_uuid=uuid)} == {uuid}
    [sr] = [record["uuid"] for record in web.api.SR.get_all_records().values()][:1]
    assert f"AVERAGE:sr:{sr}:physical_size" in legend_of(web, sr_uuid=sr)
    assert web.send("GET", "/rrd_updates", vm_uuid="none").words[0] == "UUID_INVALID"


@pytest.mark.parametrize("interval", [5, 60, 3600, 86400])
def test_the_step_is_the_interval_that_was_asked_for(web: Web, interval: int) -> None:
    got = fetched(web, interval=str(interval), start="0", cf="AVERAGE")
    assert got["meta"]["step"] == interval
    assert all(row["t"] % interval == 0 for row in got["data"])
    assert got["meta"]["legend"]


def test_without_an_interval_the_step_is_the_finest_that_goes_back_so_far(web: Web) -> None:
    for back, step in ((300, 5), (3600, 60), (86400, 3600), (30 * 86400, 86400)):
        assert fetched(web, start=str(int(time.time()) - back))["meta"]["step"] == step


def test_all_ways_of_consolidation_are_there_unless_one_is_asked_for(web: Web) -> None:
    assert {entry.split(":")[0] for entry in legend_of(web, interval="60")} == {"AVERAGE", "MIN", "MAX"}
    assert {entry.split(":")[0] for entry in legend_of(web, interval="60", cf="MAX")} == {"MAX"}


def test_xml_says_the_same(web: Web) -> None:
    answer = web.send("GET", "/rrd_updates", start="-60", host="true")
    assert answer.headers["Content-Type"] == "text/xml"
    root = ElementTree.fromstring(answer.body)
    entries = [entry.text for entry in root.iterfind("meta/legend/entry")]
    assert root.findtext("meta/step") == "5"
    assert root.findtext("meta/columns") == str(len(entries))
    row = root.find("data/row")
    assert row is not None
    assert row.findtext("t") == root.findtext("meta/end")
    assert len(row.findall("v")) == len(entries)


def test_a_password_will_do_as_exporters_send_it(web: Web) -> None:
    login = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    query = {"start": str(int(time.time()) - 10), "json": "true", "host": "true", "cf": "AVERAGE"}
    answer = web.send("GET", "/rrd_updates", None, headers, session_id=None, **query)
    assert answer.status == 200
    assert json.loads(answer.body)["data"][0]["values"]
    assert web.send("GET", "/rrd_updates", session_id=None).status == 401


@pytest.mark.parametrize(("name", "value"), [("start", "soon"), ("start", "inf"), ("cf", "MEDIAN"), ("interval", "x")])
def test_what_makes_no_sense_is_refused(web: Web, name: str, value: str) -> None:
    answer = web.send("GET", "/rrd_updates", None, {}, **{name: value})
    assert answer.status == 400
    assert answer.words[0] == "INVALID_VALUE"


def test_an_archive_is_there_as_a_whole(web: Web) -> None:
    [uuid] = measured(web)
    root = ElementTree.fromstring(web.send("GET", "/vm_rrd", uuid=uuid).body)
    names = [name.text for name in root.iterfind("ds/name")]
    assert "memory" in names
    assert [rra.findtext("cf") for rra in root.iterfind("rra")] == ["AVERAGE", *["AVERAGE", "MIN", "MAX"] * 3]
    rows = root.findall("rra/database")[0].findall("row")
    assert len(rows) == 120
    assert rows[-1].findall("v")[names.index("memory")].text == repr(256.0 * 2**20)
    dumped = json.loads(web.send("GET", "/host_rrd", json="true").body)
    assert dumped["step"] == 5
    assert {"memory_total_kib", "cpu_avg"} <= {source["name"] for source in dumped["ds"]}
    assert [len(rra["database"]) for rra in dumped["rra"]] == [120, 120, 120, 120, 168, 168, 168, 366, 366, 366]
    assert web.send("GET", "/vm_rrd").words[:2] == ["INVALID_VALUE", "uuid"]


def test_the_history_outlives_the_agent(own_daemon: Daemon, tmp_path: Path) -> None:
    web = Web(own_daemon, own_daemon.login())
    eventually(lambda: fetched(web, host="true")["data"], "a row")
    before = fetched(web, host="true", start="-3600", interval="5")
    own_daemon.stop()
    own_daemon.start()
    web = Web(own_daemon, own_daemon.login())
    [host] = web.api.host.get_all_records().values()
    rows = json.loads(web.send("GET", "/host_rrd", json="true").body)
    assert "memory_total_kib" in {source["name"] for source in rows["ds"]}
    old = {row["t"] for row in before["data"]}
    assert rows["lastupdate"] >= max(old)
    eventually(lambda: fetched(web, host="true", start="-3600", interval="5")["meta"]["end"] > max(old), "a new row")
    after = fetched(web, host="true", start="-3600", interval="5")
    total = f"AVERAGE:host:{host['uuid']}:memory_total_kib"
    kept = dict(zip([row["t"] for row in after["data"]], column(after, total), strict=True))
    assert kept[max(old)] == column(before, total)[0]
