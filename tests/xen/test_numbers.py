"""Live numbers against what the guest does, by the guest's own counters, by xl and by the hypervisor, in one interval.

A reading of the API is a rate since the one before, so a row of readings, each times the seconds it stands for, is the
amount of the whole interval. That is compared with what a counter kept elsewhere grew by. Emulation makes guests slower
than they were told to be, and the counters show that the same on both sides.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from lab.dom0 import Dom0
from tests.xen.installed import PATIENCE_SECONDS, wait_until
from tests.xen.machines import MIB, Machine, Workshop

RATE = 2_000_000
"""Bytes a second of disk and card: what emulation keeps up with while other labs run; ten times that is for quiet ones.
"""
INTERVAL_SECONDS = 30.0
"""The API tells times in whole seconds, so that the interval's ends are known to 2 s of this."""
WITHIN = 0.10
OLD_SECONDS = 10
"""Of the agent's meters: after so long without a reading the next one is measured anew, over a moment."""
NAP_SECONDS = 1.0
PORT = 5002
SINK_PORT = 5001
"""Where dom0 swallows what guests send."""
DOM0_ADDRESS = "10.0.2.15"


@pytest.fixture(scope="module")
def machine(workshop: Workshop) -> Iterator[Machine]:
    """A running PV guest with a disk, which is a file that QEMU serves, and a card."""
    machine = workshop.make("pv", "counted", memory=128 * MIB)
    machine.add_disk(32 * MIB)
    yield machine.start()
    machine.remove()


@pytest.fixture
def kernels_disk(machine: Machine, dom0: Dom0) -> Iterator[str]:
    """Another disk of it, a block device that dom0's kernel serves."""
    loop = dom0.run("truncate -s 32M /root/counted.img && losetup --find --show /root/counted.img").stdout.strip()
    dom0.run(f"virsh -c xen:///system attach-disk {machine.domid} {loop} xvdb --sourcetype block --driver phy --live")
    wait_until(lambda: "xvdb" in machine.state().get("disks", ""), "the guest has the second disk")
    yield "xvdb"
    dom0.run(f"virsh -c xen:///system detach-disk {machine.domid} xvdb --live")
    dom0.run(f"losetup --detach {loop}; rm -f /root/counted.img")
    vbds = machine.api.VBD.get_all_records()
    [vbd] = [ref for ref, vbd in vbds.items() if (vbd["VM"], vbd["device"]) == (machine.vm, "xvdb")]
    wait_until(lambda: not machine.api.VBD.get_currently_attached(vbd), "the disk is shown as unplugged")
    # The disk is dom0's, and not the machine's to destroy.
    machine.api.VBD.destroy(vbd)


@dataclass
class Amounts:
    """What rates of the API added up to, by name, and for how many seconds."""

    seconds: float = 0.0
    of: dict[str, float] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        return self.of[name] / self.seconds


class Readings:
    """Readings of one object's live numbers, as often as there are new ones."""

    def __init__(self, read: Callable[[], dict[str, Any]], rates: Callable[[dict[str, Any]], dict[str, float]]) -> None:
        self._read = read
        self._rates = rates
        self._last = self._fresh(None)

    def _fresh(self, after: datetime | None) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def newer() -> bool:
            found.update(self._read())
            return after is None or _time(found) > after

        wait_until(newer, "there is a new reading")
        return found

    def begin(self) -> None:
        """Where the interval begins: a reading just made."""
        self._last = self._fresh(_time(self._last))

    def collect(self, seconds: float) -> Amounts:
        """All readings of at least so many seconds from `begin` on."""
        amounts = Amounts()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while amounts.seconds < seconds:
            assert time.monotonic() < deadline, "the API's readings are too far apart"
            time.sleep(NAP_SECONDS)
            reading = self._fresh(_time(self._last))
            passed = (_time(reading) - _time(self._last)).total_seconds()
            self._last = reading
            if passed >= OLD_SECONDS:
                # It is of a moment of its own, not since the reading before.
                continue
            for name, rate in self._rates(reading).items():
                amounts.of[name] = amounts.of.get(name, 0.0) + rate * passed
            amounts.seconds += passed
        return amounts


def _time(record: dict[str, Any]) -> datetime:
    return datetime.strptime(str(record["last_updated"]), "%Y%m%dT%H:%M:%SZ")


def of_device(read: Callable[[], dict[str, Any]]) -> Readings:
    """Bytes that a disk or card reads and writes."""
    return Readings(
        read, lambda record: {"read": record["io_read_kbs"] * 1024, "written": record["io_write_kbs"] * 1024}
    )


@contextmanager
def doing(machine: Machine, command: str, stop: str, key: str, more: int) -> Iterator[None]:
    """The guest does something, and has begun."""
    before = machine.number(key)
    machine.run(command)
    try:
        wait_until(lambda: machine.number(key) > before + more, f"the guest does {command}")
        yield
    finally:
        machine.run(stop)


