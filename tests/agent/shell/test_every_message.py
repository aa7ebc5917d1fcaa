"""Every class and message of the sealed table has a command, which sends what the table says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agent import messages
from agent.model.entity import Entity
from agent.model.messages import Message
from agent.model.types import Record
from agent.shell import guide
from agent.shell.asked import Misused
from agent.shell.commands import Commands
from agent.shell.objects import Missing
from agent.shell.special import SPECIALS
from agent.shell.table import accessor
from agent.shell.words import Shape, Words, key, spell
from tests.agent.shell.conftest import UUID, Perform, Recorder

API = messages.api()
VERBS = [name for name, each in API.messages.items() if not accessor(each, API.classes.get(each.class_name))]
LISTED = [name for name, cls in API.classes.items() if cls.stored]
CHANGED = [
    f"{cls.wire_name}.{field.name}"
    for cls in API.classes.values()
    for field in cls.wire_fields.values()
    if (setter := API.messages.get(f"{cls.wire_name}.set_{field.name}")) and accessor(setter, cls)
]


def example(shape: Shape) -> str:
    """A text of a type."""
    match shape.kind:
        case "int":
            return "7"
        case "float":
            return "0.5"
        case "bool":
            return "true"
        case "enum":
            return spell(shape.words[-1])
        case "ref":
            return UUID
        case "datetime":
            return "20260101T00:00:00Z"
        case "set":
            return example(shape.parts[0])
        case "map":
            return f"{example(shape.parts[0])}={example(shape.parts[1])}"
        case "record" | "other":
            return "{}"
    return "text"


def decoded(message: Message, params: list[Any]) -> None:
    """Fail unless the agent could take these parameters."""
    assert message.required <= len(params) <= len(message.params)
    for declared, value in zip(message.params, params, strict=False):
        if isinstance(declared.type, Record):
            for name, field in declared.type.fields.items():
                if name in value:
                    field.type.decode(value[name], lambda cls, ref: cast(Entity, object()))
        else:
            declared.type.decode(value, lambda cls, ref: cast(Entity, object()))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_command_that_sends_it(
    name: str, words: Words, commands: Commands, perform: Perform, recorder: Recorder
) -> None:
    message = API.messages[name]
    noun = words.noun(message.class_name)
    verb = noun.verbs[message.name]
    command = f"{spell(message.class_name)}-{spell(message.name)}"
    if command in SPECIALS:
        pytest.skip("xe's command of that name does it, and more")
    takes = noun.constructor if verb.record else verb.params[1:] if verb.subject else verb.params
    texts = [f"{word.label}={example(word.shape)}" for word in takes]
    if verb.subject is not None:
        texts.append(f"{'uuid' if 'uuid' not in {key(word.name) for word in takes} else spell(noun.name)}={UUID}")
    assert commands.find(command).verb is verb
    perform(command, *texts)
    [(sent, params)] = recorder.changes()
    assert sent == name
    decoded(message, params)


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_tells_its_parameters(name: str, words: Words, commands: Commands) -> None:
    message = API.messages[name]
    told = "\n".join(guide.command(commands.find(f"{spell(message.class_name)}-{spell(message.name)}")))
    assert told.startswith(f"usage: xen-host-agent {spell(message.class_name)}-{spell(message.name)}")
    if f"{spell(message.class_name)}-{spell(message.name)}" not in SPECIALS:
        assert all(word.label in told for word in words.noun(message.class_name).verbs[message.name].params[1:])


@pytest.mark.parametrize("name", VERBS)
def test_what_a_verb_needs_is_said_before_the_agent_is_asked(
    name: str, words: Words, perform: Perform, recorder: Recorder
) -> None:
    message = API.messages[name]
    verb = words.noun(message.class_name).verbs[message.name]
    command = f"{spell(message.class_name)}-{spell(message.name)}"
    if verb.subject is not None or command in SPECIALS:
        with pytest.raises(Misused, match=r"say which|it needs"):
            perform(command)
        assert recorder.sent == []
    with pytest.raises(Misused, match="no parameter 'zebra'"):
        perform(command, "uuid=" + UUID, "zebra=1") if verb.subject is not None else perform(command, "zebra=1")


@pytest.mark.parametrize("name", LISTED)
def test_every_class_has_its_list_and_its_fields(name: str, perform: Perform, recorder: Recorder) -> None:
    word = spell(name)
    for form in ("json", "minimal", None):
        perform(f"{word}-list", "params=all", **({form: True} if form else {}))
        perform(f"{word}-param-list", f"uuid={UUID}", **({form: True} if form else {}))
    for field in API.classes[name].wire_fields:
        perform(f"{word}-list", f"params={field}")
        perform(f"{word}-param-get", f"uuid={UUID}", f"param-name={spell(field)}")
    assert {method.partition(".")[0] for method, _ in recorder.sent} == {name}


@pytest.mark.parametrize("name", CHANGED)
def test_every_field_that_can_be_set_is_set(name: str, words: Words, perform: Perform, recorder: Recorder) -> None:
    class_name, _, field = name.partition(".")
    word = words.noun(class_name).fields[field]
    perform(f"{spell(class_name)}-param-set", f"uuid={UUID}", f"{word.label}={example(word.shape)}")
    [(sent, params)] = recorder.changes()
    assert sent == f"{class_name}.set_{field}"
    decoded(API.messages[sent], params)


@pytest.mark.parametrize("name", [f"{c}.{f.name}" for c in LISTED for f in API.classes[c].wire_fields.values()])
def test_members_are_added_and_removed_where_the_table_says_so(
    name: str, words: Words, perform: Perform, recorder: Recorder
) -> None:
    class_name, _, field = name.partition(".")
    noun = words.noun(class_name)
    word = noun.fields[field]
    command, texts = f"{spell(class_name)}-param-", (f"uuid={UUID}", f"param-name={word.label}")
    if word.shape.kind not in ("set", "map") or not noun.can("add_to", field):
        with pytest.raises((Misused, Missing)):  # what has add_ alone looks for the object first
            perform(f"{command}add", *texts, "param-key=x")
        return
    part = example(word.shape.parts[0]).replace("text", "7")  # numbers are texts in some sets
    perform(f"{command}add", *texts, f"param-key={part}" if word.shape.kind == "set" else f"{part}=text")
    perform(f"{command}remove", *texts, f"param-key={part}")
    perform(f"{command}clear", *texts)
    sent = [method for method, _ in recorder.changes() if not method.endswith("get_record")]
    assert all(method in API.messages for method in sent)
    assert len(sent) == (3 if noun.can("set", field) else 2)
    for method, params in recorder.changes():
        decoded(API.messages[method], params)


def test_no_two_fields_or_parameters_can_be_mistaken_for_each_other(words: Words) -> None:
    for name in words.names():
        noun = words.noun(name)
        assert len({key(field) for field in noun.fields}) == len(noun.fields), name
        for verb in noun.verbs.values():
            assert len({key(param.name) for param in verb.params}) == len(verb.params), verb.full_name


def test_no_two_commands_can_be_mistaken_for_each_other(words: Words, commands: Commands) -> None:
    names = list(commands.names())
    assert len({key(name) for name in names}) == len(names)
    made = sum(len(list(words.verbs(name))) for name in words.names())
    assert len(names) > made


def test_help_has_every_class_and_every_command_once(commands: Commands) -> None:
    told = "\n".join(guide.overview(commands))
    for name in API.classes:
        assert f"\n{spell(name)}: " in told
    for _, names in commands.by_class():
        assert len(list(guide.of_class(commands, names))) >= len(names)
