"""Answers in pieces: what is shared between clients, and that it is never stale."""

from __future__ import annotations

import asyncio
import json
import xmlrpc.client
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from agent import classes as c
from agent.model import types
from agent.model.types import Map, Ref, Set, Type
from agent.rpc import answers, jsonrpc
from agent.rpc import xmlrpc as xml
from agent.rpc.answers import Answers, packed
from agent.store.store import Store

ALL: Type = Map(Ref("network"), types.Record("network"))
MANY = 3 * answers.SHARED_MIN


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body())


def fill(store: Store, count: int = MANY) -> None:
    with store.transaction():
        for number in range(count):
            store.add(c.Network(name_label=f"network {number}"))


def everything(store: Store) -> dict[Any, Any]:
    """What get_all_records answers."""
    return {entity: entity for entity in store.all(c.Network)}


def as_xml(chunks: list[bytes]) -> Any:
    ((envelope,), _) = xmlrpc.client.loads(b"".join((xml.SUCCESS[0], *chunks, xml.SUCCESS[1])))
    return envelope["Value"]  # type: ignore[index,call-overload]


@pytest.fixture(params=["xml", "json"])
def format(request: pytest.FixtureRequest) -> Any:
    """A wire format and its reader."""
    if request.param == "xml":
        return xml.WIRE, as_xml
    return jsonrpc.WIRE, lambda chunks: json.loads(b"".join(chunks))


@pytest.mark.parametrize("count", [0, 1, answers.SHARED_MIN - 1, answers.SHARED_MIN, MANY])
def test_all_records_are_those_of_all_objects_in_order(store: Store, format: Any, count: int) -> None:
    wire, read = format
    fill(store, count)

    async def main() -> None:
        records = read(await Answers(store, wire).write(ALL, everything(store)))
        assert list(records) == [network.ref for network in store.all(c.Network)]
        assert [record["name_label"] for record in records.values()] == [f"network {n}" for n in range(count)]

    run(main)


def test_clients_share_all_records_until_an_object_changes(store: Store, format: Any) -> None:
    wire, read = format
    fill(store)

    async def main() -> None:
        writer = Answers(store, wire)
        first, second = await asyncio.gather(*(writer.write(ALL, everything(store)) for _ in range(2)))
        third = await writer.write(ALL, everything(store))
        assert first is second is third
        with store.transaction():
            store.all(c.Network)[5].name_label = "changed"
        fresh = read(await writer.write(ALL, everything(store)))
        assert [record["name_label"] for record in fresh.values()].count("changed") == 1

    run(main)


def test_all_records_follow_additions_and_removals(store: Store, format: Any) -> None:
    wire, read = format
    fill(store)

    async def main() -> None:
        writer = Answers(store, wire)
        await writer.write(ALL, everything(store))
        with store.transaction():
            store.destroy(store.all(c.Network)[0])
            added = store.add(c.Network(name_label="added"))
        fresh = read(await writer.write(ALL, everything(store)))
        assert list(fresh) == [network.ref for network in store.all(c.Network)]
        assert fresh[added.ref]["name_label"] == "added"

    run(main)


def test_some_records_are_never_taken_for_all(store: Store, format: Any) -> None:
    wire, read = format
    fill(store)

    async def main() -> None:
        writer = Answers(store, wire)
        await writer.write(ALL, everything(store))
        some = dict(list(everything(store).items())[: MANY - 1])
        assert len(read(await writer.write(ALL, some))) == MANY - 1
        first, *others = store.all(c.Network)
        with store.transaction():
            store.destroy(first)
            store.add(c.Network(name_label="new"))
        stale = {entity: entity for entity in (first, *others)}  # as many as there are, and one of them is gone
        assert list(read(await writer.write(ALL, stale))) == [entity.ref for entity in stale]
        crossed = dict(zip(others, reversed(others), strict=True))
        found = read(await writer.write(ALL, crossed))
        assert found[others[0].ref]["uuid"] == others[-1].uuid

    run(main)


def test_a_client_that_goes_away_does_not_take_the_shared_work_along(store: Store) -> None:
    fill(store)

    async def main() -> None:
        writer = Answers(store, xml.WIRE)
        leaving = asyncio.ensure_future(writer.write(ALL, everything(store)))
        staying = asyncio.ensure_future(writer.write(ALL, everything(store)))
        await asyncio.sleep(0)
        leaving.cancel()
        assert len(as_xml(await staying)) == MANY
        assert leaving.cancelled()

    run(main)


def test_shared_records_are_dropped_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SHARED_SECONDS", 0.01)
    fill(store)

    async def main() -> None:
        writer = Answers(store, xml.WIRE)
        first = await writer.write(ALL, everything(store))
        while writer._shared:
            await asyncio.sleep(0.005)
        second = await writer.write(ALL, everything(store))
        assert second is not first
        assert second == first

    run(main)


@pytest.mark.parametrize("shape", ["all", "set"])
def test_long_writing_lets_others_have_their_turn(store: Store, format: Any, shape: str) -> None:
    wire, read = format
    fill(store, 5 * answers.SLICE)
    kind: Type = ALL if shape == "all" else Set(types.Record("network"))

    async def main() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(others())
        value = everything(store) if shape == "all" else store.all(c.Network)
        assert len(read(await Answers(store, wire).write(kind, value))) == 5 * answers.SLICE
        beside.cancel()
        assert turns >= 4

    run(main)


@given(st.lists(st.binary(max_size=12)), st.integers(1, 20))
def test_packing_changes_no_octet(pieces: list[bytes], chunk: int) -> None:
    chunks = run(lambda: packed(pieces, chunk))
    assert b"".join(chunks) == b"".join(pieces)
    assert all(len(part) >= chunk for part in chunks[:-1])
