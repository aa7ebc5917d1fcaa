"""``serve`` as a process: how it starts, what it refuses, how it ends. What it answers, the front door's tests ask."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent import daemon
from agent.__main__ import main
from agent.cli import PASSWORD_VARIABLE
from agent.roles import Role
from agent.rpc.certificate import self_signed
from agent.users import Users
from drivers.disk_journal import JOURNAL, DiskJournal, Operation

ENOUGH_SECONDS = 60.0
Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def serve(tmp_path: Path, state: Path) -> Iterator[Serve]:
    """Starts agents; ends those that a test leaves."""
    with ExitStack() as started:

        def start(*arguments: str, connect: str = "test:///default", **environment: str) -> subprocess.Popen[str]:
            options = ("--config", "/dev/null", "--connect", connect, "--state", str(state))
            process = subprocess.Popen(
                [sys.executable, "-m", "agent", "serve", *options, *(arguments or ("--listen", "http://127.0.0.1:0"))],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def listening(process: subprocess.Popen[str], number: int = 1) -> list[str]:
    """The URLs that an agent says it listens on."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(number)]
    assert all(line.startswith("listening on ") for line in lines), process.communicate()
    return [line.removeprefix("listening on ").strip() for line in lines]


def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    """Send a signal. Returns the exit code and what was logged."""
    process.send_signal(number)
    _, log = process.communicate(timeout=ENOUGH_SECONDS)
    return process.returncode, log


def refused(process: subprocess.Popen[str]) -> str:
    """What an agent says that does not start."""
    out, log = process.communicate(timeout=ENOUGH_SECONDS)
    assert out == ""
    assert process.returncode == 1
    assert "Traceback" not in log
    return str(log.splitlines()[-1])


