"""How cases are shared out among labs: those that make use of the same machine, or are run in one go, stay together.

pytest-xdist's own way to say so (``xdist_group``, 3.8) marks the names of cases, which pytest 9.2 lets nobody do; so
what belongs together is told from the names as they are.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.xen.works import KINDS

CPU_POOLS = "test_cpu_pools"
LONGEST = ("test_package", "test_lifecycle hvm", "test_contract test_domains.py", "test_devices hvm")
"""What boots a lab of its own, before there are others; and what takes longest, so that no lab has only that left when
the others are done.
"""
TELLING = (
    *("test_lab", "test_lifecycle pv", "test_devices pv", "test_faults", "test_behind_our_back", "test_lifecycle pvh"),
    *("test_numbers", "test_contract test_domains.py"),
)
"""What says most of the agent in the least time, where there is not time for all."""


def group(nodeid: str) -> str:
    """The file, and within it the kind of guest, or the file of contracts that is run as a whole."""
    if CPU_POOLS in nodeid:
        return CPU_POOLS
    name, _, params = nodeid.partition("[")
    file = PurePosixPath(name.partition("::")[0]).stem
    contract, named, _ = params.partition("::")
    kinds = [word for word in params.rstrip("]").split("-") if word in KINDS]
    return " ".join([file, contract] if named else [file, *kinds])


def place(nodeid: str, *, hurried: bool) -> int:
    """Where in the order it comes: lower is earlier. `hurried` is whether there is not time for all.

    Taking a processor from a CPU pool was seen to end in a panic of Xen 4.17's scheduler, in some runs, so that comes
    last.
    """
    own, first = group(nodeid), TELLING if hurried else LONGEST
    if own == CPU_POOLS:
        return len(first) + 1
    return first.index(own) if own in first else len(first)


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """pytest-xdist's scheduler of scopes, with groups for scopes, in the order of their cases."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
