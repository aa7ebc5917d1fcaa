"""The command line: what ``xen-host-agent`` understands, and the commands that need no agent to run.

The words and options are a contract that scripts rely on; so are the exit codes 0 (done), 1 (failed) and 2 (wrongly
used). Only the parser and the light commands are here, so that they start in no time: the agent itself is
``agent.daemon``, what talks to a running one is ``agent.client``.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import __version__, config
from agent.config import ConfigError
from agent.roles import Role
from agent.terminal import printable_lines
from agent.upkeep import words as upkeep
from agent.users import Users, UsersError

DEFAULT_URL = "http://127.0.0.1:8086"
DEFAULT_SOCKET = Path("/run/xen-host-agent/socket")
PASSWORD_VARIABLE = "XEN_HOST_AGENT_PASSWORD"
URL_VARIABLE = "XEN_HOST_AGENT_URL"


def _checked(name: str) -> Callable[[str], Any]:
    """What argparse makes of an option that is also the key `name` of the configuration."""

    def convert(text: str) -> Any:
        try:
            return config.check(name, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _listener(text: str) -> str:
    return str(_checked("listen")([text])[0])  # type: ignore[arg-type]


def _url(text: str) -> str:
    if not re.fullmatch(r"unix:.+|https?://[^/\s@]+/?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write {DEFAULT_URL}, https://HOST or unix:PATH")
    return text


def _message(text: str) -> str:
    if not re.fullmatch(r"(Async\.)?\w+\.\w+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no message; write it as Class.message, such as VM.get_all")
    return text


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        "xen-host-agent",
        description="The XenAPI for a plain Xen host, driven through libvirt.",
        epilog="The commands that work on the objects of a running agent, such as vm-list, are told by "
        "'xen-host-agent help'. Exit codes: 0 done, 1 failed, 2 wrongly used. 'xen-host-agent COMMAND --help' shows "
        "examples.",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_user(commands)
    _add_call(commands)
    _add_watch(commands)
    _add_guests(commands)
    _add_reference(commands)
    _add_check_config(commands)
    upkeep.add(commands, _add, _add_config, _add_state)
    _add_help(commands)
    _add_completion(commands)
    return top


def _add(commands: Any, name: str, summary: str, text: str, examples: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog="examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return added


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration (default: {config.DEFAULT_PATH} where it exists)"
    )


def _add_state(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--state",
        type=_checked("state"),
        metavar="DIR",
        help=f"folder of the agent's state (default: the configuration's, {config.DEFAULT_STATE} without one)",
    )


def _add_serve(commands: Any) -> None:
    serve = _add(
        commands,
        "serve",
        "run the agent",
        "Run the agent until SIGTERM or SIGINT. It prints 'listening on URL' for every listener when it is ready\n"
        "to answer, and logs to standard error. Running machines are not touched by its start or end.",
        """xen-host-agent serve
        xen-host-agent serve --connect test:///default --listen http://127.0.0.1:8086 --state ./var
        xen-host-agent serve --listen unix:/run/xen-host-agent/socket --listen https://0.0.0.0:443""",
    )
    _add_config(serve)
    serve.add_argument(
        "--connect",
        type=_checked("connect"),
        metavar="URI",
        help="the hypervisor as libvirt calls it (default: the configuration's, xen:///system without one)",
    )
    serve.add_argument(
        "--listen",
        type=_listener,
        action="append",
        metavar="URL",
        help="http://HOST:PORT, https://HOST:PORT or unix:PATH, instead of the configuration's; may be repeated; "
        "port 0 lets the kernel choose",
    )
    _add_state(serve)


