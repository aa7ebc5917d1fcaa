"""Disks sent and fetched over HTTP, at the front door of a daemon: every byte, every hole, and nothing half done."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import XenAPI

from agent.roles import Role
from agent.users import Users
from tests.front_door.conftest import PASSWORD, Daemon, eventually, make_vm
from tests.front_door.web import MIB, Web, answer_of

IMPORT, EXPORT = "/import_raw_vdi", "/export_raw_vdi"
CONTENT = os.urandom(100_000) + bytes(2 * MIB - 100_000) + b"x" * 4096 + bytes(MIB - 4096) + os.urandom(MIB - 1) + b"\1"
"""4 MiB, of which 1.1 are data."""
GONE = "the upload ended before its end"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    listen = ("http://127.0.0.1:0", "https://127.0.0.1:0")
    started = Daemon(tmp_path_factory.mktemp("state"), listen=listen)
    started.start()
    yield started
    started.stop()


@pytest.fixture(params=["http", "https"])
def web(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Web]:
    """Long bodies come and go another way where there is TLS."""
    session = daemon.login()
    [url] = [url for url in daemon.urls if url.startswith(f"{request.param}:")]
    yield Web(daemon, session, url)
    session.xenapi.session.logout()


@pytest.fixture
def own_web(own_daemon: Daemon) -> Web:
    return Web(own_daemon, own_daemon.login())


def as_role(daemon: Daemon, role: Role) -> Web:
    """A client with another role."""
    name = role.wire.replace("-", "")
    users = Users(daemon.state / "users.json")
    if name not in users.accounts():
        users.add(name, PASSWORD, role)
    return Web(daemon, daemon.login(name))


def same_as_before(web: Web, vdi: str, content: bytes) -> None:
    """The disk has this content, nobody holds it, and nothing is left of what failed."""
    eventually(lambda: not web.api.VDI.get_current_operations(vdi), "the end of the hold")
    assert web.file(vdi).read_bytes() == content
    eventually(lambda: not [name for name in web.files() if name.startswith(".")], "the end of what was half made")


# --- there and back


def test_a_raw_disk_comes_back_as_it_was_sent(web: Web) -> None:
    vdi = web.disk()
    answer = web.put(IMPORT, CONTENT, vdi=vdi, format="raw")
    assert (answer.status, answer.body) == (200, b"")
    record = web.api.task.get_record(answer.headers["Task-Id"])
    assert (record["name_label"], record["status"], record["progress"]) == ("VDI.import_raw", "success", 1.0)
    assert web.file(vdi).read_bytes() == CONTENT
    back = web.get(EXPORT, vdi=vdi)
    assert (back.status, back.body) == (200, CONTENT)
    assert back.headers["Content-Type"] == "application/octet-stream"
    assert web.api.VDI.get_uuid(vdi) in back.headers["Content-Disposition"]
    assert web.ended(back.headers["Task-Id"])["status"] == "success"
    assert web.get(EXPORT + "/", vdi=web.api.VDI.get_uuid(vdi)).body == CONTENT


def test_what_is_zero_takes_no_room(web: Web) -> None:
    vdi = web.disk(64 * MIB)
    content = bytes(32 * MIB) + b"x" * 4096 + bytes(32 * MIB - 4096)
    assert web.put(IMPORT, content, vdi=vdi).status == 200
    status = web.file(vdi).stat()
    assert (status.st_size, status.st_blocks * 512) == (64 * MIB, 4096)
    assert web.get(EXPORT, vdi=vdi).body == content
    assert web.api.VDI.get_physical_utilisation(vdi) == "4096"


def test_a_shorter_image_leaves_zeroes_behind_it(web: Web) -> None:
    vdi = web.disk()
    assert web.put(IMPORT, CONTENT, vdi=vdi).status == 200
    assert web.put(IMPORT, b"short", vdi=vdi).status == 200
    assert web.file(vdi).read_bytes() == b"short" + bytes(4 * MIB - 5)


@pytest.mark.parametrize(("format", "name"), [("vhd", "vpc"), ("qcow2", "qcow2")])
def test_an_image_format_there_and_back(web: Web, tmp_path: Path, format: str, name: str) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    exported = web.get(EXPORT, vdi=vdi, format=format)
    assert exported.status == 200
    image = tmp_path / "image"
    image.write_bytes(exported.body)
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", name, web.file(vdi), image], capture_output=True, check=False
    )
    assert compared.returncode == 0, compared.stdout
    other = web.disk(5 * MIB)
    assert web.put(IMPORT, exported.body, vdi=other, format=format).status == 200
    assert web.file(other).read_bytes() == CONTENT + bytes(MIB)
    web.api.VDI.destroy(other)
    options = [["-o", "subformat=fixed,force_size=on"], ["-o", "force_size=on"]] if format == "vhd" else [["-c"], []]
    for given in options:
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", name, *given, web.file(vdi), image], check=True)
        web.put(IMPORT, b"x", vdi=vdi)
        assert web.put(IMPORT, image.read_bytes(), vdi=vdi, format=format).status == 200
        assert web.file(vdi).read_bytes() == CONTENT


# --- ways to send


def test_chunks(web: Web) -> None:
    vdi = web.disk()
    assert web.put(IMPORT, (CONTENT[at : at + 70_001] for at in range(0, len(CONTENT), 70_001)), vdi=vdi).status == 200
    assert web.file(vdi).read_bytes() == CONTENT
    more = web.put(IMPORT, iter([CONTENT, b"x"]), vdi=vdi)
    assert (more.status, more.words[0]) == (413, "VDI_TOO_SMALL")
    same_as_before(web, vdi, CONTENT)


def test_expect_is_answered_before_the_body(web: Web) -> None:
    vdi = web.disk()
    with web.link() as link:
        head = (
            f"PUT {web.path(IMPORT, vdi=vdi)} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        link.sendall(head.encode())
        assert link.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(b"hello")
        assert answer_of(link) == (200, b"")
    assert web.file(vdi).read_bytes()[:5] == b"hello"
    for path, status in ((web.path(IMPORT, vdi=vdi, session_id="x"), 401), (web.path(IMPORT, vdi="x"), 404)):
        with web.link() as link:
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            link.sendall(head.encode())
            assert answer_of(link)[0] == status


def test_clients_of_http_1_0(web: Web) -> None:
    vdi = web.disk()
    with web.link() as link:
        head = f"PUT {web.path(IMPORT, vdi=vdi)} HTTP/1.0\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        link.sendall(head.encode() + CONTENT)
        assert answer_of(link) == (200, b"")
    with web.link() as link:
        link.sendall(f"GET {web.path(EXPORT, vdi=vdi)} HTTP/1.0\r\n\r\n".encode())
        assert answer_of(link) == (200, CONTENT)


@pytest.mark.parametrize("format", ["raw", "vhd"])
def test_a_stream_whose_length_its_client_does_not_know(web: Web, format: str) -> None:
    # Xen Orchestra announces 1 PiB, and waits for the answer once all has been sent.
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    image = web.get(EXPORT, vdi=vdi, format=format).body
    web.put(IMPORT, b"x", vdi=vdi)
    with web.uploading(IMPORT, 2**50, image, vdi=vdi, format=format) as link:
        assert answer_of(link) == (200, b"")
    assert web.file(vdi).read_bytes() == CONTENT


def test_a_client_that_announces_all_and_sends_nothing_is_answered_and_changes_nothing(web: Web) -> None:
    # xen-api probes so, before it sends a stream whose length it does not know.
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    tasks = web.api.task.get_all()
    with web.uploading(IMPORT, 2**50, b"", vdi=vdi) as link:
        assert link.recv(12) == b"HTTP/1.1 200"
        assert web.api.VDI.get_current_operations(vdi) == {}
    with web.uploading(IMPORT, 2**50, CONTENT, vdi=vdi) as link:
        assert answer_of(link) == (200, b"")
    assert web.file(vdi).read_bytes() == CONTENT
    assert len(web.api.task.get_all()) == len(tasks) + 1


@pytest.mark.fault("F14")
@pytest.mark.parametrize("format", ["raw", "vhd", "qcow2"])
def test_a_stream_without_a_length_that_is_cut_changes_nothing(web: Web, format: str) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    image = web.get(EXPORT, vdi=vdi, format=format).body
    task = web.task()
    with web.uploading(IMPORT, 2**50, image[: len(image) // 2], vdi=vdi, format=format, task_id=task) as link:
        assert link.recv(12) == b"HTTP/1.1 200"
    assert web.ended(task)["status"] == "failure"
    assert web.file(vdi).read_bytes() == CONTENT


def test_an_empty_request_only_asks_whether_one_may(web: Web) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    assert web.put(IMPORT, b"", vdi=vdi).status == 200
    assert web.file(vdi).read_bytes() == CONTENT
    assert web.put(IMPORT, b"", vdi=vdi, session_id="OpaqueRef:none").status == 401


# --- ranges


def test_ranges_of_a_raw_disk(web: Web) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    size = len(CONTENT)
    whole = web.get(EXPORT, vdi=vdi)
    assert whole.headers["Accept-Ranges"] == "bytes"
    tag = whole.headers["ETag"]
    wanted = {
        "bytes=0-0": (0, 1),
        "bytes=99990-100010": (99990, 100011),
        f"bytes={2 * MIB}-": (2 * MIB, size),
        "bytes=-5": (size - 5, size),
        f"bytes=5-{2 * size}": (5, size),
    }
    for asked, (start, end) in wanted.items():
        answer = web.get(EXPORT, {"Range": asked, "If-Range": tag}, vdi=vdi)
        assert (answer.status, answer.body) == (206, CONTENT[start:end]), asked
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    beyond = web.get(EXPORT, {"Range": f"bytes={size}-"}, vdi=vdi)
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    for odd in ("bytes=1-2,5-6", "items=1-2", "bytes=-", "bytes=2-1x"):
        assert web.get(EXPORT, {"Range": odd}, vdi=vdi).status == 200
    head = web.send("HEAD", EXPORT, vdi=vdi)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(size), b"")


def test_a_fetch_goes_on_only_where_the_disk_is_the_same(web: Web) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    tag = web.get(EXPORT, {"Range": "bytes=0-9"}, vdi=vdi).headers["ETag"]
    web.put(IMPORT, CONTENT[::-1], vdi=vdi)
    answer = web.get(EXPORT, {"Range": "bytes=10-19", "If-Range": tag}, vdi=vdi)
    assert (answer.status, answer.body) == (200, CONTENT[::-1])


# --- what is cut off or too much


@pytest.mark.fault("F14")
@pytest.mark.parametrize("sent", [0, 1, 2 * MIB, 4 * MIB - 1])
@pytest.mark.parametrize("lent", [False, True])
def test_an_upload_that_is_cut_leaves_the_disk_as_it_was(web: Web, sent: int, lent: bool) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    before = set(web.api.task.get_all())
    task = web.task() if lent else None
    with web.uploading(IMPORT, 4 * MIB, bytes(sent), vdi=vdi, task_id=task):
        new = eventually(lambda: [one for one in set(web.api.task.get_all()) - before if one != task or lent], "a task")
        eventually(lambda: web.api.VDI.get_current_operations(vdi), "the hold")
    record = web.ended(task or new[0])
    assert (record["status"], record["error_info"]) == ("failure", ["VDI_IO_ERROR", GONE])
    same_as_before(web, vdi, CONTENT)


@pytest.mark.fault("F14")
def test_more_than_the_disk_holds_is_refused_before_it_is_sent(web: Web) -> None:
    vdi = web.disk()
    task = web.task()
    with web.uploading(IMPORT, 4 * MIB + 1, b"", vdi=vdi, task_id=task) as link:
        status, body = answer_of(link)
    assert (status, body.decode().split()) == (413, ["VDI_TOO_SMALL", vdi, str(4 * MIB + 1)])
    assert web.ended(task)["error_info"] == ["VDI_TOO_SMALL", vdi, str(4 * MIB + 1)]
    for format in ("vhd", "qcow2"):
        with web.uploading(IMPORT, 2**40, b"", vdi=vdi, format=format) as link:
            assert answer_of(link)[0] == 413
    larger = web.disk(8 * MIB)
    for format in ("vhd", "qcow2"):
        answer = web.put(IMPORT, web.get(EXPORT, vdi=larger, format=format).body, vdi=vdi, format=format)
        assert (answer.status, answer.words) == (413, ["VDI_TOO_SMALL", vdi, str(8 * MIB)])
    same_as_before(web, vdi, bytes(4 * MIB))


@pytest.mark.threat("T10")
def test_hostile_images_are_refused(web: Web, tmp_path: Path) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    image = tmp_path / "image"

    def made(*options: str) -> bytes:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, image, "4M"], check=True)
        return image.read_bytes()

    whole = web.get(EXPORT, vdi=vdi, format="qcow2").body
    sent = {
        "qcow2": [
            made("-u", "-b", "/etc/passwd", "-F", "raw"),
            made("-o", f"data_file={tmp_path / 'data'}"),
            made()[:70_000],  # its tables are cut off
            whole[: len(whole) // 2],
            b"QFI\xfb" + bytes(4096),
            b"no image at all",
        ],
        "vhd": [b"conectix" + bytes(4096), b"no image at all", made()],
    }
    for format, images in sent.items():
        for data in images:
            answer = web.put(IMPORT, data, vdi=vdi, format=format)
            assert answer.status == 400, (format, images.index(data))
            assert answer.words[0] in ("INVALID_VALUE", "VDI_IO_ERROR")
            same_as_before(web, vdi, CONTENT)
    assert (
        web.put(IMPORT, made("-u", "-b", "/etc/passwd", "-F", "raw"), vdi=vdi).status == 200
    )  # raw is never looked at


# --- who may


@pytest.mark.threat("T15")
def test_roles(web: Web) -> None:
    vdi = web.disk()
    for role in (Role.READ_ONLY, Role.VM_OPERATOR):
        low = as_role(web.daemon, role)
        for method, path, permission in (
            ("GET", EXPORT, "http/get_export_raw_vdi"),
            ("PUT", IMPORT, "http/put_import_raw_vdi"),
            ("GET", "/export", "http/get_export"),
            ("PUT", "/import", "http/put_import"),
        ):
            answer = low.send(method, path, b"x" if method == "PUT" else None, vdi=vdi)
            assert (answer.status, answer.words[:2]) == (403, ["RBAC_PERMISSION_DENIED", permission])
        task = low.task()  # whoever waits for it is not to wait for ever
        assert low.get(EXPORT, vdi=vdi, task_id=task).status == 403
        assert low.ended(task)["error_info"][0] == "RBAC_PERMISSION_DENIED"
    admin = as_role(web.daemon, Role.VM_ADMIN)
    assert admin.put(IMPORT, CONTENT, vdi=vdi).status == 200
    assert admin.get(EXPORT, vdi=vdi).body == CONTENT


def test_ways_to_say_who_one_is(web: Web) -> None:
    vdi = web.disk()
    session = web.session._session
    sessions = len(web.api.session.get_all())
    basic = "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    for headers in ({"Cookie": f"session_id={session}"}, {"Authorization": basic}):
        assert web.get(EXPORT, headers, vdi=vdi, session_id=None).status == 200
    eventually(lambda: len(web.api.session.get_all()) == sessions, "the end of the session of one request")
    wrong = {"Authorization": "Basic " + base64.b64encode(b"root:wrong").decode()}
    for headers in ({}, wrong, {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}):
        answer = web.get(EXPORT, headers, vdi=vdi, session_id=None)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.threat("T1")
def test_wrong_questions(web: Web) -> None:
    vdi = web.disk()
    none = "OpaqueRef:00000000-0000-0000-0000-000000000000"
    answers = {
        (EXPORT, "vdi", none): (404, ["HANDLE_INVALID", "VDI", none]),
        (EXPORT, "vdi", "nothing"): (404, ["UUID_INVALID", "VDI", "nothing"]),
        (EXPORT, "base", vdi): (400, ["VALUE_NOT_SUPPORTED", "base"]),
        (EXPORT, "format", "vmdk"): (400, ["INVALID_VALUE", "format"]),
        (EXPORT, "task_id", none): (404, ["HANDLE_INVALID", "task", none]),
    }
    for (path, name, value), (status, words) in answers.items():
        query: dict[str, str | None] = {"vdi": vdi, name: value}
        answer = web.get(path, {}, **query)
        assert (answer.status, answer.words[: len(words)]) == (status, words)
    assert web.get(EXPORT).words[:2] == ["INVALID_VALUE", "vdi"]
    assert web.put(IMPORT, b"x", vdi=vdi, chunked="true").status == 400
    assert web.put(IMPORT, b"x", {"Expect": "the best"}, vdi=vdi).status == 417
    assert web.get(IMPORT, vdi=vdi).status == 405
    assert web.put(EXPORT, b"x", vdi=vdi).status == 405


# --- tasks


def test_a_lent_task_tells_how_it_goes_and_ends(web: Web) -> None:
    vdi = web.disk()
    task = web.task()
    with web.uploading(IMPORT, 4 * MIB, CONTENT[: 2 * MIB], vdi=vdi, task_id=task) as link:
        eventually(lambda: 0.4 < web.api.task.get_progress(task) < 0.6, "half of the way")
        assert web.api.VDI.get_current_operations(vdi) == {task: "blocked"}
        link.sendall(CONTENT[2 * MIB :])
        assert answer_of(link)[0] == 200
    record = web.ended(task)
    assert (record["status"], record["progress"], record["result"]) == ("success", 1.0, "")
    again = web.put(IMPORT, b"x", vdi=vdi, task_id=task)
    assert (again.status, again.words[0]) == (409, "OPERATION_NOT_ALLOWED")
    failed = web.task()
    assert web.get(EXPORT, vdi="nothing", task_id=failed).status == 404
    assert web.ended(failed)["error_info"] == ["UUID_INVALID", "VDI", "nothing"]


def test_the_task_of_another_user_is_not_to_be_had(web: Web) -> None:
    vdi, task = web.disk(), web.task()
    answer = as_role(web.daemon, Role.VM_ADMIN).get(EXPORT, vdi=vdi, task_id=task)
    assert (answer.status, answer.words[0]) == (403, "PERMISSION_DENIED")
    assert web.api.task.get_status(task) == "pending"


@pytest.mark.parametrize("lent", [False, True])
def test_a_cancelled_upload_ends_without_its_client(web: Web, lent: bool) -> None:
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    lent_task = web.task() if lent else None
    with web.uploading(IMPORT, 4 * MIB, b"x", vdi=vdi, task_id=lent_task) as link:
        [task] = eventually(lambda: web.api.VDI.get_current_operations(vdi), "the hold")
        web.api.task.cancel(task)
        status, body = answer_of(link)
    assert (status, body.decode().split()) == (409, ["TASK_CANCELLED", task])
    assert web.ended(task)["status"] == "cancelled"
    same_as_before(web, vdi, CONTENT)


# --- others meanwhile


def refused(call: Any, *args: Any) -> list[str]:
    with pytest.raises(XenAPI.Failure) as caught:
        call(*args)
    details: list[str] = caught.value.details
    return details


def test_a_disk_that_a_machine_has(web: Web) -> None:
    api = web.api
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    vm = make_vm(api)
    record = {"VM": vm, "VDI": vdi, "userdevice": "0", "bootable": True, "mode": "RW", "type": "Disk"}
    vbd = api.VBD.create(record)
    api.VM.start(vm, False, False)
    assert web.get(EXPORT, vdi=vdi).words == ["VDI_IN_USE", vdi, "export"]
    answer = web.put(IMPORT, b"x", vdi=vdi)
    assert (answer.status, answer.words) == (409, ["VDI_IN_USE", vdi, "import"])
    api.VM.suspend(vm)
    assert web.put(IMPORT, b"x", vdi=vdi).status == 409
    api.VM.hard_shutdown(vm)
    api.VBD.set_mode(vbd, "RO")
    api.VM.start(vm, False, False)
    assert web.get(EXPORT, vdi=vdi).body == CONTENT
    assert web.put(IMPORT, b"x", vdi=vdi).status == 409
    api.VM.hard_shutdown(vm)
    api.VDI.set_read_only(vdi, True)
    assert web.put(IMPORT, b"x", vdi=vdi).words == ["VDI_READONLY", vdi]
    assert web.file(vdi).read_bytes() == CONTENT


def test_a_disk_that_is_being_replaced_is_nobody_elses(web: Web) -> None:
    api = web.api
    vdi, other = web.disk(), web.disk()
    vm = make_vm(api)
    record = {"VM": vm, "VDI": vdi, "userdevice": "0", "bootable": True, "mode": "RW", "type": "Disk"}
    vbd = api.VBD.create(record)
    with web.uploading(IMPORT, 4 * MIB, CONTENT[:MIB], vdi=vdi) as link:
        eventually(lambda: api.VDI.get_current_operations(vdi), "the hold")
        assert api.VDI.get_allowed_operations(vdi) == []
        assert refused(api.VM.start, vm, False, False)[:2] == ["VDI_IN_USE", vdi]
        assert refused(api.VDI.resize, vdi, str(8 * MIB))[:2] == ["VDI_IN_USE", vdi]
        assert refused(api.VDI.snapshot, vdi)[:2] == ["VDI_IN_USE", vdi]
        assert refused(api.VDI.forget, vdi)[:2] == ["VDI_IN_USE", vdi]
        pbd = api.SR.get_PBDs(web.sr())[0]
        assert refused(api.PBD.unplug, pbd)[:2] == ["VDI_IN_USE", vdi]
        assert web.put(IMPORT, b"x", vdi=vdi).words[:2] == ["VDI_IN_USE", vdi]
        assert web.get(EXPORT, vdi=vdi).words[:2] == ["VDI_IN_USE", vdi]
        # Everybody else goes on, in the same storage too.
        assert web.put(IMPORT, CONTENT, vdi=other).status == 200
        assert web.get(EXPORT, vdi=other).body == CONTENT
        api.VDI.destroy(web.disk())
        api.SR.scan(web.sr())
        link.sendall(CONTENT[MIB:])
        assert answer_of(link)[0] == 200
    assert web.file(vdi).read_bytes() == CONTENT
    assert not api.VDI.get_missing(vdi)
    api.VM.start(vm, False, False)
    assert api.VBD.get_currently_attached(vbd)
    api.VM.hard_shutdown(vm)


def test_a_disk_that_is_being_read_is_not_written_to(web: Web) -> None:
    api = web.api
    vdi = web.disk(64 * MIB)
    vm = make_vm(api)
    record = {"VM": vm, "VDI": vdi, "userdevice": "0", "bootable": True, "mode": "RW", "type": "Disk"}
    api.VBD.create(record)
    with web.link() as link:
        link.sendall(f"GET {web.path(EXPORT, vdi=vdi)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: list(api.VDI.get_current_operations(vdi).values()) == ["copy"], "the hold")
        assert refused(api.VM.start, vm, False, False)[:2] == ["VDI_IN_USE", vdi]
        assert refused(api.VDI.destroy, vdi)[0] in ("VDI_IN_USE", "OPERATION_NOT_ALLOWED")
        assert web.put(IMPORT, b"x", vdi=vdi).status == 409
        assert web.get(EXPORT, {"Range": "bytes=0-9"}, vdi=vdi).body == bytes(10)
    # The client is gone before the end: the hold is too.
    eventually(lambda: not api.VDI.get_current_operations(vdi), "the end of the hold")
    api.VM.start(vm, False, False)
    api.VM.hard_shutdown(vm)


@pytest.mark.fault("F14")
def test_a_task_says_that_its_client_left(web: Web) -> None:
    vdi, task = web.disk(64 * MIB), web.task()
    with web.link() as link:
        link.sendall(f"GET {web.path(EXPORT, vdi=vdi, task_id=task)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        link.recv(1000)
    assert web.ended(task)["error_info"][0] == "VDI_IO_ERROR"


# --- bounds


def test_a_big_disk_costs_little_memory(own_web: Web) -> None:
    web = own_web
    size = 2**29
    process = web.daemon.process
    assert process is not None
    watched = psutil.Process(process.pid)
    vdi = web.disk(size)
    web.put(IMPORT, b"warm", vdi=vdi)
    idle = watched.memory_info().rss
    most, done = idle, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, watched.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    piece = os.urandom(MIB)
    digest = hashlib.sha256()
    try:
        with web.uploading(IMPORT, size, b"", vdi=vdi) as link:
            for number in range(size // MIB):
                part = piece if number % 64 == 0 else bytes(MIB)
                digest.update(part)
                link.sendall(part)
            assert answer_of(link) == (200, b"")
        assert web.file(vdi).stat().st_blocks * 512 <= size // 64 + MIB
        with web.link() as link:
            link.sendall(f"GET {web.path(EXPORT, vdi=vdi)} HTTP/1.0\r\n\r\n".encode())
            back, left, head = hashlib.sha256(), -1, b""
            while part := link.recv(MIB):
                if left < 0:
                    head += part
                    if b"\r\n\r\n" not in head:
                        continue
                    part = head.partition(b"\r\n\r\n")[2]
                    left = size
                back.update(part)
                left -= len(part)
        assert (left, back.digest()) == (0, digest.digest())
        image = web.get(EXPORT, vdi=vdi, format="qcow2")
        assert len(image.body) < size // 64 + 4 * MIB
        assert web.put(IMPORT, image.body, vdi=vdi, format="qcow2").status == 200
    finally:
        done.set()
        watcher.join()
    assert most - idle < 64 * MIB, f"{(most - idle) / MIB:.0f} MiB more than idle"


def test_the_agent_stops_in_the_middle(own_web: Web) -> None:
    web = own_web
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    with web.uploading(IMPORT, 4 * MIB, bytes(MIB), vdi=vdi) as link:
        [task] = eventually(lambda: web.api.VDI.get_current_operations(vdi), "the hold")
        began = time.monotonic()
        assert web.daemon.stop() == 0
        assert time.monotonic() - began < 10
        assert answer_of(link)[0] == 503
    web.daemon.start()
    again = Web(web.daemon, web.daemon.login())
    assert again.ended(task)["status"] == "failure"
    same_as_before(again, vdi, CONTENT)


@pytest.mark.fault("F7")
def test_the_power_is_cut_in_the_middle(own_web: Web) -> None:
    web = own_web
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    disks = len(web.api.VDI.get_all())
    with web.uploading(IMPORT, 4 * MIB, bytes(MIB), vdi=vdi):
        [task] = eventually(lambda: web.api.VDI.get_current_operations(vdi), "the hold")
        assert [name for name in web.files() if name.endswith(".partial")]
        web.daemon.kill()
    web.daemon.start()
    again = Web(web.daemon, web.daemon.login())
    assert again.ended(task)["status"] == "failure"
    again.api.SR.scan(again.sr())
    same_as_before(again, vdi, CONTENT)
    assert len(again.api.VDI.get_all()) == disks


def test_a_disk_that_is_laid_over_another(web: Web) -> None:
    api = web.api
    vdi = web.disk()
    web.put(IMPORT, CONTENT, vdi=vdi)
    clone = api.VDI.clone(vdi)
    base = api.VDI.get_parent(clone)
    if base != "OpaqueRef:NULL":
        for answer in (web.put(IMPORT, b"x", vdi=base), web.get(EXPORT, vdi=base)):
            assert answer.words == ["VDI_NOT_MANAGED", base]
    assert web.get(EXPORT, vdi=clone).body == CONTENT
    assert web.get(EXPORT, {"Range": "bytes=5-9"}, vdi=vdi).body == CONTENT[5:10]
    assert web.put(IMPORT, CONTENT[::-1], vdi=clone).status == 200
    assert api.VDI.get_parent(clone) == "OpaqueRef:NULL"
    assert web.get(EXPORT, vdi=clone).body == CONTENT[::-1]
    assert web.get(EXPORT, vdi=vdi).body == CONTENT
    assert base not in api.VDI.get_all(), "the base, which only one disk needs now, is merged with it"
    api.VDI.destroy(clone)
    assert web.get(EXPORT, vdi=vdi).body == CONTENT
