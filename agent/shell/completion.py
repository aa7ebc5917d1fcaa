"""What a shell may offer at the end of a command line: commands, options, parameters, words of enums, and of a running
agent the uuids and names of its objects.

The shells' scripts hand over the line up to the cursor and get the words that could stand there. Where no agent can be
asked without a password from the keyboard, or it does not answer at once, there are simply fewer.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from agent.cli import PASSWORD_VARIABLE, parser
from agent.client import Failure, Unreachable, connected, trusted
from agent.shell import cache, verbs
from agent.shell.asked import Misused
from agent.shell.commands import Command, Commands
from agent.shell.fields import changes
from agent.shell.objects import Missing, Objects, belongs
from agent.shell.run import parser as shell_parser
from agent.shell.spellings import View
from agent.shell.subject import subject_names
from agent.shell.words import Shape, Word, Words, key
from agent.terminal import printable
from agent.users import UsersError

PATIENCE_SECONDS = 2.0
BREAKS = re.compile(r"^.*[=:]", re.DOTALL)
"""What bash takes for the words before the one it completes."""
Offer = tuple[str, str]
"""A word, and what it is; the latter may be empty."""

BASH = """\
# bash completion of xen-host-agent
_xen_host_agent() {
    mapfile -t COMPREPLY < <(xen-host-agent completion bash --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:/] ]] && compopt -o nospace
}
complete -F _xen_host_agent xen-host-agent
"""
ZSH = """\
#compdef xen-host-agent
# zsh completion of xen-host-agent
_xen_host_agent() {
    local word text
    local -a open_words open_texts words_done texts_done
    while IFS=$'\\t' read -r word text; do
        [[ -n $text ]] && text="$word  $text" || text=$word
        if [[ $word == *[=:/] ]]; then
            open_words+=("$word"); open_texts+=("$text")
        else
            words_done+=("$word"); texts_done+=("$text")
        fi
    done < <(xen-host-agent completion zsh --line "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)
    (( $#open_words )) && compadd -S '' -l -d open_texts -a open_words
    (( $#words_done )) && compadd -l -d texts_done -a words_done
    return 0
}
if [[ $funcstack[1] == _xen_host_agent ]]; then
    _xen_host_agent "$@"
else
    compdef _xen_host_agent xen-host-agent
fi
"""
FISH = """\
# fish completion of xen-host-agent
function __xen_host_agent
    xen-host-agent completion fish --line (commandline -cp | string collect) 2>/dev/null
end
complete -c xen-host-agent -f -a '(__xen_host_agent)'
"""
SCRIPTS: Mapping[str, str] = {"bash": BASH, "zsh": ZSH, "fish": FISH}


class TooLate(Exception):
    """The agent did not answer while the user waited."""


def lines(shell: str, line: str, commands: Commands) -> Iterator[str]:
    """What a shell's script is told for a line."""
    typed, current, quoted = split(line)
    for word, text in offers(typed, current, commands):
        if shell != "bash":
            yield f"{word}\t{printable(text)}" if text else word
            continue
        rest = word[len(found[0]) :] if (found := BREAKS.match(current)) else word
        yield rest if quoted else re.sub(r"([^\w@%+=:,./-])", r"\\\1", rest)


def split(line: str) -> tuple[list[str], str, bool]:
    """The whole words of a line, the one that is begun, and whether that has an open quote."""
    escaped = len(line) - len(line.rstrip("\\"))
    line = line[:-1] if escaped % 2 else line
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        if not closing and re.search(r"(?<!\\)\s$", line):
            words.append("")
        return words[1:-1], words[-1] if len(words) > 1 else "", bool(closing)
    return [], "", False


def offers(typed: list[str], current: str, commands: Commands) -> list[Offer]:
    """What could stand in place of the word that is begun, after those that are typed."""
    own = parser()
    known = next(action.choices for action in own._actions if isinstance(action, argparse._SubParsersAction))
    name = _command(typed)
    if name is None and typed and _takes_value(shell_parser(), typed[-1]) is not None:
        found = []
    elif name is None:
        begun = [(each, "") for each in (*known, *commands.names())]
        found = begun if not current.startswith("-") else _options(shell_parser())
    elif name in known:
        found = _own(known[name], typed[typed.index(name) + 1 :], commands)
    elif typed and _takes_value(shell_parser(), typed[-1]) is not None:
        found = []
    elif current.startswith("-"):
        found = _options(shell_parser())
    else:
        try:
            found = _derived(commands.find(name), typed, current, commands.words)
        except Misused:
            found = []
    return sorted({word: (word, text) for word, text in found if word.startswith(current)}.values())


def _command(typed: list[str]) -> str | None:
    """The command among whole words: the first that is neither an option nor the value of one."""
    options = shell_parser()
    for before, word in zip(["", *typed], typed, strict=False):
        if not word.startswith("-") and _takes_value(options, before) is None:
            return word
    return None


def _takes_value(of: argparse.ArgumentParser, option: str) -> argparse.Action | None:
    """The action of an option that the next word belongs to."""
    action = of._option_string_actions.get(option)
    return action if action is not None and action.nargs != 0 else None


def _options(of: argparse.ArgumentParser) -> list[Offer]:
    return [(name, action.help or "") for name, action in of._option_string_actions.items() if name.startswith("--")]


def _own(of: argparse.ArgumentParser, typed: list[str], commands: Commands) -> list[Offer]:
    """What follows a command that argparse knows."""
    before = _takes_value(of, typed[-1]) if typed else None
    if before is not None:
        return [(str(choice), "") for choice in before.choices or ()]
    found = _options(of)
    plain = [word for word in typed if not word.startswith("-")]
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            if not plain:
                return [*found, *((name, "") for name in action.choices)]
            chosen = action.choices.get(plain[0])
            return _own(chosen, typed[typed.index(plain[0]) + 1 :], commands) if chosen is not None else []
        if not action.option_strings and not plain:
            found += [(str(choice), "") for choice in action.choices or ()]
            found += [(word, "") for word in _topics(action.dest, commands)]
    return found


def _topics(of: str, commands: Commands) -> Iterator[str]:
    """What a positional word of ``help``, ``call`` and ``watch`` can be."""
    words = commands.words
    if of == "topic":
        yield from (prefix for prefix, _ in commands.by_class())
        yield from commands.names()
    elif of == "message":
        for name in words.names():
            yield from (f"{name}.{each}" for each in (*words.verbs(name), *words.accessors(name)))
    elif of == "classes":
        yield from (name for name in words.names() if words.listed(name))


# --- the commands that follow from the table


def _derived(command: Command, typed: list[str], current: str, words: Words) -> list[Offer]:
    name, equals, begun = current.partition("=")
    slots = dict(_slots(command))
    if not equals:
        given = {key(word.partition("=")[0]) for word in typed}
        return [(f"{label}=", slot.doc) for label, slot in slots.items() if key(label) not in given]
    slot = next((found for label, found in slots.items() if key(label) == key(name)), None)
    if slot is None:
        return []
    return [(f"{name}={value}", text) for value, text in _values(command, slot, begun, typed, words)]


FIELD_NAME, FIELD_NAMES, MEMBER = "field name", "field names", "member"


def _slots(command: Command) -> Iterator[tuple[str, Word]]:
    """The words that a command takes, by their usual names."""
    if command.special is not None:
        for word in command.special.params:
            yield command.special.spellings(word)[0], word
        return
    noun = command.noun
    assert noun is not None
    if command.action == "list":
        yield "params", Word("params", _marked(FIELD_NAMES), "which fields are shown")
        yield from ((word.label, word) for word in noun.fields.values())
        return
    if command.verb is None or command.verb.subject is not None:
        yield from ((name, Word(name, _reference(noun.name), "which one")) for name in subject_names(command)[:2])
    if command.verb is not None:
        yield from ((verbs.spellings(word)[0], word) for word in verbs.accepted(noun, command.verb))
    elif command.action == "param-set":
        yield from ((word.label, word) for word in noun.fields.values() if changes(noun, command.action, word))
    elif command.action != "param-list":
        yield "param-name", Word("param-name", _marked(FIELD_NAME), "which field")
        if command.action != "param-clear":
            yield "param-key", Word("param-key", _marked(MEMBER), "which member")


def _marked(kind: str) -> Shape:
    return Shape(kind, kind)


def _reference(to: str) -> Shape:
    return Shape("ref", f"{to} ref", to)


def _values(command: Command, slot: Word, begun: str, typed: list[str], words: Words) -> Iterable[Offer]:
    """What a word can be that is begun so."""
    noun, shape = command.noun, slot.shape
    match shape.kind:
        case "enum":
            return [(word.lower(), "") for word in shape.words]
        case "bool":
            return [("true", ""), ("false", "")]
        case "file":
            return _files(begun)
        case "field name" if noun is not None:
            reading = command.action == "param-get"
            fitting = [word for word in noun.fields.values() if reading or changes(noun, command.action, word)]
            return [(word.label, word.doc) for word in fitting]
        case "field names" if noun is not None:
            before = begun[: begun.rfind(",") + 1]
            return [(f"{before}{label}", "") for label in ("all", *(word.label for word in noun.fields.values()))]
        case "member" | "ref":
            return _asked(command, slot, typed, words)
    return _asked(command, slot, typed, words) if slot.name in ("uuid", "name_label") and command.noun else ()


def _files(begun: str) -> list[Offer]:
    folder, name = os.path.split(begun)
    try:
        found = [each for each in Path(folder or ".").iterdir() if each.name.startswith(name)]
    except OSError:
        return []
    return [(f"{os.path.join(folder, each.name)}{'/' if each.is_dir() else ''}", "") for each in found]  # noqa: PTH118


# --- what a running agent knows


@contextmanager
def _hurried() -> Iterator[None]:
    """TooLate in here when the user has waited long enough."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TooLate

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _asked(command: Command, slot: Word, typed: list[str], words: Words) -> list[Offer]:
    """The objects or members that a running agent has. None where it cannot be asked silently."""
    options, _ = shell_parser().parse_known_args(typed)
    if PASSWORD_VARIABLE not in os.environ and options.password_file is None and not trusted(options):
        return []
    try:
        with _hurried(), connected(options) as agent:
            objects = Objects(agent, words)
            if slot.shape.kind == MEMBER:
                return list(_members(command, typed, objects))
            view = command.view if command.special is None else command.special.view(slot)
            return list(_objects(command, slot, objects, view))
    except (TooLate, Failure, Unreachable, UsersError, Missing, Misused):
        return []


def _objects(command: Command, slot: Word, objects: Objects, view: View | None) -> Iterator[Offer]:
    """Uuids with the names as their texts, and names."""
    noun = command.noun
    class_name = slot.shape.to or (noun.name if noun is not None else "")
    for record in objects.all(class_name).values():
        if view is not None and class_name == view.of and not belongs(record, view):
            continue
        name, uuid = str(record.get("name_label", "")), str(record.get("uuid", ""))
        if slot.name != "name_label":
            yield uuid, name
        if name and slot.name != "uuid" and name.isprintable():
            yield name, ""


def _members(command: Command, typed: list[str], objects: Objects) -> Iterator[Offer]:
    """The members of the map or set that the line names so far."""
    noun = command.noun
    assert noun is not None
    given = {key(word.partition("=")[0]): word.partition("=")[2] for word in typed}
    field = noun.field(given.get("paramname", ""))
    text = next((given[key(name)] for name in subject_names(command) if key(name) in given), None)
    if field is not None and text:
        ref = objects.find(noun.name, text, command.view)
        value = objects.send(f"{noun.name}.get_{field.name}", ref)
        yield from ((str(each), "") for each in value) if isinstance(value, (dict, list)) else ()


def run_completion(args: argparse.Namespace) -> int:
    """``completion``: a shell's script, or for one of them what fits a line."""
    if args.line is None:
        print(SCRIPTS[args.shell], end="")
        return 0
    for line in lines(args.shell, args.line, Commands(cache.words(args.table))):
        print(line)
    return 0