def _add_user(commands: Any) -> None:
    user = _add(
        commands,
        "user",
        "add, list and remove the users who may log in",
        "Keep the agent's file of users. A running agent follows at once: the sessions of a removed user end,\n"
        "and those of one with another role.",
        """xen-host-agent user add root
        xen-host-agent user add monitor --role read-only
        echo "$PASSWORD" | xen-host-agent user add deploy --role vm-admin
        xen-host-agent user list
        xen-host-agent user remove monitor""",
    )
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _add(
        actions,
        "add",
        "add a user, or give one a new password and role",
        "Add a user, or give one that exists a new password and role. The password is asked for twice on a terminal;\n"
        "otherwise it is the first line of standard input.",
        """xen-host-agent user add root
        echo "$PASSWORD" | xen-host-agent user add deploy --role vm-admin""",
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role",
        type=str,
        choices=[role.wire for role in Role],
        default=Role.POOL_ADMIN.wire,
        help="what the user may do, from least to most: %(choices)s (default: %(default)s)",
        metavar="ROLE",
    )
    listing = _add(actions, "list", "list the users", "One line a user: name, tab, role.", "xen-host-agent user list")
    remove = _add(
        actions,
        "remove",
        "remove a user",
        "Remove a user: no log-in from now on.",
        "xen-host-agent user remove monitor",
    )
    remove.add_argument("name", metavar="NAME")
    for action in (add, listing, remove):
        _add_config(action)
        _add_state(action)


def default_url() -> str:
    """Where the agent is looked for: by the environment, on this host's socket where it may be used, or loopback."""
    if os.environ.get(URL_VARIABLE):
        return os.environ[URL_VARIABLE]
    return f"unix:{DEFAULT_SOCKET}" if os.access(DEFAULT_SOCKET, os.R_OK | os.W_OK) else DEFAULT_URL


def _fingerprint(text: str) -> str:
    digits = text.removeprefix("SHA256:").replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256 fingerprint of 64 hexadecimal digits")
    return digits


def client_options(command: argparse.ArgumentParser) -> None:
    """The options of every command that talks to a running agent."""
    command.add_argument(
        "--url",
        type=_url,
        default=default_url(),
        help="where the agent listens: http://, https:// or unix:PATH (default: the environment variable "
        f"{URL_VARIABLE}, else this host's socket where you may use it, else {DEFAULT_URL})",
    )
    command.add_argument("--user", default="root", metavar="NAME", help="who logs in (default: %(default)s)")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="a file whose first line is the password")
    trust = command.add_mutually_exclusive_group()
    trust.add_argument(
        "--ca", type=Path, metavar="FILE", help="trust what this certificate signed, such as the agent's server.pem"
    )
    trust.add_argument(
        "--fingerprint", type=_fingerprint, metavar="SHA256", help="trust the certificate with this fingerprint only"
    )
    trust.add_argument(
        "--insecure", action="store_true", help="take any certificate over https, such as the agent's self-signed one"
    )


def _add_call(commands: Any) -> None:
    call = _add(
        commands,
        "call",
        "send one message to a running agent",
        "Log in, send one message, log out, and print the result as JSON. The session is passed by itself.\n"
        'An ARG that is JSON is sent as what it says (true, 3, ["a"], {"a": "b"}), any other as a string; a string\n'
        "that looks like JSON needs quotes of its own ('\"3\"'). Put -- before an ARG that begins with a dash.\n\n"
        f"The password comes from the environment variable {PASSWORD_VARIABLE}, else from the terminal,\n"
        "else from the first line of standard input. A failure prints its code and parameters on standard error.",
        """xen-host-agent call VM.get_all
        xen-host-agent call VM.get_by_name_label test
        xen-host-agent call VM.start OpaqueRef:6695eb01-f6a4-8304-79aa-97f2502e193f false true
        xen-host-agent call --url unix:/run/xen-host-agent/socket pool.get_all_records""",
    )
    client_options(call)
    call.add_argument("message", type=_message, metavar="Class.message", help="such as VM.get_all or Async.VM.start")
    call.add_argument("args", nargs="*", metavar="ARG", help="its parameters, without the session")


def _add_watch(commands: Any) -> None:
    watch = _add(
        commands,
        "watch",
        "print events as they come",
        "Print one line an event until SIGINT: time, class, operation (add, mod, del), reference, name_label. What is\n"
        "there already comes first, as add. When the agent goes away it is waited for; when events were lost, a note\n"
        "on standard error says so and everything comes anew. The password is found as by 'call'.",
        """xen-host-agent watch
        xen-host-agent watch VM task
        xen-host-agent watch --changes-only VM""",
    )
    client_options(watch)
    watch.add_argument("--changes-only", action="store_true", help="leave out what is there already")
    watch.add_argument("classes", nargs="*", metavar="CLASS", help="which classes, in any letter case (default: all)")


