"""The ports and the socket that clients have built in, 443, 80 and ``/var/lib/xcp/xapi``: really bound, in namespaces
of the test's own, and found there by the stock client of Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent import config
from tests.front_door.conftest import PASSWORD, Daemon

PLACES = ("unix:/var/lib/xcp/xapi", "https://127.0.0.1:443", "http://127.0.0.1:80")
CLIENT = """
import json, os, ssl, sys, urllib.request
import XenAPI

password = sys.argv[1]

def told(session, *login):
    session.xenapi.login_with_password(*login)
    secret, api = session._session, session.xenapi
    answer = [api.session.get_is_local_superuser(secret), api.session.get_auth_user_name(secret)]
    api.session.logout()
    return answer

def refused(session, *login):
    try:
        session.xenapi.login_with_password(*login)
    except XenAPI.Failure as failure:
        return failure.details[0]

found = {
    "local": told(XenAPI.xapi_local(), "", ""),
    "local, as xsconsole": told(XenAPI.xapi_local(), "root", "", "", "XSConsole"),
    "local, a wrong password": refused(XenAPI.xapi_local(), "root", "wrong"),
    "https": told(XenAPI.Session("https://127.0.0.1", ignore_ssl=True), "root", password),
    "http": told(XenAPI.Session("http://localhost"), "root", password),
    "http, no password": refused(XenAPI.Session("http://localhost"), "root", ""),
}
found["mode"] = oct(os.stat("/var/lib/xcp/xapi").st_mode & 0o777)
plain = ssl._create_unverified_context()
with urllib.request.urlopen("https://127.0.0.1/healthz", context=plain) as answer:
    found["healthz"] = answer.read().decode()
os.setuid(65534)
try:
    XenAPI.xapi_local().xenapi.login_with_password("", "")
except PermissionError:
    found["another user"] = "may not open it"
print(json.dumps(found))
"""


def test_clients_find_the_agent_where_they_look_for_xapi(within: tuple[str, ...], tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", listen=PLACES, within=within)
    daemon.start()
    try:
        assert daemon.urls == list(PLACES)
        done = subprocess.run(
            [*within, sys.executable, "-c", CLIENT, PASSWORD], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr + daemon.log
        found: dict[str, Any] = json.loads(done.stdout)
    finally:
        assert daemon.stop() == 0
    user = [True, "root"]
    assert found == {
        "local": user,
        "local, as xsconsole": user,
        "local, a wrong password": "SESSION_AUTHENTICATION_FAILED",
        "https": user,
        "http": user,
        "http, no password": "SESSION_AUTHENTICATION_FAILED",
        "mode": "0o660",
        "healthz": "ok",
        "another user": "may not open it",
    }


def test_the_places_are_those_that_the_documentation_names(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "config.toml").read_text("utf-8")
    named = [place.replace("127.0.0.1", "0.0.0.0") for place in PLACES]
    assert [place for place in named if f'"{place}"' not in document] == []
    written = tmp_path / "config.toml"
    written.write_text(f'listen = {json.dumps(named)}\n[tls]\nplain_http = "anywhere"\n', "utf-8")
    assert list(config.load(written).listen) == named
