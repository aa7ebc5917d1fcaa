"""Who is let in as what: by each mode, by certificates, and by being root; and whose the other end of a socket is."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import logins as module
from agent import tcp_owner
from agent.logins import By, Caller, Identity, Logins, parse_roles
from agent.pam import Pam
from agent.roles import Role
from agent.users import Users

FAR = Caller("192.0.2.1")
ROOT = Caller("uid=0", local=True)


@pytest.fixture
def users(tmp_path: Path) -> Users:
    made = Users(tmp_path / "users")
    made.add("ada", "s3cret", Role.VM_ADMIN)
    return made


@pytest.fixture(autouse=True)
def groups(mocker: MockerFixture) -> None:
    """The groups of this host: eve is in wheel and staff."""
    mocker.patch.object(module, "_groups", lambda name: ["@wheel", "@staff"] if name == "eve" else [])


def with_pam(mocker: MockerFixture, known: str | None, **rules: object) -> Logins:
    mocker.patch.object(Pam, "check", return_value=known)
    return Logins("pam", **rules)  # type: ignore[arg-type]


# --- by mode


def test_the_file_of_users_is_asked_in_its_mode(users: Users) -> None:
    rules = Logins()
    assert rules.asks(FAR, "ada", "s3cret") is By.USERS
    assert rules.identify(users, FAR, "ada", "s3cret") == Identity("ada", Role.VM_ADMIN, By.USERS)
    assert rules.identify(users, FAR, "ada", "wrong") is None


def test_pam_says_who_it_is_and_the_configuration_what_he_may(users: Users, mocker: MockerFixture) -> None:
    rules = with_pam(mocker, "ada", roles={"ada": Role.READ_ONLY})
    assert rules.asks(FAR, "ADA", "word") is By.PAM
    assert rules.identify(users, FAR, "ADA", "word") == Identity("ada", Role.READ_ONLY, By.PAM)


def test_an_account_without_a_role_cannot_log_in(users: Users, mocker: MockerFixture) -> None:
    assert with_pam(mocker, "ada", roles={"@wheel": Role.POOL_ADMIN}).identify(users, FAR, "ada", "word") is None


def test_the_file_of_users_does_not_count_beside_pam(users: Users, mocker: MockerFixture) -> None:
    rules = with_pam(mocker, None, roles={"*": Role.POOL_ADMIN})
    assert rules.identify(users, FAR, "ada", "s3cret") is None
    assert rules.role_now(users, By.USERS, "ada") is None


@pytest.mark.parametrize(
    ("roles", "name", "role"),
    [
        ({}, "root", Role.POOL_ADMIN),
        ({"root": Role.READ_ONLY}, "root", Role.READ_ONLY),
        ({"@wheel": Role.VM_ADMIN, "@staff": Role.POOL_OPERATOR, "*": Role.READ_ONLY}, "eve", Role.POOL_OPERATOR),
        ({"@wheel": Role.VM_ADMIN, "eve": Role.READ_ONLY}, "eve", Role.READ_ONLY),
        ({"@wheel": Role.VM_ADMIN, "*": Role.READ_ONLY}, "ada", Role.READ_ONLY),
        ({"@wheel": Role.VM_ADMIN}, "ada", None),
        ({"@wheel": Role.VM_ADMIN}, "@wheel", None),
    ],
)
def test_roles_are_by_name_then_by_group_then_for_all(roles: dict[str, Role], name: str, role: Role | None) -> None:
    assert Logins("pam", roles).role_of_account(name) is role


def test_groups_of_an_account_are_this_hosts(mocker: MockerFixture) -> None:
    mocker.stopall()
    assert "@root" in module._groups("root")
    assert module._groups("no-such-account") == []


# --- root, and mode none


@pytest.mark.threat("T18")
@pytest.mark.parametrize("mode", ["users", "pam", "none"])
def test_root_on_this_host_is_asked_for_nothing(users: Users, mocker: MockerFixture, mode: str) -> None:
    mocker.patch.object(Pam, "check", return_value=None)
    rules = Logins(mode, {"root": Role.READ_ONLY})
    assert rules.asks(ROOT, "", "") is None
    assert rules.identify(users, ROOT, "", "") == Identity("root", Role.POOL_ADMIN, By.ROOT)


@pytest.mark.threat("T24")
def test_mode_none_takes_the_kernels_word_and_no_other(users: Users, mocker: MockerFixture) -> None:
    uid = os.getuid()
    name = pwd.getpwuid(uid).pw_name
    rules = Logins("none", {name: Role.VM_ADMIN})
    role = Role.POOL_ADMIN if uid == 0 else Role.VM_ADMIN
    for caller in (Caller(f"uid={uid}", local=True), Caller("127.0.0.1", local=True, ends=("127.0.0.1", 1, "", 2))):
        mocker.patch.object(tcp_owner, "owner", return_value=uid)
        assert rules.asks(caller, "root", "any") is None
        assert rules.identify(users, caller, "somebody else", "any") == Identity(name, role, By.PEER)
    mocker.patch.object(tcp_owner, "owner", return_value=None)
    assert rules.identify(users, Caller("127.0.0.1", ends=("127.0.0.1", 1, "", 2)), "root", "") is None
    assert rules.identify(users, FAR, "root", "") is None
    assert rules.identify(users, Caller("uid=4294967000"), "root", "") is None


def pair(address: str) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        listening.listen()
        client = socket.create_connection(listening.getsockname()[:2])
        return client, listening.accept()[0]


def ends(client: socket.socket) -> tcp_owner.Ends:
    here, there = client.getsockname(), client.getpeername()
    return here[0], here[1], there[0], there[1]


@pytest.mark.threat("T24")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_kernel_tells_whose_the_other_end_is(address: str) -> None:
    client, server = pair(address)
    with client, server:
        assert tcp_owner.owner(ends(client)) == os.getuid()


def test_an_end_that_was_let_go_of_is_nobodys() -> None:
    """The kernel prints user 0 for it, who is root."""
    client, server = pair("127.0.0.1")
    asked = ends(client)
    with server:
        client.close()
        assert tcp_owner.owner(asked) is None


def test_an_orphan_is_nobodys_even_where_it_looks_established(tmp_path: Path) -> None:
    line = "   0: 0100007F:0001 0100007F:0002 {} 00000000:00000000 00:00000000 00000000 {} 0 {} 1 0 20 4\n"
    for state, uid, inode, owner in (("01", 0, 77, 0), ("01", 0, 0, None), ("04", 0, 77, None), ("01", 7, 77, 7)):
        (tmp_path / "tcp").write_text("head\n" + line.format(state, uid, inode))
        assert tcp_owner.owner(("127.0.0.1", 1, "127.0.0.1", 2), tmp_path) == owner
    assert tcp_owner.owner(("127.0.0.1", 2, "127.0.0.1", 1), tmp_path) is None
    assert tcp_owner.owner(("127.0.0.1", 1, "127.0.0.1", 2), tmp_path / "nothing") is None


# --- certificates


CERTIFIED = Caller("192.0.2.1", names=("backup", "backup.example.org"))
BACKUP = Logins(certificates={"backup.example.org": Role.VM_OPERATOR})


@pytest.mark.parametrize("mode", ["users", "pam"])
def test_a_certificate_that_the_configuration_names_needs_no_password(users: Users, mode: str) -> None:
    rules = Logins(mode, certificates=BACKUP.certificates)
    known = Identity("backup.example.org", Role.VM_OPERATOR, By.CERTIFICATE)
    for name in ("", "backup.example.org"):
        assert rules.asks(CERTIFIED, name, "") is None
        assert rules.identify(users, CERTIFIED, name, "") == known
    assert rules.vouches(CERTIFIED)


def test_a_certificate_is_nobody_else_and_replaces_no_password(users: Users) -> None:
    assert BACKUP.identify(users, CERTIFIED, "ada", "") is None
    assert BACKUP.identify(users, CERTIFIED, "backup.example.org", "wrong") is None
    assert BACKUP.identify(users, CERTIFIED, "ada", "s3cret") == Identity("ada", Role.VM_ADMIN, By.USERS)
    assert Logins().identify(users, CERTIFIED, "", "") is None
    assert not Logins().vouches(CERTIFIED)
    assert not BACKUP.vouches(FAR)


# --- later


def test_the_role_now_is_what_a_login_would_give(users: Users, mocker: MockerFixture) -> None:
    rules = Logins()
    assert rules.role_now(users, By.USERS, "ada") is Role.VM_ADMIN
    assert rules.role_now(users, By.USERS, "gone") is None
    assert rules.role_now(users, By.PAM, "root") is None
    assert rules.role_now(users, By.PEER, "root") is None
    assert rules.role_now(users, By.CERTIFICATE, "backup.example.org") is None
    assert rules.role_now(users, By.ROOT, "root") is Role.POOL_ADMIN
    rules.follow(Logins("pam", {"@wheel": Role.VM_ADMIN}, {"backup": Role.READ_ONLY}))
    assert rules.role_now(users, By.PAM, "eve") is Role.VM_ADMIN
    assert rules.role_now(users, By.CERTIFICATE, "backup") is Role.READ_ONLY
    assert rules.role_now(users, By.USERS, "ada") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ada", "does not say who has which role"),
        ("=read-only", "does not say who has which role"),
        ("ada=wizard", "no role is called 'wizard'"),
    ],
)
def test_a_role_that_is_none_is_told(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_roles([text])


def test_a_name_with_two_roles_is_told() -> None:
    assert parse_roles(["a = read-only", "CN=x=vm-admin"]) == {"a": Role.READ_ONLY, "CN=x": Role.VM_ADMIN}
    with pytest.raises(ValueError, match="'a' has two roles"):
        parse_roles(["a=read-only", "a=vm-admin"])
