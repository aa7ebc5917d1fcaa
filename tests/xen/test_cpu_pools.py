"""CPU pools of a real Xen, through the installed agent: a processor leaves the first pool, becomes one of its own, and
comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.dom0 import Dom0
from tests.xen.installed import InstalledAgent, wait_until

NAME = "lab-pool"


@pytest.fixture
def api(agent: InstalledAgent, dom0: Dom0) -> Iterator[Any]:
    """The messages; whatever became of the pools, all processors are in the first one again."""
    with agent.session() as session:
        yield session.xenapi
    dom0.run(f"xl cpupool-destroy {NAME}", check=False)
    dom0.run("xl cpupool-cpu-add Pool-0 1", check=False)


def test_a_pool_of_one_processor_is_made_of_the_hosts_last_and_given_back(api: Any, dom0: Dom0) -> None:
    [first] = api.cpu_pool.get_by_name_label("Pool-0")
    [control] = [vm for vm, record in api.VM.get_all_records().items() if record["is_control_domain"]]
    assert api.VM.get_cpu_pool(control) == [first]
    processors = {api.host_cpu.get_number(cpu): cpu for cpu in api.cpu_pool.get_host_CPUs(first)}
    last = processors[max(processors, key=int)]
    api.cpu_pool.remove_host_CPU_live(first, last)
    assert api.host_cpu.get_unassigned_cpus() == [last]

    pool = api.cpu_pool.create({"name_label": NAME, "sched_policy": "credit"})
    api.cpu_pool.activate(pool)
    assert api.cpu_pool.get_host_CPUs(pool) == [last]
    [line] = [line for line in dom0.run("xl cpupool-list").stdout.splitlines() if line.startswith(NAME)]
    assert line.split()[1:3] == ["1", "credit"]

    api.cpu_pool.deactivate(pool)
    assert NAME not in dom0.run("xl cpupool-list").stdout
    api.cpu_pool.destroy(pool)
    api.cpu_pool.add_host_CPU_live(first, last)
    assert len(api.cpu_pool.get_host_CPUs(first)) == len(processors)


def test_a_pool_of_xl_is_shown(api: Any, dom0: Dom0) -> None:
    dom0.run("xl cpupool-cpu-remove Pool-0 1")
    dom0.run(f"""xl cpupool-create 'name="{NAME}"' 'cpus=["1"]'""")
    wait_until(lambda: bool(api.cpu_pool.get_by_name_label(NAME)), "the pool is shown")
