"""PAM: what is asked of the library, on one that is played and on this host's; and what becomes of the answer."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent import pam_child
from agent.pam import Pam

PROJECT = Path(__file__).parents[2]
ADA = "$6$thesalt$3ZttZwyC8gw8dO4SBryw3YkruIueyA9xcRDqHQ0rDhqKYTYOxqSs6duT3WnRDG3fa2NJljSjiObyySTIKOwK90"
OLD = "$6$thesalt$1nIrFo319d4/DmCXZ2Fd1vJxll4SDziD1lNqq25.RiK1R816aG7/hPHYG5FhtdGqjMG0Bi/0JtiRHmPCk0o5p/"
"""Hashes of ``s3cret of ada`` and ``s3cret of old``."""


class Library:
    """libpam, played: asks what it is told to, and notes what it is given."""

    def __init__(self, styles: tuple[int, ...] = (pam_child.HIDDEN_PROMPT,), codes: Mapping[str, int] = {}) -> None:
        self.styles = styles
        self.codes = codes
        self.done: list[str] = []
        self.items: list[int] = []
        self.given: list[bytes | None] = []
        self.service: tuple[bytes, ...] = ()
        self._name = ctypes.create_string_buffer(b"Ada")

    def _start(self, told: Any, *service: bytes) -> int:
        self.service = service
        self.told = told._obj
        return self._done("pam_start")

    def pam_start(self, service: bytes, user: bytes, told: Any, handle: Any) -> int:
        return self._start(told, service, user)

    def pam_start_confdir(self, service: bytes, user: bytes, told: Any, folder: bytes, handle: Any) -> int:
        return self._start(told, service, user, folder)

    def _done(self, name: str) -> int:
        self.done.append(name)
        return self.codes.get(name, 0)

    def pam_set_item(self, handle: Any, item: int, value: Any) -> int:
        self.items.append(item)
        return self._done("pam_set_item")

    def pam_authenticate(self, handle: Any, flags: int) -> int:
        asked = [pam_child._Message(style, b"?") for style in self.styles]
        pointers = (ctypes.POINTER(pam_child._Message) * len(asked))(*map(ctypes.pointer, asked))
        answers = ctypes.POINTER(pam_child._Response)()
        code = self.told.converse(len(asked), pointers, ctypes.byref(answers), None)
        if code:
            return int(code)
        self.given = [
            ctypes.cast(answers[n].text, ctypes.c_char_p).value if answers[n].text else None for n in range(len(asked))
        ]
        return self._done("pam_authenticate")

    def pam_acct_mgmt(self, handle: Any, flags: int) -> int:
        return self._done("pam_acct_mgmt")

    def pam_get_item(self, handle: Any, item: int, place: Any) -> int:
        place._obj.value = ctypes.addressof(self._name)
        return self._done("pam_get_item")

    def pam_strerror(self, handle: Any, code: int) -> bytes:
        return f"error {code}".encode()

    def pam_end(self, handle: Any, code: int) -> int:
        return self._done(f"pam_end {code}")


def ask(library: Library, folder: str = "") -> dict[str, object]:
    question = {"service": "agent", "user": "ada", "password": "s3cret", "address": "192.0.2.1", "folder": folder}
    return pam_child.ask(question, library)


def test_password_and_account_are_both_checked_and_pam_says_who_it_is() -> None:
    library = Library()
    assert ask(library) == {"good": True, "user": "Ada", "reason": ""}
    assert library.given == [b"s3cret"]
    assert library.service == (b"agent", b"ada")
    assert library.items == [pam_child.RHOST, pam_child.FAIL_DELAY]
    steps = ["pam_start", "pam_set_item", "pam_set_item", "pam_authenticate", "pam_acct_mgmt", "pam_get_item"]
    assert library.done == [*steps, "pam_end 0"]


@pytest.mark.threat("T19")
@pytest.mark.parametrize("step", ["pam_set_item", "pam_authenticate", "pam_acct_mgmt", "pam_get_item"])
def test_no_step_that_fails_lets_anybody_in(step: str) -> None:
    library = Library(codes={step: 13})
    answer = ask(library)
    assert answer["good"] is False
    assert answer["user"] == ""
    assert library.done[-1] == "pam_end 13"


def test_a_start_that_fails_is_told() -> None:
    assert ask(Library(codes={"pam_start": 4})) == {"good": False, "user": "", "reason": "PAM does not start: 4"}


def test_texts_are_passed_over_and_what_is_no_password_cannot_be_answered() -> None:
    library = Library((3, pam_child.HIDDEN_PROMPT, 4))
    assert ask(library)["good"] is True
    assert library.given == [None, b"s3cret", None]
    refused = ask(Library((pam_child.SHOWN_PROMPT, pam_child.HIDDEN_PROMPT)))
    assert refused == {"good": False, "user": "", "reason": f"error {pam_child.CONVERSATION_FAILED}"}


# --- the process that asks


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """A folder of services of PAM, for the test alone."""
    folder = tmp_path / "pam.d"
    folder.mkdir()
    return folder


def written(services: Path, auth: str, account: str = "pam_permit.so") -> Pam:
    (services / "agent").write_text(f"auth required {auth}\naccount required {account}\n")
    return Pam("agent", 20, services)


@pytest.fixture(scope="module")
def libpam() -> None:
    """This host's PAM, one that takes a folder of services."""
    try:
        usable = hasattr(pam_child.open_library(), "pam_start_confdir")
    except OSError:
        usable = False
    if not usable:
        pytest.skip("this host has no libpam, or one before Linux-PAM 1.4")


