"""Which commands there are, by name, and what each takes. They follow from the words; see ``run`` for what they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.shell import special
from agent.shell.asked import Misused, meant
from agent.shell.spellings import VIEWS, View
from agent.shell.words import Noun, Verb, Words, key, spell

LIST = "list"
PARAMETER_COMMANDS = ("param-list", "param-get", "param-set", "param-add", "param-remove", "param-clear")


@dataclass(frozen=True)
class Command:
    """One command. Either a verb, or one of those that are the same for every class, or a special one."""

    name: str
    noun: Noun | None
    action: str
    """``list``, ``param-get``, ...; ``verb``; ``special``."""
    view: View | None = None
    verb: Verb | None = None
    special: special.Special | None = None

    @property
    def word(self) -> str:
        """What objects of its class are called on the command line."""
        assert self.noun is not None
        return next((word for word, view in VIEWS.items() if view is self.view), spell(self.noun.name))


class Commands:
    """All commands of these words."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._index = dict(self._names())
        self._by_key = {key(name): name for name in self._index}

    def _names(self) -> Iterator[tuple[str, tuple[str, str, str]]]:
        """The name of each command with its prefix, its class and what follows the prefix."""
        known = set(self.words.names())
        prefixes = {spell(name): name for name in known}
        prefixes |= {word: view.of for word, view in VIEWS.items() if view.of in known}
        for prefix, name in sorted(prefixes.items()):
            for action in self._generic(name):
                yield f"{prefix}-{action}", (prefix, name, action)
            for verb in self.words.verbs(name):
                yield f"{prefix}-{spell(verb)}", (prefix, name, verb)
        for each in special.SPECIALS.values():
            if known.issuperset(each.needs):
                yield each.name, (each.of, "", each.name)

    def _generic(self, name: str) -> Iterator[str]:
        """Which of the commands that every class has make sense for one."""
        if not self.words.listed(name):
            return
        accessors = self.words.accessors(name)
        yield from (LIST, "param-list", "param-get")
        sets, adds = (any(each.startswith(start) for each in accessors) for start in ("set_", "add_"))
        if sets or adds:
            yield "param-set"
        if adds:
            yield from ("param-add", "param-remove", "param-clear")

    def names(self) -> Iterator[str]:
        """The names of all commands, in order."""
        return iter(sorted(self._index))

    def by_class(self) -> Iterator[tuple[str, list[str]]]:
        """The commands under the word of each class."""
        found: dict[str, list[str]] = {}
        for name, (prefix, _, _) in self._index.items():
            found.setdefault(prefix, []).append(name)
        for prefix in sorted(found):
            yield prefix, sorted(found[prefix])

    def find(self, name: str) -> Command:
        """The command of this name, in any spelling. Misused for none such, with what may have been meant."""
        known = self._by_key.get(key(name))
        if known is None:
            raise Misused(f"invalid choice: {name!r}{meant(name, self._index)} ('xen-host-agent help' lists commands)")
        prefix, class_name, action = self._index[known]
        if not class_name:
            return Command(known, None, "special", special=special.SPECIALS[known])
        noun, view = self.words.noun(class_name), VIEWS.get(prefix)
        if action in (LIST, *PARAMETER_COMMANDS):
            return Command(known, noun, action, view)
        return Command(known, noun, "verb", view, noun.verbs[action])

    def of(self, name: str) -> list[str] | None:
        """The commands of the class of this name, in any spelling; None if there is none."""
        return next((names for prefix, names in self.by_class() if key(prefix) == key(name)), None)
