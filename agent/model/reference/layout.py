"""Puts boxes into columns and leads lines between them, at right angles: the geometry of the class diagram.

It knows nothing of classes. Boxes have ports at their left and right sides, a row each; a line goes from a port at the
right of its first box to one at the left of its second, or back to the right of the same one. Columns are found by the
longest path, their order by looking for few crossings, heights by least squares. All is deterministic.

Every height is a number of rows, so that two lines can only lie on each other where one turns into the row of the
other; `_tracks` orders the turns so that this does not happen. Boxes and lines therefore never overlap.
Slightly over the usual size: it is one computation, and no step of it is of use without the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

ROW = 18.0
HEAD = 1.5 * ROW
"""The name of a box. The rows begin half a row below a multiple, so that every port is at one."""
GAP = 1
"""Free rows between two boxes, or lines that cross a column."""
PADDING = 9.0
"""Between the side of a box and what is written in it."""
FOOT = 26.0
"""Columns keep this for the ends of lines."""
TRACK = 9.0
"""Between two turns."""
NUDGE = 5.0
SWEEPS = 12


@dataclass(frozen=True)
class Link:
    """A line to draw, and the widths of what is written at its ends. An end where nothing is needs no row of its own:
    it is at the name of its box.
    """

    first: str
    second: str
    widths: tuple[float, float]

    @property
    def loop(self) -> bool:
        """Whether it leads back to the box it comes from."""
        return self.first == self.second


@dataclass(eq=False)
class Box:
    """A box, or the place where a line crosses a column, which has no name."""

    name: str
    column: int
    left: list[int] = field(default_factory=list)
    """The lines that end here, from top to bottom."""
    right: list[int] = field(default_factory=list)
    """The lines that begin here; a loop is there twice."""
    bare: frozenset[int] = frozenset()
    """Lines whose end here has nothing written: the first of them is at the name."""
    top: int = 0
    """In rows."""
    x: float = 0.0
    width: float = 0.0

    def ports(self, side: Sequence[int]) -> list[int]:
        """The rows of the ports of a side, from the top of the box."""
        if not self.name:
            return [0] * len(side)
        first = 1 if side and side[0] in self.bare else 2
        return list(range(first, first + len(side)))

    @property
    def rows(self) -> int:
        """How many rows it takes, one after the last port included."""
        return 0 if not self.name else max([1, *self.ports(self.left), *self.ports(self.right)]) + 1

    @property
    def height(self) -> float:
        """In points."""
        rows = self.rows - 2
        return HEAD + ROW * rows + ROW / 3 if rows else 2 * ROW

    def port(self, line: int, *, at_left: bool, last: bool = False) -> int:
        """The row of a line's port; `last` is the second of a loop."""
        side = self.left if at_left else self.right
        place = len(side) - 1 - side[::-1].index(line) if last else side.index(line)
        return self.top + self.ports(side)[place]


@dataclass(frozen=True)
class Drawing:
    """Boxes with their places, and lines as corners in points. A line's first corner is at its first box."""

    boxes: Mapping[str, Box]
    lines: Sequence[Sequence[tuple[float, float]]]
    width: float
    height: float


def draw(names: Mapping[str, float], links: Sequence[Link]) -> Drawing:
    """Place boxes with names of these widths, and the lines between them."""
    turned = _turned(names, links)
    ways = [_turn(link) if line in turned else link for line, link in enumerate(links)]
    columns = _columns(names, ways)
    boxes = {name: Box(name, columns[name], bare=_bare(name, links)) for name in names}
    chains = [_chain(boxes[way.first], boxes[way.second], line) for line, way in enumerate(ways)]
    layers: list[list[Box]] = [[] for _ in range(max(columns.values(), default=0) + 1)]
    for box in (*boxes.values(), *(box for chain in chains for box in chain[1:-1])):
        layers[box.column].append(box)
    _order(layers, chains)
    _sort_ports(layers, chains)
    _settle(layers, chains)
    for box in boxes.values():
        sides = (
            max((_written(ways[line], at_left) for line in side), default=0.0)
            for at_left, side in ((True, box.left), (False, box.right))
        )
        box.width = 2 * PADDING + max(names[box.name], PADDING + sum(sides))
    turns, width = _across(layers, chains)
    lines = [_corners(line, chain, turns) for line, chain in enumerate(chains)]
    height = max([*(box.top * ROW + box.height for box in boxes.values()), *(y for line in lines for _, y in line)])
    return Drawing(boxes, [line[::-1] if n in turned else line for n, line in enumerate(lines)], width, height)


