"""The manual pages: xen-host-agent(8) from the parser and the table, xen-host-agent.toml(5) from docs/config.toml.

They are written in the man macros, which groff and mandoc read. ``python -m agent.manual CONFIG FOLDER`` writes both
below a folder that stands for /usr/share, and the shells' completion scripts beside them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agent import __version__, config
from agent.cli import DEFAULT_SOCKET, DEFAULT_URL, PASSWORD_VARIABLE, URL_VARIABLE, parser
from agent.shell import guide, table
from agent.shell.commands import Commands
from agent.shell.completion import SCRIPTS
from agent.shell.run import parser as shell_parser
from agent.shell.special import SPECIALS
from agent.shell.words import Words

PLACES: Mapping[str, str] = {
    "bash": "bash-completion/completions/xen-host-agent",
    "zsh": "zsh/site-functions/_xen-host-agent",
    "fish": "fish/vendor_completions.d/xen-host-agent.fish",
}
"""Where below share a shell looks for completions."""
FORMS = (
    ("CLASS-list [params=all|field,...] [field=value ...]", "list"),
    ("CLASS-param-list uuid=...", "param-list"),
    ("CLASS-param-get uuid=... param-name=... [param-key=...]", "param-get"),
    ("CLASS-param-set uuid=... field=value ... [map:key=value ...]", "param-set"),
    ("CLASS-param-add uuid=... param-name=... key=value | param-key=...", "param-add"),
    ("CLASS-param-remove uuid=... param-name=... param-key=...", "param-remove"),
    ("CLASS-param-clear uuid=... param-name=...", "param-clear"),
)


def escape(text: str) -> str:
    """A text as roff prints it, letter for letter."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def _head(name: str, section: int, what: str) -> Iterator[str]:
    yield f'.TH "{escape(name.upper())}" "{section}" "" "xen\\-host\\-agent {escape(__version__)}" ""'
    yield ".SH NAME"
    yield f"{escape(name)} \\- {escape(what)}"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield escape(" ".join(paragraph.split()))


