"""The language of declarations, on classes made up for it: what sealing refuses, what decodes, what is derived.

Over the usual size: one small case for each rule of the language, best read beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import (
    CreateUnspecifiedAttribute,
    FieldTypeError,
    HandleInvalid,
    InvalidValue,
    MapDuplicateKey,
    OperationNotAllowed,
    UuidInvalid,
)
from agent.model import types
from agent.model.api import Api, seal
from agent.model.entity import Entity, constructor, internal, readwrite, runtime
from agent.model.messages import Kind, message
from agent.model.types import EPOCH, Mistyped, Refused, WireEnum
from agent.roles import Role
from agent.store.journal import Journal
from agent.store.store import Store

if TYPE_CHECKING:
    from agent import classes as m


class Colour(WireEnum, name="colour"):
    """How a cover looks."""

    GREEN = "green"
    DARK_RED = "Dark_Red"


class Box(Entity, name="box"):
    """A box whose end of a bound field clients could set, which must not be."""

    uuid: str = runtime("permanent name")
    leaves: tuple[Leaf, ...] = readwrite("what is in it", default=())


class Leaf(Entity, name="leaf"):
    """A leaf in such a box."""

    uuid: str = runtime("permanent name")
    box: Box = constructor("where it is", bound="leaves")


class Crate(Entity, name="crate"):
    """Holds jars."""

    uuid: str = runtime("permanent name")
    jars: tuple[Jar, ...] = runtime("what is in it", default=())


class Jar(Entity, name="jar"):
    """Is in one crate at the most."""

    uuid: str = runtime("permanent name")
    crates: tuple[Crate, ...] = runtime("where it is", default=(), bound="jars", through="in_crate")
    in_crate: Crate | None = internal("the one of crates", default=None, bound="jars", weak=True, passing=True)


class Pot(Entity, name="pot"):
    """Says that it shows a reference which it does not have."""

    uuid: str = runtime("permanent name")
    crates: tuple[Crate, ...] = runtime("where it is", default=(), bound="jars", through="in_box")


def not_negative(value: int) -> None:
    """Zero or more."""
    if value < 0:
        raise ValueError("it is less than 0")


class Shelf(Entity, name="shelf", role=Role.POOL_OPERATOR, creates=True, destroys=True):
    """A place for books."""

    uuid: str = runtime("permanent name")
    name_label: str = readwrite("name", default="")
    books: tuple[Book, ...] = runtime("what stands on it", default=())


class Book(Entity, name="book", role=Role.VM_ADMIN, creates=True, destroys=True):
    """Something to read."""

    uuid: str = runtime("permanent name")
    shelf: Shelf = constructor("where it stands", bound="books")
    pages: int = readwrite("how long it is", default=1, check=not_negative)
    weight: float = readwrite("how heavy it is", default=0.5)
    colour: Colour = readwrite("how it looks", default=Colour.DARK_RED)
    tags: tuple[str, ...] = readwrite("words to find it by", default=(), role=Role.VM_OPERATOR)
    notes: Mapping[str, str] = readwrite("what readers wrote", default={})
    printed: datetime = readwrite("when it was made", default=EPOCH)
    lent: bool = runtime("is somebody reading it", default=False)
    sequel_of: Book | None = readwrite("what comes before it", default=None, weak=True)
    author: Entity | None = readwrite("who wrote it", default=None, to="author")
    class_: str = constructor("where it is sorted", default="")
    shelfmark: str = internal("where to look", default="")


def declared(*classes: type[Entity]) -> ModuleType:
    """A module with these classes, as ``agent.classes`` is one."""
    module = ModuleType("declared")
    for cls in classes:
        setattr(module, cls.__name__, cls)
    return module


def verbs(*functions: Any) -> ModuleType:
    """A module with these verbs."""
    module = ModuleType("verbs")
    for function in functions:
        function.__module__ = "verbs"
        setattr(module, function.__name__, function)
    return module


@pytest.fixture
def api() -> Api:
    return seal(declared(Shelf, Book), [])


@dataclass
class Asking:
    """As much of a call as derived messages use."""

    store: Store


@pytest.fixture
def call(api: Api) -> Iterator[Asking]:
    store = Store(api.classes, Journal(None))
    store.load()
    yield Asking(store)
    store.close()


def say(api: Api, call: Asking, name: str, *values: object) -> Any:
    """Send a message as a client does: decoded by type, in a transaction."""
    found = api.messages[name]
    args = [param.type.decode(value, call.store.find) for param, value in zip(found.params, values, strict=True)]
    with call.store.transaction():
        return found.function(call, *args)


def nothing(class_name: str, ref: str) -> Entity | None:
    """Finds nothing."""
    return None


# --- sealing


def test_sealing_gives_every_field_its_type_and_every_message_its_place(api: Api) -> None:
    assert [field.type.name for field in api.classes["book"].wire_fields.values()] == [
        "string",
        "shelf ref",
        "int",
        "float",
        "enum colour",
        "string set",
        "(string -> string) map",
        "datetime",
        "bool",
        "book ref",
        "author ref",
        "string",
    ]
    assert list(api.messages) == sorted(api.messages)
    assert all(name == found.full_name for name, found in api.messages.items())


def test_an_internal_field_is_kept_and_has_no_message(api: Api) -> None:
    assert "shelfmark" in api.classes["book"].persistent_fields
    assert "shelfmark" not in api.classes["book"].wire_fields
    assert [name for name in api.messages if "shelfmark" in name] == []


def test_a_trailing_underscore_is_not_on_the_wire(api: Api) -> None:
    assert "book.get_class" in api.messages
    assert "book.get_class_" not in api.messages


def test_a_field_may_be_called_like_the_class_that_it_refers_to() -> None:
    class VM(Entity):
        """A machine of the test's own."""

        uuid: str = runtime("permanent name")

    class Disk(Entity):
        """What it has."""

        uuid: str = runtime("permanent name")
        VM: m.VM = constructor("whose it is")

    sealed = seal(declared(VM, Disk), [])
    assert sealed.messages["Disk.get_VM"].line == "Disk.get_VM(Disk ref self) -> VM ref [read-only]"


