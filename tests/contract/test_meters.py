"""What live numbers must be like, on libvirt's test driver or a real Xen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest

from drivers.connection import Connection
from drivers.meters import SampledMeters
from tests.contract import real_xen as real

UUID = "9a3c1f0e-5b1e-4c4e-9a61-3c8f0de55a01"
MAC = "00:16:3e:5b:1e:01"

GUEST = f"""<domain type='test'><name>meters</name><uuid>{UUID}</uuid><memory unit='MiB'>256</memory>
<currentMemory unit='MiB'>128</currentMemory><vcpu>2</vcpu><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/x'/><target dev='xvda' bus='xen'/></disk>
<interface type='bridge'><mac address='{MAC}'/><source bridge='xenbr0'/></interface></devices></domain>"""

XEN_GUEST = f"""<domain type='xen'><name>meters</name><uuid>{UUID}</uuid><memory unit='MiB'>256</memory>
<currentMemory unit='MiB'>128</currentMemory><vcpu>2</vcpu><os><type arch='x86_64' machine='xenpv'>linux</type>
<kernel>{real.KERNELS}/vmlinux</kernel><initrd>{real.KERNELS}/guest.cpio.gz</initrd><cmdline>quiet</cmdline></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{{disk}}'/>
<target dev='xvda' bus='xen'/></disk>
<interface type='bridge'><mac address='{MAC}'/><source bridge='xenbr0'/></interface></devices></domain>"""


class Clock:
    """A clock that a test sets; the counters of the test driver follow the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> float:
        return (datetime.now(UTC) + self.ahead).timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=real.on("simulated"))
def meters(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[SampledMeters]:
    """The host's, with a running guest."""
    definition = GUEST
    if request.param == real.NAME:
        (tmp_path / "disk").write_bytes(bytes(2**20))
        definition = XEN_GUEST.format(disk=tmp_path / "disk")
    with _opened(request.param, tmp_path) as meters:
        guest = meters.connection.handle.createXML(definition)
        meters.clock = clock
        yield meters
        with suppress(libvirt.libvirtError):
            guest.destroy()


@contextmanager
def _opened(name: str, state: Path) -> Iterator[SampledMeters]:
    if name == real.NAME:
        with real.opened(state) as machine:
            assert isinstance(machine.meters, SampledMeters)
            yield machine.meters
        return
    connection = Connection("test:///default")
    connection.start()
    yield SampledMeters(connection, None)
    connection.close()


def test_every_running_domain_is_measured(meters: SampledMeters) -> None:
    domain = meters.read().domains[UUID]
    assert domain.memory_actual == 128 * 1024 * 1024
    assert set(domain.VCPUs_utilisation) == set(domain.VCPUs_CPU) == set(domain.VCPUs_flags) == {0, 1}
    assert all(0 <= load <= 1 for load in domain.VCPUs_utilisation.values())
    # A real guest is just booting, with its first processor; the test driver's have their even share of a clock.
    busy = [number for number, load in domain.VCPUs_utilisation.items() if load > 0]
    assert 0 in busy if real.URI else busy == [0, 1]
    assert set(domain.disks) == {"xvda"}
    assert set(domain.nics) == {MAC}
    assert all(rate >= 0 for pair in (*domain.disks.values(), *domain.nics.values()) for rate in pair)


def test_the_host_has_what_its_domains_leave(meters: SampledMeters) -> None:
    reading = meters.read()
    used = sum(domain.memory_actual for domain in reading.domains.values())
    assert reading.host.memory_total == meters.connection.handle.getInfo()[1] * 1024 * 1024
    left = reading.host.memory_total - used
    assert 0 < reading.host.memory_free <= left
    if not real.URI:
        # A real hypervisor needs some itself.
        assert reading.host.memory_free == left
    assert len(reading.host.cpus) == meters.connection.handle.getInfo()[2]
    assert all(0 <= load <= 1 for load in reading.host.cpus.values())
    assert "lo" not in reading.host.interfaces


def test_a_reading_says_when_it_was_taken_and_does_not_last(meters: SampledMeters, clock: Clock) -> None:
    reading = meters.read()
    assert abs(datetime.now(UTC) - reading.when) < timedelta(minutes=5)
    clock.ahead += timedelta(hours=1)
    later = meters.read()
    assert later is not reading


def test_a_domain_that_ended_is_measured_no_more(meters: SampledMeters, clock: Clock) -> None:
    assert UUID in meters.read().domains
    meters.connection.handle.lookupByUUIDString(UUID).destroy()
    clock.ahead += timedelta(hours=1)
    assert UUID not in meters.read().domains
