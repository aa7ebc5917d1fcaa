"""The file of users: who may log in, kept so that its thief has no password and its reader no half of it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from agent import users as module
from agent.roles import Role
from agent.users import Users, UsersError


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "state" / "users.json")


def test_a_missing_file_has_no_users(users: Users) -> None:
    assert users.accounts() == {}
    assert users.check("root", "") is None


def test_a_user_logs_in_with_the_right_password_only(users: Users) -> None:
    users.add("root", "secret", Role.POOL_ADMIN)
    account = users.check("root", "secret")
    assert account is not None
    assert account.role is Role.POOL_ADMIN
    assert users.check("root", "Secret") is None
    assert users.check("root", "") is None
    assert users.check("ROOT", "secret") is None


def test_adding_again_changes_password_and_role(users: Users) -> None:
    users.add("eve", "old", Role.POOL_ADMIN)
    assert users.check("eve", "old") is not None
    users.add("eve", "new", Role.READ_ONLY)
    assert users.check("eve", "old") is None
    account = users.check("eve", "new")
    assert account is not None
    assert account.role is Role.READ_ONLY


def test_a_removed_user_is_out_even_when_remembered(users: Users) -> None:
    users.add("eve", "word", Role.READ_ONLY)
    assert users.check("eve", "word") is not None
    users.remove("eve")
    assert users.check("eve", "word") is None


def test_what_another_process_writes_counts_at_once(users: Users) -> None:
    users.add("root", "secret", Role.POOL_ADMIN)
    assert users.check("eve", "word") is None
    Users(users.path).add("eve", "word", Role.VM_ADMIN)
    assert users.check("eve", "word") is not None


def test_removing_nobody_is_refused_by_name(users: Users) -> None:
    with pytest.raises(UsersError, match="there is no user 'bob'"):
        users.remove("bob")


@pytest.mark.parametrize("name", ["", " root", "root ", "a\nb", "a\0b", "x" * 257])
def test_a_name_that_cannot_be_shown_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UsersError, match="cannot be a user's name"):
        users.add(name, "word", Role.READ_ONLY)


@pytest.mark.parametrize("password", ["", "a\0b", "x" * 4097])
def test_a_password_out_of_range_is_refused(users: Users, password: str) -> None:
    with pytest.raises(UsersError, match="a password has"):
        users.add("root", password, Role.READ_ONLY)


@pytest.mark.threat("T17")
@pytest.mark.parametrize(
    ("name", "password"), [("root", "x" * 5000), ("root", "a\0"), ("x" * 500, "word"), ("", ""), ("ro\0ot", "word")]
)
def test_a_log_in_out_of_range_fails_like_any_other(users: Users, name: str, password: str) -> None:
    users.add("root", "word", Role.POOL_ADMIN)
    assert users.check(name, password) is None


def test_names_and_passwords_may_be_in_any_script(users: Users) -> None:
    users.add("Ἀλέξανδρος", "пароль ☂", Role.POOL_ADMIN)
    assert users.check("Ἀλέξανδρος", "пароль ☂") is not None


def test_the_boundary_between_name_and_password_counts(users: Users) -> None:
    users.add("ab", "c", Role.POOL_ADMIN)
    users.add("a", "x", Role.POOL_ADMIN)
    assert users.check("ab", "c") is not None
    assert users.check("a", "bc") is None


def test_the_file_is_its_owners_and_has_no_password(users: Users) -> None:
    users.add("root", "a-very-secret-word", Role.POOL_ADMIN)
    assert users.path.stat().st_mode & 0o777 == 0o600
    assert users.path.parent.stat().st_mode & 0o077 == 0
    assert "a-very-secret-word" not in users.path.read_text()
    assert not [path for path in users.path.parent.iterdir() if path != users.path]


def test_the_same_password_is_kept_differently_for_each(users: Users) -> None:
    users.add("a", "same", Role.READ_ONLY)
    users.add("b", "same", Role.READ_ONLY)
    kept = json.loads(users.path.read_text())
    assert kept["a"]["scrypt"] != kept["b"]["scrypt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"root": 1}', '{"root": {"role": "king", "salt": "", "scrypt": ""}}'])
def test_a_broken_file_is_named_and_lets_nobody_in(users: Users, text: str) -> None:
    users.path.parent.mkdir()
    users.path.write_text(text)
    with pytest.raises(UsersError, match=r"users\.json cannot be read"):
        users.check("root", "secret")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    with pytest.raises(UsersError, match="cannot be"):
        Users(tmp_path / "state" / "users.json").add("root", "word", Role.POOL_ADMIN)


@pytest.mark.threat("T17")
def test_unknown_and_wrong_cost_one_full_check_each(users: Users, mocker: MockerFixture) -> None:
    users.add("root", "secret", Role.POOL_ADMIN)
    digest = mocker.patch.object(module, "_digest", side_effect=module._digest)
    assert users.check("root", "wrong") is None
    assert digest.call_count == 1
    assert users.check("nobody", "wrong") is None
    assert digest.call_count == 2


def test_a_success_is_remembered_and_a_failure_is_not(users: Users, mocker: MockerFixture) -> None:
    users.add("root", "secret", Role.POOL_ADMIN)
    digest = mocker.patch.object(module, "_digest", side_effect=module._digest)
    for _ in range(3):
        assert users.check("root", "secret") is not None
    assert digest.call_count == 1
    for _ in range(2):
        assert users.check("root", "wrong") is None
    assert digest.call_count == 3


def test_a_memory_ends(users: Users, mocker: MockerFixture) -> None:
    users.add("root", "secret", Role.POOL_ADMIN)
    clock = mocker.patch.object(module, "monotonic", return_value=1000.0)
    assert users.check("root", "secret") is not None
    digest = mocker.patch.object(module, "_digest", side_effect=module._digest)
    clock.return_value = 1000.0 + module.REMEMBERED_SECONDS + 1
    assert users.check("root", "secret") is not None
    assert digest.call_count == 1


def test_a_reader_never_sees_half_a_file(users: Users, mocker: MockerFixture) -> None:
    mocker.patch.object(module, "_digest", return_value=bytes(64))
    users.add("root", "secret", Role.POOL_ADMIN)
    failures: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                assert "root" in Users(users.path).accounts()
            except (UsersError, AssertionError) as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        users.add(f"user{number}", "word", Role.READ_ONLY)
    ended.set()
    reader.join()
    assert failures == []


def test_users_who_are_added_at_the_same_time_are_all_kept(users: Users) -> None:
    names = [f"user{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:  # each with an object of its own, as processes have
        list(pool.map(lambda name: Users(users.path).add(name, "word", Role.READ_ONLY), names))
    assert sorted(users.accounts()) == sorted(names)


def test_changing_a_password_brings_nobody_back(users: Users) -> None:
    users.add("root", "word", Role.POOL_ADMIN)
    users.add("monitor", "word", Role.READ_ONLY)
    users.change_password("monitor", "other")
    account = users.check("monitor", "other")
    assert account is not None
    assert account.role is Role.READ_ONLY
    users.remove("monitor")
    with pytest.raises(UsersError, match="there is no user 'monitor'"):
        users.change_password("monitor", "third")
    assert list(users.accounts()) == ["root"]
