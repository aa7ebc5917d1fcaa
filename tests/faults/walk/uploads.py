"""Disks and machines sent over HTTP, as verbs that are walked."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from agent.classes import VDI
from agent.errors import InternalError
from agent.model.entity import Entity
from tests.agent.http.served import Served
from tests.faults.walk import hosts
from tests.faults.walk.walk import Stage

CONTENT = b"a line of what the disk holds\n" * 1000
_SENDERS = ThreadPoolExecutor(2)


def raw(stage: Stage, params: tuple[Any, ...]) -> Future[Any]:
    """Replace the content of a disk."""
    return _SENDERS.submit(_send, stage, "/import_raw_vdi", CONTENT, vdi=params[0])


def put(stage: Stage, params: tuple[Any, ...]) -> Future[Any]:
    """Make the machine of a file."""
    return _SENDERS.submit(_send, stage, "/import", params[0])


def exported(stage: Stage) -> bytes:
    """A machine as a file, which has a network that is not there any more."""
    vm = hosts.halted(stage)
    network = stage.door("network.create", {"name_label": str(uuid4())})
    stage.door("VIF.move", vm.VIFs[0], network)
    vdi = vm.VBDs[0].VDI
    assert isinstance(vdi, VDI)
    answer = _send(stage, "/export", None, ref=vm.ref)
    assert isinstance(answer, bytes), answer
    parts: list[Entity] = [vm.VIFs[0], vm.VBDs[0], vdi, vm, network]
    for part in parts:
        stage.door(f"{part.wire_name}.destroy", part)
    return answer


def _send(stage: Stage, path: str, body: bytes | None, **query: str) -> Any:
    served = Served(stage.door, stage.state)
    served.open()
    try:
        status, answer = served.ask("GET" if body is None else "PUT", path, body, **query)
    except OSError as error:
        return InternalError(f"it broke off: {error}")
    finally:
        served.close()
    return answer if status == 200 else InternalError(answer.decode())
