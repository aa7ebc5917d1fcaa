"""What help says: the commands by class, and of each what it takes, all from the words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from agent.shell import verbs
from agent.shell.commands import PARAMETER_COMMANDS, Command, Commands
from agent.shell.fields import changes
from agent.shell.spellings import VIEWS
from agent.shell.subject import subject_names
from agent.shell.words import Shape, Verb, Word, spell

COLUMNS = 100
MANY = 6
"""More parameters that can be left out than this are not each in the pattern."""
PARAMETERS = {
    "list": "List the objects of this class. Fields narrow the list; params= says which fields are shown.",
    "param-list": "Show all fields of an object.",
    "param-get": "Show one field of an object, or one member of a map.",
    "param-set": "Change fields of an object: field=value, and map:key=value for one member of a map.",
    "param-add": "Add members to a map (key=value) or an element to a set (param-key=element).",
    "param-remove": "Remove a member of a map, or an element of a set.",
    "param-clear": "Empty a map or a set.",
}


def summary(command: Command) -> str:
    """One sentence on a command."""
    if command.special is not None:
        return command.special.doc
    if command.verb is not None:
        return " ".join(command.verb.doc.partition("\n\n")[0].split())
    return PARAMETERS[command.action]


def command(wanted: Command) -> list[str]:
    """All there is to say of one command."""
    lines = [f"usage: xen-host-agent {wanted.name} {usage(wanted)}".rstrip(), ""]
    lines += _wrapped(wanted.verb.doc if wanted.verb is not None else summary(wanted))
    taken = list(parameters(wanted))
    if taken:
        lines += ["", "parameters:", *_listed(taken)]
    if wanted.noun is not None and wanted.verb is None and wanted.action != "list":
        lines += ["", "fields:", *_listed(fields(wanted))]
    if wanted.action == "list" and wanted.noun is not None:
        lines += ["", "fields:", *_listed((word.label, described(word)) for word in wanted.noun.fields.values())]
    if wanted.verb is not None:
        verb = wanted.verb
        lines += ["", f"message: {verb.full_name}, role: {verb.role or 'anybody'}, result: {verb.result.name}"]
        if verb.errors:
            lines += ["", "errors:", *_wrapped(", ".join(verb.errors), "  ")]
    lines += [
        "",
        "options: --minimal, --json, --multiple, --url URL, --user NAME and more: 'xen-host-agent call --help'",
    ]
    return lines


def usage(wanted: Command) -> str:
    """The words after a command, as a pattern."""
    if wanted.special is not None:
        return " ".join(_pattern(word.label, word.required) for word in wanted.special.params)
    if wanted.verb is not None:
        assert wanted.noun is not None
        subject = [f"uuid=... | {wanted.word}=..."] if wanted.verb.subject is not None else []
        words = verbs.accepted(wanted.noun, wanted.verb)
        needed = [_pattern(word.label, True) for word in words if verbs.needed(word)]
        others = [_pattern(word.label, False) for word in words if not verbs.needed(word)]
        return " ".join([*subject, *needed, *(others if len(others) <= MANY else ["[field=value ...]"])])
    of = f"uuid=... | {wanted.word}=..."
    return {
        "list": "[params=all|field,...] [field=value ...]",
        "param-list": of,
        "param-get": f"{of} param-name=... [param-key=...]",
        "param-set": f"{of} field=value ... [map:key=value ...]",
        "param-add": f"{of} param-name=... key=value | param-key=...",
        "param-remove": f"{of} param-name=... param-key=...",
        "param-clear": f"{of} param-name=...",
    }[wanted.action]


def _pattern(label: str, needed: bool) -> str:
    return f"{label}=..." if needed else f"[{label}=...]"


def parameters(wanted: Command) -> Iterator[tuple[str, str]]:
    """Each parameter of a command with what it is."""
    if wanted.special is not None:
        for word in wanted.special.params:
            yield " | ".join(wanted.special.spellings(word)), described(word)
    elif wanted.verb is not None:
        assert wanted.noun is not None
        if wanted.verb.subject is not None:
            yield _subject(wanted, wanted.verb)
        for word in verbs.accepted(wanted.noun, wanted.verb):
            yield " | ".join(verbs.spellings(word)), described(word)


def _subject(wanted: Command, verb: Verb) -> tuple[str, str]:
    assert verb.subject is not None
    names = subject_names(wanted, verb.subject.name)
    return " | ".join(names[:2]), f"which one, by uuid or name; or fields that choose it ({verb.subject.shape.name})"


def fields(wanted: Command) -> Iterator[tuple[str, str]]:
    """The fields that a param- command can show or change."""
    assert wanted.noun is not None
    for word in wanted.noun.fields.values():
        if wanted.action in ("param-list", "param-get") or changes(wanted.noun, wanted.action, word):
            yield word.label, described(word)


def described(word: Word) -> str:
    """A parameter or field: what it is, its type, and what it is when it is left out."""
    kind = ", ".join(word.shape.words) if word.shape.kind == "enum" else type_name(word.shape)
    default = f"; default {word.default}" if word.default else ""
    return f"{word.doc} ({kind}{default})".lstrip()


def type_name(shape: Shape) -> str:
    """A type as a person types it."""
    match shape.kind:
        case "ref":
            return f"uuid or name of a {spell(shape.to)}"
        case "set":
            return f"{type_name(shape.parts[0])}, several by commas"
        case "map":
            return "name:key=value"
    return shape.name


def _listed(pairs: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> Iterator[str]:
    for name, text in pairs:
        yield from textwrap.wrap(f"{name}: {text}", COLUMNS, initial_indent="  ", subsequent_indent="      ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [""] if lines else []
        lines += textwrap.wrap(" ".join(paragraph.split()), COLUMNS, initial_indent=indent, subsequent_indent=indent)
    return lines


def overview(commands: Commands) -> Iterator[str]:
    """All commands by class."""
    yield "The commands of a running agent, by class. 'xen-host-agent help COMMAND' says what one takes,"
    yield "'xen-host-agent help CLASS' what each command of a class does. 'xen-host-agent --help' has the others."
    for prefix, names in commands.by_class():
        yield ""
        view = VIEWS.get(prefix)
        if view is not None and view.where and prefix != spell(view.of):
            yield f"{prefix}: {prefix}-list, and what a {spell(view.of)} has, of which it is one"
            continue
        generic = [name for name in names if name in {f"{prefix}-{action}" for action in PARAMETER_COMMANDS}]
        shown = [name for name in names if name not in generic]
        if generic:
            shown.append(f"{prefix}-param-{{{','.join(name.rpartition('-')[2] for name in generic)}}}")
        yield from textwrap.wrap(
            f"{prefix}: {', '.join(shown)}", COLUMNS, subsequent_indent="  ", break_on_hyphens=False
        )


def of_class(commands: Commands, names: list[str]) -> Iterator[str]:
    """What each command of a class does."""
    noun = next((found for found in map(commands.find, names) if found.noun is not None), None)
    if noun is not None and noun.noun is not None and noun.noun.doc:
        yield from _wrapped(noun.noun.doc)
        yield ""
    for name in names:
        yield from textwrap.wrap(
            f"{name}: {summary(commands.find(name))}", COLUMNS, subsequent_indent="    ", break_on_hyphens=False
        )
