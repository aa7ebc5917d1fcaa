"""The class diagram: boxes keep apart, lines keep to right angles and to themselves, and end where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model.reference import contents, diagram
from agent.model.reference.contents import End, Relation
from agent.model.reference.layout import FOOT, ROW, Box, Drawing, Link, draw
from agent.model.reference.markup import Element
from agent.model.types import Ref, Set
from tests.door import sealed

API = sealed()
Point = tuple[float, float]


def pieces(line: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """The straight pieces of a line, each from its upper or left end."""
    for a, b in pairwise(line):
        if a != b:
            yield (a, b) if a < b else (b, a)


def overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """How much two stretches have in common; negative if they are apart."""
    return min(first[1], second[1]) - max(first[0], second[0])


def lie_on_each_other(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two pieces share more than a point."""
    for along, across in ((0, 1), (1, 0)):
        if one[0][across] == one[1][across] == other[0][across] == other[1][across]:
            return overlap((one[0][along], one[1][along]), (other[0][along], other[1][along])) > -2
    return False


def enters(piece: tuple[Point, Point], box: Box) -> bool:
    """Whether a piece of a line has a part inside a box."""
    top = box.top * ROW
    wide = overlap((piece[0][0], piece[1][0]), (box.x, box.x + box.width))
    high = overlap((piece[0][1], piece[1][1]), (top, top + box.height))
    return (wide > 0 and high >= 0) or (high > 0 and wide > 0)


def complaints(drawing: Drawing, links: Sequence[Link]) -> list[str]:
    """What is wrong with a drawing."""
    found = []
    boxes = list(drawing.boxes.values())
    for a, b in combinations(boxes, 2):
        wide = overlap((a.x, a.x + a.width), (b.x, b.x + b.width))
        high = overlap((a.top * ROW, a.top * ROW + a.height), (b.top * ROW, b.top * ROW + b.height))
        if wide > -FOOT and high > -ROW / 2:
            found.append(f"{a.name} and {b.name} are too near")
    whole = [list(pieces(line)) for line in drawing.lines]
    for number, line in enumerate(whole):
        for piece in line:
            if piece[0][0] != piece[1][0] and piece[0][1] != piece[1][1]:
                found.append(f"line {number} is not at right angles")
            found += [f"line {number} enters {box.name}" for box in boxes if enters(piece, box)]
            if not (
                piece[0][0] >= 0 and piece[1][0] <= drawing.width and piece[0][1] >= 0 and piece[1][1] <= drawing.height
            ):
                found.append(f"line {number} leaves the drawing")
    for (m, one), (n, other) in combinations(enumerate(whole), 2):
        found += [f"lines {m} and {n} lie on each other" for a in one for b in other if lie_on_each_other(a, b)]
    for link, corners in zip(links, drawing.lines, strict=True):
        for name, (x, y) in ((link.first, corners[0]), (link.second, corners[-1])):
            box = drawing.boxes[name]
            if x not in (box.x, box.x + box.width) or not box.top * ROW < y < box.top * ROW + box.height:
                found.append(f"a line does not reach {name}")
    for box in boxes:
        if box.x < 0 or box.top < 0 or box.x + box.width > drawing.width or box.top * ROW + box.height > drawing.height:
            found.append(f"{box.name} is not in the drawing")
    return found


names = st.sampled_from("ABCDEFGH")
links = st.lists(
    st.builds(Link, names, names, st.tuples(st.sampled_from([20.0, 90.0]), st.sampled_from([0.0, 20.0, 90.0]))),
    max_size=16,
)


@settings(max_examples=150, deadline=None)
@given(links)
def test_nothing_lies_on_anything_else_whatever_is_linked(links: list[Link]) -> None:
    drawing = draw(dict.fromkeys("ABCDEFGH", 30.0), links)
    assert complaints(drawing, links) == []


def drawn() -> list[tuple[Drawing, list[Relation], list[Link]]]:
    relations = [*contents.pairs(API), *contents.parts(API)]
    return [
        (drawing, lines, [Link(line.one.cls, line.other.cls, (1, 1)) for line in lines])
        for drawing, lines in diagram.groups(API, relations)
    ]


def test_the_diagram_of_this_build_is_clean() -> None:
    for drawing, _, links in drawn():
        assert complaints(drawing, links) == []


