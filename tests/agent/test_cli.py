"""The command line, which scripts rely on: words, output, exit codes. ``serve`` itself is tried in test_daemon."""

from __future__ import annotations

import io
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent import __version__, cli, client
from agent.__main__ import MODULES, main
from agent.roles import Role
from agent.users import Users

COMMAND = (sys.executable, "-m", "agent")
ENOUGH_SECONDS = 30.0


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


# --- all commands


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["user"],
        ["user", "add"],
        ["user", "list"],
        ["user", "remove"],
        ["call"],
        ["watch"],
        ["reference"],
    ],
)
def test_every_command_has_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert "usage: xen-host-agent" in help_text
    assert not arguments or "examples:\n  " in help_text


def test_every_command_has_a_module_with_its_function() -> None:
    commands = next(action.choices for action in cli.parser()._actions if action.dest == "command")
    assert list(commands or ()) == list(MODULES)


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"xen-host-agent {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["serve", "--listen", "ftp://127.0.0.1:1"], "argument --listen: 'ftp://127.0.0.1:1' is no address"),
        (["serve", "--connect", "xen"], "argument --connect: 'xen' is no libvirt URI"),
        (["serve", "--state", ""], "argument --state: it must be some printable text"),
        (["user"], "required: ACTION"),
        (["user", "add"], "required: NAME"),
        (["user", "add", "eve", "--role", "king"], "invalid choice: 'king'"),
        (["call"], "required: Class.message"),
        (["call", "VM"], "'VM' is no message; write it as Class.message"),
        (["call", "VM.start.now"], "is no message"),
        (["call", "--url", "127.0.0.1:8086", "VM.get_all"], "argument --url: '127.0.0.1:8086' is no address"),
        (["reference", "--format", "pdf"], "invalid choice: 'pdf'"),
    ],
)
def test_a_wrong_use_ends_with_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint in usage_error(capsys, *arguments)


