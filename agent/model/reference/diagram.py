"""The class diagram in crow's-foot notation, as SVG drawn from the sealed table.

A box is a class with the fields by which it belongs to others; a line is a pair of bound fields, or an object and its
part. The signs at the ends of a line say how many: bar is one, circle is zero, foot is many. Where boxes and lines go
is found by ``layout``; colours are the page's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model.api import Api
from agent.model.reference import contents
from agent.model.reference.contents import End, Relation
from agent.model.reference.layout import HEAD, PADDING, ROW, Box, Drawing, Link, draw
from agent.model.reference.markup import Element, element
from agent.model.types import Void

NAME_LETTER = 8.0
FIELD_LETTER = 7.0
"""Widths of a letter of a class's and of a field's name, in points; the page writes both in fixed width."""
MARGIN = 12.0
APART = 36.0
"""Between parts of the diagram that no line joins."""
RADIUS = 4.0

Point = tuple[float, float]


def svg(api: Api) -> Element:
    """The diagram of all classes."""
    relations = [*contents.pairs(api), *contents.parts(api)]
    subjects = contents.subjects(api)
    places = {subject: place for place, subject in enumerate(sorted(set(subjects.values())))}
    shapes: list[Element] = []
    width = height = 0.0
    for x, y, drawing, drawn in shelves(groups(api, relations)):
        group = element("g", transform=f"translate({x + MARGIN:g} {y + MARGIN:g})")
        group.extend(_line(relation, corners) for relation, corners in zip(drawn, drawing.lines, strict=True))
        group.extend(_box(box, api, drawn, places[subjects[box.name]]) for box in drawing.boxes.values())
        shapes.append(group)
        width, height = max(width, x + drawing.width), max(height, y + drawing.height)
    width, height = width + 2 * MARGIN, height + 2 * MARGIN
    return element("svg", shapes, viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, class_="diagram")


def tint(subject: int) -> str:
    """The style of a subject's boxes. There are six; more subjects share them."""
    return f"subject-{subject % 6}"


def legend() -> Iterator[tuple[Element, str]]:
    """Each sign with its meaning."""
    for cardinality, many, optional in (
        ("exactly one", False, False),
        ("zero or one", False, True),
        ("zero or more", True, True),
    ):
        sign = element(
            "svg",
            element("path", d="M34 9 H1", class_="line"),
            _foot(End("", "", Void(), many, optional), (34, 9), -1),
            element("path", d="M34 2 V16", class_="edge"),
            viewBox="0 0 36 18",
            width=36,
            height=18,
            class_="diagram sign",
            aria_hidden="true",
        )
        yield sign, cardinality


# --- which classes are drawn together, and where


def groups(api: Api, relations: Sequence[Relation]) -> list[tuple[Drawing, list[Relation]]]:
    """The classes that lines join, drawn; the largest group first, single classes last."""
    group = {name: {name} for name in api.classes}
    for relation in relations:
        joined = group[relation.one.cls] | group[relation.other.cls]
        group.update(dict.fromkeys(joined, joined))
    result = []
    for names in sorted(
        {id(names): names for names in group.values()}.values(), key=lambda names: (-len(names), min(names))
    ):
        drawn = [relation for relation in relations if relation.one.cls in names]
        links = [
            Link(
                line.one.cls, line.other.cls, (len(line.one.field) * FIELD_LETTER, len(line.other.field) * FIELD_LETTER)
            )
            for line in drawn
        ]
        result.append((draw({name: len(name) * NAME_LETTER for name in api.classes if name in names}, links), drawn))
    return result


def shelves(
    parts: Sequence[tuple[Drawing, list[Relation]]],
) -> Iterator[tuple[float, float, Drawing, list[Relation]]]:
    """Where each group goes: side by side under the first, as wide as that."""
    limit = max((drawing.width for drawing, _ in parts), default=0.0)
    x = y = shelf = 0.0
    for drawing, drawn in parts:
        if x and x + drawing.width > limit:
            x, y, shelf = 0.0, y + shelf + APART, 0.0
        yield x, y, drawing, drawn
        x, shelf = x + drawing.width + APART, max(shelf, drawing.height)


