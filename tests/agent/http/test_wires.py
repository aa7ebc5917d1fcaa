"""Long bodies that a worker moves itself: whole, no octet more, and both ends hear of the other's end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent.errors import TaskCancelled, VdiIoError
from agent.http import wires
from agent.http.streams import Download, Upload
from agent.http.wires import Wire
from tests.agent.http.served import SIZE, Served

EARLY = VdiIoError("early")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def nothing() -> None:
    """Watches nothing."""


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 30))


def test_an_upload_goes_on_on_its_wire_and_ends_where_it_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends

    async def scene() -> None:
        upload = Upload(8, True, nothing)
        await upload.feed(b"abc")
        upload.lend(Wire(ours, 30), 5, EARLY)
        theirs.sendall(b"de")
        assert await asyncio.to_thread(upload.read, 4) == b"abcd"
        theirs.sendall(b"fghNEXT")
        assert await asyncio.to_thread(upload.read, 100) == b"efgh"
        assert upload.read(1) == b""
        upload.fail(VdiIoError("too late"))
        assert upload.read(1) == b""
        assert ours.recv(100) == b"NEXT"

    run(scene)


@pytest.mark.fault("F11")
@pytest.mark.parametrize("how", ["ends", "pauses", "fails", "is cancelled"])
def test_an_upload_that_is_cut_ends_its_worker(
    ends: tuple[socket.socket, socket.socket], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends
    waiting = asyncio.Event()

    async def scene() -> None:
        loop = asyncio.get_running_loop()

        def watch() -> None:
            loop.call_soon_threadsafe(waiting.set)
            if how == "is cancelled":
                raise TaskCancelled("")

        monkeypatch.setattr(wires, "LOOK_SECONDS", 0.01)
        upload = Upload(8, True, watch)
        upload.lend(Wire(ours, 0.0 if how == "pauses" else 30.0), 8, EARLY)
        theirs.sendall(b"abc")
        worker = asyncio.ensure_future(asyncio.to_thread(upload.read, 8))
        await waiting.wait()
        if how == "ends":
            theirs.close()
        elif how == "fails":
            upload.fail(VdiIoError("stopped"))
        with pytest.raises(TaskCancelled if how == "is cancelled" else VdiIoError) as caught:
            await worker
        if how != "is cancelled":
            assert ("stopped" if how == "fails" else "early") in str(caught.value)

    run(scene)


def test_a_download_goes_out_on_its_wire_once_it_is_open(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    data = bytes(range(256)) * 16384

    async def scene() -> None:
        download = Download(nothing)
        worker = asyncio.ensure_future(asyncio.to_thread(download.write, data))
        await asyncio.sleep(0.05)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        theirs.setblocking(True)
        download.open(Wire(ours, 30))
        got = b""
        while len(got) < len(data):
            got += await asyncio.to_thread(theirs.recv, 2**20)
        await worker
        assert got == data
        download.end()
        assert await download.part() == b""

    run(scene)


@pytest.mark.fault("F11")
@pytest.mark.parametrize("how", ["goes", "pauses", "is abandoned"])
def test_a_client_that_takes_no_more_ends_the_worker(
    ends: tuple[socket.socket, socket.socket], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends
    waiting = asyncio.Event()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(wires, "LOOK_SECONDS", 0.01)
        download = Download(lambda: nothing_but(loop, waiting))
        download.open(Wire(ours, 0.0 if how == "pauses" else 30.0))
        worker = asyncio.ensure_future(asyncio.to_thread(download.write, bytes(2**26)))
        await waiting.wait()
        if how == "goes":
            theirs.close()
        elif how == "is abandoned":
            download.abandon(VdiIoError("abandoned"))
        with pytest.raises(VdiIoError, match="abandoned" if how == "is abandoned" else "went away"):
            await worker

    run(scene)


def nothing_but(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


@pytest.mark.parametrize("first", ["lent", "ended"])
def test_the_worker_lets_go_of_its_wire(ends: tuple[socket.socket, socket.socket], first: str) -> None:
    ours, theirs = ends

    async def scene() -> None:
        upload, download = Upload(8, True, nothing), Download(nothing)
        lent = Wire(ours.dup(), 30), Wire(ours.dup(), 30)
        if first == "ended":
            upload.abandon()
            download.end()
        upload.lend(lent[0], 8, EARLY)
        download.open(lent[1])
        if first == "lent":
            upload.abandon()
            download.end()
        ours.close()
        assert await asyncio.to_thread(theirs.recv, 1) == b"", "nobody has it any more"

    run(scene)


def test_long_bodies_are_moved_by_the_worker(served: Served, mocker: MockerFixture) -> None:
    received, sent = mocker.spy(Wire, "receive"), mocker.spy(Wire, "send")
    vdi = served.disk()
    content = bytes(range(256)) * (SIZE // 256)
    assert served.ask("PUT", "/import_raw_vdi", content, vdi=vdi.ref)[0] == 200
    assert received.call_count > 0
    client = served.client()
    for _ in range(2):  # on one connection, which goes on after an answer
        client.request("GET", served.path("/export_raw_vdi", vdi=vdi.ref))
        assert client.getresponse().read() == content
    assert sent.call_count > 0
    client.close()
