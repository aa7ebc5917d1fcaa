"""``/rrd_updates``, ``/host_rrd``, ``/vm_rrd`` and ``/sr_rrd``: the history of live numbers, as xapi writes it.

Updates are rows of all that runs, the newest first, as XML or JSON. The others are the whole archive of one thing in
the form of rrdtool's dump. What is kept is the business of ``agent.archives``.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from aiohttp import web

from agent.archives.rows import SPANS, TICK_SECONDS, Archive, Span
from agent.archives.sources import Key, Kind, meaning_of
from agent.call import Call
from agent.classes import SR, VM, Host
from agent.errors import InvalidValue, XenError
from agent.http.jobs import find, refusal
from agent.http.transfers import Transfers
from agent.model.entity import Entity
from agent.rpc.connection import Connection

Query = Mapping[str, str]
CLASSES: dict[Kind, type[Entity]] = {Kind.HOST: Host, Kind.VM: VM, Kind.SR: SR}
WAYS = ("AVERAGE", "MIN", "MAX")


@dataclass
class Numbers:
    """One path."""

    transfers: Transfers
    written: Callable[[Call, Query], str]
    """What a worker makes of the request."""
    methods: frozenset[str] = field(default=frozenset({"GET", "HEAD"}))

    async def answer(self, connection: Connection, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request of anybody who is logged in."""
        try:
            async with self.transfers.session(connection, request) as call:
                work = call.site.lanes.beside(self.written, call, dict(request.query))
                text = await asyncio.wrap_future(work)
        except XenError as error:
            raise refusal(error) from None
        headers = {
            "Server": "xen-host-agent",
            "Content-Type": "application/json" if _json(request.query) else "text/xml",
        }
        return web.Response(body=text.encode(), headers=headers)


def _json(query: Query) -> bool:
    return query.get("json", "false").lower() == "true"


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 2**53:
        raise InvalidValue(name, f"{text[:40]!r} is no number of seconds")
    return int(number)


# --- updates


@dataclass(frozen=True)
class Export:
    """Rows of a span, as columns."""

    step: int
    times: list[int]
    """When the rows end, the newest first."""
    legend: list[str]
    columns: list[list[float]]


def updates(call: Call, query: Query) -> str:
    """The rows since ``start`` (seconds since 1970; less than 0: so long ago) that ``interval`` and ``cf`` ask for.

    ``host=true`` adds the host's own; ``vm_uuid`` and ``sr_uuid`` leave only that machine, or add that storage.
    """
    now = int(time.time())
    start = _number(query, "start", now - TICK_SECONDS)
    start = now + start if start < 0 else start
    way = query.get("cf", "").upper()
    if way and way not in WAYS:
        raise InvalidValue("cf", f"{way[:40]!r} is none of {', '.join(WAYS)}")
    number = chosen(start, now, _number(query, "interval", 0), way)
    asked = _asked(call, query)
    made: list[Export] = []

    def work(archives: Mapping[Key, Archive]) -> None:
        made.append(_export(archives, asked, number, start, call.site.archives.last, way))

    call.site.archives.read(work)
    export = made[0]
    return "".join(_updates_json(export, start) if _json(query) else _updates_xml(export, start))


def chosen(start: int, now: int, interval: int, way: str) -> int:
    """The number of the span to take rows from: that of the interval; without one, the finest that goes back so far.

    Only the spans that have what is asked for: the finest one has nothing but averages.
    """
    fit = [number for number, span in enumerate(SPANS) if span.step >= interval and (not way or way in span.ways)]
    if not fit:
        return len(SPANS) - 1
    if SPANS[fit[0]].step == interval:
        return fit[0]
    return next((number for number in fit if now - SPANS[number].step * SPANS[number].rows <= start), fit[-1])


def _asked(call: Call, query: Query) -> Callable[[Key], bool]:
    """Which archives are asked for. UUID_INVALID for one of nothing."""
    wanted = set()
    for kind in (Kind.VM, Kind.SR):
        uuid = query.get(f"{kind.value}_uuid")
        if uuid:
            wanted.add(Key(kind, find(call, CLASSES[kind], uuid).uuid))
    one_vm = any(key.kind is Kind.VM for key in wanted)
    host = query.get("host", "false").lower() == "true"

    def holds(key: Key) -> bool:
        return key in wanted or (key.kind is Kind.HOST and host) or (key.kind is Kind.VM and not one_vm)

    return holds


