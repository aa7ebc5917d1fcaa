"""Copies of the state: of one moment, whole or not at all, put back only where that can be done."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.config import Config
from agent.roles import Role
from agent.state_lock import StateHeld, held
from agent.store.journal import SCHEMA, Commit, Journal
from agent.upkeep import archive
from agent.upkeep.archive import ArchiveError
from agent.users import Users

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    made = Config(state=tmp_path / "state", backups_kept=2)
    made.state.mkdir()
    Users(made.users_path).add("root", "word", Role.POOL_ADMIN)
    return made


def write(settings: Config, *uuids: str) -> Callable[[], None]:
    """A journal with these records, open as a running agent's is. Returns what closes it."""
    journal = Journal(settings.journal_path)
    journal.start()
    commit = Commit([("VM", uuid, b"{}") for uuid in uuids], [], [])
    journal.submit(commit)
    commit.wait()
    return journal.close


def kept(settings: Config) -> list[str]:
    with closing(sqlite3.connect(settings.journal_path)) as journal:
        return [uuid for (uuid,) in journal.execute("SELECT uuid FROM records ORDER BY uuid")]


def test_a_copy_made_while_the_journal_is_written_comes_back_whole(settings: Config, tmp_path: Path) -> None:
    close = write(settings, "a", "b")
    copy = tmp_path / "copy.tar.gz"
    archive.make(settings, copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    close()
    write(settings, "c")()
    Users(settings.users_path).add("other", "word", Role.READ_ONLY)
    before = archive.restore(settings, copy)
    assert kept(settings) == ["a", "b"]
    assert list(Users(settings.users_path).accounts()) == ["root"]
    assert before is not None
    archive.restore(settings, before)
    assert kept(settings) == ["a", "b", "c"]
    assert list(Users(settings.users_path).accounts()) == ["root", "other"]


def test_a_copy_comes_back_where_there_is_no_state(settings: Config, tmp_path: Path) -> None:
    write(settings, "a")()
    archive.make(settings, tmp_path / "copy")
    fresh = Config(state=tmp_path / "fresh")
    fresh.state.mkdir()
    assert archive.restore(fresh, tmp_path / "copy") is None
    assert kept(fresh) == ["a"]


def packed(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"etc__passwd": b""}, "'etc/passwd' is none of its files"),
        ({"users_dot_json": b"{}"}, "it has no journal.sqlite"),
        ({"journal_dot_sqlite": b"nonsense" * 1000}, "file is not a database"),
        ({"journal_dot_sqlite": b""}, "no such table"),
    ],
)
def test_what_is_no_copy_changes_nothing(
    settings: Config, tmp_path: Path, files: dict[str, bytes], complaint: str
) -> None:
    write(settings, "a")()
    with pytest.raises(ArchiveError, match=complaint):
        archive.restore(settings, packed(tmp_path / "bad", **files))
    assert kept(settings) == ["a"]
    assert [path.name for path in settings.state.iterdir() if path.name.startswith(archive.SCRATCH)] == []


def test_half_a_copy_changes_nothing(settings: Config, tmp_path: Path) -> None:
    write(settings, "a")()
    copy = tmp_path / "copy"
    archive.make(settings, copy)
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    with pytest.raises(ArchiveError, match="cannot be read as a copy"):
        archive.restore(settings, copy)
    assert kept(settings) == ["a"]


