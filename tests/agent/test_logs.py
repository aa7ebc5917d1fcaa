"""The log: one line an entry, whatever is in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from agent import logs
from agent.logs import JournalLine, OneLine


def record(message: str, level: int = logging.WARNING, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("agent.rpc", level, __file__, 1, message, (), info)


@pytest.mark.threat("T26")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("a\0b\x7f", "a\\x00b\\x7f"),
        ("a\u2028b", "a\\u2028b"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("half \ud800", "half \\ud800"),
        ("Ünïcode ☂", "Ünïcode ☂"),
    ],
)
def test_text_from_outside_stays_on_its_line(text: str, shown: str) -> None:
    assert OneLine("%(levelname)s %(message)s").format(record(text)) == f"WARNING {shown}"


def test_a_traceback_is_on_the_line_of_its_entry() -> None:
    try:
        raise ValueError("why\nreally")
    except ValueError as error:
        line = OneLine("%(message)s").format(record("VM.start failed [12ab]", error=error))
    assert line.startswith("VM.start failed [12ab]\\nTraceback")
    assert line.endswith("ValueError: why\\nreally")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 3), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7), (1, 7)],
)
def test_the_journal_reads_the_priority_at_the_beginning(level: int, priority: int) -> None:
    assert JournalLine("%(name)s: %(message)s").format(record("text", level)) == f"<{priority}>agent.rpc: text"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was again afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_the_level_is_the_least_that_is_written(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.to_stderr("warning")
    logging.getLogger("agent.rpc").info("too small")
    logging.getLogger("agent.rpc").warning("big enough")
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.endswith(" WARNING agent.rpc: big enough\n")
    assert len(caught.err.splitlines()) == 1


def test_under_systemd_lines_are_the_journals(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    logs.to_stderr("info")
    logging.getLogger("agent.rpc").info("told")
    assert capsys.readouterr().err == "<6>agent.rpc: told\n"