def same(shown: float, counted: float, what: str) -> None:
    """Within 10 %."""
    assert abs(shown - counted) <= WITHIN * counted, f"{what}: {shown:,.0f} shown, {counted:,.0f} counted"


def grown(machine: Machine, readings: Readings, *keys: str) -> tuple[Amounts, list[float], float]:
    """What the API showed and what the guest's counters grew by while its own clock went on so many seconds."""
    readings.begin()
    before = machine.wait_until_it_answers()
    amounts = readings.collect(INTERVAL_SECONDS)
    after = machine.wait_until_it_answers()
    seconds = float(after["uptime_seconds"]) - float(before["uptime_seconds"])
    return amounts, [float(after[key]) - float(before[key]) for key in keys], seconds


# --- processors


def _cpu_seconds(dom0: Dom0) -> tuple[float, dict[int, float]]:
    """Seconds by dom0's clock, and what each domain has used by xl's word."""
    text = dom0.run("cut -d' ' -f1 /proc/uptime; xl list").stdout.splitlines()
    return float(text[0]), {int(line.split()[-5]): float(line.split()[-1]) for line in text[2:]}


def test_a_guest_that_burns_a_processor_shows_it_and_so_does_the_host(machine: Machine, dom0: Dom0) -> None:
    """Compared with what xl says that the guest got: beside other labs, one that burns gets less than a whole."""
    api = machine.api
    metrics = api.VM.get_metrics(machine.vm)
    domid = machine.domid

    def used(record: dict[str, Any]) -> dict[str, float]:
        cpus = [cpu["utilisation"] for cpu in api.host_cpu.get_all_records().values()]
        return {"guest": record["VCPUs_utilisation"]["0"], "host": sum(cpus)}

    machine.run("burn 1")
    try:
        readings = Readings(lambda: api.VM_metrics.get_record(metrics), used)
        readings.begin()
        begun, before = _cpu_seconds(dom0)
        amounts = readings.collect(INTERVAL_SECONDS)
        ended, after = _cpu_seconds(dom0)
        record = api.VM_metrics.get_record(metrics)
    finally:
        machine.run("burn 0")
    seconds = ended - begun
    guest = (after[domid] - before[domid]) / seconds
    host = sum(after[domain] - before[domain] for domain in after if domain in before) / seconds
    assert guest > 0.3, f"the guest got {guest:.2f} of a processor, which is no burning"
    same(1000 * amounts.mean("guest"), 1000 * guest, "thousandths of a processor of the guest")
    same(1000 * amounts.mean("host"), 1000 * host, "thousandths of a processor of the host")
    assert amounts.mean("host") > amounts.mean("guest")
    assert "online" in record["VCPUs_flags"]["0"]
    assert record["VCPUs_CPU"]["0"] in ("0", "1")
    assert record["VCPUs_number"] == "1"


def test_an_idle_guest_is_idle(machine: Machine) -> None:
    api = machine.api
    metrics = api.VM.get_metrics(machine.vm)
    wait_until(
        lambda: api.VM_metrics.get_record(metrics)["VCPUs_utilisation"].get("0", 1.0) < 0.3, "the guest does little"
    )


# --- disks


def _vbd_metrics(machine: Machine, disk: str) -> str:
    vbds = machine.api.VBD.get_all_records().values()
    [metrics] = [vbd["metrics"] for vbd in vbds if (vbd["VM"], vbd["device"]) == (machine.vm, disk)]
    return str(metrics)


def _shows_what_it_reads(machine: Machine, disk: str) -> None:
    metrics, key = _vbd_metrics(machine, disk), f"disk.{disk}.read_bytes"
    with doing(machine, f"load disk {disk} {RATE}", "load stop", key, RATE):
        readings = of_device(lambda: machine.api.VBD_metrics.get_record(metrics))
        amounts, [read], seconds = grown(machine, readings, key)
    assert read / seconds > RATE / 4, f"the guest read {read / seconds:,.0f} bytes a second, which says little"
    same(amounts.mean("read"), read / seconds, "bytes read a second")
    assert amounts.mean("written") < amounts.mean("read") / 20


def test_a_guest_that_reads_a_disk_of_qemus_shows_it(machine: Machine) -> None:
    _shows_what_it_reads(machine, "xvda")


def test_a_guest_that_reads_a_disk_of_the_kernels_shows_it(machine: Machine, kernels_disk: str) -> None:
    wait_until(
        lambda: any(vbd["device"] == kernels_disk for vbd in machine.api.VBD.get_all_records().values()),
        "the API shows the disk",
    )
    _shows_what_it_reads(machine, kernels_disk)


def test_a_guest_that_writes_its_disk_shows_it(machine: Machine) -> None:
    metrics = _vbd_metrics(machine, "xvda")
    key = "disk.xvda.written_bytes"
    write = "dd if=/dev/zero of=/dev/xvda bs=65536 count=16 conv=fsync,notrunc 2>/dev/null; usleep 500000"
    command = f"setsid sh -c 'echo $$ >>/run/load; while :; do {write}; done' </dev/null >/dev/null 2>&1 &"
    with doing(machine, command, "load stop", key, RATE):
        amounts, [written], seconds = grown(
            machine, of_device(lambda: machine.api.VBD_metrics.get_record(metrics)), key
        )
    assert written / seconds > RATE / 10
    same(amounts.mean("written"), written / seconds, "bytes written a second")
    assert amounts.mean("read") < amounts.mean("written") / 20


