"""The configuration: taken whole or refused whole, with the file and the key named."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from agent import config, config_sources
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
    flat = dict(config_sources._flat(tomllib.loads(text), config.TABLES))
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
        limits = { session_idle_seconds = 600, login_delay_seconds = 0, failed_logins = 5, workers = 8 }
        auth = { mode = "pam", roles = ["@wheel = vm-admin"], certificates = ["b = read-only"], pam_service = "login" }
        tls = { client_authority = "/etc/ca.pem", plain_http = "anywhere" }
        log = { level = "debug", format = "json" }
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
        failed_logins=5,
        auth_mode="pam",
        auth_roles=("@wheel = vm-admin",),
        auth_certificates=("b = read-only",),
        pam_service="login",
        client_authority=Path("/etc/ca.pem"),
        plain_http="anywhere",
        workers=8,
        log_level="debug",
        log_format="json",
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
        ('[auth]\nmode = "nobody"', "auth.mode: it must be one of users, pam, none, not 'nobody'"),
        ('[auth]\nroles = "ada"', "auth.roles: it must be a list of texts"),
        ('[auth]\nroles = ["ada"]', "auth.roles: 'ada' does not say who has which role"),
        ('[auth]\npam_service = "../x"', "auth.pam_service: '../x' is no service of PAM"),
        ('[auth]\ncertificates = ["b=read-only"]', "auth.certificates: tls.client_authority must name who signs them"),
        ('listen = ["http://0.0.0.0:80"]', "listen: http://0.0.0.0:80 lets passwords and sessions cross"),
        ('listen = ["http://host.example:80"]', "listen: http://host.example:80 lets passwords"),
        ('listen = ["https://0.0.0.0:1"]\nauth.mode = "none"', "listen: https://0.0.0.0:1 is open to other hosts"),
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


# --- conf.d, the environment, and where a fault stands


def test_files_of_conf_d_replace_what_the_file_says_in_the_order_of_their_names(file: Path) -> None:
    file.write_text('connect = "test:///default"\n[limits]\nworkers = 1\n')
    folder = file.parent / "conf.d"
    folder.mkdir()
    (folder / "20-later.toml").write_text("limits.workers = 3")
    (folder / "10-first.toml").write_text('limits.workers = 2\nlog.level = "debug"')
    (folder / "30-not-one.toml.off").write_text("nonsense")
    loaded = config.load(file)
    assert (loaded.connect, loaded.workers, loaded.log_level) == ("test:///default", 3, "debug")


def test_conf_d_counts_without_the_default_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", file)
    (file.parent / "conf.d").mkdir()
    (file.parent / "conf.d" / "a.toml").write_text("limits.workers = 3")
    assert config.load(None).workers == 3


def test_the_environment_replaces_the_files_and_the_command_line_it(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    file.write_text('limits.workers = 1\nlog.level = "error"\n')
    monkeypatch.setenv("XEN_HOST_AGENT__LIMITS__WORKERS", "2")
    monkeypatch.setenv("XEN_HOST_AGENT__LISTEN", '["http://127.0.0.1:1"]')
    monkeypatch.setenv("XEN_HOST_AGENT__CONNECT", "test:///default")
    monkeypatch.setenv("XEN_HOST_AGENT_PASSWORD", "the client's")
    loaded = config.load(file, {"connect": "xen:///system"})
    assert loaded == Config(workers=2, log_level="error", listen=("http://127.0.0.1:1",))


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.write_text("")
    monkeypatch.setenv("XEN_HOST_AGENT__LOG__LEVL", "debug")
    with pytest.raises(ConfigError, match=r"environment's XEN_HOST_AGENT__LOG__LEVL: .* did you mean 'log.level'"):
        config.load(file)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("limits.workers = 0", 1),
        ("# a word\n\n[limits]\n\nworkers = 0\n[log]\n", 5),
        ('listen = [\n  "unix:/a",\n  # one\n  "unix:/b",\n]\n\nlimits = { workers = 0 }', 7),
        ('# one\nlisten = [\n  "unix:/a",\n  "nonsense",\n]\n', 2),
        ('state = """\n/a\n[limits]\nworkers = 3"""\n[limits]\nworkers = 0', 1),
        ("[zebra]", 1),
        ("[limits]\n\n[zebra.stripe]\n", 3),
        ('[limits]\r\nworkers = 0\r\n[log]\r\nlevel = "info"\r\n', 2),
    ],
)
def test_a_fault_is_told_with_its_line(file: Path, text: str, line: int) -> None:
    file.write_bytes(text.encode())
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    assert str(refused.value).startswith(f"{file}:{line}: ")


def test_every_fault_is_told_each_with_its_file(file: Path) -> None:
    file.write_text("limits.workers = 0\nlog.level = 1")
    (file.parent / "conf.d").mkdir()
    beside = file.parent / "conf.d" / "a.toml"
    beside.write_text("\n\nconect = 1")
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    places = [line.partition(": ")[0] for line in str(refused.value).splitlines()]
    assert places == [f"{file}:1", f"{file}:2", f"{beside}:3"]


def test_toml_that_is_none_is_told_with_its_line(file: Path) -> None:
    file.write_text("\nconnect = \n")
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    assert str(refused.value).startswith(f"{file}:2: ")


# --- what a running agent follows


def test_a_reload_takes_the_live_keys_and_names_the_others() -> None:
    before = Config(workers=8, log_level="info")
    then, changed, later = config.reloaded(before, Config(workers=9, log_level="debug", listen=("unix:/a",)))
    assert then == Config(workers=8, log_level="debug")
    assert changed == ["log.level"]
    assert later == ["listen", "limits.workers"]


def test_the_sample_marks_the_live_keys() -> None:
    said = {}
    section = comment = ""
    for line in SAMPLE.read_text().splitlines():
        if line.startswith("#"):
            comment += line
        elif line.startswith("["):
            section, comment = f"{line.strip('[]')}.", ""
        elif " = " in line:
            said[section + line.partition(" = ")[0]] = "Live" in comment
            comment = ""
        else:
            comment = ""
    assert said == {item.metadata["key"]: item.metadata["live"] for item in fields(Config)}


@pytest.mark.parametrize("url", ["http://127.8.8.8:80", "http://[::1]:80", "http://localhost:80", "unix:/run/socket"])
def test_within_the_host_http_and_no_passwords_are_fine(file: Path, url: str) -> None:
    file.write_text(f'listen = ["{url}"]\nauth.mode = "none"')
    assert config.load(file).listen == (url,)


@pytest.mark.threat("T20")
def test_http_for_others_is_asked_for_in_words(file: Path) -> None:
    file.write_text('listen = ["http://0.0.0.0:80"]\ntls.plain_http = "anywhere"')
    assert config.load(file).listen == ("http://0.0.0.0:80",)
