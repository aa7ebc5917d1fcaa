"""The way into dom0: commands and files over ssh, on one connection that later calls share."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.progress import LabError

LOGIN_SECONDS = 180.0


@dataclass(frozen=True)
class Dom0:
    """A running lab, as the file ``lab.json`` in its run folder tells."""

    run_folder: str
    image: str
    """Folder of the image it runs."""
    ssh_port: int
    """Port of this machine, on 127.0.0.1, that leads to dom0's sshd."""
    agent_port: int
    """The same for dom0's port 8443, where an agent under test listens."""

    @classmethod
    def read(cls, run_folder: Path) -> Dom0:
        """The lab that was booted last in this folder; LabError where there is none."""
        try:
            return cls(**json.loads((run_folder / "lab.json").read_text()))
        except (OSError, ValueError, TypeError):
            raise LabError("no lab is up; boot one with `lab/lab up`") from None

    def write(self) -> None:
        """Leave word for those who look for the lab."""
        (Path(self.run_folder) / "lab.json").write_text(json.dumps(asdict(self), indent=2) + "\n")

    def ssh(self, *options: str) -> list[str]:
        """The command that gets in. Run it in the run folder: a socket's path must be short, so it is relative."""
        # The host key is the same in all labs and known to all: there is nothing to compare it with.
        return [
            *("ssh", "-q", "-p", str(self.ssh_port), "-i", str(Path(self.image) / "key")),
            *("-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "ControlMaster=auto", "-o", "ControlPath=ssh", "-o", "ControlPersist=120"),
            *("-o", "ConnectTimeout=60", "-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10"),
            *(*options, "root@127.0.0.1"),
        ]

    def run(
        self, command: str, *, check: bool = True, input: str | None = None, timeout_seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in dom0; what it printed is in the result.

        Raises LabError with its output if `check` and the command failed, or where dom0 does not answer.
        """
        try:
            done = subprocess.run(
                [*self.ssh(), command],
                cwd=self.run_folder,
                input=input,
                stdin=None if input is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"dom0 took over {timeout_seconds:.0f} s for: {command}") from None
        if check and done.returncode != 0:
            raise LabError(f"in dom0, exit code {done.returncode}: {command}\n{done.stdout}{done.stderr}")
        return done

    def guest(self, address: str, command: str, *, check: bool = True) -> str:
        """Run a command in one of the lab's tiny guests, reached from dom0; what it printed. `commands` lists more.

        Raises LabError if `check` and the command failed or the guest does not answer.
        """
        return self.run(f"guest {shlex.quote(address)} {shlex.quote(command)}", check=check).stdout

    def guest_state(self, address: str) -> dict[str, str]:
        """What a tiny guest sees of itself; empty if it does not answer within half a minute: one that has gone ends
        no connection.
        """
        lines = self.run(f"timeout 30 guest {shlex.quote(address)} state", check=False).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def wait_until_it_answers(self) -> None:
        """Until a command can be run; LabError if that takes minutes."""
        deadline = time.monotonic() + LOGIN_SECONDS
        while self.run("true", check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise LabError("dom0 does not let us in by ssh")
            time.sleep(0.3)

    def put(self, source: Path, target: str) -> None:
        """Copy a file, or a folder's content, to this place in dom0, whose folders are made where missing."""
        place = shlex.quote(target)
        if source.is_dir():
            self._pipe(
                ["tar", "-C", str(source), "-cf", "-", "."],
                [*self.ssh(), f"mkdir -p {place} && tar -C {place} --no-same-owner -xf -"],
            )
        else:
            command = f"mkdir -p $(dirname {place}) && cat >{place} && chmod {source.stat().st_mode & 0o777:o} {place}"
            self._pipe(["cat", str(source.absolute())], [*self.ssh(), command])

    def get(self, source: str, target: Path) -> None:
        """Copy a file, or a folder's content, out of dom0 to this place."""
        place = shlex.quote(source)
        target = target.absolute()
        if self.run(f"test -d {place}", check=False).returncode == 0:
            target.mkdir(parents=True, exist_ok=True)
            self._pipe([*self.ssh(), f"tar -C {place} -cf - ."], ["tar", "-C", str(target), "-xf", "-"])
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._pipe([*self.ssh(), f"cat {place}"], ["tee", str(target)])

    def disconnect(self) -> None:
        """End the shared connection, if there is one."""
        subprocess.run([*self.ssh("-O", "exit")], cwd=self.run_folder, capture_output=True, check=False)

    def _pipe(self, source: list[str], sink: list[str]) -> None:
        with subprocess.Popen(source, cwd=self.run_folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as sender:
            done = subprocess.run(
                sink, cwd=self.run_folder, stdin=sender.stdout, stdout=subprocess.DEVNULL, check=False
            )
        if sender.returncode or done.returncode:
            raise LabError(f"copying failed, exit codes {sender.returncode} and {done.returncode}: {source} {sink}")