def test_a_bound_field_without_its_other_end_is_refused() -> None:
    class Loose(Entity, name="loose"):
        """Bound to nothing."""

        uuid: str = runtime("permanent name")
        shelf: Shelf = constructor("where it stands", bound="leaves")

    with pytest.raises(TypeError, match=r"loose\.shelf is bound to leaves"):
        seal(declared(Shelf, Book, Loose), [])


def test_a_bound_field_whose_other_end_holds_another_class_is_refused() -> None:
    class Loose(Entity, name="loose"):
        """Bound to the books' end."""

        uuid: str = runtime("permanent name")
        shelf: Shelf = constructor("where it stands", bound="books")

    with pytest.raises(TypeError, match=r"loose\.shelf is bound to books"):
        seal(declared(Shelf, Book, Loose), [])


def test_a_bound_field_whose_other_end_clients_could_set_is_refused() -> None:
    with pytest.raises(TypeError, match=r"leaf\.box is bound to leaves"):
        seal(declared(Box, Leaf), [])


def test_a_set_shows_the_one_reference_behind_it() -> None:
    sealed = seal(declared(Crate, Jar), [])
    assert sealed.messages["jar.get_crates"].result.name == "crate ref set"
    assert "in_crate" not in sealed.classes["jar"].persistent_fields


def test_a_set_that_shows_a_reference_which_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match=r"pot\.crates shows in_box"):
        seal(declared(Crate, Jar, Pot), [])


def test_bits_are_an_int_of_another_name() -> None:
    kind = types.of(Annotated[int, types.Flags("flags xs_type")])
    assert (kind.name, kind.default, kind.decode("3", lambda name, ref: None)) == ("flags xs_type", 0, 3)


def test_a_default_of_the_wrong_type_is_refused() -> None:
    class Wrong(Entity, name="wrong"):
        """With a default that is none."""

        uuid: str = runtime("permanent name")
        pages: int = readwrite("how long it is", default="many")

    with pytest.raises(TypeError, match=r"wrong\.pages has a default that is no int"):
        seal(declared(Wrong), [])


