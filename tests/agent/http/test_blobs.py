"""Binary pieces: made for objects, sent and fetched at ``/blob``, bounded, and gone with what they were made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.classes import Blob
from agent.http import blobs as module
from agent.messages import blob as verbs
from agent.roles import Role
from tests.agent.http.served import Served
from tests.door import Door
from tests.fake_machine import FakeMachine

DATA = bytes(range(256)) * 5000


def files(served: Served) -> list[str]:
    folder = served.state / "blobs"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def fetched(served: Served, **query: str) -> tuple[int, bytes, Any]:
    client = served.client()
    client.request("GET", "/blob?" + "&".join(f"{key}={value}" for key, value in query.items()))
    answer = client.getresponse()
    body = answer.read()
    client.close()
    return answer.status, body, answer.headers


@pytest.mark.parametrize("name", ["VM", "host", "SR", "network", "pool"])
def test_a_piece_is_made_for_an_object(door: Door, name: str) -> None:
    door.vm()
    owner = door(f"{name}.get_all")[-1]
    made = door(f"{name}.create_new_blob", owner, "icon", "image/png")
    assert door(f"{name}.get_blobs", owner) == {"icon": made}
    assert (made.name_label, made.mime_type, made.size, made.public) == ("icon", "image/png", 0, False)
    again = door.refused(f"{name}.create_new_blob", owner, "icon", "image/png", True)
    assert again == ["MAP_DUPLICATE_KEY", name, "blobs", owner.ref, "icon"]
    assert door.refused(f"{name}.create_new_blob", owner, "", "image/png")[0] == "INVALID_VALUE"
    assert door.refused(f"{name}.create_new_blob", owner, "x", "a\r\nb/c")[0] == "INVALID_VALUE"
    door("blob.destroy", made)
    assert door(f"{name}.get_blobs", owner) == {}


def test_what_is_sent_is_fetched(served: Served) -> None:
    blob = served.door("blob.create", "")
    assert served.ask("GET", "/blob", ref=blob.ref) == (200, b"")
    assert served.ask("PUT", "/blob", DATA, ref=blob.ref) == (200, b"")
    assert blob.size == len(DATA)
    assert served.ask("GET", "/blob", uuid=blob.uuid) == (200, DATA)
    assert served.ask("HEAD", "/blob", uuid=blob.uuid) == (200, b"")
    assert served.ask("PUT", "/blob", b"new", ref=blob.ref) == (200, b"")
    assert served.ask("GET", "/blob", ref=blob.ref) == (200, b"new")
    assert files(served) == [blob.content]
    status, body, headers = fetched(served, ref=blob.ref, session_id=served.door.session)
    assert (status, body, headers["Content-Type"]) == (200, b"new", "application/octet-stream")
    assert (headers["Content-Disposition"], headers["X-Content-Type-Options"]) == ("attachment", "nosniff")


def test_only_a_public_piece_is_anybodys(served: Served) -> None:
    blob = served.door("blob.create", "text/plain", True)
    assert served.ask("PUT", "/blob", b"hello", ref=blob.ref) == (200, b"")
    status, body, headers = fetched(served, ref=blob.ref)
    assert (status, body, headers["Content-Type"], headers["Content-Disposition"]) == (
        200,
        b"hello",
        "text/plain",
        "attachment",
    )
    served.door("blob.set_public", blob, False)
    assert fetched(served, ref=blob.ref)[0] == 401
    assert fetched(served, ref="OpaqueRef:none")[0] == 404
    assert fetched(served, ref=blob.ref, session_id="OpaqueRef:none")[0] == 401


def test_who_may(served: Served) -> None:
    blob = served.door("blob.create", "")
    reader = served.door.log_in(Role.READ_ONLY)
    assert served.ask("GET", "/blob", ref=blob.ref, session_id=reader)[0] == 200
    assert served.ask("PUT", "/blob", b"x", ref=blob.ref, session_id=reader)[0] == 403
    assert blob.size == 0


def test_a_piece_has_a_largest_size(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE_MAX", 1000)
    blob = served.door("blob.create", "")
    assert served.ask("PUT", "/blob", bytes(1000), ref=blob.ref)[0] == 200
    assert served.ask("PUT", "/blob", bytes(1001), ref=blob.ref)[0] == 400
    assert (blob.size, len(files(served))) == (1000, 1)
    monkeypatch.setattr(module, "TOTAL_MAX", 1500)
    assert served.ask("PUT", "/blob", b"x", ref=blob.ref)[0] == 409
    monkeypatch.setattr(verbs, "BLOBS_MAX", 1)
    assert served.door.refused("blob.create", "")[0] == "OPERATION_NOT_ALLOWED"


def test_a_sweep_removes_what_no_piece_names(served: Served) -> None:
    blob = served.door("blob.create", "")
    served.ask("PUT", "/blob", DATA, ref=blob.ref)
    kept = module.Blobs(served.state / "blobs")
    (kept.folder / "of-nobody.1234").write_bytes(b"")
    (kept.folder / f"{blob.uuid}.underway").write_bytes(b"")
    kept.sweep(served.door.store)
    assert files(served) == sorted([blob.content, f"{blob.uuid}.underway"])
    served.door("blob.destroy", blob)
    kept.sweep(served.door.store)
    assert files(served) == []


def test_a_piece_goes_with_its_machine(door: Door) -> None:
    vm = door.vm()
    made = door("VM.create_new_blob", vm, "notes", "text/plain")
    copy = door("VM.clone", vm, "copy")
    assert (vm.blobs, copy.blobs) == ({"notes": made}, {})
    door("VM.destroy", vm)
    assert door("blob.get_all") == []


def test_a_piece_is_found_again(tmp_path: Path) -> None:
    before = Door(FakeMachine().ports(), tmp_path / "own-journal")
    pool = before("pool.get_all")[0]
    made = before("pool.create_new_blob", pool, "logo", "image/png", True)
    before.close()
    after = Door(FakeMachine().ports(), tmp_path / "own-journal")
    verbs.link(after.store)
    [found] = after.store.all(Blob)
    assert (found.uuid, found.key, found.public) == (made.uuid, "logo", True)
    assert after("pool.get_blobs", after("pool.get_all")[0]) == {"logo": found}
    after.close()