def test_what_no_line_joins_is_drawn_apart_and_last() -> None:
    sizes = [len(drawing.boxes) for drawing, _, _ in drawn()]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == len(API.classes)
    assert [size for size in sizes if size == 1]


def find(svg: Element, cls: str) -> list[Element]:
    return [item for item in svg.iter() if item.get("class", "").split()[:1] == [cls]]


def test_the_parts_of_the_diagram_keep_apart() -> None:
    places: list[tuple[float, float, Drawing]] = []
    for x, y, drawing, _ in diagram.shelves(diagram.groups(API, contents.pairs(API))):
        for other_x, other_y, other in places:
            wide = overlap((x, x + drawing.width), (other_x, other_x + other.width))
            high = overlap((y, y + drawing.height), (other_y, other_y + other.height))
            assert wide < 0 or high < 0
        places.append((x, y, drawing))
    assert len(places) > 2


def test_a_label_fits_into_its_box() -> None:
    svg = diagram.svg(API)
    for link in svg.iter("a"):
        (box,) = find(link, "box")
        left, right = float(box.get("x", "")), float(box.get("x", "")) + float(box.get("width", ""))
        rows: dict[str, list[tuple[float, float]]] = {}
        for text in link.iter("text"):
            x, kind = float(text.get("x", "")), text.get("class", "")
            width = len(text.text or "") * (diagram.NAME_LETTER if kind == "name" else diagram.FIELD_LETTER)
            begin = {"name": x - width / 2, "field": x, "field right": x - width}[kind]
            assert left < begin
            assert begin + width < right
            if text.text:
                rows.setdefault(text.get("y", ""), []).append((begin, begin + width))
        for row in rows.values():
            assert all(overlap(a, b) < 0 for a, b in combinations(row, 2))


def test_a_line_ends_at_the_row_of_its_field() -> None:
    svg = diagram.svg(API)
    for group in find(svg, "relation"):
        title, path = group.find("title"), next(item for item in group.iter("path") if item.get("class") == "reach")
        assert title is not None
        first, *_, last = path.get("d", "").replace("M", "").replace("L", "|").replace("Q", "|").split("|")
        relation = next(
            relation for relation in (*contents.pairs(API), *contents.parts(API)) if relation.sentence == title.text
        )
        for end, point in ((relation.one, first), (relation.other, last)):
            y = float(point.split()[-1])
            (box,) = (link for link in svg.iter("a") if link.get("href") == f"#{end.cls}")
            labels = [text.text for text in box.iter("text") if abs(float(text.get("y", "")) - y) < ROW / 2]
            assert (end.field or end.cls) in labels


def test_the_signs_say_how_many() -> None:
    signs = {}
    for sign, meaning in diagram.legend():
        zeros, (marks,) = find(sign, "zero"), find(sign, "foot")
        signs[meaning] = (len(zeros), marks.get("d", "").count("V"), marks.get("d", "").count("L"))
    assert signs == {"exactly one": (0, 2, 0), "zero or one": (1, 1, 0), "zero or more": (1, 0, 2)}
    assert list(signs) == [
        End("", "", API.messages["VM.start"].result, m, o).cardinality
        for m, o in ((False, False), (False, True), (True, True))
    ]


def test_a_line_has_the_sign_of_each_of_its_ends() -> None:
    svg = diagram.svg(API)
    relations = {f"line-{r.one.name}-{r.other.name}": r for r in (*contents.pairs(API), *contents.parts(API))}
    for group in find(svg, "relation"):
        relation = relations[group.get("id", "")]
        for end, sign in zip((relation.one, relation.other), group.findall("g"), strict=True):
            (marks,) = find(sign, "foot")
            assert (marks.get("d", "").count("L") == 2) == end.many
            assert bool(find(sign, "zero")) == end.optional
        assert bool(find(group, "line")[0].get("class") == "line part") == relation.part


def test_the_ends_are_those_of_the_declared_fields() -> None:
    for relation in contents.pairs(API):
        for end, back in ((relation.one, relation.other), (relation.other, relation.one)):
            kind = API.classes[back.cls].fields[back.field].type
            whole = kind.of if isinstance(kind, Set) else kind
            assert isinstance(whole, Ref)
            assert whole.to == end.cls
            assert (end.many, end.optional) == (kind is not whole, kind is not whole or whole.nullable)
