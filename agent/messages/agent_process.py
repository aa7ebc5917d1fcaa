"""The agent itself, restarted or stopped by clients. Machines run on meanwhile."""

from __future__ import annotations

import logging

from agent.call import Call
from agent.classes import Host
from agent.model.messages import Kind, message

log = logging.getLogger(__name__)


@message(Host, kind=Kind.BESIDE)
def restart_agent(call: Call, host: Host) -> None:
    """Start the agent anew, with its configuration read again and what is installed of it by then. The answer comes
    before it goes; sessions stay, tasks and what is under way end with it, and machines run on.
    """
    log.warning("%s has the agent restarted", _who(call))
    call.site.process.restart()


@message(Host, kind=Kind.BESIDE, has_async=False)
def shutdown_agent(call: Call) -> None:
    """Stop the agent, as its service manager would. systemd does not start it again by itself, OpenRC does. The answer
    comes before it goes; machines run on.
    """
    log.warning("%s has the agent stopped", _who(call))
    call.site.process.shut_down()


def _who(call: Call) -> str:
    return call.session.auth_user_name if call.session is not None else "somebody"
