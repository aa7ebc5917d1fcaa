"""An exception of libvirt's has its reason, whatever Python does before it is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import libvirt
import pytest

from drivers import reasons


@pytest.fixture
def hypervisor() -> Iterator[libvirt.virConnect]:
    reasons.keep()
    opened = libvirt.open("test:///default")
    yield opened
    opened.close()


@pytest.fixture
def eager() -> Iterator[None]:
    """Garbage is collected at every chance."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


def leave(hypervisor: libvirt.virConnect) -> None:
    """A domain that only the collector of garbage finds."""
    cycle: list[object] = [hypervisor.lookupByName("test")]
    cycle.append(cycle)


@pytest.mark.usefixtures("eager")
def test_a_reason_outlives_the_collection_of_a_domain(hypervisor: libvirt.virConnect) -> None:
    for _ in range(20):
        gc.disable()
        leave(hypervisor)
        gc.enable()
        with pytest.raises(libvirt.libvirtError, match="Domain not found") as told:
            hypervisor.lookupByName("nobody")
        assert told.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


def test_a_reason_is_told_once(hypervisor: libvirt.virConnect) -> None:
    with pytest.raises(libvirt.libvirtError):
        hypervisor.lookupByName("nobody")
    hypervisor.lookupByName("test")
    assert libvirt.libvirtError("nothing was said").get_error_code() is None
