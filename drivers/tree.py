"""Trees of XML edited in place, and only where they do not say it already. What the elements mean is not known here."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree


def child(parent: etree._Element, tag: str, order: Sequence[str] = ()) -> etree._Element:
    """The child of this name; if there is none, one is made at its place in `order`, or else at the end."""
    found = parent.find(tag)
    if found is None:
        found = etree.Element(tag)
        place = len(parent)
        if tag in order:
            before = set(order[: order.index(tag)])
            place = max((index + 1 for index, item in enumerate(parent) if item.tag in before), default=0)
        parent.insert(place, found)
    return found


def drop(parent: etree._Element, *tags: str) -> None:
    """Remove the children of these names."""
    for tag in tags:
        for found in parent.findall(tag):
            parent.remove(found)


def set_text(parent: etree._Element, tag: str, value: str, order: Sequence[str] = ()) -> None:
    """Make `value` the text of the child of this name; an empty one removes it."""
    if not value:
        drop(parent, tag)
    elif (parent.findtext(tag) or "").strip() != value:
        child(parent, tag, order).text = value


def set_attribute(element: etree._Element, name: str, value: str | None) -> None:
    """Make `value` the attribute; None removes it."""
    if value is None:
        if name in element.attrib:
            del element.attrib[name]
    elif element.get(name) != value:
        element.set(name, value)


def same(one: etree._Element, other: etree._Element) -> bool:
    """Whether two trees say the same, however they are laid out."""
    return (
        one.tag == other.tag
        and sorted(one.items()) == sorted(other.items())
        and (one.text or "").strip() == (other.text or "").strip()
        and len(one) == len(other)
        and all(same(left, right) for left, right in zip(one, other, strict=True))
    )