def _add_guests(commands: Any) -> None:
    guests = _add(
        commands,
        "guests",
        "start or stop the machines that go up and down with the host",
        "What the service manager calls when the host goes down. A running agent does the work: stop returns when the\n"
        "machines that the agent started are off, and fails if one is not; start returns at once. After the host was\n"
        "booted the agent starts its machines by itself. A mere start, stop or restart of the agent touches none.",
        """xen-host-agent guests stop
        xen-host-agent guests start""",
    )
    guests.add_argument("action", choices=("start", "stop"))
    client_options(guests)


def _add_reference(commands: Any) -> None:
    reference = _add(
        commands,
        "reference",
        "print every class and message that this build serves",
        "Print the API from the table that the agent answers by: classes with their fields and messages, relations,\n"
        "enums, errors, roles. No agent needs to run.\n\n"
        "  text  for a terminal\n"
        "  html  one page with the class diagram, to read in a browser, search and print; it needs no network\n"
        "  json  for programs\n"
        "  man   the manual page xen-host-agent(8), with every command",
        """xen-host-agent reference | less
        xen-host-agent reference --format html > reference.html
        xen-host-agent reference --format json > reference.json
        xen-host-agent reference --format man | man -l -""",
    )
    reference.add_argument(
        "--format", choices=("text", "html", "json", "man"), default="text", help="what to print (default: %(default)s)"
    )


def _add_check_config(commands: Any) -> None:
    check = _add(
        commands,
        "check-config",
        "check a configuration and print what it comes to",
        "Check a configuration as 'serve' would, and print every key with the value it has, as TOML.",
        """xen-host-agent check-config
        xen-host-agent check-config --config ./config.toml""",
    )
    _add_config(check)


def _add_help(commands: Any) -> None:
    told = _add(
        commands,
        "help",
        "list the commands that work on the objects of a running agent",
        "List the commands that follow from the API, such as vm-list and vm-start, by class; those of one class with\n"
        "a line on each; or all that one of them takes.",
        """xen-host-agent help
        xen-host-agent help vm
        xen-host-agent help vm-start""",
    )
    told.add_argument("topic", nargs="?", metavar="CLASS|COMMAND", help="more on this")


def _add_completion(commands: Any) -> None:
    completion = _add(
        commands,
        "completion",
        "print the completion script of a shell",
        "Print a script by which a shell completes commands, parameters and words; and uuids and names, where the\n"
        f"running agent can be asked without typing: as root over its Unix socket, by {PASSWORD_VARIABLE}\n"
        "or by --password-file.",
        """source <(xen-host-agent completion bash)
        xen-host-agent completion bash > /etc/bash_completion.d/xen-host-agent
        xen-host-agent completion zsh > /usr/local/share/zsh/site-functions/_xen-host-agent
        xen-host-agent completion fish > ~/.config/fish/completions/xen-host-agent.fish""",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.add_argument("--line", metavar="TEXT", help="print what could stand at the end of this line instead")


def complain(text: object) -> int:
    """Say on standard error what failed. Returns the exit code 1."""
    print(printable_lines(f"xen-host-agent: {text}"), file=sys.stderr)
    return 1


def run_check_config(args: argparse.Namespace) -> int:
    """``check-config``: print the configuration, if it is one."""
    try:
        settings = config.load(args.config)
    except ConfigError as error:
        return complain(error)
    print("\n".join(config.lines(settings)))
    return 0


def run_user(args: argparse.Namespace) -> int:
    """``user``: keep the file of users."""
    try:
        users = Users(config.load(args.config, {"state": args.state and str(args.state)}).users_path)
        match args.action:
            case "add":
                users.add(args.name, _new_password(args.name), Role.from_wire(args.role))
            case "remove":
                users.remove(args.name)
            case _:
                for account in users.accounts().values():
                    print(f"{account.name}\t{account.role.wire}")
    except (ConfigError, UsersError) as error:
        return complain(error)
    return 0


def password_line() -> str:
    """The first line of standard input, as a password; UsersError if it is no text."""
    try:
        return sys.stdin.buffer.readline().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsersError("the password is no UTF-8 text") from None


def _new_password(name: str) -> str:
    if not sys.stdin.isatty():
        return password_line()
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Again: ") != password:
        raise UsersError("the two passwords differ; nothing was changed")
    return password
