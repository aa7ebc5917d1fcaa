"""Verbs: the messages that are more than access to one field, with their parameters by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.shell.asked import Given, Misused, nothing_else, taken
from agent.shell.commands import Command
from agent.shell.listing import Work
from agent.shell.sitting import Sitting
from agent.shell.spellings import OPTIONAL, PARAMETERS, View
from agent.shell.subject import take_subject
from agent.shell.values import NULL, check, pair, parse
from agent.shell.words import Noun, Verb, Word, key

NEUTRAL: dict[str, Any] = {"bool": False, "map": {}, "set": []}
"""What a parameter is that the wire needs and that was not given."""


def spellings(param: Word) -> tuple[str, ...]:
    """The words that a parameter of a verb is given by; the first is the usual one."""
    names = [param.label, *PARAMETERS.get(param.name, ())]
    if param.shape.kind == "ref":
        names += [f"{param.label}-uuid"]
    if param.shape.kind == "set" and param.shape.parts[0].kind == "ref":
        names += [f"{param.label.removesuffix('s')}-uuids"]
    return tuple(names)


def arguments(verb: Verb) -> tuple[Word, ...]:
    """What a verb is given by name, beside the object it is sent to; a record's fields one by one."""
    return verb.params[1:] if verb.subject is not None else verb.params


def accepted(noun: Noun, verb: Verb) -> tuple[Word, ...]:
    """All that can be given to a verb by name."""
    return noun.constructor if verb.record else arguments(verb)


def needed(word: Word) -> bool:
    """Whether a parameter or a field of create must be given on the command line."""
    shape = word.shape
    loose = shape.kind in NEUTRAL or (shape.kind == "ref" and (shape.nullable or shape.to == "host"))
    return word.required and not loose and word.name not in OPTIONAL


def sending(command: Command, verb: Verb, words: list[Given]) -> Work:
    """A verb: one message to each object that it is for."""
    noun = command.noun
    assert noun is not None
    takes = accepted(noun, verb)
    texts = {word.name: take_value(word, words, spellings(word)) for word in takes}
    subject = None if verb.subject is None else take_subject(command, words, verb.subject.name)
    nothing_else(words, [name for word in takes for name in spellings(word)])
    missing = [word.label for word in takes if needed(word) and texts[word.name] is None]
    if missing:
        raise Misused(f"it needs {', '.join(f'{name}=...' for name in missing)}")

    def work(sitting: Sitting) -> None:
        subjects = [] if subject is None else [[ref] for ref in subject.find(sitting)]
        if verb.record:
            params: list[Any] = [_constructor(sitting, takes, texts)]
        else:
            params = _values(sitting, takes, texts)
        results = []
        for begin in subjects or [[]]:
            if verb.role:
                results.append(sitting.do(verb.full_name, *begin, *params))
            else:
                results.append(sitting.agent.send(verb.full_name, *begin, *params))
        sitting.answer(verb.result, results)

    return work


Text = str | list[Given] | None
"""What was given for one parameter: its text, the members of a map, or nothing."""


def take_value(word: Word, words: list[Given], spelled: Sequence[str]) -> Text:
    """What was given for a parameter. Misused where it certainly is none of its type."""
    names = {key(name) for name in spelled}
    members = [each for each in words if key(each.key) in names and each.part is not None and word.shape.kind == "map"]
    for each in members:
        words.remove(each)
    if members:
        return members
    for name in spelled:
        text = taken(words, name)
        if text is not None:
            check(word, text)
            return text
    return None


def value(sitting: Sitting, word: Word, text: Text, view: View | None = None) -> Any:
    """What is sent for a parameter that was given."""

    def find(class_name: str, name: str) -> str:
        return sitting.objects.find(class_name, name, view)

    if isinstance(text, list):
        return dict(pair(word.shape, str(each.part), each.text, word.label, find) for each in text)
    assert text is not None
    return parse(word.shape, text, word.label, find)


def _absent(sitting: Sitting, word: Word) -> Any:
    """What a required parameter is that was not given. Misused where only the user can tell."""
    shape = word.shape
    if word.name in OPTIONAL:
        return OPTIONAL[word.name]
    if shape.kind == "ref":
        found = sitting.objects.only(shape.to) if shape.to == "host" else None
        if found is None and not shape.nullable:
            raise Misused(f"it needs {word.label}=...")
        return found or NULL
    return NEUTRAL[shape.kind]


def _constructor(sitting: Sitting, takes: Sequence[Word], texts: dict[str, Text]) -> dict[str, Any]:
    record = {}
    for word in takes:
        text = texts[word.name]
        if text is not None:
            record[word.name] = value(sitting, word, text)
        elif word.required:
            record[word.name] = _absent(sitting, word)
    return record


def _values(sitting: Sitting, takes: Sequence[Word], texts: dict[str, Text]) -> list[Any]:
    """The parameters in order, as many as are needed: those with defaults can only be left out from the end."""
    last = max((n for n, word in enumerate(takes) if word.required or texts[word.name] is not None), default=-1)
    result = []
    for word in takes[: last + 1]:
        text = texts[word.name]
        if text is not None:
            result.append(value(sitting, word, text))
        elif word.required:
            result.append(_absent(sitting, word))
        else:
            result.append(_default(sitting, word))
    return result


def _default(sitting: Sitting, word: Word) -> Any:
    """The default of a parameter before one that was given."""
    if word.default:
        return value(sitting, word, word.default)
    if word.shape.kind == "ref":
        return NULL
    return NEUTRAL.get(word.shape.kind, {"int": 0, "float": 0.0}.get(word.shape.kind, ""))