# --- cards


def _vif_metrics(machine: Machine) -> str:
    [vif] = machine.api.VM.get_VIFs(machine.vm)
    return str(machine.api.VIF.get_metrics(vif))


def test_a_guest_that_sends_shows_it_as_written(machine: Machine) -> None:
    metrics, key = _vif_metrics(machine), "card.eth0.sent_bytes"
    with doing(machine, f"load net {DOM0_ADDRESS} {SINK_PORT} {RATE}", "load stop", key, RATE):
        readings = of_device(lambda: machine.api.VIF_metrics.get_record(metrics))
        amounts, [sent, received], seconds = grown(machine, readings, key, "card.eth0.received_bytes")
    assert sent / seconds > RATE / 4
    assert received < sent / 2
    same(amounts.mean("written"), sent / seconds, "bytes sent a second")
    assert amounts.mean("read") < amounts.mean("written") / 2


def test_a_guest_that_receives_shows_it_as_read(machine: Machine, dom0: Dom0) -> None:
    metrics, key = _vif_metrics(machine), "card.eth0.received_bytes"
    sender = (
        "import socket, time\n"
        f"card = socket.create_connection(('{machine.address}', {PORT}))\n"
        f"while True: card.sendall(bytes({RATE} // 10)); time.sleep(0.1)\n"
    )
    listen = f"setsid sh -c 'echo $$ >>/run/load; nc -l -p {PORT} >/dev/null' </dev/null >/dev/null 2>&1 &"
    machine.run(listen)
    with subprocess.Popen(
        [*dom0.ssh("-S", "none", "-tt"), f'python3 -c "{sender}"'],
        cwd=dom0.run_folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as sending:
        try:
            with doing(machine, "true", "load stop", key, RATE):
                readings = of_device(lambda: machine.api.VIF_metrics.get_record(metrics))
                amounts, [received, sent], seconds = grown(machine, readings, key, "card.eth0.sent_bytes")
        finally:
            sending.terminate()
    assert received / seconds > RATE / 4
    assert sent < received / 2
    same(amounts.mean("read"), received / seconds, "bytes received a second")
    assert amounts.mean("written") < amounts.mean("read") / 2


# --- what the guest tells, and sizes


def test_the_guests_word_is_shown(machine: Machine) -> None:
    api = machine.api

    def told() -> dict[str, Any]:
        report = api.VM.get_guest_metrics(machine.vm)
        return {} if report == "OpaqueRef:NULL" else dict(api.VM_guest_metrics.get_record(report))

    wait_until(lambda: "0/ip" in told().get("networks", {}), "the guest's address is shown")
    report, state = told(), machine.wait_until_it_answers()
    assert report["networks"] == {"0/ip": machine.address, "0/ipv4/0": machine.address}
    assert report["memory"]["total"] == state["memory_total_kib"]
    same(float(report["memory"]["free"]), float(state["memory_free_kib"]), "KiB that the guest has free")
    assert report["os_version"]["name"] == "Tiny guest of the lab"
    assert report["PV_drivers_detected"] is True
    assert report["live"] is True


def test_a_machine_has_the_memory_that_xen_says(machine: Machine, dom0: Dom0) -> None:
    mebibytes = [
        int(line.split()[-4])
        for line in dom0.run("xl list").stdout.splitlines()
        if line.split()[-5] == str(machine.domid)
    ]
    metrics = machine.api.VM.get_metrics(machine.vm)
    assert [int(machine.api.VM_metrics.get_record(metrics)["memory_actual"]) // MIB] == mebibytes


def test_the_host_is_as_big_as_xen_says_and_not_as_dom0(machine: Machine, dom0: Dom0) -> None:
    api = machine.api

    def info() -> dict[str, int]:
        pairs = (line.split(":", 1) for line in dom0.run("xl info").stdout.splitlines() if ":" in line)
        return {key.strip(): int(value) for key, value in pairs if value.strip().isdecimal()}

    [metrics] = api.host_metrics.get_all()
    xen = info()
    dom0_kib = int(dom0.run("grep MemTotal /proc/meminfo").stdout.split()[1])
    assert int(api.host_metrics.get_memory_total(metrics)) // MIB == xen["total_memory"] > dom0_kib // 1024
    wait_until(
        lambda: abs(int(api.host_metrics.get_record(metrics)["memory_free"]) // MIB - info()["free_memory"]) <= 1,
        "the host's free memory is what Xen says",
    )
    cpus = api.host_cpu.get_all_records().values()
    assert len(cpus) == xen["nr_cpus"]
    assert sorted(int(cpu["number"]) for cpu in cpus) == list(range(xen["nr_cpus"]))
