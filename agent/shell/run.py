"""One command of those that follow from the table, from its words to its exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from agent.cli import client_options, complain
from agent.client import Failure, Unreachable, connected
from agent.shell import cache, fields, guide, listing, special, verbs
from agent.shell.asked import Given, Misused, given, nothing_else
from agent.shell.commands import LIST, Command, Commands
from agent.shell.objects import Missing, Objects
from agent.shell.sitting import Failed, Options, Sitting
from agent.shell.tasks import Cancelled, LeftRunning
from agent.shell.words import Words
from agent.terminal import printable_lines
from agent.users import UsersError

Derive = Callable[[], dict[str, Any]]


def parser() -> argparse.ArgumentParser:
    """The options that all these commands have; the rest is words."""
    made = argparse.ArgumentParser("xen-host-agent", add_help=False, allow_abbrev=False)
    made.add_argument("--help", "-h", action="store_true", help="show what the command takes")
    made.add_argument("--minimal", action="store_true", help="only values, on one line, by commas")
    made.add_argument("--json", action="store_true", help="results as JSON, with the API's names and types")
    made.add_argument("--multiple", action="store_true", help="act on all objects that the fields choose")
    client_options(made)
    made.add_argument("words", nargs="*", metavar="name=value")
    return made


def run(arguments: Sequence[str], derive: Derive) -> int:
    """Run one command line. Returns the exit code; raises SystemExit 2 where it is wrongly used."""
    args = parser().parse_intermixed_args(arguments)
    name, *rest = args.words or [""]
    try:
        words = cache.words(derive)
        command = Commands(words).find(name)
        if args.help:
            print("\n".join(guide.command(command)))
            return 0
        work = understand(command, given(rest))
    except Misused as misused:
        _misused(name, misused)
    return _perform(command, work, words, args)


def run_help(args: argparse.Namespace) -> int:
    """``help``: the commands that follow from the table."""
    commands = Commands(cache.words(args.table))
    topic = args.topic
    if not topic:
        print("\n".join(guide.overview(commands)))
        return 0
    names = commands.of(topic)
    try:
        lines = guide.of_class(commands, names) if names is not None else guide.command(commands.find(topic))
    except Misused as misused:
        _misused("help", misused)
    print("\n".join(lines))
    return 0


def understand(command: Command, words: list[Given]) -> listing.Work:
    """The work of a command. Misused where its words cannot be meant."""
    if command.special is not None:
        return _special(command.special, words)
    if command.verb is not None:
        return verbs.sending(command, command.verb, words)
    return listing.listing(command, words) if command.action == LIST else fields.parameters(command, words)


def _special(wanted: special.Special, words: list[Given]) -> listing.Work:
    texts = {word.name: verbs.take_value(word, words, wanted.spellings(word)) for word in wanted.params}
    nothing_else(words, [name for word in wanted.params for name in wanted.spellings(word)])
    missing = [word.label for word in wanted.params if word.required and texts[word.name] is None]
    if missing:
        raise Misused(f"it needs {', '.join(f'{name}=...' for name in missing)}")

    def work(sitting: Sitting) -> None:
        found = {}
        for word in wanted.params:
            text = texts[word.name]
            if text is not None:
                found[word.name] = verbs.value(sitting, word, text, wanted.view(word))
        wanted.work(sitting, found)

    return work


def _perform(command: Command, work: listing.Work, words: Words, args: argparse.Namespace) -> int:
    try:
        with connected(args) as agent:
            objects = Objects(agent, words)
            options = Options(args.minimal, args.json, args.multiple)
            try:
                work(Sitting(agent, words, objects, options, command.name))
            except Failure as failure:
                return _failed(command.name, failure, words, objects)
    except Misused as misused:
        _misused(command.name, misused)
    except (Missing, Failed, LeftRunning, Cancelled) as error:
        return complain(f"{command.name}: {error}")
    except (Unreachable, UsersError) as error:
        return complain(error)
    except Failure as failure:  # of the log-in
        return complain(failure)
    return 0


def _misused(name: str, misused: Misused) -> NoReturn:
    where = f" {name}" if name else ""
    print(printable_lines(f"xen-host-agent{where}: {misused}"), file=sys.stderr)
    raise SystemExit(2)


def _failed(name: str, failure: Failure, words: Words, objects: Objects) -> int:
    """Tell an error as a person reads it: what it means, its code, and its parameters by name."""
    known = words.error(failure.code)
    meaning = " ".join(known.doc.partition(". ")[0].split()).rstrip(".") if known is not None else "it is refused"
    complain(f"{name}: {meaning} ({failure.code})")
    names = known.params if known is not None and len(known.params) == len(failure.params) else ()
    for number, text in enumerate(failure.params):
        label = f"{names[number]}: " if names else ""
        print(f"  {label}{objects.describe(text)}", file=sys.stderr)
    return 1
