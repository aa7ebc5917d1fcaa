"""The reference as a page: well formed, whole, closed in itself, and with the class diagram in it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from base64 import b64encode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from agent.errors import XenError
from agent.model import reference
from agent.model.api import seal
from agent.model.entity import Entity, constructor, readwrite, runtime
from agent.model.messages import Message, message
from agent.model.reference import contents
from agent.model.types import WireEnum
from tests.door import sealed

if TYPE_CHECKING:
    pass

API = sealed()
VOID = {"meta", "link", "input"}
FORBIDDEN_INSIDE = {"a": "a", "p": "p", "div": "p", "table": "p", "ul": "p", "article": "p"}


class Strict(HTMLParser):
    """Reads a page into a tree, and takes nothing that browsers would have to mend."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = ElementTree.TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        assert FORBIDDEN_INSIDE.get(tag) not in self.open, f"{tag} inside {self.open}"
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pytest.fail(f"<{tag}/> is closed in a way that HTML does not have")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> at {self.getpos()} closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes something else"
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.builder.data(data)
        else:
            assert not data.strip()

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")


def read(page: str) -> Element:
    """The tree of a page."""
    assert page.startswith("<!DOCTYPE html>\n<html")
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.builder.close()


def said(element: Element) -> str:
    """The text in an element, on one line."""
    return " ".join("".join(element.itertext()).split())


def plain(doc: str) -> str:
    """A docstring as the page shows it: without the marks of code."""
    return " ".join(re.sub(r"``(.+?)``|`([^`]+)`", lambda found: found[1] or found[2], " ".join(doc.split())).split())


PAGE = reference.html(API)
ROOT = read(PAGE)
BY_ID = {element.get("id", ""): element for element in ROOT.iter() if element.get("id")}
IDS = Counter(element.get("id") for element in ROOT.iter() if element.get("id"))


# --- whole


def test_every_id_is_there_once_and_every_link_leads_to_one() -> None:
    assert {id: number for id, number in IDS.items() if number > 1} == {}
    links = {element.get("href", "") for element in ROOT.iter("a")}
    assert links <= {f"#{id}" for id in BY_ID}
    assert len(links) > 1500


def test_every_class_has_its_section_with_its_text() -> None:
    for name, cls in API.classes.items():
        assert BY_ID[name].tag == "section"
        assert plain(contents.doc(cls)) in said(BY_ID[name]).replace(" .", ".")


def test_every_field_has_a_row_with_type_qualifier_and_meaning() -> None:
    rows = 0
    for name, cls in API.classes.items():
        section = BY_ID[name]
        for field in cls.wire_fields.values():
            row = BY_ID[f"field-{name}.{field.name}"]
            assert row in section.iter("tr")
            called, kind, qualifier, meaning = map(said, row)
            assert (called, kind, qualifier) == (field.name, field.type.name, field.qualifier.value)
            assert meaning.startswith(plain(field.doc))
            rows += 1
    assert rows == sum(id.startswith("field-") for id in BY_ID) > 500


@pytest.mark.parametrize("told", API.messages.values(), ids=lambda told: told.full_name)
def test_every_message_is_told_with_parameters_result_role_and_errors(told: Message) -> None:
    place = BY_ID[told.full_name]
    text = said(place)
    for param in told.params:
        assert f"{param.type} {param.name}" in text
    shared: list[Element] = []
    if place.tag == "article":
        assert plain(told.doc) in text
        facts = dict(zip(map(said, place.iter("dt")), place.iter("dd"), strict=True))
        assert said(facts["Result"]) == told.result.name
        errors = facts["Errors"]
        assert (place.find("h4/span[2]") is not None) == told.has_async
        role = place.find("h4/span")
    else:
        assert place.tag == "tr"
        assert said(place[2]) == told.result.name
        role, errors = place[3], place[4]
        (around,) = (fold for fold in ROOT.iter("details") if place in fold.iter("tr"))
        shared = around.findall("p")
    assert role is not None
    assert said(role) == (told.role.wire if told.role else "anybody")
    listed = [said(link) for part in (errors, *shared) for link in part.iter("a")]
    assert sorted(listed) == sorted(error.code for error in contents.told(told))


def test_every_enum_struct_and_error_has_a_row() -> None:
    for enum in contents.enums(API):
        name, words, meaning = map(said, BY_ID[f"enum-{enum.wire_name}"])
        assert (name, words, meaning) == (enum.wire_name, " ".join(enum), plain(contents.doc(enum)))
    for error in XenError.__subclasses__():
        code, params, meaning, _ = map(said, BY_ID[f"error-{error.code}"])
        assert (code, params, meaning) == (error.code, " ".join(contents.params(error)), plain(contents.doc(error)))
    assert said(BY_ID["struct-event-record"]) != said(BY_ID["struct-event-record-2"])
    assert "(string -> int) map valid_ref_counts" in said(BY_ID["struct-struct-event_batch"])


def test_what_is_named_in_a_text_leads_there() -> None:
    links = {(said(link), link.get("href")) for link in BY_ID["VM.start"].iter("a")}
    assert ("HOST_DISABLED", "#error-HOST_DISABLED") in links
    assert ("VM", "#VM") in links
    assert ("host.enable", "#host.enable") in {(said(a), a.get("href")) for a in BY_ID["error-HOST_DISABLED"].iter("a")}


def test_an_error_says_who_names_it_and_when_the_front_door_gives_it() -> None:
    assert said(BY_ID["error-HOST_DISABLED"][3]) == "VM.start"
    assert said(BY_ID["error-SESSION_INVALID"][3]) == "the front door, to one that needs a session. session.logout"
    assert re.search(r" \d+ messages that follow from fields$", said(BY_ID["error-MAP_DUPLICATE_KEY"][3]))


