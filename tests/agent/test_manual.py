"""The manual pages say what the parser, the table and the documented configuration say, and a reader takes them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from agent import cli, manual
from agent.__main__ import MODULES, main
from agent.config import Config
from agent.shell import table
from agent.shell.commands import Commands
from agent.shell.special import SPECIALS
from agent.shell.words import Words

DOCUMENTED = Path(__file__).parents[2] / "docs" / "config.toml"


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    manual.write(DOCUMENTED, folder)
    return folder


def plain(page: str) -> str:
    """A page without roff's escapes."""
    return page.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def test_the_page_has_every_command(share: Path) -> None:
    page = plain((share / "man/man8/xen-host-agent.8").read_text("utf-8"))
    for name in MODULES:
        assert f".SS {name}\n" in page
    commands = Commands(Words(table.data()))
    for name in commands.names():
        found = commands.find(name)
        if name in SPECIALS or (found.verb is not None and found.view is None):
            assert f"\n.B {name}" in page, name


def test_the_page_has_every_option(share: Path) -> None:
    page = plain((share / "man/man8/xen-host-agent.8").read_text("utf-8"))
    for _, command in manual._subcommands(cli.parser()):
        for option in command._option_string_actions:
            assert option in page or option in ("-h", "--help")


def test_the_other_page_has_every_key_with_its_default(share: Path) -> None:
    page = plain((share / "man/man5/xen-host-agent.toml.5").read_text("utf-8"))
    for item in fields(Config):
        assert f"\n.B {item.metadata['key']}\n" in page
    assert page.count("\nDefault: ") == len(fields(Config))


@pytest.mark.parametrize("place", ["man/man8/xen-host-agent.8", "man/man5/xen-host-agent.toml.5"])
def test_mandoc_takes_the_pages(share: Path, place: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", share / place], capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


@pytest.mark.parametrize("place", ["man/man8/xen-host-agent.8", "man/man5/xen-host-agent.toml.5"])
def test_man_shows_the_pages(share: Path, place: str) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man and groff are not installed")
    done = subprocess.run(["man", "--warnings=w", "-l", str(share / place)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "XEN-HOST-AGENT" in done.stdout


def test_completions_lie_beside_them(share: Path) -> None:
    for place in manual.PLACES.values():
        assert "xen-host-agent completion" in (share / place).read_text("utf-8")


def test_reference_prints_the_page(capsys: pytest.CaptureFixture[str], share: Path) -> None:
    assert main(["reference", "--format", "man"]) == 0
    assert capsys.readouterr().out == (share / "man/man8/xen-host-agent.8").read_text("utf-8")


@pytest.mark.parametrize(("text", "roff"), [(".x", "\\&.x"), ("a\n'b", "a\n\\&'b"), ("a-\\", "a\\-\\e")])
def test_no_text_is_taken_for_a_request(text: str, roff: str) -> None:
    assert manual.escape(text) == roff
