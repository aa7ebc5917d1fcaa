"""The configuration: taken whole or refused whole, with the file and the key named."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from agent import config
from agent.config import Config, ConfigError

SAMPLE = Path(__file__).parents[2] / "docs" / "config.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    assert str(refused.value).startswith(str(file))
    return str(refused.value)


def test_the_sample_has_every_key_with_its_default() -> None:
    sample = config.load(SAMPLE)
    assert sample == Config()
    text = SAMPLE.read_text()
    flat = dict(config._flat(tomllib.loads(text)))
    assert sorted(flat) == sorted(item.metadata["key"] for item in fields(Config))


def test_a_missing_default_file_means_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "nothing.toml")
    assert config.load(None) == Config()


def test_the_default_file_is_read_where_it_exists(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text('connect = "test:///default"')
    monkeypatch.setattr(config, "DEFAULT_PATH", file)
    assert config.load(None).connect == "test:///default"


def test_a_file_that_was_named_must_exist(file: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        config.load(file)


def test_every_key_is_taken(file: Path) -> None:
    file.write_text(
        """
        connect = "test:///default"
        state = "/srv/state"
        listen = ["https://0.0.0.0:8443", "unix:/run/s", "http://[::1]:80/"]
        api = { destroy = "xapi", cors_origins = ["https://xo.example.org", "http://localhost:8080"] }
        limits = { session_idle_seconds = 600, login_delay_seconds = 0, workers = 8 }
        log.level = "debug"
        """
    )
    assert config.load(file) == Config(
        connect="test:///default",
        state=Path("/srv/state"),
        listen=("https://0.0.0.0:8443", "unix:/run/s", "http://[::1]:80"),
        destroy="xapi",
        cors_origins=("https://xo.example.org", "http://localhost:8080"),
        session_idle_seconds=600,
        login_delay_seconds=0,
        workers=8,
        log_level="debug",
    )


def test_the_command_line_replaces_the_file(file: Path) -> None:
    file.write_text('connect = "xen:///system"\nstate = "/srv/state"')
    loaded = config.load(file, {"connect": "test:///default", "state": None, "listen": ["http://127.0.0.1:0"]})
    assert loaded.connect == "test:///default"
    assert loaded.state == Path("/srv/state")
    assert loaded.listen == ("http://127.0.0.1:0",)


def test_the_state_folder_is_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('state = "here"')
    monkeypatch.chdir(file.parent)
    assert config.load(file).state == file.parent / "here"


def test_a_wrong_option_is_told_as_the_command_lines(file: Path) -> None:
    file.write_text("")
    with pytest.raises(ConfigError, match="the command line: connect: 'nonsense' is no libvirt URI"):
        config.load(file, {"connect": "nonsense"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('conect = "xen:///system"', "there is no key 'conect'; did you mean 'connect'?"),
        ('destroy = "xapi"', "there is no key 'destroy'; did you mean 'api.destroy'?"),
        ('[api]\ndestory = "xapi"', "there is no key 'api.destory'; did you mean 'api.destroy'?"),
        ("[nothing]\nlike = 1", "there is no key 'nothing.like'"),
        ("api = 1", "there is no key 'api'"),
        ("[zebra]", "there is no key 'zebra'"),
        ("connect = 3", "connect: it must be a string"),
        ('connect = "xen"', "connect: 'xen' is no libvirt URI"),
        ('connect = ""', "connect: it must be some printable text"),
        ('state = ["/a"]', "state: it must be a string"),
        ('listen = "http://127.0.0.1:1"', "listen: it must be a list"),
        ("listen = []", "listen: it must be a list of at least one address"),
        ("listen = [8086]", "listen: it must be a string"),
        ('listen = ["ftp://127.0.0.1:1"]', "listen: 'ftp://127.0.0.1:1' is no address to listen on"),
        ('listen = ["http://127.0.0.1"]', "listen: 'http://127.0.0.1' is no address"),
        ('listen = ["http://127.0.0.1:99999"]', "listen: 'http://127.0.0.1:99999' is no address"),
        ('listen = ["http://:8086"]', "listen: 'http://:8086' is no address"),
        ('listen = ["http://me:word@127.0.0.1:1"]', "is no address"),
        ('listen = ["http://127.0.0.1:1/path"]', "is no address"),
        ('listen = ["unix:"]', "listen: 'unix:' is no address"),
        ('[api]\ndestroy = "soft"', "api.destroy: it must be one of strict, xapi, not 'soft'"),
        ('[api]\ncors_origins = "*"', "api.cors_origins: it must be a list"),
        ('[api]\ncors_origins = ["xo.example.org"]', "api.cors_origins: 'xo.example.org' is no origin"),
        ('[api]\ncors_origins = ["https://a.example/"]', "api.cors_origins: 'https://a.example/' is no origin"),
        ("[api]\ndestroy = []", "api.destroy: it must be one of"),
        ('[log]\nlevel = "loud"', "log.level: it must be one of debug, info, warning, error"),
        ("[limits]\nworkers = 0", "limits.workers: it must be a whole number from 1 to 1024, not 0"),
        ("[limits]\nlogin_delay_seconds = -1", "limits.login_delay_seconds: it must be a whole number from 0 to 60"),
        ("[limits]\nworkers = true", "limits.workers: it must be a whole number"),
        ('[limits]\nsession_idle_seconds = "1d"', "limits.session_idle_seconds: it must be a whole number"),
        ("connect = \n", "line 1"),
        ("x = 1\nx = 2\n", "line 2"),
    ],
)
def test_a_file_with_anything_wrong_is_refused(file: Path, text: str, complaint: str) -> None:
    assert complaint in refusal(file, text)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b'connect = "\xff"')
    with pytest.raises(ConfigError, match="utf-8"):
        config.load(file)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        config.load(tmp_path)


def test_the_printed_configuration_is_one(file: Path) -> None:
    before = Config(listen=("unix:/run/a b\\c", "http://[::1]:80"), destroy="xapi", log_level="error")
    file.write_text("\n".join(config.lines(before)))
    assert config.load(file) == before


def test_nothing_changes_a_configuration() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().connect = "test:///default"  # type: ignore[misc]
