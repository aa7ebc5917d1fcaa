"""Verbs as tasks: how they end, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from agent.client import Failure, Unreachable
from agent.shell import tasks
from tests.agent.shell.conftest import UUID, Recorder


def record(status: str, **more: Any) -> dict[str, Any]:
    return {"uuid": UUID, "status": status, "result": "", "progress": 0.5, "error_info": [], **more}


def steps(*answers: dict[str, Any] | Callable[[], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """What task.get_record answers, look by look."""
    left = list(answers)

    def answer(*params: object) -> dict[str, Any]:
        step = left.pop(0)
        return step() if callable(step) else step

    return answer


def interrupted() -> dict[str, Any]:
    """Somebody presses Ctrl-C while the task is under way."""
    os.kill(os.getpid(), signal.SIGINT)
    return record("pending")


def run(recorder: Recorder) -> Any:
    return tasks.run(recorder, "VM.copy", ["x"], "vm-copy")


def test_the_result_is_waited_for_and_the_task_dropped(recorder: Recorder) -> None:
    result = "<value><array><data><value>a</value><value>b</value></data></array></value>"
    recorder.answers["Async.VM.copy"] = "OpaqueRef:task"
    recorder.answers["task.get_record"] = steps(record("pending"), record("pending"), record("success", result=result))
    assert run(recorder) == ["a", "b"]
    assert recorder.sent[0] == ("Async.VM.copy", ["secret", "x"])
    assert recorder.sent[-1] == ("task.destroy", ["secret", "OpaqueRef:task"])


def test_a_failure_is_that_of_the_verb(recorder: Recorder) -> None:
    recorder.answers["task.get_record"] = record("failure", error_info=["SR_FULL", "1", "2"])
    with pytest.raises(Failure) as told:
        run(recorder)
    assert (told.value.code, told.value.params) == ("SR_FULL", ["1", "2"])


def test_ctrl_c_cancels_where_nobody_can_be_asked(recorder: Recorder) -> None:
    recorder.answers["Async.VM.copy"] = "OpaqueRef:task"
    recorder.answers["task.get_record"] = steps(interrupted, record("cancelling"), record("cancelled"))
    with pytest.raises(tasks.Cancelled):
        run(recorder)
    assert ("task.cancel", ["secret", "OpaqueRef:task"]) in recorder.sent


def test_a_second_ctrl_c_leaves_the_task_alone(recorder: Recorder) -> None:
    def again() -> dict[str, Any]:
        return {**interrupted(), "status": "cancelling"}

    recorder.answers["task.get_record"] = steps(interrupted, again)
    with pytest.raises(tasks.LeftRunning, match=UUID):
        run(recorder)


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_ctrl_c_asks(recorder: Recorder, mocker: MockerFixture, answer: str, cancelled: bool) -> None:
    stdin, stderr = mocker.patch("sys.stdin"), mocker.patch("sys.stderr")
    stdin.isatty.return_value = stderr.isatty.return_value = True
    stdin.readline.return_value = answer
    recorder.answers["task.get_record"] = steps(interrupted, record("success"))
    run(recorder)
    assert stdin.readline.call_count == 1
    assert any(method == "task.cancel" for method, _ in recorder.sent) is cancelled


@pytest.mark.parametrize("answer", ["l\n", "", KeyboardInterrupt])
def test_a_task_can_be_left_running(recorder: Recorder, mocker: MockerFixture, answer: Any) -> None:
    stdin, stderr = mocker.patch("sys.stdin"), mocker.patch("sys.stderr")
    stdin.isatty.return_value = stderr.isatty.return_value = True
    stdin.readline.side_effect = [answer]
    recorder.answers["task.get_record"] = steps(interrupted)
    with pytest.raises(tasks.LeftRunning):
        run(recorder)
    assert all(method not in ("task.cancel", "task.destroy") for method, _ in recorder.sent)


def test_ctrl_c_goes_its_usual_way_afterwards(recorder: Recorder) -> None:
    before = signal.getsignal(signal.SIGINT)
    run(recorder)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_shows_how_much_is_done(mocker: MockerFixture) -> None:
    stderr = mocker.patch("sys.stderr")
    stderr.isatty.return_value = True
    mocker.patch.object(tasks, "PATIENCE_SECONDS", -1)
    progress = tasks.Progress("vm-copy")
    progress.show(0.5)
    [(line,)] = [call.args for call in stderr.write.call_args_list]
    assert line.startswith("\r\x1b[Kvm-copy [###############...............]  50% 0:00")
    progress.clear()
    assert stderr.write.call_args.args == ("\r\x1b[K",)


def test_no_bar_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = tasks.Progress("vm-copy")
    progress.show(0.5)
    progress.clear()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("text", "value"), [("", ""), ("<value>x</value>", "x"), ("<value/>", ""), ("plain", "plain")])
def test_a_result_is_read(text: str, value: str) -> None:
    assert tasks.value(text) == value


def test_a_result_that_is_no_xml_is_told() -> None:
    with pytest.raises(Unreachable, match="not XML-RPC"):
        tasks.value("<value><broken")