def test_the_hosts_pam_takes_a_password(libpam: None, services: Path) -> None:
    assert written(services, "pam_permit.so").check("nobody", "s3cret", "192.0.2.1") == "nobody"


AS_INSTALLED = """
import sys
sys.path = [*sys.argv[1].split(":"), *sys.path]
from agent.pam import Pam
from pathlib import Path
print(Pam("agent", 20, Path(sys.argv[2])).check("nobody", "s3cret", "192.0.2.1"))
"""


def test_an_installed_agent_asks_it_too(libpam: None, services: Path) -> None:
    """Whose folder is none that Python knows by itself: only the program that starts it says where it is."""
    written(services, "pam_permit.so")
    places = ":".join([str(PROJECT), *filter(None, sys.path)])
    python = Path(sys.base_prefix) / "bin" / "python3"
    command: list[str | Path] = [python, "-I", "-c", AS_INSTALLED, places, services]
    assert subprocess.run(command, cwd="/", stdout=subprocess.PIPE, text=True, check=True).stdout == "nobody\n"


@pytest.mark.threat("T19")
@pytest.mark.parametrize(
    ("auth", "account"),
    [
        ("pam_deny.so", "pam_permit.so"),
        ("pam_permit.so", "pam_deny.so"),
        ("pam_no_such_module.so", "pam_permit.so"),
    ],
    ids=["the password is refused", "the account is refused", "a module is missing"],
)
def test_the_hosts_pam_refuses(libpam: None, services: Path, auth: str, account: str) -> None:
    assert written(services, auth, account).check("nobody", "s3cret", "192.0.2.1") is None