def test_a_class_without_a_docstring_is_refused() -> None:
    class Silent(Entity, name="silent"):
        uuid: str = runtime("permanent name")

    with pytest.raises(TypeError, match="silent has no docstring"):
        seal(declared(Silent), [])


def test_a_field_without_a_text_is_refused() -> None:
    class Silent(Entity, name="silent"):
        """Says nothing of its field."""

        uuid: str = runtime(" ")

    with pytest.raises(TypeError, match=r"silent\.uuid has no text"):
        seal(declared(Silent), [])


def test_a_field_without_an_annotation_is_refused() -> None:
    class Bare(Entity, name="bare"):
        """Has a field of no type."""

        uuid = runtime("permanent name")

    with pytest.raises(TypeError, match=r"bare\.uuid has no annotation"):
        seal(declared(Bare), [])


@pytest.mark.parametrize("annotation", [object, complex, bytes, "list[str]", "str | int"])
def test_a_type_that_the_wire_does_not_have_is_refused(annotation: object) -> None:
    class Strange(Entity, name="strange"):
        """Has a field of a type that cannot travel."""

        uuid: str = runtime("permanent name")

    field = runtime("strange", default=None)
    field.name, field.owner = "thing", "strange"
    Strange.fields = {**Strange.fields, "thing": field}
    Strange.__annotations__["thing"] = annotation
    with pytest.raises(TypeError, match="has no type on the wire"):
        seal(declared(Strange), [])


def test_a_reference_to_a_class_that_is_not_declared_is_refused() -> None:
    class Homeless(Entity, name="homeless"):
        """Stands nowhere."""

        uuid: str = runtime("permanent name")
        shelf: Shelf = constructor("where it stands")

    with pytest.raises(TypeError, match=r"homeless\.shelf refers to shelf, which is not declared"):
        seal(declared(Homeless), [])


def test_a_verb_without_a_docstring_is_refused() -> None:
    @message(Book)
    def read(call: Asking, self: Book) -> None:
        pass

    with pytest.raises(TypeError, match=r"book\.read has no docstring"):
        seal(declared(Shelf, Book), [verbs(read)])


def test_a_verb_with_a_type_that_the_wire_does_not_have_is_refused() -> None:
    @message(Book)
    def read(call: Asking, self: Book, how: complex) -> None:
        """Read it somehow."""

    with pytest.raises(TypeError, match="has no type on the wire"):
        seal(declared(Shelf, Book), [verbs(read)])


def test_a_verb_of_a_class_that_is_not_declared_is_refused() -> None:
    class Stray(Entity, name="stray"):
        """Is in no module of classes."""

        uuid: str = runtime("permanent name")

    @message(Stray)
    def read(call: Asking, self: Book) -> None:
        """Read it."""

    with pytest.raises(TypeError, match="which is not declared"):
        seal(declared(Shelf, Book), [verbs(read)])


def test_a_verb_takes_role_types_and_defaults_from_its_declaration_and_may_run_as_a_task() -> None:
    @message(Book, role=Role.READ_ONLY)
    def read(call: Asking, self: Book, page: int, aloud: bool = False) -> str:
        """Read a page."""
        return f"{page}{aloud}"

    read_ = seal(declared(Shelf, Book), [verbs(read)]).messages["book.read"]
    assert read_.line == "book.read(book ref self, int page, bool aloud=) -> string [read-only] async"
    assert (read_.kind, read_.required, read_.derived) == (Kind.VERB, 2, False)


def test_a_verb_named_like_a_derived_message_replaces_it_and_refuses_what_the_field_refuses(api: Api) -> None:
    seen: list[int] = []

    @message(Book, kind=Kind.WRITE)
    def set_pages(call: Asking, self: Book, value: int) -> None:
        """Set pages, and remember it."""
        seen.append(value)

    replaced = seal(declared(Shelf, Book), [verbs(set_pages)]).messages["book.set_pages"]
    assert api.messages["book.set_pages"].derived
    assert not replaced.derived
    book = Book(shelf=Shelf())
    replaced.function(None, book, 7)
    with pytest.raises(InvalidValue, match="less than 0"):
        replaced.function(None, book, -1)
    assert seen == [7]


# --- objects


