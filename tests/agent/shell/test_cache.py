"""The words between two commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent.shell import cache
from agent.shell.words import Words

DATA: dict[str, Any] = {"nouns": {}, "errors": {"X": {"params": ["a"], "doc": "It is so."}}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "xen-host-agent" / "words.json"


class Derive:
    """Counts how often the words were made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        return DATA


def right(words: Words) -> bool:
    known = words.error("X")
    return known is not None and known.params == ("a",)


def test_words_are_made_once(home: Path) -> None:
    derive = Derive()
    assert right(cache.words(derive))
    assert right(cache.words(derive))
    assert derive.times == 1
    assert home.stat().st_mode & 0o077 == 0
    assert [each.name for each in home.parent.iterdir()] == ["words.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stamp": 1}', b"\xff"])
def test_what_is_no_file_of_ours_is_made_anew(home: Path, content: bytes) -> None:
    home.parent.mkdir(parents=True)
    home.write_bytes(content)
    derive = Derive()
    assert right(cache.words(derive))
    assert right(cache.words(derive))
    assert derive.times == 1


def test_words_of_other_modules_are_made_anew(home: Path, mocker: MockerFixture) -> None:
    derive = Derive()
    cache.words(derive)
    mocker.patch.object(cache, "SOURCES", ("errors.py",))
    assert right(cache.words(derive))
    assert derive.times == 2


def test_another_users_file_is_neither_read_nor_replaced(home: Path, mocker: MockerFixture) -> None:
    derive = Derive()
    cache.words(derive)
    before = home.read_bytes()
    mocker.patch.object(os, "geteuid", return_value=os.geteuid() + 1)
    assert right(cache.words(derive))
    assert derive.times == 2
    assert home.read_bytes() == before


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    derive = Derive()
    cache.words(derive)
    poisoned = json.loads(home.read_text("utf-8")) | {"errors": {}}
    (tmp_path / "elsewhere").write_text(json.dumps(poisoned))
    home.unlink()
    home.symlink_to(tmp_path / "elsewhere")
    assert right(cache.words(derive))


@pytest.mark.parametrize("folder", ["/proc/none", "relative"])
def test_no_command_fails_for_want_of_a_cache(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    assert right(cache.words(Derive()))
    assert not Path("relative").exists()