def test_it_serves_every_kind_of_listener(
    serve: Serve, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Users(state / "users.json").add("root", "s3same", Role.POOL_ADMIN)
    path = tmp_path / "socket"
    process = serve(
        *("--listen", "http://127.0.0.1:0"), *("--listen", "https://127.0.0.1:0"), *("--listen", f"unix:{path}")
    )
    http, https, unix = listening(process, 3)
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", http)
    assert re.fullmatch(r"https://127\.0\.0\.1:[1-9]\d*", https)
    assert unix == f"unix:{path}"
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3same")
    for url in (http, https, unix):
        assert main(["call", "--insecure", "--url", url, "VM.get_by_name_label", "test"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["call", "--url", https, "VM.get_all"]) == 1
    assert "self-signed" in capsys.readouterr().err
    code, log = ended(process)
    assert code == 0
    assert "s3same" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(serve: Serve, state: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = serve("--listen", f"unix:{tmp_path}/socket")
    listening(process)
    code, log = ended(process, number)
    assert code == 0
    assert log.splitlines()[-1].endswith("agent.daemon: ended")
    assert not (tmp_path / "socket").exists()


@pytest.mark.fault("F2")
def test_a_signal_ends_it_well_while_a_client_waits_for_events(
    serve: Serve, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    process = serve()
    monkeypatch.setenv(PASSWORD_VARIABLE, "word")
    with subprocess.Popen(
        [sys.executable, "-m", "agent", "watch", "--url", listening(process)[0], "--changes-only", "VM"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert watcher.stderr is not None
        assert watcher.stderr.readline() == "xen-host-agent: watching\n"
        code, log = ended(process)
        assert code == 0
        assert "closing takes too long" not in log
        assert "trying again" in watcher.stderr.readline()
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(ENOUGH_SECONDS) == 0, watcher.stderr.read()


@pytest.mark.fault("F20")
def test_a_second_agent_refuses_the_folder_of_the_first(serve: Serve, state: Path) -> None:
    first = serve()
    listening(first)
    assert refused(serve()) == f"xen-host-agent: another agent (pid {first.pid}) works on the state folder {state}"
    assert first.poll() is None


@pytest.mark.fault("F20")
def test_an_agent_that_was_killed_leaves_no_lock_and_loses_nothing(
    serve: Serve, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    monkeypatch.setenv(PASSWORD_VARIABLE, "word")
    first = serve()
    record = '{"name_label": "kept"}'
    assert main(["call", "--url", listening(first)[0], "network.create", record]) == 0
    kept = json.loads(capsys.readouterr().out)
    first.kill()
    first.wait(ENOUGH_SECONDS)
    second = serve()
    assert main(["call", "--url", listening(second)[0], "network.get_by_name_label", "kept"]) == 0
    assert json.loads(capsys.readouterr().out) == [kept]


def test_it_says_when_nobody_can_log_in(serve: Serve, state: Path) -> None:
    process = serve()
    listening(process)
    assert "nobody can log in yet" in ended(process)[1]


@pytest.mark.parametrize("scheme", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}"])
def test_a_port_that_is_taken_is_told(serve: Serve, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = scheme.format(port=taken.getsockname()[1])
        assert f"cannot listen on {url}" in refused(serve("--listen", "http://127.0.0.1:0", "--listen", url))


def test_a_state_folder_that_is_none_is_told(serve: Serve, state: Path) -> None:
    state.write_text("a file")
    assert refused(serve()).startswith(f"xen-host-agent: the state folder {state} cannot be used")


def test_a_broken_file_of_users_is_told(serve: Serve, state: Path) -> None:
    state.mkdir()
    (state / "users.json").write_text("{")
    assert f"{state}/users.json cannot be read" in refused(serve())


@pytest.mark.fault("F9")
def test_a_journal_that_is_none_is_told(serve: Serve, state: Path) -> None:
    state.mkdir()
    (state / "journal.sqlite").write_bytes(b"this was never a database\n" * 100)
    assert f"{state}/journal.sqlite cannot be used as the journal" in refused(serve())


def test_a_faulty_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text("workers = 3")
    assert main(["serve", "--config", str(file)]) == 1
    assert "there is no key 'workers'; did you mean 'limits.workers'?" in capsys.readouterr().err


def test_it_starts_and_serves_what_it_knows_without_libvirt(
    serve: Serve, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    process = serve(connect=f"qemu+unix:///system?socket={tmp_path}/nobody")
    url = listening(process)[0]
    monkeypatch.setenv(PASSWORD_VARIABLE, "word")
    assert main(["call", "--url", url, "host.get_all"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert main(["call", "--url", url, "network.create", '{"name_label": "new"}']) == 1
    assert capsys.readouterr().err.startswith("HOST_OFFLINE ")
    code, log = ended(process)
    assert code == 0
    assert "cannot be reached, trying on" in log


@pytest.mark.fault("F2")
def test_what_a_killed_one_was_at_is_judged_without_libvirt(serve: Serve, state: Path, tmp_path: Path) -> None:
    journal = DiskJournal(state / JOURNAL)
    journal.begin(Operation("made-and-not-kept", "sr", makes=True, undo=[("remove", "x.raw")]))
    journal.begin(Operation("never-destroyed", "sr", makes=True))
    listening(serve(connect=f"qemu+unix:///system?socket={tmp_path}/nobody"))
    assert [path.stem for path in (state / JOURNAL).iterdir()] == ["made-and-not-kept"]


def test_a_signal_ends_a_start_that_waits_for_libvirt(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        silent.settimeout(ENOUGH_SECONDS)
        process = serve(connect=f"qemu+unix:///system?socket={tmp_path}/silent")
        with silent.accept()[0]:  # it is in the middle of its start
            code, log = ended(process)
    assert code == 0
    assert "Traceback" not in log


def test_systemd_is_told_when_it_is_ready_and_when_it_ends(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(ENOUGH_SECONDS)
        process = serve(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notified.recv(100) == b"READY=1"
        listening(process)
        assert ended(process)[0] == 0
        assert notified.recv(100) == b"STOPPING=1"


@pytest.mark.threat("T20")
def test_what_it_writes_is_its_owners(serve: Serve, state: Path) -> None:
    process = serve("--listen", "https://127.0.0.1:0")
    listening(process)
    assert state.stat().st_mode & 0o777 == 0o700
    open_to_others = [path.name for path in state.iterdir() if path.stat().st_mode & 0o077]
    assert open_to_others == []


@pytest.mark.fault("F2")
def test_the_end_comes_even_if_a_worker_hangs() -> None:
    program = (
        "import threading\n"
        "from agent import daemon\n"
        "from agent.lanes import Lanes\n"
        "Lanes().submit('a', threading.Event().wait)\n"
        "daemon.END_SECONDS = 0.1\n"
        "daemon._limit_the_end()\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=ENOUGH_SECONDS, check=False).returncode == 0


@pytest.mark.threat("T20")
@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://0.0.0.0:80", True),
        ("http://[::]:80", True),
        ("http://host.example:80", True),
        ("http://192.0.2.1:80", True),
        ("http://127.0.0.1:80", False),
        ("http://127.8.8.8:80", False),
        ("http://[::1]:80", False),
        ("http://localhost:80", False),
        ("https://0.0.0.0:443", False),
        ("unix:/run/socket", False),
    ],
)
def test_passwords_in_clear_across_a_network_are_warned_of(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    daemon._warn_of_open_doors([url])
    assert bool(caplog.records) is warned


# --- configuration read again


def logged(process: subprocess.Popen[str], text: str) -> str:
    """Read the log until a line has this text. Returns all up to it."""
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the log ended without {text!r}:\n{read}")


@pytest.fixture
def configured(serve: Serve, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts an agent whose file of configuration can be changed."""
    with ExitStack() as started:

        def start(text: str, **environment: str) -> subprocess.Popen[str]:
            file = tmp_path / "config.toml"
            file.write_text(
                f'connect = "test:///default"\nstate = "{tmp_path}/state"\nlisten = ["https://127.0.0.1:0"]\n{text}'
            )
            process = subprocess.Popen(
                [sys.executable, "-m", "agent", "serve", "--config", str(file)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def test_sighup_takes_what_can_be_taken_and_names_what_cannot(
    configured: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = configured("limits.workers = 4\n")
    listening(process)
    beside = tmp_path / "conf.d" / "a.toml"
    beside.parent.mkdir()
    beside.write_text('log.level = "debug"\nlimits.workers = 5\n')
    process.send_signal(signal.SIGHUP)
    read = logged(process, "count after a restart")
    assert "the configuration was read again; changed: log.level" in read
    assert "count after a restart: limits.workers" in read
    code, _ = ended(process)
    assert code == 0


@pytest.mark.fault("F19")
def test_a_fault_in_the_configuration_keeps_the_old_one(
    configured: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = configured("")
    (url,) = listening(process)
    file = tmp_path / "config.toml"
    good = file.read_text()
    file.write_text(good + '[log]\nlevel = "loud"\n')
    process.send_signal(signal.SIGHUP)
    assert f"the configuration stays as it was: {file}:5: log.level" in logged(process, "stays as it was")
    file.write_text(good + f'[log]\nlevel = "error"\n[tls]\ncertificate = "{tmp_path}/nothing.pem"\n')
    process.send_signal(signal.SIGHUP)
    assert "nothing.pem cannot be read" in logged(process, "stays as it was")
    file.write_text(good)
    process.send_signal(signal.SIGHUP)  # told at level info: the bad file's other keys were not taken
    logged(process, "changed: nothing")
    assert certificate_of(url)
    assert ended(process)[0] == 0


def certificate_of(url: str) -> str:
    """The certificate that a listener presents, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", int(url.rpartition(":")[2])))


@pytest.mark.fault("F19")
@pytest.mark.threat("T20")
def test_a_certificate_that_is_replaced_is_taken_and_a_bad_one_is_not(
    configured: Callable[..., subprocess.Popen[str]], state: Path
) -> None:
    process = configured("")
    (url,) = listening(process)
    first = certificate_of(url)
    path = state / "server.pem"
    path.with_name("fresh").write_bytes(self_signed(["other"], []))
    path.with_name("fresh").replace(path)
    logged(process, "the certificate was replaced: ")
    second = certificate_of(url)
    assert second != first
    path.write_text("nonsense")
    logged(process, "the old one stays in use")
    assert certificate_of(url) == second
    assert ended(process)[0] == 0


def test_a_removed_user_is_out_soon(serve: Serve, state: Path) -> None:
    users = Users(state / "users.json")
    users.add("root", "word", Role.POOL_ADMIN)
    process = serve()
    (url,) = listening(process)
    with xmlrpc.client.ServerProxy(url) as proxy:
        session = proxy.session.login_with_password("root", "word")["Value"]  # type: ignore[index,call-overload]
        assert proxy.VM.get_all(session)["Status"] == "Success"  # type: ignore[index,call-overload]
        users.remove("root")
        logged(process, "1 sessions were ended")
        answer = proxy.VM.get_all(session)
        assert answer["ErrorDescription"][0] == "SESSION_INVALID"  # type: ignore[index,call-overload]
    assert ended(process)[0] == 0


# --- the service manager


def test_the_service_manager_hears_that_we_live_and_of_a_reload(serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(ENOUGH_SECONDS)
        process = serve(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        assert notified.recv(100) == b"READY=1"
        assert notified.recv(100) == b"WATCHDOG=1"
        process.send_signal(signal.SIGHUP)
        told = []
        while b"READY=1" not in told:
            told += [item for item in [notified.recv(100)] if item != b"WATCHDOG=1"]
        assert told[0].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert ended(process)[0] == 0


PASSING = (
    "import os, sys\n"
    "os.environ['LISTEN_PID'] = str(os.getpid())\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'agent', *sys.argv[1:]])\n"
)
"""Starts the agent as a service manager would: the sockets are inherited, and the environment names this process."""


def passing(sockets: list[socket.socket], names: str, *arguments: str) -> subprocess.Popen[str]:
    """An agent that inherits these sockets as systemd would pass them."""

    def place() -> None:
        high = [fcntl.fcntl(item.fileno(), fcntl.F_DUPFD, 100) for item in sockets]
        for number, descriptor in enumerate(high, 3):
            os.dup2(descriptor, number)

    return subprocess.Popen(
        [sys.executable, "-c", PASSING, "serve", "--config", "/dev/null", "--connect", "test:///default", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names},
        preexec_fn=place,
        close_fds=False,
    )


def test_no_connection_is_refused_while_it_restarts_on_passed_sockets(state: Path, tmp_path: Path) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    path = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        for _ in range(2):
            # Asked while nobody serves: it waits in the socket's queue for the agent that is about to start.
            with socket.create_connection(tcp.getsockname(), timeout=ENOUGH_SECONDS) as early:
                early.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                with passing([tcp, unix], "http:unix", "--state", str(state), "--listen", url) as process:
                    try:
                        assert listening(process, 2) == [url, f"unix:{path}"]
                        answer = b"".join(iter(lambda: early.recv(4096), b""))
                        assert answer.endswith(b"ok")
                        with socket.socket(socket.AF_UNIX) as client:
                            client.connect(str(path))
                        assert ended(process)[0] == 0
                    finally:
                        process.kill()
            assert path.is_socket()  # the manager's, who keeps it


def asked(url: str, name: str, *params: object) -> Any:
    """What a message answers root; the word HOST among the parameters is the host."""
    with xmlrpc.client.ServerProxy(url) as proxy:
        api: Any = proxy
        session = api.session.login_with_password("root", "word")["Value"]
        [host] = api.host.get_all(session)["Value"]
        answer = getattr(api, name)(session, *[host if param == "HOST" else param for param in params])
        assert answer["Status"] == "Success", answer
        return answer["Value"]


def test_a_client_has_it_start_anew_as_the_same_process(serve: Serve, state: Path) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    process = serve("--listen", url)
    assert listening(process) == [url]
    asked(url, "host.set_name_label", "HOST", "kept")
    asked(url, "host.restart_agent", "HOST")
    assert listening(process) == [url]
    assert asked(url, "host.get_name_label", "HOST") == "kept"
    assert (state / "lock").read_text().strip() == str(process.pid)
    code, log = ended(process)
    assert code == 0
    assert "starting anew" in log


def test_a_client_has_it_end(serve: Serve, state: Path) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    process = serve()
    [url] = listening(process)
    asked(url, "host.shutdown_agent")
    assert process.wait(ENOUGH_SECONDS) == 0


def test_it_starts_anew_on_the_sockets_it_was_passed(state: Path) -> None:
    Users(state / "users.json").add("root", "word", Role.POOL_ADMIN)
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        with passing([tcp], "http", "--state", str(state), "--listen", url) as process:
            try:
                listening(process)
                asked(url, "host.restart_agent", "HOST")
                listening(process)
                asked(url, "host.restart_agent", "HOST")
                listening(process)
                code, log = ended(process)
                assert code == 0
                assert log.count("starting anew") == 2
            finally:
                process.kill()


def test_a_passed_socket_that_serves_no_clients_is_told(state: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        with passing([datagrams], "", "--state", str(state), "--listen", "http://127.0.0.1:0") as process:
            assert "listens for no stream connections" in refused(process)
