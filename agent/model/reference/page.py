"""The printed reference: one HTML page of the sealed table, with its style and script in it, that needs no network.

Every class, field, message, enum, struct and error has its anchor: ``#VM``, ``#field-VM.name_label``, ``#VM.start``,
``#enum-vm_power_state``, ``#error-VM_IS_TEMPLATE``. All content is put into trees as text, so that nothing declared can
become markup; and the page's own policy lets it load nothing, and run no script but the one that is in it.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from importlib import resources

from agent import __version__
from agent.model.api import Api
from agent.model.entity import Entity, Field, Qualifier
from agent.model.messages import Message
from agent.model.reference import contents, diagram
from agent.model.reference.contents import Relation, XenErrorType
from agent.model.reference.markup import Content, Element, document, element
from agent.model.reference.pieces import (
    Pieces,
    code_link,
    field_id,
    link,
    own_link,
    role,
    row,
    section,
    spaced,
    table,
)
from agent.model.types import Ref, WireEnum
from agent.roles import Role

BEFORE = (
    ("about-reading", "How to read it"),
    ("about-diagram", "Class diagram"),
    ("about-bound", "Bound fields"),
    ("about-references", "Other references"),
)
AFTER = (
    ("about-enums", "Enums"),
    ("about-structs", "Structs"),
    ("about-errors", "Errors"),
    ("about-roles", "Roles"),
)
"""The parts before and after the classes: id and title."""
TITLES = dict(BEFORE + AFTER)

QUALIFIERS = {
    Qualifier.RW: "Clients can give it to create, and set it at any time.",
    Qualifier.CONSTRUCTOR: "Clients can give it to create; from then on it is fixed.",
    Qualifier.RUNTIME: "Only the agent sets it: what it observes, computes or made up with the object.",
}


def html(api: Api) -> str:
    """The whole page."""
    style, script = (resources.files(__package__).joinpath(f"page.{kind}").read_text("ascii") for kind in ("css", "js"))
    title = f"XenAPI reference of xen-host-agent {__version__}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content=f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src data:",
        ),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )
    page = _Page(api)
    main = element("main", element("h1", title), page.content(), id="content")
    body = element("body", link("Skip to the content", "content", "skip"), page.nav(), main, element("script", script))
    return document(element("html", head, body, lang="en"))


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Page(Pieces):
    """Writes the parts of the page."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.naming: dict[XenErrorType, list[Message]] = {}
        for message in api.messages.values():
            for error in contents.named(message):
                self.naming.setdefault(error, []).append(message)

    def nav(self) -> Element:
        """Search, which only shows itself where scripts run, and the contents."""
        search = element(
            "form",
            element("label", "Search", for_="search"),
            element("input", type="search", id="search", placeholder="press /", autocomplete="off", spellcheck="false"),
            element("p", id="found", role="status"),
            hidden=True,
            role="search",
        )
        lists = (
            element("ul", (element("li", link(text, id)) for id, text in parts), class_=class_)
            for parts, class_ in (
                (BEFORE, None),
                (((name, name) for name, _, _ in contents.by_class(self.api)), "wire"),
                (AFTER, None),
            )
        )
        return element("nav", search, lists, aria_label="Contents")

    def content(self) -> Iterator[Element]:
        """All but the title."""
        yield element("p", contents.counts(self.api), class_="counts")
        yield self._how_to_read()
        yield self._diagram()
        yield self._bound()
        yield self._one_way()
        for name, cls, messages in contents.by_class(self.api):
            yield self._section_of(name, cls, messages)
        yield self._enums()
        yield self._structs()
        yield self._errors()
        yield self._roles()

    def _part(self, id: str, *content: Content) -> Element:
        return section(id, TITLES[id], content)

    # --- before the classes

    def _how_to_read(self) -> Element:
        return self._part(
            "about-reading",
            self.prose(
                "This is the table that this build answers by; what is not here is not served. Every message takes the "
                "session as its first parameter, which is not repeated below, unless its role is anybody. References "
                "are text, and the null reference is ``OpaqueRef:NULL``. XML-RPC carries an int as text, JSON-RPC as a "
                "number. A parameter with a default can be left out, with all that follow."
            ),
            self.prose(
                "A message marked async has a form ``Async.Class.message``, which answers at once with the reference "
                "of a task. A role may send whatever a lower one may."
            ),
            table(
                ("Qualifier", "Who sets the field"),
                (row(element("code", qualifier.value), text) for qualifier, text in QUALIFIERS.items()),
            ),
            self.prose(
                "Messages do not declare their errors. Listed are those that a message's own text names, and after "
                "them, paler, those that the front door gives by this table. What a rule of its class, the hypervisor "
                "or the storage refuses can come on top of them; the errors at the end are all that there are."
            ),
            table(
                ("Error", "Given by"),
                (row(self.errors([rule.error]), self.inline(rule.when)) for rule in contents.RULES),
            ),
        )

    def _diagram(self) -> Element:
        tints = (
            element(
                "li",
                element("span", class_=f"swatch {diagram.tint(place)}"),
                f"{subject} and what belongs to it" if subject else "the host and all else",
            )
            for place, subject in enumerate(sorted(set(contents.subjects(self.api).values())))
        )
        return self._part(
            "about-diagram",
            self.prose(
                "A box is a class with the fields by which its objects belong to others. A sign says how many objects "
                "of the class that it touches belong to one at the other end of the line."
            ),
            element(
                "ul",
                (element("li", sign, text) for sign, text in diagram.legend()),
                element("li", element("span", class_="swatch dashed"), "a part, which goes with its owner"),
                tints,
                class_="legend",
            ),
            element("figure", diagram.svg(self.api), tabindex="0", aria_label="Class diagram"),
        )

    def _bound(self) -> Element:
        return self._part(
            "about-bound",
            self.prose(
                "Two fields that say the same from both ends: whichever changes, the other follows. How many there are "
                "is said of each end as seen from the other."
            ),
            table(
                ("Field", "Type", "How many", "Field at the other end", "Type", "How many", "Destroying the first"),
                map(self._pair, contents.pairs(self.api)),
                "pairs",
            ),
        )

    def _pair(self, pair: Relation) -> Element:
        ends = (
            (code_link(end.name, self.targets[f"{end.cls}.{end.field}"]), self.type(end.type), end.cardinality)
            for end in (pair.one, pair.other)
        )
        return row(*(cell for cells in ends for cell in cells), pair.destroyed, id=f"pair-{pair.other.name}")

    def _one_way(self) -> Element:
        return self._part(
            "about-references",
            self.prose("References to which no field at the other end leads back."),
            table(
                ("Field", "Type", "Destroying what it names"),
                (
                    row(code_link(f"{field.owner}.{field.name}", field_id(field)), self.type(field.type), destroyed)
                    for field, destroyed in contents.one_way(self.api)
                ),
            ),
        )

    # --- classes

    def _section_of(self, name: str, cls: type[Entity] | None, messages: Sequence[Message]) -> Element:
        verbs, accessors = contents.apart(cls, messages)
        return element(
            "section",
            element("h2", link(name, name, "anchor"), class_="wire"),
            self.prose("No class of objects: only messages.") if cls is None else self._fields(cls),
            element("h3", "Messages"),
            map(self._message, verbs),
            self._accessors(accessors) if accessors else None,
            id=name,
            class_="class",
        )

    def _fields(self, cls: type[Entity]) -> Iterator[Content]:
        habits = (
            (not cls.stored, "There are no objects of it to list or to look up."),
            (cls.stored and not cls.announced, "Its changes make no events."),
        )
        yield self.prose(contents.doc(cls))
        yield (element("p", text, class_="habit") for holds, text in habits if holds)
        yield element("h3", "Fields")
        yield table(("Field", "Type", "Qualifier", "Meaning"), map(self._field, cls.wire_fields.values()), "fields")

    def _field(self, field: Field) -> Element:
        return row(
            own_link(field.name, field_id(field)),
            self.type(field.type),
            field.qualifier.value,
            (self.inline(field.doc), self._traits(field)),
            id=field_id(field),
        )

    def _traits(self, field: Field) -> Iterator[Element]:
        """What create takes if the field is not given, the other end, and who may change it."""
        if field.required:
            yield element("small", "required by create")
        elif (default := contents.default(field)) is not None:
            yield element("small", "default ", element("code", default))
        if field.bound:
            kind = next(kind for kind in contents.inner(field.type) if isinstance(kind, Ref))
            other = f"{kind.to}.{field.bound}"
            yield element("small", "bound to ", code_link(other, self.targets[other]))
        if field.role is not None:
            yield element("small", f"to change it: {field.role.wire}")

    def _message(self, message: Message) -> Element:
        named = contents.named(message)
        by_kind = [error for error in contents.by_kind(message) if error not in named]
        facts: tuple[tuple[str, Content], ...] = (
            ("Parameters", self.params(message.params) or "none"),
            ("Result", self.type(message.result)),
            ("Errors", (self.errors(named), element("span", self.errors(by_kind), class_="pale"))),
        )
        return element(
            "article",
            element(
                "h4",
                link(message.full_name, message.full_name, "anchor"),
                element("span", role(message), class_="tag"),
                element("span", "async", class_="tag") if message.has_async else None,
                class_="wire",
            ),
            self.prose(message.doc),
            element("dl", ((element("dt", name), element("dd", fact)) for name, fact in facts)),
            id=message.full_name,
        )

    def _accessors(self, messages: Sequence[Message]) -> Element:
        told = {message: contents.told(message) for message in messages}
        shared = [error for error in told[messages[0]] if all(error in found for found in told.values())]
        return element(
            "details",
            element("summary", f"{len(messages)} messages that read or set one field"),
            element("p", "Errors of each: ", self.errors(shared), class_="pale"),
            table(
                ("Message", "Parameters", "Result", "Role", "Further errors"),
                (
                    row(
                        own_link(message.full_name, message.full_name),
                        self.params(message.params),
                        self.type(message.result),
                        role(message),
                        element("span", self.errors(e for e in found if e not in shared), class_="pale"),
                        id=message.full_name,
                    )
                    for message, found in told.items()
                ),
                "accessors",
            ),
        )

    # --- after the classes

    def _enums(self) -> Element:
        return self._part(
            "about-enums",
            self.prose("Words are read in any letter case; the first is taken where an empty text is given."),
            table(("Enum", "Words", "Meaning"), map(self._enum, self.enum_ids), "enums"),
        )

    def _enum(self, enum: type[WireEnum]) -> Element:
        words = spaced(element("code", str(word)) for word in enum)
        id = self.enum_ids[enum]
        return row(own_link(enum.wire_name, id), words, self.inline(contents.doc(enum)), id=id)

    def _structs(self) -> Element:
        rows = (row(own_link(struct.name, id), self.members(struct), id=id) for struct, id in self.struct_ids.items())
        return self._part(
            "about-structs",
            self.prose("What some messages return that is no object."),
            table(("Struct", "Members"), rows),
        )

    def _errors(self) -> Element:
        return self._part(
            "about-errors",
            self.prose("The ErrorDescription of a failure is the code and its parameters, in this order and as text."),
            table(("Code", "Parameters", "Meaning", "Named by"), map(self._error, self.error_ids), "errors"),
        )

    def _error(self, error: XenErrorType) -> Element:
        id = self.error_ids[error]
        naming = self.naming.get(error, [])
        verbs = [message for message in naming if not message.derived]
        given = (f"the front door, to {rule.when}." for rule in contents.RULES if rule.error is error)
        others = len(naming) - len(verbs)
        return row(
            own_link(error.code, id),
            spaced(element("code", param) for param in contents.params(error)),
            self.inline(contents.doc(error)),
            (
                ((*self.inline(sentence), " ") for sentence in given),
                spaced(code_link(message.full_name, message.full_name) for message in verbs),
                f"{others} messages that follow from fields" if others else None,
            ),
            id=id,
        )

    def _roles(self) -> Element:
        least = [message.role for message in self.api.messages.values()]
        free = sum(needed is None for needed in least)
        counts = {each.wire: sum(needed is not None and needed <= each for needed in least) for each in Role}
        return self._part(
            "about-roles",
            self.prose("From least to most: a role may do all that those above it in this table may."),
            table(
                ("Role", "Messages that it may send"),
                (
                    row("anybody", f"{free:,}, without a session"),
                    *(row(element("code", name), f"{number:,}") for name, number in counts.items()),
                ),
            ),
        )
