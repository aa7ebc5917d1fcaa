"""What lies between the loop and a worker: never much, never stuck, and both ends hear of the other's end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from agent.errors import TaskCancelled, VdiIoError
from agent.http import streams
from agent.http.streams import HELD_BYTES, Download, Upload

T = TypeVar("T")
PART = bytes(256 * 1024)


def nothing() -> None:
    """Watches nothing."""


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


def test_an_upload_is_read_in_whatever_pieces_are_wanted() -> None:
    async def scene() -> None:
        upload = Upload(None, True, nothing)

        def work() -> list[bytes]:
            return [upload.read(1), upload.read(5), upload.read(100), upload.read(1)]

        worker = asyncio.ensure_future(asyncio.to_thread(work))
        for part in (b"abc", b"defg", b"h"):
            assert await upload.feed(part)
        upload.end()
        assert await worker == [b"a", b"bcdef", b"gh", b""]

    run(scene())


def test_an_upload_that_nobody_reads_waits() -> None:
    async def scene() -> None:
        upload = Upload(None, True, nothing)
        fed = 0

        async def feed() -> None:
            nonlocal fed
            while await upload.feed(PART):
                fed += len(PART)

        feeding = asyncio.ensure_future(feed())
        await asyncio.sleep(0.1)
        assert HELD_BYTES <= fed <= HELD_BYTES + len(PART)
        upload.abandon()
        await feeding

    run(scene())


def test_a_cut_reaches_the_worker_at_once_and_not_after_the_end() -> None:
    async def scene() -> None:
        upload = Upload(None, True, nothing)
        worker = asyncio.ensure_future(asyncio.to_thread(upload.read, 10))
        await upload.feed(b"abc")
        upload.fail(VdiIoError("cut"))
        with pytest.raises(VdiIoError):
            await worker
        whole = Upload(None, True, nothing)
        await whole.feed(b"abc")
        whole.end()
        whole.fail(VdiIoError("too late"))
        assert await asyncio.to_thread(whole.read, 10) == b"abc"

    run(scene())


def test_a_worker_that_waits_sees_that_it_is_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.05)

    def watch() -> None:
        raise TaskCancelled("")

    async def scene() -> None:
        with pytest.raises(TaskCancelled):
            await asyncio.to_thread(Upload(None, True, watch).read, 10)
        download = Download(watch)
        download.open()
        await asyncio.to_thread(download.write, bytes(HELD_BYTES))
        with pytest.raises(TaskCancelled):
            await asyncio.to_thread(download.write, b"x")

    run(scene())


def test_a_download_is_sent_as_it_is_made_and_holds_little() -> None:
    async def scene() -> None:
        download = Download(nothing)
        download.open()
        made = 0

        def work() -> None:
            nonlocal made
            for _ in range(64):
                download.write(PART)
                made += len(PART)
            download.end()

        worker = asyncio.ensure_future(asyncio.to_thread(work))
        await asyncio.sleep(0.1)
        assert made <= HELD_BYTES + len(PART)
        got = 0
        while part := await download.part():
            got += len(part)
        await worker
        assert got == made == 64 * len(PART)

    run(scene())


@pytest.mark.fault("F11")
def test_a_client_that_goes_away_ends_the_worker() -> None:
    async def scene() -> None:
        download = Download(nothing)
        download.open()

        def work() -> None:
            while True:
                download.write(PART)

        worker = asyncio.ensure_future(asyncio.to_thread(work))
        await download.part()
        download.abandon(VdiIoError("gone"))
        with pytest.raises(VdiIoError):
            await worker

    run(scene())