@pytest.mark.parametrize("arguments", [["check-config"], ["user", "list"], ["call", "VM.get_all"], ["--version"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom agent.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    state = ["--state", str(tmp_path)] if arguments[0] == "user" else []
    url = ["--url", f"unix:{tmp_path}/nobody"] if arguments[0] == "call" else []
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, *state, *url], input="", capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "agent" in loaded
    assert not loaded & {
        "libvirt",
        "aiohttp",
        "uvloop",
        "asyncio",
        "lxml",
        "orjson",
        "psutil",
        "drivers",
        "cryptography",
    }


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    program = f"{sys.executable} -m agent reference --format json | head -c 10"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        ([], "XenAPI reference of xen-host-agent "),
        (["--format", "text"], "XenAPI reference of xen-host-agent "),
        (["--format", "html"], "<!DOCTYPE html>\n<html"),
        (["--format", "json"], "{\n"),
    ],
)
def test_reference_prints_what_is_asked_for(
    arguments: list[str], begin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reference", *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(begin)
    assert "VM.start" in printed


def test_the_page_can_be_printed_in_any_locale() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "reference", "--format", "html"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.rstrip().endswith(b"</html>")


# --- check-config


def test_check_config_prints_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text('connect = "test:///default"')
    assert main(["check-config", "--config", str(file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert 'connect = "test:///default"' in printed
    assert 'api.destroy = "strict"' in printed


def test_check_config_refuses_a_faulty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text('conect = "test:///default"')
    assert main(["check-config", "--config", str(file)]) == 1
    caught = capsys.readouterr()
    assert caught.err == f"xen-host-agent: {file}:1: there is no key 'conect'; did you mean 'connect'?\n"
    assert caught.out == ""


# --- user


def typed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Standard input is no terminal and has this text."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


@pytest.mark.parametrize("text", [b"word\n", b"word", b"word\r\n", b"word\nnext line\n"])
def test_user_add_takes_one_line_of_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    typed(monkeypatch, text)
    assert main(["user", "add", "root", "--state", str(tmp_path)]) == 0
    account = Users(tmp_path / "users.json").check("root", "word")
    assert account is not None
    assert account.role is Role.POOL_ADMIN


def test_user_add_asks_twice_on_a_terminal(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch.object(sys, "stdin").isatty.return_value = True
    asked = mocker.patch("getpass.getpass", side_effect=["word", "word"])
    assert main(["user", "add", "eve", "--role", "vm-admin", "--state", str(tmp_path)]) == 0
    assert asked.call_count == 2
    account = Users(tmp_path / "users.json").check("eve", "word")
    assert account is not None
    assert account.role is Role.VM_ADMIN


def test_user_add_refuses_two_different_passwords(
    tmp_path: Path, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.object(sys, "stdin").isatty.return_value = True
    mocker.patch("getpass.getpass", side_effect=["word", "world"])
    assert main(["user", "add", "eve", "--state", str(tmp_path)]) == 1
    assert "the two passwords differ" in capsys.readouterr().err
    assert Users(tmp_path / "users.json").accounts() == {}


@pytest.mark.parametrize(("text", "complaint"), [(b"", "a password has"), (b"\xff\n", "no UTF-8 text")])
def test_user_add_refuses_what_is_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: bytes, complaint: str
) -> None:
    typed(monkeypatch, text)
    assert main(["user", "add", "eve", "--state", str(tmp_path)]) == 1
    assert complaint in capsys.readouterr().err


def test_user_list_and_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = Users(tmp_path / "users.json")
    users.add("root", "word", Role.POOL_ADMIN)
    users.add("eve", "word", Role.READ_ONLY)
    assert main(["user", "list", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "root\tpool-admin\neve\tread-only\n"
    assert main(["user", "remove", "root", "--state", str(tmp_path)]) == 0
    assert list(users.accounts()) == ["eve"]
    assert main(["user", "remove", "root", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "xen-host-agent: there is no user 'root'\n"


def test_user_finds_the_state_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"state = {json.dumps(str(tmp_path / 'elsewhere'))}")
    typed(monkeypatch, b"word\n")
    assert main(["user", "add", "root", "--config", str(file)]) == 0
    assert list(Users(tmp_path / "elsewhere" / "users.json").accounts()) == ["root"]


# --- call and watch, against something that answers as told


class Refusal(Exception):
    """What the stub is to answer: a XenAPI error."""


@dataclass
class Stub:
    """A JSON-RPC server whose answers a test writes. It stands for an agent only in how answers travel."""

    url: str = ""
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    answers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    raw: bytes | None = None
    status: int = 200
    hangs_up: bool = False

    def answer(self, request: dict[str, Any]) -> bytes:
        method, params = request["method"], request["params"]
        self.calls.append((method, params))
        if self.raw is not None:
            return self.raw
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            reply["result"] = self.answers[method](*params) if method in self.answers else ""
        except Refusal as refusal:
            reply["error"] = {"code": 1, "message": refusal.args[0], "data": list(refusal.args[1:])}
        return json.dumps(reply).encode()


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The same server on a Unix socket."""

    daemon_threads = True


@pytest.fixture(params=["http", "unix"])
def stub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    made = Stub()
    made.answers["session.login_with_password"] = lambda user, password, version, originator: f"secret of {user}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/jsonrpc"
            body = made.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(made.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if made.hangs_up:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server: socketserver.BaseServer
    if request.param == "unix":
        server = UnixServer(str(tmp_path / "socket"), Handler)
        made.url = f"unix:{tmp_path}/socket"
    else:
        tcp = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made.url = f"http://127.0.0.1:{tcp.server_port}"
        server = tcp
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv(cli.PASSWORD_VARIABLE, "word")
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_call_logs_in_sends_and_logs_out(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["VM.get_all"] = lambda session: ["OpaqueRef:1", "ü"]
    assert main(["call", "--url", stub.url, "--user", "eve", "VM.get_all"]) == 0
    assert json.loads(capsys.readouterr().out) == ["OpaqueRef:1", "ü"]
    assert stub.calls == [
        ("session.login_with_password", ["eve", "word", "1.0", "xen-host-agent"]),
        ("VM.get_all", ["secret of eve"]),
        ("session.logout", ["secret of eve"]),
    ]


def test_call_connects_anew_where_the_server_hangs_up(stub: Stub) -> None:
    stub.hangs_up = True
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 0
    assert len(stub.calls) == 3


def test_call_sends_arguments_as_json_where_they_are_json(stub: Stub) -> None:
    words = ["true", "3", "-3", "1.5", '{"a":"b"}', '["x"]', '"3"', "test", "NaN", "Infinity", "007", "[", "a b", ""]
    assert main(["call", "--url", stub.url, "VM.m", "--", *words]) == 0
    sent = [True, 3, -3, 1.5, {"a": "b"}, ["x"], "3", "test", "NaN", "Infinity", "007", "[", "a b", ""]
    assert stub.calls[1] == ("VM.m", ["secret of root", *sent])


def test_call_shows_a_failure_and_still_logs_out(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*params: object) -> None:
        raise Refusal("VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "a b")

    stub.answers["VM.start"] = refuse
    assert main(["call", "--url", stub.url, "VM.start", "OpaqueRef:1", "false", "false"]) == 1
    caught = capsys.readouterr()
    assert caught.err == "VM_BAD_POWER_STATE OpaqueRef:1 halted 'a b'\n"
    assert caught.out == ""
    assert stub.calls[-1] == ("session.logout", ["secret of root"])


def test_a_refused_login_is_a_failure(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*params: object) -> None:
        raise Refusal("SESSION_AUTHENTICATION_FAILED", "root", "no")

    stub.answers["session.login_with_password"] = refuse
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 1
    assert capsys.readouterr().err == "SESSION_AUTHENTICATION_FAILED root no\n"
    assert len(stub.calls) == 1


def test_logging_in_by_call_takes_no_session(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "--url", stub.url, "session.login_with_password", "eve", "x", "1.0", "me"]) == 0
    assert capsys.readouterr().out == '"secret of eve"\n'
    assert len(stub.calls) == 1


def test_logging_out_by_call_is_no_error(stub: Stub) -> None:
    ended: list[str] = []

    def logout(session: str) -> str:
        if ended:
            raise Refusal("SESSION_INVALID", session)
        ended.append(session)
        return ""

    stub.answers["session.logout"] = logout
    assert main(["call", "--url", stub.url, "session.logout"]) == 0


def test_the_password_comes_from_standard_input_where_the_environment_has_none(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cli.PASSWORD_VARIABLE)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    typed(monkeypatch, b"from a pipe\n")
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 0
    assert stub.calls[0][1][1] == "from a pipe"


def test_the_password_comes_from_the_terminal_where_there_is_one(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.delenv(cli.PASSWORD_VARIABLE)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    mocker.patch.object(sys, "stdin").isatty.return_value = True
    mocker.patch("getpass.getpass", return_value="typed")
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 0
    assert stub.calls[0][1][1] == "typed"


def test_root_is_asked_for_no_password_over_a_unix_socket(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.delenv(cli.PASSWORD_VARIABLE)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    mocker.patch.object(sys, "stdin").isatty.return_value = True
    asked = mocker.patch("getpass.getpass", return_value="typed")
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 0
    assert main(["call", "--url", stub.url, "--user", "eve", "VM.get_all"]) == 0
    assert asked.call_count == (1 if stub.url.startswith("unix:") else 2)


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b'"text"', b'{"id": 1}', b'{"error": {"message": "X"}}', b"\xff"])
def test_what_is_no_json_rpc_is_told(stub: Stub, raw: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    stub.raw = raw
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 1
    assert f"{stub.url} answers something that is not JSON-RPC" in capsys.readouterr().err


def test_a_server_that_is_none_of_ours_is_told(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.status = 404
    assert main(["call", "--url", stub.url, "VM.get_all"]) == 1
    assert f"{stub.url} answers 404 Not Found\n" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "unix:/nobody/there", "http://[::1"])
def test_nobody_at_the_address_is_told_with_the_address(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.PASSWORD_VARIABLE, "word")
    assert main(["call", "--url", url, "VM.get_all"]) == 1
    assert capsys.readouterr().err.startswith(f"xen-host-agent: {url}: ")


# --- watch


def event(operation: str, ref: str, name: str | None = None) -> dict[str, Any]:
    snapshot = {} if name is None else {"snapshot": {"name_label": name}}
    return {"class": "vm", "operation": operation, "ref": ref, "id": "1", "timestamp": "0.0", **snapshot}


class Script:
    """What event.from answers, call by call; after the last it waits as an agent where nothing happens."""

    def __init__(self, *steps: list[dict[str, Any]] | Refusal) -> None:
        self.steps = list(steps)
        self.asked: list[tuple[Any, ...]] = []
        self.ended = threading.Event()

    def __call__(self, *params: Any) -> dict[str, Any]:
        self.asked.append(params)
        if not self.steps:
            self.ended.wait(ENOUGH_SECONDS)
            return {"events": [], "token": "end", "valid_ref_counts": {}}
        step = self.steps.pop(0)
        if isinstance(step, Refusal):
            raise step
        return {"events": step, "token": f"token{len(self.asked)}", "valid_ref_counts": {}}


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.ended.set()


def watch(stub: Stub, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "watch", "--url", stub.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, cli.PASSWORD_VARIABLE: "word"},
    )


def lines(process: subprocess.Popen[str], number: int) -> list[list[str]]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n").split(" ", 4) for _ in range(number)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_prints_a_line_an_event_until_a_signal(stub: Stub, script: Script, number: signal.Signals) -> None:
    stub.answers["event.from"] = script
    script.steps = [
        [event("add", "OpaqueRef:1", "web\nserver")],
        [event("mod", "OpaqueRef:1", "db"), event("del", "OpaqueRef:1")],
    ]
    with watch(stub, "VM", "task") as process:
        added, changed, deleted = lines(process, 3)
        process.send_signal(number)
        script.ended.set()
        assert process.wait(ENOUGH_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert added[1:] == ["vm", "add", "OpaqueRef:1", "web server"]
    assert changed[1:] == ["vm", "mod", "OpaqueRef:1", "db"]
    assert deleted[1:] == ["vm", "del", "OpaqueRef:1", "db"]
    assert script.asked[0] == ("secret of root", ["VM", "task"], "", client.POLL_SECONDS)
    assert script.asked[1][2] == "token1"
    # The wait that was broken off may reach the stub after it.
    assert stub.calls.count(("session.logout", ["secret of root"])) == 1


def test_watch_follows_every_class_by_default(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    script.steps = [[event("add", "OpaqueRef:1")]]
    with watch(stub) as process:
        assert lines(process, 1)[0][1:] == ["vm", "add", "OpaqueRef:1"]
        process.send_signal(signal.SIGINT)
        script.ended.set()
    assert script.asked[0][1] == ["*"]


def test_watch_can_leave_out_what_is_there(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    script.steps = [[event("add", "OpaqueRef:1", "old")], [event("mod", "OpaqueRef:1", "new")]]
    with watch(stub, "--changes-only") as process:
        assert lines(process, 1)[0][1:] == ["vm", "mod", "OpaqueRef:1", "new"]
        process.send_signal(signal.SIGINT)
        script.ended.set()


def test_watch_begins_anew_after_lost_events_and_says_so(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    script.steps = [[event("add", "OpaqueRef:1")], Refusal("EVENTS_LOST"), [event("add", "OpaqueRef:2")]]
    with watch(stub) as process:
        assert [line[3] for line in lines(process, 2)] == ["OpaqueRef:1", "OpaqueRef:2"]
        process.send_signal(signal.SIGINT)
        script.ended.set()
        assert process.wait(ENOUGH_SECONDS) == 0
        assert process.stderr is not None
        assert "events were lost" in process.stderr.read()
    assert [asked[2] for asked in script.asked[:3]] == ["", "token1", ""]


def test_watch_logs_in_again_when_its_session_ended(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    script.steps = [[event("add", "OpaqueRef:1")], Refusal("SESSION_INVALID", "x"), [event("mod", "OpaqueRef:1")]]
    with watch(stub) as process:
        assert [line[2] for line in lines(process, 2)] == ["add", "mod"]
        process.send_signal(signal.SIGINT)
        script.ended.set()
    assert [method for method, params in stub.calls].count("session.login_with_password") == 2


def test_watch_waits_for_an_agent_that_went_away_and_ends_by_a_signal_meanwhile(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    stub.hangs_up = True
    script.steps = [[event("add", "OpaqueRef:1")]]
    with watch(stub) as process:
        lines(process, 1)
        stub.status = 503
        script.ended.set()
        assert process.stderr is not None
        for _ in range(2):
            assert process.stderr.readline().endswith("answers 503 Service Unavailable; trying again\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(ENOUGH_SECONDS) == 0
        assert "Traceback" not in process.stderr.read()


def test_watch_ends_at_a_refusal(stub: Stub, script: Script) -> None:
    stub.answers["event.from"] = script
    script.steps = [Refusal("EVENT_SUBSCRIPTION_PARSE_FAILURE", "zebra")]
    with watch(stub, "zebra") as process:
        assert process.wait(ENOUGH_SECONDS) == 1
        assert process.stderr is not None
        assert process.stderr.read() == "EVENT_SUBSCRIPTION_PARSE_FAILURE zebra\n"