def test_a_module_is_given_the_password_and_the_address(libpam: None, services: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nread -r word || true\necho "$PAM_USER $PAM_RHOST $word" > {seen}\n')
    program.chmod(0o755)
    pam = written(services, f"pam_exec.so expose_authtok {program}")
    assert pam.check("nobody", "pässword ☂", "192.0.2.1") == "nobody"
    assert seen.read_text("utf-8").split("\0")[0].strip() == "nobody 192.0.2.1 pässword ☂"


@pytest.fixture
def accounts(libpam: None, services: Path, tmp_path: Path) -> Callable[[str, str], dict[str, Any]]:
    """Asks pam_unix of a host with the accounts ada, and old, which has expired: in a view of the files of its own."""
    written(services, "pam_unix.so", "pam_unix.so")
    (tmp_path / "passwd").write_text("ada:x:4001:4001::/:/bin/sh\nold:x:4002:4002::/:/bin/sh\n")
    (tmp_path / "shadow").write_text(f"ada:{ADA}:19000:0:99999:7:::\nold:{OLD}:19000:0:99999:7::19001:\n")
    view = "; ".join(f"mount --bind {tmp_path}/{name} /etc/{name}" for name in ("passwd", "shadow"))
    command = ["unshare", "--mount", "sh", "-ec", f'{view}; exec "$@"', "sh"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may have accounts of the test's own")

    def ask(name: str, password: str) -> dict[str, Any]:
        question = {"service": "agent", "user": name, "password": password, "address": "192.0.2.1", "seconds": 20}
        asked = json.dumps(question | {"folder": str(services)}).encode() + b"\n"
        child = [*command, sys.executable, "-m", "agent.pam_child"]
        answer: dict[str, Any] = json.loads(
            subprocess.run(child, input=asked, stdout=subprocess.PIPE, check=True).stdout
        )
        return answer

    return ask


@pytest.mark.threat("T19")
def test_a_password_of_this_hosts_accounts_is_checked(accounts: Callable[[str, str], dict[str, Any]]) -> None:
    assert accounts("ada", "s3cret of ada") == {"good": True, "user": "ada", "reason": ""}
    assert accounts("ada", "s3cret of old")["good"] is False
    assert accounts("no-such-account", "s3cret of ada")["good"] is False
    expired = accounts("old", "s3cret of old")
    assert expired["good"] is False
    assert "expired" in expired["reason"]


@pytest.mark.threat("T19")
def test_a_service_without_a_file_lets_nobody_in(
    services: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """PAM itself would take the service ``other``."""
    (services / "other").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    run = mocker.patch.object(subprocess, "run")
    assert Pam("agent", 20, services).check("nobody", "s3cret", "") is None
    run.assert_not_called()
    assert "PAM has no service agent" in caplog.text


@pytest.mark.threat("T19")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", "word"),
        ("nobody", ""),
        ("nobody\0root", "word"),
        ("nobody", "wo\0rd"),
        ("nobody\nroot", "word"),
        ("nobody\x1b[2J", "word"),
        ("n" * 4096, "word"),
        ("nobody", "w" * 5000),
        ("nobody", "\ud800"),
    ],
)
def test_what_cannot_be_a_name_or_password_is_not_shown_to_pam(
    services: Path, mocker: MockerFixture, name: str, password: str
) -> None:
    run = mocker.patch.object(subprocess, "run")
    assert written(services, "pam_permit.so").check(name, password, "") is None
    run.assert_not_called()


@pytest.mark.threat("T18")
def test_a_module_that_hangs_is_ended(libpam: None, services: Path, caplog: pytest.LogCaptureFixture) -> None:
    pam = written(services, "pam_exec.so /bin/sleep 100")
    assert Pam("agent", 1, pam.folder).check("nobody", "s3cret", "") is None
    assert "PAM did not answer within 1 s" in caplog.text


@pytest.mark.parametrize("printed", ["", "nonsense", "{}", '{"good": "maybe"}', "[]", "null"])
def test_an_answer_that_is_none_is_no(
    services: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture, printed: str
) -> None:
    done = subprocess.CompletedProcess([], 0, printed.encode())
    mocker.patch.object(subprocess, "run", return_value=done)
    assert written(services, "pam_permit.so").check("nobody", "s3cret", "") is None
    assert "s3cret" not in caplog.text


def test_a_process_that_dies_is_no_and_its_password_is_not_logged(
    services: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    mocker.patch.object(sys, "executable", "/bin/false")
    assert written(services, "pam_permit.so").check("nobody", "s3cret", "") is None
    assert "PAM cannot be asked: CalledProcessError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_host_without_pam_lets_nobody_in(services: Path) -> None:
    question = {"service": "a", "user": "u", "password": "p", "address": "", "folder": str(services), "seconds": 5}
    program = "from agent import pam_child\npam_child.LIBRARY = 'no-such-library.so'\npam_child.main()\n"
    ran = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(question).encode() + b"\n", capture_output=True, check=True
    )
    answer = json.loads(ran.stdout)
    assert answer["good"] is False
    assert answer["reason"].startswith("PAM cannot be used")