def _items(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, text in pairs:
        yield ".TP"
        yield f".B {escape(name)}"
        yield from _paragraphs(text or "\N{NO-BREAK SPACE}")


def _example(lines: Sequence[str]) -> Iterator[str]:
    yield from (".PP", ".nf", ".RS 4", *(escape(line.strip()) for line in lines), ".RE", ".fi")


def commands_page(words: Words) -> str:
    """xen-host-agent(8)."""
    top = parser()
    lines = list(_head("xen-host-agent", 8, "serve the XenAPI on a Xen host, and use it"))
    lines += [
        ".SH SYNOPSIS",
        ".B xen\\-host\\-agent",
        "\\fICOMMAND\\fR [\\fIoption\\fR ...] [\\fIname\\fR=\\fIvalue\\fR ...]",
    ]
    lines += [".SH DESCRIPTION", *_paragraphs(top.description or "")]
    lines += [".SH COMMANDS"]
    for name, command in _subcommands(top):
        lines += _own(name, command)
    lines += _objects(Commands(words))
    lines += [".SH ENVIRONMENT"]
    lines += _items(
        [
            (PASSWORD_VARIABLE, "the password of commands that talk to a running agent"),
            (URL_VARIABLE, f"where it listens; else {DEFAULT_SOCKET} where it may be used, else {DEFAULT_URL}"),
        ]
    )
    lines += [".SH EXIT STATUS", *_items([("0", "done"), ("1", "failed"), ("2", "wrongly used")])]
    lines += [".SH FILES"]
    lines += _items(
        [
            (str(config.DEFAULT_PATH), "the configuration: xen-host-agent.toml(5)"),
            (str(config.DEFAULT_STATE), "the agent's state: what was asked for, users, keys"),
            ("$XDG_CACHE_HOME/xen-host-agent/words.json", "what the commands know of the API; it may be removed"),
        ]
    )
    lines += [".SH SEE ALSO", "xen\\-host\\-agent.toml(5), virsh(1), xl(1)"]
    return "\n".join(lines) + "\n"


def _subcommands(of: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                nested = list(_subcommands(command))
                yield name, command
                yield from ((f"{name} {under}", each) for under, each in nested)


def _own(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS {escape(name)}"
    yield from _paragraphs(command.description or "")
    yield from _items(_options(command))
    if command.epilog:
        yield from _example(command.epilog.splitlines()[1:])


def _options(of: argparse.ArgumentParser) -> list[tuple[str, str]]:
    formatter = of._get_formatter()
    found = []
    for action in of._actions:
        if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)) and action.help:
            found.append((formatter._format_action_invocation(action), formatter._expand_help(action)))
    return found


def _objects(commands: Commands) -> Iterator[str]:
    """The commands that follow from the table."""
    yield ".SH COMMANDS FOR OBJECTS"
    yield from _paragraphs(
        "Every class of the API has these commands, where CLASS is its name in small letters with hyphens, such as vm "
        "or vm-guest-metrics. An object is named by its uuid, or as CLASS=NAME by a name that only it has. Fields and "
        "parameters are written with hyphens or as the API has them; sizes may end in KiB, MiB, GiB or TiB."
    )
    yield from _items([(form, guide.PARAMETERS[action]) for form, action in FORMS])
    yield from _items([("CLASS-VERB [uuid=...] [name=value ...]", "Send a message of the API, and wait for its end.")])
    yield ".SS Options"
    yield from _items(_options(shell_parser()))
    yield ".SS Commands of their own"
    told = [(f"{name} {guide.usage(commands.find(name))}", guide.summary(commands.find(name))) for name in SPECIALS]
    yield from _items(told)
    yield ".SS Verbs"
    yield from _paragraphs("'xen-host-agent help COMMAND' tells the parameters and errors of each.")
    for name in commands.names():
        found = commands.find(name)
        if found.verb is not None and (found.view is None or found.view.of != "VM" or found.word == "vm"):
            yield from _items([(f"{name} {guide.usage(found)}", guide.summary(found))])


def configuration_page(text: str) -> str:
    """xen-host-agent.toml(5), from the documented configuration."""
    blocks = re.split(r"\n\s*\n", text.strip())
    lines = list(_head("xen-host-agent.toml", 5, "configuration of the agent that serves the XenAPI"))
    lines += [".SH SYNOPSIS", escape(str(config.DEFAULT_PATH)), ".SH DESCRIPTION"]
    keys: list[str] = []
    section = ""
    for block in blocks:
        comment = " ".join(line.lstrip("# ") for line in block.splitlines() if line.startswith("#"))
        for line in block.splitlines():
            if found := re.fullmatch(r"\[([\w.]+)\]", line):
                section = f"{found[1]}."
        settings = re.findall(r"^(\w+) = (.*)$", block, re.MULTILINE)
        if not settings:
            (keys if keys else lines).extend(_paragraphs(comment) if comment else ())
        for name, value in settings:
            keys += [".TP", f".B {escape(section + name)}", escape(comment), ".br", f"Default: {escape(value)}"]
    lines += [".SH KEYS", *keys]
    lines += [".SH FILES", *_items([(str(config.DEFAULT_PATH), "the file; without it the defaults hold")])]
    lines += [".SH SEE ALSO", "xen\\-host\\-agent(8)"]
    return "\n".join(lines) + "\n"


def write(documented: Path, folder: Path) -> None:
    """Write both pages and the completion scripts below a folder that stands for /usr/share."""
    files = {
        "man/man8/xen-host-agent.8": commands_page(Words(table.data())),
        "man/man5/xen-host-agent.toml.5": configuration_page(documented.read_text("utf-8")),
        **{PLACES[shell]: script for shell, script in SCRIPTS.items()},
    }
    for place, text in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
