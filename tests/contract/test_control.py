"""What is done to the host as a whole and does no harm: by an xl of the tests, simulated, and on a real Xen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ports import Control
from drivers.control import HostControl, SimulatedControl
from tests.contract import real_xen as real
from tests.drivers.fake_xl import XlHost


@pytest.fixture(params=real.on("host", "simulated"))
def control(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Control]:
    """Each in turn."""
    if request.param == real.NAME:
        with real.opened(tmp_path) as machine:
            yield machine.node.control
    else:
        yield HostControl(XlHost(tmp_path).xl) if request.param == "host" else SimulatedControl()


def test_debug_keys_show_in_the_messages_until_they_are_cleared(control: Control) -> None:
    assert control.dmesg(clear=False)
    control.send_debug_keys("hh")
    assert control.dmesg(clear=False).count("'h' pressed") == 2
    assert control.dmesg(clear=True).count("'h' pressed") == 2
    assert "pressed" not in control.dmesg(clear=False)


def test_a_security_module_enforces_only_where_there_is_one(control: Control) -> None:
    seen = control.security()
    assert seen.module in ("", "flask")
    assert seen.module or not seen.enforcing