def _turn(link: Link) -> Link:
    return Link(link.second, link.first, link.widths[::-1])


def _written(way: Link, at_left: bool) -> float:
    return max(way.widths) if way.loop else way.widths[at_left]


def _bare(name: str, links: Sequence[Link]) -> frozenset[int]:
    return frozenset(
        line
        for line, link in enumerate(links)
        if (link.first == name and not link.widths[0]) or (link.second == name and not link.widths[1])
    )


# --- columns


def _turned(names: Iterable[str], links: Sequence[Link]) -> frozenset[int]:
    """The links to turn round, so that following links never leads in a circle."""
    after: dict[str, set[str]] = {name: set() for name in names}
    turned = set()
    for line, link in enumerate(links):
        if _reaches(after, link.second, link.first):
            turned.add(line)
            link = _turn(link)
        if not link.loop:
            after[link.first].add(link.second)
    return frozenset(turned)


def _reaches(after: Mapping[str, set[str]], start: str, end: str) -> bool:
    seen, todo = {start}, [start]
    while todo:
        new = after[todo.pop()] - seen
        seen |= new
        todo += sorted(new)
    return end in seen and start != end


def _columns(names: Iterable[str], ways: Iterable[Link]) -> dict[str, int]:
    """The column of each box: right of all that lead to it, and no farther left of what it leads to than it must."""
    column = dict.fromkeys(names, 0)
    steps = [(way.first, way.second) for way in ways if not way.loop]
    for _ in column:
        for first, second in steps:
            column[second] = max(column[second], column[first] + 1)
    for name in column.keys() - {second for _, second in steps}:
        column[name] = min((column[second] for first, second in steps if first == name), default=1) - 1
    return column


def _chain(a: Box, b: Box, line: int) -> list[Box]:
    """The boxes of a line, with one without a name for every column that it crosses."""
    if a is b:
        a.right += [line, line]
        return [a, a]
    crossed = [Box("", column, [line], [line]) for column in range(a.column + 1, b.column)]
    a.right.append(line)
    b.left.append(line)
    return [a, *crossed, b]


# --- the order within columns


def _order(layers: list[list[Box]], chains: Sequence[Sequence[Box]]) -> None:
    """Order the boxes of each column so that few lines cross."""
    near: dict[Box, tuple[list[Box], list[Box]]] = {box: ([], []) for layer in layers for box in layer}
    for chain in chains:
        for a, b in pairwise(chain):
            if a is not b:
                near[a][1].append(b)
                near[b][0].append(a)
    best, least = [list(layer) for layer in layers], -1
    for sweep in range(SWEEPS):
        back = sweep % 2
        for layer in reversed(layers[:-1]) if back else layers[1:]:
            at = {box: place for column in layers for place, box in enumerate(column)}
            weight = {box: _mean([at[other] for other in near[box][back]], at[box]) for box in layer}
            layer.sort(key=weight.__getitem__)
        for layer in layers:
            _swap(layer, near, layers)
        crossings = _crossings(layers, near)
        if least < 0 or crossings < least:
            best, least = [list(layer) for layer in layers], crossings
    layers[:] = best


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _swap(layer: list[Box], near: Mapping[Box, tuple[list[Box], list[Box]]], layers: Sequence[Sequence[Box]]) -> None:
    """Exchange neighbours in a column while that makes fewer crossings."""
    at = {box: place for column in layers for place, box in enumerate(column)}

    def crossed(first: Box, second: Box) -> int:
        return sum(at[a] > at[b] for side in (0, 1) for a in near[first][side] for b in near[second][side])

    changed = True
    while changed:
        changed = False
        for place, (first, second) in enumerate(pairwise(list(layer))):
            if layer[place] is first and crossed(second, first) < crossed(first, second):
                layer[place : place + 2] = [second, first]
                changed = True


