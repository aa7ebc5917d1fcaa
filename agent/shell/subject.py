"""Which objects a command is about: one by uuid or name, or those that some fields choose."""

from __future__ import annotations

from agent.shell.asked import Given, Misused, taken
from agent.shell.commands import Command
from agent.shell.objects import Missing
from agent.shell.sitting import Sitting
from agent.shell.words import spell


def subject_names(command: Command, own: str = "") -> tuple[str, ...]:
    """The words by which the object of a command is given; the first is the usual one."""
    names = ["uuid", command.word, f"{command.word}-uuid"]
    assert command.noun is not None
    if own and own != "self":
        names += [spell(own), f"{spell(own)}-uuid"]
    names += [spell(command.noun.name), f"{spell(command.noun.name)}-uuid"]
    return tuple(dict.fromkeys(names))


def take_subject(command: Command, words: list[Given], own: str = "", *, filters: bool = True) -> Subject:
    """Which objects a command is about: by uuid or name, or by fields as a list is narrowed."""
    noun = command.noun
    assert noun is not None
    for name in subject_names(command, own):
        text = taken(words, name)
        if text is not None:
            return Subject(command, text, [])
    chosen = [each for each in words if filters and noun.field(each.key) is not None]
    if not chosen:
        raise Misused(f"say which {command.word}: uuid=... or {command.word}=...")
    for each in chosen:
        words.remove(each)
    return Subject(command, None, chosen)


class Subject:
    """The objects that a command is about."""

    def __init__(self, command: Command, text: str | None, filters: list[Given]) -> None:
        self._command = command
        self._text = text
        self._filters = filters

    def find(self, sitting: Sitting) -> list[str]:
        """Their references: one, or with ``--multiple`` any number."""
        noun = self._command.noun
        assert noun is not None
        if self._text is not None:
            return [sitting.objects.find(noun.name, self._text, self._command.view)]
        found = list(sitting.objects.select(noun, self._command.view, self._filters))
        if not found:
            raise Missing(f"there is no such {self._command.word}")
        if len(found) > 1 and not sitting.options.multiple:
            raise Missing(f"{len(found)} objects are meant; say which one, or --multiple for all")
        return found