def test_the_copy_of_a_newer_agent_is_refused(settings: Config, tmp_path: Path) -> None:
    write(settings, "a")()
    archive.make(settings, tmp_path / "copy")
    with tarfile.open(tmp_path / "copy") as made:
        made.extract("journal.sqlite", tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        journal.execute(f"PRAGMA user_version={SCHEMA + 1}")
    newer = packed(tmp_path / "newer", journal_dot_sqlite=(tmp_path / "journal.sqlite").read_bytes())
    with pytest.raises(ArchiveError, match="written by a newer xen-host-agent"):
        archive.restore(settings, newer)


def test_no_copy_is_made_of_a_damaged_journal(settings: Config, tmp_path: Path) -> None:
    settings.journal_path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(ArchiveError):
        archive.make(settings, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# --- daily


def test_a_copy_is_made_once_a_day_and_the_oldest_go(settings: Config) -> None:
    write(settings, "a")()
    names = []
    for hours in (0, 1, 23, 24, 30, 48, 72):
        made = archive.daily(settings, NOON + timedelta(hours=hours))
        names += [made.name] if made else []
    assert names == [f"state-203001{day:02}T120000Z.tar.gz" for day in (1, 2, 3, 4)]
    assert [path.name for path in archive.copies(settings)] == names[-2:]


def test_a_copy_from_the_future_keeps_none_from_being_made(settings: Config) -> None:
    write(settings, "a")()
    archive.daily(settings, NOON + timedelta(days=400))
    assert archive.daily(settings, NOON) is not None


def test_copies_that_somebody_named_stay(settings: Config) -> None:
    write(settings, "a")()
    settings.backups_path.mkdir()
    (settings.backups_path / "mine.tar.gz").write_text("")
    for day in range(4):
        archive.daily(settings, NOON + timedelta(days=day))
    assert (settings.backups_path / "mine.tar.gz").exists()


def test_with_nothing_kept_nothing_is_made(settings: Config) -> None:
    write(settings, "a")()
    assert archive.daily(Config(state=settings.state, backups_kept=0), NOON) is None
    assert not settings.backups_path.exists()


def test_what_a_killed_agent_left_is_removed(settings: Config) -> None:
    write(settings, "a")()
    left = settings.backups_path / f"{archive.SCRATCH}x"
    left.mkdir(parents=True)
    archive.daily(settings, NOON)
    assert not left.exists()


# --- the commands


@pytest.fixture
def config_file(settings: Config, tmp_path: Path) -> str:
    file = tmp_path / "config.toml"
    file.write_text(f'connect = "test:///default"\nstate = "{settings.state}"\nlisten = ["unix:{tmp_path}/socket"]\n')
    return str(file)


def test_backup_and_restore_by_command(
    settings: Config, config_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close = write(settings, "a")
    assert main(["backup", "--config", config_file, str(tmp_path)]) == 0
    copy = capsys.readouterr().out.strip()
    assert Path(copy).parent == tmp_path
    assert main(["backup", "--config", config_file, f"{tmp_path}/new/folder/"]) == 0
    assert Path(capsys.readouterr().out.strip()).parent == tmp_path / "new/folder"
    close()
    write(settings, "b")()
    with held(settings):
        assert main(["restore", "--config", config_file, copy]) == 1
    assert "stop it first" in capsys.readouterr().err
    assert kept(settings) == ["a", "b"]
    assert main(["restore", "--config", config_file, copy]) == 0
    assert kept(settings) == ["a"]


def test_a_state_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--config", "/dev/null", "--state", str(tmp_path / "nothing")]
    assert main(["backup", *command]) == 1
    assert "there is no state" in capsys.readouterr().err
    assert main(["fsck", *command]) == 1
    assert "there is no journal" in capsys.readouterr().err


def test_the_folder_is_held_by_one(settings: Config) -> None:
    with held(settings), pytest.raises(StateHeld, match="another agent"), held(settings):
        pass


def test_fsck_finds_a_sound_state_sound_and_a_damaged_one_damaged(
    settings: Config, config_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal(settings.journal_path).close()
    assert main(["fsck", "--config", config_file]) == 0
    assert "0 left to look at" in capsys.readouterr().out
    for ending in ("", "-wal", "-shm"):
        settings.journal_path.with_name(f"journal.sqlite{ending}").write_bytes(b"nonsense" * 1000)
    assert main(["fsck", "--config", config_file]) == 1
    assert "xen-host-agent restore FILE" in capsys.readouterr().err


def test_doctor_says_what_to_do(settings: Config, config_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings.state.chmod(0o755)
    assert main(["doctor", "--config", config_file]) == 0
    said = capsys.readouterr().out
    assert f"-> chmod go= {settings.state}" in said
    assert "the driver TEST answers" in said
    settings.users_path.write_text("nonsense")
    assert main(["doctor", "--json", "--config", config_file]) == 1
    assert '"level": "error"' in capsys.readouterr().out
