"""HTML and SVG as trees, of the standard library's elements: what is text stays text, whatever it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

Element = ElementTree.Element
Content = Element | str | Iterable["Content"] | None
"""What an element can be given: text, elements, and lists of both."""

_INLINE = frozenset({"a", "code", "span", "small", "b", "td", "th", "dt", "dd", "path", "circle", "rect", "text"})


def element(tag: str, *content: Content, **attributes: str | float | bool | None) -> Element:
    """An element with its content. Of an attribute's name a trailing underscore is dropped and others are hyphens;
    None and False leave it out, True makes it empty.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), "" if value is True else _text(value))
    _append(made, content)
    return made


def _append(parent: Element, content: Content) -> None:
    if content is None:
        return
    if isinstance(content, str):
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + content
        else:
            parent.text = (parent.text or "") + content
    elif isinstance(content, Element):
        parent.append(content)
    else:
        for item in content:
            _append(parent, item)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def document(root: Element) -> str:
    """The page, a line for each of its blocks, in ASCII. Text of ``script`` and ``style`` is written as it is."""
    for item in root.iter():
        if item.tag not in _INLINE:
            item.tail = (item.tail or "") + "\n"
    written: bytes = ElementTree.tostring(root, encoding="us-ascii", method="html")
    return "<!DOCTYPE html>\n" + written.decode("ascii")
