"""The class VMSS: a schedule of snapshots. How it is kept is in ``agent.messages.vmss``, when it is due in
``schedules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from agent.classes import checks, schedules
from agent.classes.enums import VmssFrequency, VmssType
from agent.model.entity import Entity, internal, readwrite, runtime
from agent.model.types import EPOCH
from agent.roles import Role

if TYPE_CHECKING:
    from agent import classes as m

RETAINED_MAX = 100


def _retained(value: int) -> None:
    if not 1 <= value <= RETAINED_MAX:
        raise ValueError(f"1 to {RETAINED_MAX} snapshots are kept")


class VMSS(Entity, role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """A schedule by which the agent takes snapshots of machines, and deletes the oldest of these."""

    uuid: str = runtime("permanent name of this schedule")
    name_label: str = readwrite("name for people; it need not be the only one", default="", check=checks.modest)
    name_description: str = readwrite("what the schedule is for, for people", default="", check=checks.modest)
    enabled: bool = readwrite("are snapshots taken when they are due", default=True)
    type: VmssType = readwrite(
        "snapshot, or checkpoint: with the memory of machines that run",
        default=VmssType.SNAPSHOT,
        check=checks.only(
            "type",
            VmssType.SNAPSHOT,
            VmssType.CHECKPOINT,
            reason="no guest of libvirt's Xen driver can be asked to be quiet",
        ),
    )
    retained_snapshots: int = readwrite(
        "how many of its snapshots of a machine are kept: the oldest beyond goes", default=7, check=_retained
    )
    frequency: VmssFrequency = readwrite("how often snapshots are taken", default=VmssFrequency.DAILY)
    schedule: Mapping[str, str] = readwrite(
        "when, by the host's clock: min (0 to 59), hour (0 to 23), days (Monday,Friday), as the frequency needs them",
        default={},
        check=schedules.check,
    )
    last_run_time: datetime = runtime("when snapshots were last taken; 1970 for never", default=EPOCH, kept=True)
    VMs: tuple[m.VM, ...] = runtime("machines that it is for, by their field snapshot_schedule", default=())
    armed: datetime = internal("what was due before this is not made up for", default=EPOCH)