def test_a_loose_object_has_defaults_a_new_uuid_and_a_reference_made_of_it() -> None:
    one, other = Shelf(), Shelf(name_label="b")
    assert one.name_label == ""
    assert other.name_label == "b"
    assert one.uuid != other.uuid
    assert one.ref == f"OpaqueRef:{one.uuid}"
    one.uuid = other.uuid
    assert one.ref == other.ref


def test_an_object_has_no_attributes_but_its_fields() -> None:
    shelf = Shelf()
    with pytest.raises(AttributeError, match="shelf has no field books_"):
        setattr(shelf, "books_", ())  # noqa: B010 - mypy knows that there is none
    with pytest.raises(TypeError, match="shelf has no field size"):
        Shelf(size=3)  # type: ignore[call-arg]


# --- what decodes


@pytest.mark.parametrize("value", [7, "7", 7.0, " 7 ", "+7", "007"])
def test_an_int_is_read_from_a_number_or_from_digits(value: object) -> None:
    assert types.Int().decode(value, nothing) == 7


@pytest.mark.parametrize(
    "value", ["", "x", "7.5", 7.5, True, None, [], "0x7", "1_000", "\uff17", "7" * 21, float("nan"), float("inf")]
)
def test_what_is_no_int_is_mistyped(value: object) -> None:
    with pytest.raises(Mistyped):
        types.Int().decode(value, nothing)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, str(2**63), 1e30])
def test_an_int_beyond_64_bits_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="64 bits"):
        types.Int().decode(value, nothing)


def test_millions_of_digits_are_refused_without_being_read(api: Api) -> None:
    field = api.classes["book"].fields["pages"]
    with pytest.raises(FieldTypeError):
        field.decode("7" * 4_000_000, nothing)
    # As a number it could not even be written back into the error: Python refuses after 4300 digits.
    with pytest.raises(InvalidValue, match="a large number"):
        field.decode(1 << 13_000_000, nothing)
    with pytest.raises(InvalidValue, match="too large"):
        api.classes["book"].fields["weight"].decode(1 << 13_000_000, nothing)


@given(st.integers(min_value=types.INT_MIN, max_value=types.INT_MAX))
def test_every_int_of_64_bits_survives_as_text(value: int) -> None:
    assert types.Int().decode(str(value), nothing) == value


@pytest.mark.parametrize(("value", "read"), [("1.5", 1.5), (2, 2.0), ("1e3", 1000.0), (-0.5, -0.5)])
def test_a_float_is_read_from_a_number_or_from_text(value: object, read: float) -> None:
    decoded = types.Float().decode(value, nothing)
    assert decoded == read
    assert isinstance(decoded, float)


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", float("-inf")])
def test_a_float_that_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="finite"):
        types.Float().decode(value, nothing)


@pytest.mark.parametrize("value", ["", "x", True, None, "1" * 64])
def test_what_is_no_float_is_mistyped(value: object) -> None:
    with pytest.raises(Mistyped):
        types.Float().decode(value, nothing)


@pytest.mark.parametrize("value", ["true", "1", 1, 0, None, ""])
def test_text_and_numbers_are_not_taken_for_truth(value: object) -> None:
    with pytest.raises(Mistyped):
        types.Bool().decode(value, nothing)