def test_a_default_is_told_of_fields_and_parameters() -> None:
    assert "bool force = false" in said(BY_ID["VM.start"])
    assert "SR ref sr = " in said(BY_ID["VDI.copy"])
    assert said(BY_ID["field-VIF.MTU"][3]).endswith("default 1500")
    assert "required by create" in said(BY_ID["field-VIF.network"][3])


# --- relations


def test_every_pair_of_bound_fields_has_a_row() -> None:
    table = BY_ID["about-bound"]
    rows = {row.get("id"): [said(cell) for cell in row] for row in table.iter("tr") if row.get("id")}
    pairs = contents.pairs(API)
    assert len(rows) == len(pairs)
    for pair in pairs:
        one, other = pair.one, pair.other
        ends = [one.name, str(one.type), one.cardinality, other.name, str(other.type), other.cardinality]
        assert rows[f"pair-{other.name}"] == [*ends, pair.destroyed]


def test_every_relation_is_a_line_of_the_diagram_and_every_class_a_box() -> None:
    (drawing,) = (svg for svg in BY_ID["about-diagram"].iter("svg") if svg.get("class") == "diagram")
    lines = {group.get("id"): group for group in drawing.iter("g") if group.get("class") == "relation"}
    relations = [*contents.pairs(API), *contents.parts(API)]
    assert set(lines) == {f"line-{r.one.name}-{r.other.name}" for r in relations}
    for relation in relations:
        title = lines[f"line-{relation.one.name}-{relation.other.name}"].find("title")
        assert title is not None
        assert title.text == relation.sentence
    boxes = [box.get("href") for box in drawing.iter("a")]
    assert sorted(map(str, boxes)) == sorted(f"#{name}" for name in API.classes)


# --- closed in itself


def test_nothing_is_loaded_from_elsewhere() -> None:
    for element in ROOT.iter():
        for name, value in element.items():
            assert not name.startswith("on"), f"{element.tag} has {name}"
            assert name != "style"
            if name in ("href", "src", "action", "data", "srcset", "xlink:href"):
                assert value.startswith("#") or value == "data:,", f"{element.tag} {name}={value}"
    assert not re.search(r"https?:|//[a-z]", PAGE.replace("// ", ""))
    style, script = (said(next(ROOT.iter(tag))) for tag in ("style", "script"))
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(r"fetch|XMLHttp|import\(|innerHTML|eval|WebSocket", script)


@pytest.mark.threat("T22")
def test_the_policy_lets_only_its_own_style_and_script_be() -> None:
    (policy,) = (meta.get("content", "") for meta in ROOT.iter("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (element,) = ROOT.iter(tag)
        digest = b64encode(hashlib.sha256((element.text or "").encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_it_is_ascii_and_the_same_each_time() -> None:
    assert PAGE.isascii()
    assert reference.html(API) == PAGE


def test_without_its_script_all_is_there_and_search_does_not_show() -> None:
    assert [element.tag for element in ROOT.iter() if element.get("hidden") is not None] == ["form"]
    assert BY_ID["content"].tag == "main"
    assert next(ROOT.iter("a")).get("href") == "#content"


def test_style_and_script_are_packaged() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    there = {path.name for path in Path(str(reference.__file__)).parent.glob("page.*") if path.suffix != ".py"}
    assert (
        set(project["tool"]["setuptools"]["package-data"]["agent.model.reference"]) == there == {"page.css", "page.js"}
    )


# --- hostile text

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; ``</code><b>``"


class Sly(WireEnum, name="sly"):
    WORD = "<i>'\""


class Bad(Entity, creates=True):
    uuid: str = runtime(HOSTILE)
    text: str = readwrite(HOSTILE, default=HOSTILE)
    sly: Sly = readwrite(HOSTILE)


class Worse(Entity):
    uuid: str = runtime(HOSTILE)
    bads: tuple[Bad, ...] = runtime(HOSTILE)


class Held(Entity):
    uuid: str = runtime(HOSTILE)
    worse: Worse = constructor(HOSTILE)


for _declared in (Sly, Bad, Worse, Held):
    _declared.__doc__ = HOSTILE


@message(Bad)
def strike(call: object, self: Bad, text: str = HOSTILE) -> str:
    return text


strike.__doc__ = HOSTILE


@pytest.mark.threat("T11", "T22")
def test_text_that_looks_like_markup_stays_text() -> None:
    classes, verbs = ModuleType("sly_classes"), ModuleType("sly_verbs")
    for cls in (Bad, Worse, Held):
        setattr(classes, cls.__name__, cls)
    strike.__module__ = verbs.__name__
    verbs.strike = strike  # type: ignore[attr-defined]
    page = reference.html(seal(classes, [verbs]))
    root = read(page)
    assert len(list(root.iter("script"))) == 1
    assert list(root.iter("img")) == list(root.iter("i")) == []
    text = said(root)
    for place in ("field-Bad.uuid", "Bad.strike", "enum-sly", "Bad"):
        (found,) = (element for element in root.iter() if element.get("id") == place)
        assert plain(HOSTILE) in said(found)
    assert "<i>'\"" in text
    assert '= "</script>' in text


def test_a_bad_page_is_noticed() -> None:
    for bad in ("<p><b></p></b>", "<p>", "</p>", "<a href='#a' href='#b'>x</a>", "<br/>", "<p><p></p></p>"):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            read(f"<!DOCTYPE html>\n<html>{bad}</html>")
