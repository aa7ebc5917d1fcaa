"""Whether the PAM of this host takes a user and password. Each is asked in a process of its own, for a limited time.

The service must have a file: PAM itself would fall back on the service ``other``, which some hosts leave open.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.users import NAME_MAX, PASSWORD_MAX

log = logging.getLogger(__name__)

FOLDERS = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/share/pam.d"))
"""Where PAM looks for services, by distribution."""
CHILD = Path(__file__).with_name("pam_child.py")
"""By its file: an installed agent is in no folder where Python looks by itself."""


@dataclass(frozen=True)
class Pam:
    """One service of PAM."""

    service: str = "xen-host-agent"
    seconds: int = 15
    """How long its modules may take; the answer is no then."""
    folder: Path | None = None
    """Where its file is; None: where those of this host are."""

    @property
    def installed(self) -> bool:
        """Whether the service has a file."""
        folders = FOLDERS if self.folder is None else (self.folder,)
        return any((folder / self.service).is_file() for folder in folders)

    def check(self, name: str, password: str, address: str) -> str | None:
        """The name of the account, as PAM knows it, where name and password go together and the account may be used."""
        text = name + password
        if not 0 < len(name) <= NAME_MAX or not 0 < len(password) <= PASSWORD_MAX or not name.isprintable():
            return None
        if "\0" in text or not _is_utf8(text):
            return None
        if not self.installed:
            log.error("PAM has no service %s: nobody can log in by it", self.service)
            return None
        question = {
            "service": self.service,
            "user": name,
            "password": password,
            "address": address,
            "folder": str(self.folder or ""),
            "seconds": self.seconds,
        }
        try:
            answered = subprocess.run(
                [sys.executable, "-I", str(CHILD)],
                input=json.dumps(question).encode() + b"\n",
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self.seconds,
                check=True,
            ).stdout
            answer = json.loads(answered)
            if not answer["good"]:
                log.info("PAM refuses a login: %s", answer["reason"])
                return None
            return str(answer["user"])
        except subprocess.TimeoutExpired:
            log.error("PAM did not answer within %d s", self.seconds)
        except (OSError, subprocess.CalledProcessError, ValueError, KeyError, TypeError) as error:
            # Not the error itself: that of a process has what it was given.
            log.error("PAM cannot be asked: %s", type(error).__name__)
        return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