def _crossings(layers: Sequence[Sequence[Box]], near: Mapping[Box, tuple[list[Box], list[Box]]]) -> int:
    at = {box: place for column in layers for place, box in enumerate(column)}
    return sum(
        at[a] > at[b]
        for layer in layers
        for place, first in enumerate(layer)
        for second in layer[place + 1 :]
        for a in near[first][1]
        for b in near[second][1]
    )


def _sort_ports(layers: Sequence[Sequence[Box]], chains: Sequence[Sequence[Box]]) -> None:
    """Order the ports of each side as what they lead to. Those without a row come first, loops last."""
    at = {box: place for layer in layers for place, box in enumerate(layer)}
    for box in at:

        def leads_to(line: int, step: int, box: Box = box) -> tuple[bool, bool, int, int]:
            chain = chains[line]
            return line not in box.bare, chain[0] is chain[-1], at[chain[chain.index(box) + step]], line

        box.left.sort(key=lambda line: leads_to(line, -1))
        box.right.sort(key=lambda line: leads_to(line, 1))


# --- heights


def _settle(layers: Sequence[Sequence[Box]], chains: Sequence[Sequence[Box]]) -> None:
    """Give every box its height on the page, so that lines are as straight as the order allows."""
    for layer in layers:
        _spread(layer, [0.0] * len(layer), [1.0] * len(layer))
    for sweep in range(SWEEPS):
        sides = ((True,), (False,), (True, False))[2 if sweep > SWEEPS * 2 // 3 else sweep % 2]
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wishes = [list(_wishes(box, sides, chains)) for box in layer]
            weights = [(1.0 if box.name else 3.0) * len(wish) or 0.01 for box, wish in zip(layer, wishes, strict=True)]
            _spread(layer, [_mean(wish, box.top) for box, wish in zip(layer, wishes, strict=True)], weights)
    highest = min(box.top for layer in layers for box in layer)
    for layer in layers:
        for box in layer:
            box.top -= highest


def _wishes(box: Box, sides: Iterable[bool], chains: Sequence[Sequence[Box]]) -> Iterator[float]:
    """Where the top would be for each line at these sides to be straight."""
    for at_left in sides:
        for line in box.left if at_left else box.right:
            chain = chains[line]
            other = chain[chain.index(box) + (-1 if at_left else 1)]
            if other is not box:
                port = box.port(line, at_left=at_left) - box.top
                yield other.port(line, at_left=not at_left) - port


def _spread(layer: Sequence[Box], wishes: Sequence[float], weights: Sequence[float]) -> None:
    """Place the boxes of a column as near to their wishes as their order and gaps allow: least squares, by pooling."""
    offsets = [0, *accumulate(box.rows + GAP for box in layer[:-1])]
    pools: list[tuple[float, float, int]] = []
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        pools.append((wish - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, heft, count), (low, light, more) = pools[-2:]
            pools[-2:] = [((mean * heft + low * light) / (heft + light), heft + light, count + more)]
    tops = [round(mean) for mean, _, count in pools for _ in range(count)]
    for box, top, offset in zip(layer, tops, offsets, strict=True):
        box.top = top + offset


# --- lines


@dataclass(frozen=True)
class Turn:
    """How a line goes through the channel right of a column: the rows it lies in at the left and at the right of where
    it turns. A loop lies in two at the left.
    """

    line: int
    left: tuple[int, ...]
    right: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, int]:
        """The highest and the lowest."""
        both = self.left + self.right
        return min(both), max(both)

    @property
    def rank(self) -> int:
        """Who turns first if nothing else matters. Of lines that go down the lowest, of those that go up the highest:
        so the lines of one box do not cross.
        """
        return -self.left[0] if self.left[0] == self.rows[0] else self.left[0]


def _across(
    layers: Sequence[Sequence[Box]], chains: Sequence[Sequence[Box]]
) -> tuple[dict[tuple[int, int], tuple[float, float]], float]:
    """Place the columns side by side. Returns where each line turns, by line and column: the x, and how far the row
    it comes along is moved; and the width of all.
    """
    turns: dict[tuple[int, int], tuple[float, float]] = {}
    x = 0.0
    for column, layer in enumerate(layers):
        width = max(box.width for box in layer)
        for box in layer:
            box.x, box.width = x, width
        x += width
        tracks, moved = _tracks(list(_turns(layer, chains)))
        for line, track in tracks.items():
            # The sign changes with the column: a line that is moved in two follows no other that is.
            turns[line, column] = (x + FOOT + TRACK * track, NUDGE * (1 - column % 2 * 2) if line in moved else 0.0)
        last = column == len(layers) - 1
        x += (0 if last and not tracks else FOOT if last else 2 * FOOT) + TRACK * max(tracks.values(), default=0)
    return turns, x


def _turns(layer: Sequence[Box], chains: Sequence[Sequence[Box]]) -> Iterator[Turn]:
    for box in layer:
        for line in dict.fromkeys(box.right):
            start, following = box.port(line, at_left=False), chains[line][chains[line].index(box) + 1]
            if following is box:
                yield Turn(line, (start, box.port(line, at_left=False, last=True)), ())
            elif start != (end := following.port(line, at_left=True)):
                yield Turn(line, (start,), (end,))


def _tracks(turns: Iterable[Turn]) -> tuple[dict[int, int], set[int]]:
    """The track of each line that turns in a channel, from the left, and the lines whose first row must move a little.

    Where one line leaves along the row that another comes along, the other must have turned before. Of lines that wait
    for each other in a circle one is moved.
    """
    waiting = sorted(turns, key=lambda turn: turn.rank)
    placed: dict[Turn, int] = {}
    moved: set[int] = set()
    while waiting:
        free = next((turn for turn in waiting if not any(_before(other, turn, moved) for other in waiting)), None)
        if free is None:
            moved.add(waiting[0].line)
            continue
        track = max((placed[other] + 1 for other in placed if _before(other, free, moved)), default=0)
        while any(placed[other] == track and _touch(free, other) for other in placed):
            track += 1
        placed[free] = track
        waiting.remove(free)
    return {turn.line: track for turn, track in placed.items()}, moved


def _before(first: Turn, second: Turn, moved: set[int]) -> bool:
    """Whether the first must turn left of the second."""
    return first is not second and first.line not in moved and not set(first.left).isdisjoint(second.right)


def _touch(turn: Turn, other: Turn) -> bool:
    """Whether two lines cannot turn in one track."""
    return turn.rows[0] <= other.rows[1] and other.rows[0] <= turn.rows[1]


def _corners(
    line: int, chain: Sequence[Box], turns: Mapping[tuple[int, int], tuple[float, float]]
) -> list[tuple[float, float]]:
    """The corners of a line, from its first box to its last."""
    a, b = chain[0], chain[-1]
    y = a.port(line, at_left=False) * ROW
    corners = [(a.x + a.width, y)]
    for box, following in pairwise(chain):
        loop = box is following
        end = following.port(line, at_left=not loop, last=loop) * ROW
        if (line, box.column) in turns:
            x, moved = turns[line, box.column]
            corners[-1] = (corners[-1][0], y + moved)
            corners += [(x, y + moved), (x, end)]
        y = end
    return [*corners, (b.x + b.width if a is b else b.x, y)]
