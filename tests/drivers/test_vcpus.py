"""Virtual CPUs by libvirt's own C function, on the hypervisor that lives in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import libvirt
import pytest

from drivers.connection import Connection
from drivers.vcpus import pin_vcpu, vcpus_of

GUEST = """<domain type='test'><name>vcpus</name><memory unit='MiB'>64</memory><vcpu>3</vcpu>
<os><type>hvm</type></os></domain>"""


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[libvirt.virDomain]:
    (tmp_path / "node.xml").write_text("<node/>")
    connection = Connection(f"test://{tmp_path}/node.xml")
    connection.start()
    yield connection.handle.createXML(GUEST)
    connection.close()


def test_it_says_what_the_binding_would_say(domain: libvirt.virDomain) -> None:
    told = domain.vcpus()[0]
    found = vcpus_of(domain, 3)
    assert [(vcpu.number, vcpu.cpu, vcpu.running) for vcpu in found] == [
        (number, cpu, state == libvirt.VIR_VCPU_RUNNING) for number, state, _, cpu in told
    ]
    assert [vcpu.number for vcpu in found] == [0, 1, 2]
    assert all(vcpu.used_ns > 0 and not vcpu.blocked for vcpu in found)


def test_no_more_are_told_than_were_asked_for(domain: libvirt.virDomain) -> None:
    assert len(vcpus_of(domain, 1)) == 1


def test_a_domain_that_is_off_is_libvirts_error(domain: libvirt.virDomain) -> None:
    domain.destroy()
    with pytest.raises(libvirt.libvirtError) as raised:
        vcpus_of(domain, 1)
    assert raised.value.get_error_code() is not None


def test_what_is_no_domain_is_not_followed() -> None:
    with pytest.raises(ValueError, match="PyCapsule"):
        vcpus_of(Mock(_o=object()), 1)


def test_a_virtual_cpu_is_pinned_to_processors(domain: libvirt.virDomain) -> None:
    pin_vcpu(domain, 1, {0, 5})
    pin_vcpu(domain, 2, [3])
    assert [[cpu for cpu, may in enumerate(mask) if may] for mask in domain.vcpus()[1][1:]] == [[0, 5], [3]]


def test_one_that_is_not_there_is_libvirts_error(domain: libvirt.virDomain) -> None:
    with pytest.raises(libvirt.libvirtError, match="vcpu"):
        pin_vcpu(domain, 7, {0})
