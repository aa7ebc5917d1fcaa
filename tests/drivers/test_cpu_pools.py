"""CPU pools by xl: its tables understood, and what it says and does not say when it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import InvalidCpu, OperationNotAllowed, PoolBadState
from drivers.cpu_pools import XlCpuPools
from drivers.xl import Xl, XlPool, members_in, pools_in
from tests.drivers.fake_xl import XlHost
from tests.drivers.machines import Machines

TABLE = """\
Name               CPUs   Sched     Active   Domain count
Pool-0               2    credit2       y          2
pool 10 of others      1     credit       y          0
a-name-of-20-letters  0       null       y          0
"""
PROCESSORS = """\
Name               CPU list
Pool-0             0,1
pool 10 of others  12
a-name-of-20-letters
"""
MEMBERS = """\
Name                                        ID   Mem VCPUs\tState\tTime(s)         Cpupool
Domain-0                                     0  1024     2     r-----     606.5          Pool-0
web 2   3   128     1     r-----      1.0    7   128     1     -b----       3.5a-name-of-20-letters
"""


@pytest.fixture
def host(tmp_path: Path) -> XlHost:
    """A host with an xl of four processors."""
    return XlHost(tmp_path)


def test_pools_are_understood_as_xl_prints_them() -> None:
    assert pools_in(TABLE, PROCESSORS) == [
        XlPool("Pool-0", "credit2", (0, 1), 2),
        XlPool("pool 10 of others", "credit", (12,), 0),
        XlPool("a-name-of-20-letters", "null", (), 0),
    ]


@pytest.mark.parametrize(
    "processors",
    [
        "",
        PROCESSORS.replace("0,1", "0"),
        PROCESSORS.replace("Pool-0", "Pool-9"),
        "\n".join(PROCESSORS.splitlines()[:-1]),
    ],
)
def test_lists_between_which_something_changed_are_none(processors: str) -> None:
    assert pools_in(TABLE, processors) is None


def test_the_pool_of_a_domain_is_understood_whatever_its_name() -> None:
    assert members_in(MEMBERS) == {0: "Pool-0", 7: "a-name-of-20-letters"}
    assert members_in("") == members_in("xl: error\n") == {}


def test_a_host_without_xl_tells_of_no_pools(tmp_path: Path) -> None:
    pools = XlCpuPools(Xl(None))
    assert pools.list() is None
    with pytest.raises(OperationNotAllowed, match="does not tell"):
        pools.create("mine", "", [1])
    with pytest.raises(OperationNotAllowed):
        pools.destroy("mine")


@pytest.mark.parametrize("name", ["0", '"; cpus = []', "two words", "a\nname", ""])
def test_only_plain_words_come_near_xl(host: XlHost, machines: Machines, name: str) -> None:
    pools, vm = XlCpuPools(host.xl), machines.vm()
    calls: list[Callable[[], None]] = [
        lambda: pools.create(name, "", []),
        lambda: pools.destroy(name),
        lambda: pools.rename("Pool-0", name),
        lambda: pools.add_cpu(name, 1),
        lambda: pools.move(vm, name),
    ]
    for call in calls:
        with pytest.raises(PoolBadState):
            call()
    assert [pool["name"] for pool in host.read()["pools"]] == ["Pool-0"]


def test_a_scheduler_that_is_not_built_in_is_told_in_xls_words(host: XlHost) -> None:
    pools = XlCpuPools(host.xl)
    pools.remove_cpu("Pool-0", 3)
    with pytest.raises(OperationNotAllowed, match="error on creating cpupool"):
        pools.create("mine", "arinc653", [3])
    assert len(pools.list() or ()) == 1


def test_an_xl_that_ends_well_though_it_did_nothing_is_not_believed(host: XlHost, tmp_path: Path) -> None:
    pools = XlCpuPools(host.xl)
    tool = tmp_path / "xl"
    shirking = tool.read_text().replace(
        "exec", 'case "$1" in cpupool-cpu-*) echo "it may not have been done" >&2; exit 0;; esac\nexec'
    )
    pools.remove_cpu("Pool-0", 3)
    tool.write_text(shirking)
    with pytest.raises(OperationNotAllowed, match="it may not have been done"):
        pools.remove_cpu("Pool-0", 2)
    with pytest.raises(OperationNotAllowed, match="it may not have been done"):
        pools.add_cpu("Pool-0", 3)


def test_a_processor_that_is_not_free_is_told_in_xls_words(host: XlHost) -> None:
    with pytest.raises(InvalidCpu, match="cpu 1 illegal or not free"):
        XlCpuPools(host.xl).create("mine", "", [1])


def test_every_call_of_xl_is_refused_in_its_words(host: XlHost, machines: Machines, tmp_path: Path) -> None:
    """Whatever it is that another tool did between our look and our deed."""
    pools = XlCpuPools(host.xl)
    pools.remove_cpu("Pool-0", 3)
    pools.create("mine", "", [3])
    vm = machines.vm()
    host.run_domain(vm.uuid)
    tool = tmp_path / "xl"
    tool.write_text(
        tool.read_text().replace(
            "exec",
            'case "$1" in *destroy|*rename|*migrate) echo "libxl: error: busy" >&2; exit 1;; esac\nexec',
        )
    )
    calls: list[Callable[[], None]] = [
        lambda: pools.destroy("mine"),
        lambda: pools.rename("mine", "other"),
        lambda: pools.move(vm, "mine"),
    ]
    for call in calls:
        with pytest.raises(OperationNotAllowed, match="xl refuses: libxl: error: busy"):
            call()