@pytest.mark.parametrize(
    "value",
    [
        "20260821T02:00:23Z",
        "20260821T02:00:23",
        "2026-08-21T02:00:23Z",
        "2026-08-21 02:00:23Z",
        "2026-08-21T02:00:23.987654Z",
        "2026-08-21T04:00:23+02:00",
        "20260820T21:30:23-0430",
        " 20260821T020023Z ",
        datetime(2026, 8, 21, 2, 0, 23),
        datetime(2026, 8, 21, 4, 0, 23, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_date_is_read_in_the_forms_of_both_worlds_and_kept_in_utc(value: object) -> None:
    decoded = types.DateTime().decode(value, nothing)
    assert decoded == datetime(2026, 8, 21, 2, 0, 23, tzinfo=UTC)
    assert types.DateTime().dump(decoded) == "20260821T02:00:23Z"


def test_a_date_that_is_not_set_is_the_epoch_and_the_year_1_survives() -> None:
    kind = types.DateTime()
    assert kind.decode("", nothing) == EPOCH
    unset_in_go = kind.decode("0001-01-01T00:00:00Z", nothing)
    assert kind.dump(unset_in_go) == "00010101T00:00:00Z"
    assert kind.load(kind.dump(unset_in_go), nothing) == unset_in_go


@pytest.mark.parametrize("value", ["yesterday", "2026", "2026-8-1", 20260821, None, "20260821T", "20260821T02:00:23Z;"])
def test_what_is_no_date_is_mistyped(value: object) -> None:
    with pytest.raises(Mistyped):
        types.DateTime().decode(value, nothing)


@pytest.mark.parametrize("value", ["20260230T00:00:00Z", "20261301", "20260821T25:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_date_that_never_was_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        types.DateTime().decode(value, nothing)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_date_survives_the_journal_to_the_second(value: datetime) -> None:
    kind = types.DateTime()
    assert kind.load(kind.dump(value), nothing) == value.replace(microsecond=0)


@pytest.mark.parametrize("value", ["Dark_Red", "dark_red", "DARK_RED"])
def test_a_word_of_a_list_is_read_in_any_case(value: str) -> None:
    assert types.Enum(Colour).decode(value, nothing) is Colour.DARK_RED


def test_an_empty_word_is_the_neutral_one_and_in_a_record_the_field_s_default(api: Api) -> None:
    assert types.Enum(Colour).decode("", nothing) is Colour.GREEN
    assert api.classes["book"].fields["colour"].decode("", nothing) is Colour.DARK_RED


def test_a_word_that_is_not_in_the_list_is_refused_with_the_list() -> None:
    with pytest.raises(Refused, match="none of green, Dark_Red"):
        types.Enum(Colour).decode("blue", nothing)
    with pytest.raises(Mistyped):
        types.Enum(Colour).decode(0, nothing)


@pytest.mark.parametrize("value", ["a\tb\r\nc", "ä", "\U0001f600", "<&>", "\u2028"])
def test_text_that_xml_can_carry_is_kept_as_it_is(value: str) -> None:
    assert types.String().decode(value, nothing) == value


@pytest.mark.threat("T11")
@pytest.mark.parametrize("value", ["\x00", "a\x1b", "\x0b", "\ud800", "\udfffx", "\ufffe"])
def test_control_characters_and_lone_surrogates_are_refused(value: str) -> None:
    with pytest.raises(Refused, match="XML cannot carry"):
        types.String().decode(value, nothing)


@pytest.mark.threat("T11")
@given(st.text(alphabet=st.characters(categories=["Cc", "Cs", "Cn", "Ll", "So"])))
def test_text_is_taken_exactly_if_utf8_and_xml_can_carry_it(value: str) -> None:
    allowed = all(
        character in "\t\n\r"
        or (character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff")
        for character in value
    )
    if allowed:
        assert types.String().decode(value, nothing).encode() == value.encode()
    else:
        with pytest.raises(Refused):
            types.String().decode(value, nothing)


@pytest.mark.threat("T11")
def test_a_refused_text_can_be_told_in_the_error(api: Api) -> None:
    with pytest.raises(InvalidValue) as refused:
        api.classes["shelf"].fields["name_label"].decode("a\x00\ud800", nothing)
    for part in refused.value.description:
        assert types.String().decode(part, nothing) == part


def test_a_set_keeps_the_order_and_drops_what_comes_twice() -> None:
    assert types.Set(types.Int()).decode(["2", 1, 2, 1.0], nothing) == (2, 1)
    assert types.Set(types.Int()).decode(None, nothing) == ()
    for value in ("12", {"1": 2}):
        with pytest.raises(Mistyped):
            types.Set(types.Int()).decode(value, nothing)


def test_a_map_decodes_its_keys_and_values() -> None:
    kind = types.Map(types.Int(), types.Float())
    assert kind.decode({"1": "0.5", "2": 1}, nothing) == {1: 0.5, 2: 1.0}
    assert kind.decode(None, nothing) == {}
    wrong: tuple[object, ...] = ([], "", {"x": 1.0})
    for value in wrong:
        with pytest.raises(Mistyped):
            kind.decode(value, nothing)


@pytest.mark.parametrize("value", ["", "OpaqueRef:NULL"])
def test_the_null_reference_is_read_where_it_is_allowed(value: str) -> None:
    assert types.Ref("book", nullable=True).decode(value, nothing) is None
    with pytest.raises(HandleInvalid):
        types.Ref("book").decode(value, nothing)


def test_a_reference_to_nothing_is_invalid_even_to_a_class_that_this_build_does_not_have(api: Api) -> None:
    with pytest.raises(HandleInvalid) as refused:
        api.classes["book"].fields["author"].decode("OpaqueRef:0", nothing)
    assert refused.value.description == ["HANDLE_INVALID", "author", "OpaqueRef:0"]
    assert api.classes["book"].fields["author"].decode("", nothing) is None


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_whatever_a_client_sends_a_field_takes_it_for_good_or_refuses_it_with_a_code(value: object) -> None:
    seal(declared(Shelf, Book), [])
    for field in Book.wire_fields.values():
        try:
            decoded = field.decode(value, nothing)
        except (FieldTypeError, InvalidValue, HandleInvalid):
            continue
        kept = field.type.load(field.type.dump(decoded), nothing)
        assert kept == (decoded.replace(microsecond=0) if isinstance(decoded, datetime) else decoded)


# --- what is derived


def test_records_of_create_take_rw_and_constructor_fields_only(api: Api) -> None:
    record = api.messages["book.create"].params[0].type
    assert isinstance(record, types.Record)
    assert "lent" not in record.fields
    assert "uuid" not in record.fields
    assert "shelfmark" not in record.fields
    assert {"shelf", "pages", "class", "sequel_of"} <= set(record.fields)


def test_create_fills_in_defaults_and_ignores_what_is_not_its_to_take(api: Api, call: Asking) -> None:
    shelf = say(api, call, "shelf.create", {})
    book = say(api, call, "book.create", {"shelf": shelf.ref, "pages": "12", "lent": True, "ISBN": "x", "colour": ""})
    assert (book.pages, book.lent, book.colour, book.tags) == (12, False, Colour.DARK_RED, ())
    assert shelf.books == (book,)
    assert say(api, call, "shelf.get_books", shelf.ref) == (book,)


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        ({}, CreateUnspecifiedAttribute),
        ({"shelf": "OpaqueRef:0"}, HandleInvalid),
        ({"shelf": ""}, HandleInvalid),
        ({"shelf": 7}, FieldTypeError),
        ({"shelf": "SHELF", "pages": "many"}, FieldTypeError),
        ({"shelf": "SHELF", "pages": -1}, InvalidValue),
        ({"shelf": "SHELF", "pages": 2**70}, InvalidValue),
        ({"shelf": "SHELF", "colour": "blue"}, InvalidValue),
        ({"shelf": "SHELF", "tags": "blue"}, FieldTypeError),
    ],
)
def test_create_refuses_a_faulty_record_and_makes_nothing(
    api: Api, call: Asking, record: dict[str, object], refused: type[Exception]
) -> None:
    shelf = say(api, call, "shelf.create", {})
    given_record = {key: shelf.ref if value == "SHELF" else value for key, value in record.items()}
    with pytest.raises(refused):
        say(api, call, "book.create", given_record)
    assert call.store.count("book") == 0
    assert shelf.books == ()


def test_a_record_that_is_none_is_mistyped(api: Api, call: Asking) -> None:
    with pytest.raises(Mistyped):
        say(api, call, "book.create", [])


@pytest.mark.parametrize(("add", "remove"), [("add", "remove"), ("add_to", "remove_from")])
def test_both_spellings_change_one_element_of_a_set(api: Api, call: Asking, add: str, remove: str) -> None:
    shelf = say(api, call, "shelf.create", {})
    book = say(api, call, "book.create", {"shelf": shelf.ref})
    for tag in ("a", "b", "a"):
        say(api, call, f"book.{add}_tags", book.ref, tag)
    assert book.tags == ("a", "b")
    for tag in ("a", "a", "c"):
        say(api, call, f"book.{remove}_tags", book.ref, tag)
    assert book.tags == ("b",)


def test_a_key_is_added_to_a_map_once(api: Api, call: Asking) -> None:
    shelf = say(api, call, "shelf.create", {})
    book = say(api, call, "book.create", {"shelf": shelf.ref})
    say(api, call, "book.add_to_notes", book.ref, "p1", "fine")
    with pytest.raises(MapDuplicateKey) as refused:
        say(api, call, "book.add_to_notes", book.ref, "p1", "fine")
    assert refused.value.description == ["MAP_DUPLICATE_KEY", "book", "notes", book.ref, "p1"]
    say(api, call, "book.remove_from_notes", book.ref, "p2")
    assert book.notes == {"p1": "fine"}
    say(api, call, "book.remove_from_notes", book.ref, "p1")
    assert book.notes == {}


def test_maps_of_two_objects_are_two(api: Api, call: Asking) -> None:
    shelf = say(api, call, "shelf.create", {})
    one = say(api, call, "book.create", {"shelf": shelf.ref})
    other = say(api, call, "book.create", {"shelf": shelf.ref})
    say(api, call, "book.add_to_notes", one.ref, "p1", "fine")
    assert other.notes == {}
    assert Book.fields["notes"].default == {}


def test_setters_refuse_what_the_field_s_check_refuses(api: Api, call: Asking) -> None:
    shelf = say(api, call, "shelf.create", {})
    book = say(api, call, "book.create", {"shelf": shelf.ref})
    say(api, call, "book.set_pages", book.ref, "0")
    with pytest.raises(InvalidValue) as refused:
        say(api, call, "book.set_pages", book.ref, -1)
    assert refused.value.field == "pages"
    assert book.pages == 0


def test_objects_are_found_by_uuid_and_by_name_which_need_not_be_one(api: Api, call: Asking) -> None:
    one = say(api, call, "shelf.create", {"name_label": "a"})
    two = say(api, call, "shelf.create", {"name_label": "a"})
    assert say(api, call, "shelf.get_by_name_label", "a") == [one, two]
    assert say(api, call, "shelf.get_by_name_label", "b") == []
    assert say(api, call, "shelf.get_by_uuid", two.uuid) is two
    assert say(api, call, "shelf.get_all") == [one, two]
    assert say(api, call, "shelf.get_record", one.ref) is one
    assert set(say(api, call, "shelf.get_all_records")) == {one, two}
    with pytest.raises(UuidInvalid):
        say(api, call, "shelf.get_by_uuid", one.ref)
    assert "book.get_by_name_label" not in api.messages


def test_destroy_refuses_while_another_object_refers_to_it_and_takes_none_along(api: Api, call: Asking) -> None:
    shelf = say(api, call, "shelf.create", {})
    book = say(api, call, "book.create", {"shelf": shelf.ref})
    sequel = say(api, call, "book.create", {"shelf": shelf.ref, "sequel_of": book.ref})
    with pytest.raises(OperationNotAllowed, match="still the shelf of book"):
        say(api, call, "shelf.destroy", shelf.ref)
    say(api, call, "book.destroy", book.ref)
    assert sequel.sequel_of is None
    assert shelf.books == (sequel,)
    with pytest.raises(HandleInvalid):
        say(api, call, "book.get_pages", book.ref)


def test_messages_need_the_role_of_the_field_else_of_the_class_and_reading_needs_the_least(api: Api) -> None:
    roles = {name: found.role for name, found in api.messages.items()}
    assert roles["book.get_tags"] is Role.READ_ONLY
    assert roles["book.set_tags"] is Role.VM_OPERATOR
    assert roles["book.add_to_tags"] is Role.VM_OPERATOR
    assert roles["book.set_pages"] is Role.VM_ADMIN
    assert roles["book.create"] is Role.VM_ADMIN
    assert roles["shelf.destroy"] is Role.POOL_OPERATOR


def test_runtime_and_constructor_fields_have_no_setter(api: Api) -> None:
    for name in ("lent", "shelf", "uuid", "class"):
        assert f"book.get_{name}" in api.messages
        assert f"book.set_{name}" not in api.messages