def _export(
    archives: Mapping[Key, Archive], asked: Callable[[Key], bool], number: int, start: int, last: int, way: str
) -> Export:
    span = SPANS[number]
    newest = last // span.step * span.step
    rows = max(0, min(span.rows, (newest - start + span.step - 1) // span.step))
    times = [newest - age * span.step for age in range(rows)]
    legend: list[str] = []
    columns: list[list[float]] = []
    for each, name_of_way in enumerate(span.ways):
        if way and way != name_of_way:
            continue
        for key, archive in archives.items():
            if not asked(key) or archive.last < last:  # what does not run now is in its own archive
                continue
            for name in archive.series:
                legend.append(f"{name_of_way}:{key.kind.value}:{key.uuid}:{name}")
                columns.append(list(archive.column(name, number, each, newest, rows)))
    return Export(span.step, times, legend, columns)


def _text(value: float) -> str:
    """A number as both formats write it; xapi, too, writes a bare NaN into its JSON."""
    return "NaN" if value != value else repr(value)


def _updates_json(export: Export, start: int) -> Iterator[str]:
    meta = {
        "start": export.times[-1] if export.times else start,
        "step": export.step,
        "end": export.times[0] if export.times else start,
        "rows": len(export.times),
        "columns": len(export.legend),
        "legend": export.legend,
    }
    yield f'{{"meta":{json.dumps(meta)},"data":['
    for number, when in enumerate(export.times):
        values = ",".join(_text(column[number]) for column in export.columns)
        yield f'{"," if number else ""}{{"t":{when},"values":[{values}]}}'
    yield "]}"


def _updates_xml(export: Export, start: int) -> Iterator[str]:
    yield '<?xml version="1.0"?><xport><meta>'
    yield f"<start>{export.times[-1] if export.times else start}</start><step>{export.step}</step>"
    yield f"<end>{export.times[0] if export.times else start}</end><rows>{len(export.times)}</rows>"
    yield f"<columns>{len(export.legend)}</columns><legend>"
    yield from (f"<entry>{escape(entry)}</entry>" for entry in export.legend)
    yield "</legend></meta><data>"
    for number, when in enumerate(export.times):
        yield f"<row><t>{when}</t>"
        yield from (f"<v>{_text(column[number])}</v>" for column in export.columns)
        yield "</row>"
    yield "</data></xport>"


# --- whole archives


def host_archive(call: Call, query: Query) -> str:
    """The archive of the host."""
    return _archive(call, query, Key(Kind.HOST, call.host.uuid))


def vm_archive(call: Call, query: Query) -> str:
    """The archive of the machine that ``uuid`` (or ``ref``) names, be it running or not."""
    return _archive(call, query, _named(call, query, Kind.VM))


def sr_archive(call: Call, query: Query) -> str:
    """The archive of the storage that ``uuid`` (or ``ref``) names."""
    return _archive(call, query, _named(call, query, Kind.SR))


def _named(call: Call, query: Query, kind: Kind) -> Key:
    given = query.get("uuid") or query.get("ref")
    if not given:
        raise InvalidValue("uuid", "it must be given")
    return Key(kind, find(call, CLASSES[kind], given).uuid)


def _archive(call: Call, query: Query, key: Key) -> str:
    made: list[str] = []

    def work(archives: Mapping[Key, Archive]) -> None:
        archive = archives.get(key) or Archive()
        made.append("".join(_archive_json(archive) if _json(query) else _archive_xml(archive)))

    call.site.archives.read(work)
    return made[0]


def _rows(archive: Archive, number: int, way: int) -> Iterable[tuple[float, ...]]:
    """The rows of a span, the oldest first: each has a value of every source. As many as there is room for."""
    span = SPANS[number]
    newest = archive.ends[number] if archive.ends else 0
    columns = [list(archive.column(name, number, way, newest, span.rows)) for name in archive.series]
    return reversed(list(zip(*columns, strict=True))) if columns else ()


def _spans() -> Iterator[tuple[int, Span, int, str]]:
    """Every ring of a source: the number of its span, the span, the number of its way of consolidation, that way."""
    for number, span in enumerate(SPANS):
        for way, name in enumerate(span.ways):
            yield number, span, way, name


def _archive_json(archive: Archive) -> Iterator[str]:
    yield f'{{"version":"0003","step":{TICK_SECONDS},"lastupdate":{archive.last},"ds":['
    for place, (name, series) in enumerate(archive.series.items()):
        meaning = meaning_of(name)
        most = "Infinity" if meaning.max == math.inf else _text(meaning.max)
        yield ("," if place else "") + (
            f'{{"name":{json.dumps(name)},"type":"GAUGE","minimal_heartbeat":300.0,"min":{_text(meaning.min)},'
            f'"max":"{most}","last_ds":"{_text(series.value)}","value":"{_text(series.value)}","unknown_sec":"0"}}'
        )
    yield '],"rra":['
    for place, (number, span, way, name) in enumerate(_spans()):
        yield (
            "," if place else ""
        ) + f'{{"cf":"{name}","pdp_per_row":{span.step // TICK_SECONDS},"params":{{"xff":0.5}},'
        yield '"database":['
        yield ",".join(f"[{','.join(map(_text, row))}]" for row in _rows(archive, number, way))
        yield "]}"
    yield "]}"


def _archive_xml(archive: Archive) -> Iterator[str]:
    yield f'<?xml version="1.0"?><rrd><version>0003</version><step>{TICK_SECONDS}</step>'
    yield f"<lastupdate>{archive.last}</lastupdate>"
    for name, series in archive.series.items():
        meaning = meaning_of(name)
        most = "Infinity" if meaning.max == math.inf else _text(meaning.max)
        yield f"<ds><name>{escape(name)}</name><type>GAUGE</type><minimal_heartbeat>300.0000</minimal_heartbeat>"
        yield f"<min>{_text(meaning.min)}</min><max>{most}</max><last_ds>{_text(series.value)}</last_ds>"
        yield f"<value>{_text(series.value)}</value><unknown_sec>0</unknown_sec></ds>"
    for number, span, way, name in _spans():
        yield f"<rra><cf>{name}</cf><pdp_per_row>{span.step // TICK_SECONDS}</pdp_per_row>"
        yield "<params><xff>0.5</xff></params><database>"
        for row in _rows(archive, number, way):
            yield f"<row>{''.join(f'<v>{_text(value)}</v>' for value in row)}</row>"
        yield "</database></rra>"
    yield "</rrd>"