# --- shapes


def _box(box: Box, api: Api, drawn: Sequence[Relation], subject: int) -> Element:
    x, y = box.x, box.top * ROW
    first_row = bool(box.height > 2 * ROW)
    shape = [
        element("title", contents.doc(api.classes[box.name]).partition("\n\n")[0]),
        element("rect", x=x, y=y, width=box.width, height=box.height, rx=RADIUS, class_=f"box {tint(subject)}"),
        element("text", box.name, x=x + box.width / 2, y=y + (HEAD / 2 if first_row else ROW), class_="name"),
    ]
    if first_row:
        shape.append(element("path", d=f"M{x:g} {y + HEAD:g} h{box.width:g}", class_="rule"))
    for at_left, side in ((True, box.left), (False, box.right)):
        for place, (line, row) in enumerate(zip(side, box.ports(side), strict=True)):
            relation = drawn[line]
            # A loop's first end is at its first port; a line that was turned begins at its second end.
            ends = [end for end in (relation.one, relation.other) if end.cls == box.name]
            end = ends[side[:place].count(line)]
            shape.append(
                element(
                    "text",
                    end.field,
                    x=x + PADDING if at_left else x + box.width - PADDING,
                    y=y + row * ROW,
                    class_="field" if at_left else "field right",
                )
            )
    return element("a", shape, href=f"#{box.name}", class_="class")


def _line(relation: Relation, corners: Sequence[Point]) -> Element:
    path = _rounded(corners)
    (x, y), (to, _) = corners[0], corners[1]
    (end_x, end_y), (end_to, _) = corners[-1], corners[-2]
    return element(
        "g",
        element("title", relation.sentence),
        element("path", d=path, class_="reach"),
        element("path", d=path, class_="line part" if relation.part else "line"),
        _foot(relation.one, (x, y), 1 if to > x else -1),
        _foot(relation.other, (end_x, end_y), 1 if end_to > end_x else -1),
        class_="relation",
        id=f"line-{relation.one.name}-{relation.other.name}",
    )


def _rounded(corners: Sequence[Point]) -> str:
    """The path through these corners, each rounded as far as there is room."""
    steps = [f"M{corners[0][0]:g} {corners[0][1]:g}"]
    for (ax, ay), (bx, by), (cx, cy) in zip(corners, corners[1:], corners[2:], strict=False):
        before, after = abs(bx - ax) + abs(by - ay), abs(cx - bx) + abs(cy - by)
        if not before or not after:
            continue
        room = min(RADIUS, before / 2, after / 2)
        start = (bx - (bx - ax) / before * room, by - (by - ay) / before * room)
        end = (bx + (cx - bx) / after * room, by + (cy - by) / after * room)
        steps.append(f"L{start[0]:g} {start[1]:g} Q{bx:g} {by:g} {end[0]:g} {end[1]:g}")
    return " ".join([*steps, f"L{corners[-1][0]:g} {corners[-1][1]:g}"])


def _foot(end: End, at: Point, way: int) -> Element:
    """The sign at an end: how many there are of the class that it touches. `way` is 1 if the line goes to the right."""
    x, y = at
    if end.many:
        marks = f"M{x + 12 * way:g} {y:g} L{x:g} {y - 5:g} M{x + 12 * way:g} {y:g} L{x:g} {y + 5:g}"
        circle = x + 16 * way
    else:
        bars = [x + 7 * way] if end.optional else [x + 7 * way, x + 12 * way]
        marks = " ".join(f"M{bar:g} {y - 5:g} V{y + 5:g}" for bar in bars)
        circle = x + 15 * way
    shapes = [element("path", d=marks, class_="foot")]
    if end.optional:
        shapes.append(element("circle", cx=circle, cy=y, r=4, class_="zero"))
    return element("g", shapes)
