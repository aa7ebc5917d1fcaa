"""``xen-host-agent serve``: puts the agent together, runs it, and takes it apart again. The composition root.

Alone imports both the agent and the drivers. Everything is opened in one order and closed in the reverse one; nothing
that runs on the hypervisor notices either.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import NoReturn

import uvloop

import drivers
from agent import __version__, access, config, failpoints, logs, messages, systemd
from agent.archives import Archives
from agent.call import Site
from agent.classes import VDI, Host
from agent.cli import complain
from agent.config import Config, ConfigError
from agent.failpoints import Failpoint, FailpointError
from agent.guests import Guests
from agent.house import House, Watchdog
from agent.http.blobs import Blobs
from agent.http.paths import endpoints
from agent.http.transfers import Transfers
from agent.lanes import Lanes
from agent.logins import By
from agent.messages import blob, vdi_chains, vm_stillness
from agent.messages.guests import Boot
from agent.messages.vmss import Schedules
from agent.observer import Observer, templates
from agent.plugins import Plugins
from agent.reload import Reload
from agent.rpc import certificates
from agent.rpc.dispatch import Dispatch
from agent.rpc.server import Server
from agent.rpc.tasks import Tasks
from agent.rpc.tls import Tls
from agent.server_certificate import ServerCertificate
from agent.sessions import Sessions
from agent.state_lock import StateHeld, held
from agent.store.journal import Journal, JournalError
from agent.store.store import Store
from agent.syslog import Forwarder
from agent.upkeep import archive
from agent.users import Users, UsersError

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.001
"""How long one thread may keep the others waiting: the loop should not wait 5 ms, Python's own value, for a worker."""
ENDING = (signal.SIGTERM, signal.SIGINT)
SCHEDULE_SECONDS = 15.0
SWEEP_SECONDS = 60.0
COPY_SECONDS = 600.0
"""How often it is looked whether the daily copy of the state is due."""
ANSWER_SECONDS = 0.3
"""How long a client that ends the agent has its answer before."""
LOOK_SECONDS = 1.0
"""How long what an admin changed on the disk, users and certificate, waits to be seen."""
END_SECONDS = 4.5
"""The agent is gone so long after the signal, come what may: a service's stop should not look like a failure."""
SERVER_GRACE_SECONDS = 1.5
TRANSFERS_GRACE_SECONDS = 0.5
LANES_GRACE_SECONDS = 1.5


class Interrupted(BaseException):
    """SIGTERM or SIGINT came during the start."""


def run_serve(args: argparse.Namespace) -> int:
    """``serve``: run the agent until a signal ends it."""
    options = {"connect": args.connect, "listen": args.listen, "state": args.state and str(args.state)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again

    def load() -> Config:
        return config.load(args.config, options)

    try:
        settings = load()
        failpoint = failpoints.armed(os.environ, drivers.STEPS)
    except (ConfigError, FailpointError) as error:
        return complain(error)
    logs.to_stderr(settings.log_level, settings.log_format)
    sys.setswitchinterval(SWITCH_SECONDS)
    os.umask(0o077)
    _on_signals(_interrupt)
    try:
        with ExitStack() as opened:
            # What is made now stays: looking through it for garbage, again and again, would double the start.
            gc.disable()
            site = _open(settings, failpoint, opened)
            gc.freeze()
            gc.enable()
            passed = systemd.Passed(os.environ)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                again = runner.run(_serve(site, settings, load, passed))
            _on_signals(signal.SIG_IGN)  # the end is under way; a second signal must not spoil it
    except Interrupted:
        return 0
    except (StateHeld, JournalError, UsersError, OSError) as error:
        return complain(error)
    if again:
        _start_anew(passed)
    log.info("ended")
    return 0


def _on_signals(handler: Callable[[int, FrameType | None], NoReturn] | signal.Handlers) -> None:
    for number in ENDING:
        signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _on_signals(signal.SIG_IGN)
    _limit_the_end()
    raise Interrupted


def _open(settings: Config, failpoint: Failpoint | None, opened: ExitStack) -> Site:
    """Open what is below the front door. `opened` closes it."""
    opened.enter_context(held(settings))
    api = messages.api()
    journal = Journal(settings.journal_path)
    store = Store(api.classes, journal, cascade=settings.destroy == "xapi")
    store.load()
    opened.callback(store.close)
    forwarder = Forwarder(lambda: next((host.logging.get("syslog_destination", "") for host in store.all(Host)), ""))
    logging.getLogger().addHandler(forwarder)
    opened.callback(forwarder.close)
    if failpoint is None:
        machine = drivers.open(settings.connect, settings.state)
    else:
        log.warning("a failpoint is armed, which is for tests only: %s", failpoint)
        reached = failpoint.reached
        journal.write = failpoints.stepping(failpoints.JOURNAL, journal.write, reached)  # type: ignore[method-assign]
        machine = failpoints.around(drivers.open(settings.connect, settings.state, reached), reached)
    opened.callback(machine.close)
    lanes = Lanes(settings.workers)
    opened.callback(lanes.close, LANES_GRACE_SECONDS)
    guests = _guests(settings)
    machine.storage.decide(lambda uuid: store.known(VDI, uuid) is not None)
    observer = Observer(store, machine, lanes, guests)
    opened.callback(observer.close)
    observer.start()
    templates.offer(store)
    access.tell_roles(store, api)
    blob.link(store)
    sessions = Sessions(store, idle_seconds=settings.session_idle_seconds)
    users = Users(settings.users_path)
    if settings.auth_mode == By.USERS and not users.accounts():
        log.warning("nobody can log in yet: add a user with 'xen-host-agent user add NAME'")
    if settings.auth_mode == By.PAM and not settings.logins.pam.installed:
        log.warning("nobody can log in: PAM has no service %s", settings.pam_service)
    plugins = Plugins(settings.plugins, settings.extensions, settings.plugin_seconds)
    archives = Archives()
    archives.open(settings.numbers_path)
    opened.callback(archives.save)
    certificate = ServerCertificate(settings.certificate_path, own=settings.certificate is None)
    return Site(
        api,
        store,
        machine,
        observer,
        lanes,
        sessions,
        users,
        __version__,
        logins=settings.logins,
        guests=guests,
        archives=archives,
        plugins=plugins,
        certificate=certificate,
    )


async def _serve(site: Site, settings: Config, load: Callable[[], Config], passed: systemd.Passed) -> bool:
    """Open the front door, say so, and keep house until a signal or a client ends it. Returns whether the agent is to
    start anew.
    """
    ended = asyncio.Event()
    again = False
    loop = asyncio.get_running_loop()

    def end() -> None:
        nonlocal again
        if not ended.is_set():
            _limit_the_end()
        again = False  # what the service manager wants comes before what a client does
        ended.set()

    def end_for_client(restart: bool) -> None:
        nonlocal again
        if not ended.is_set():
            again = restart
            _limit_the_end(partial(_start_anew, passed) if restart else None)
        ended.set()

    def asked_to_end(restart: bool) -> None:
        loop.call_soon_threadsafe(loop.call_later, ANSWER_SECONDS, end_for_client, restart)

    site.process.attach(asked_to_end)
    for number in ENDING:
        loop.add_signal_handler(number, end)
    tasks = Tasks(site)
    tasks.recover()
    dispatch = Dispatch(
        site, tasks, login_delay_seconds=settings.login_delay_seconds, failed_logins=settings.failed_logins
    )
    transfers = Transfers(site, tasks, dispatch)
    blobs = Blobs(settings.state / "blobs")
    server = Server(
        dispatch,
        site.store,
        state=settings.state,
        certificate=settings.certificate,
        certificate_key=settings.certificate_key,
        client_authority=settings.client_authority,
        endpoints=endpoints(transfers, blobs),
        cors_origins=settings.cors_origins,
        asks_nobody=lambda: site.logins.mode == "none",
    )
    reload = Reload(settings, load, lambda fresh: _apply(fresh, site, dispatch, server), site.lanes)
    loop.add_signal_handler(signal.SIGHUP, reload.begin)
    house = _house(site, tasks, server, reload)
    house.every(SWEEP_SECONDS, "files of binary pieces", lambda: blobs.sweep(site.store))
    watchdog = _watchdog(site, house)
    try:
        admit = partial(config.refused_listener, plain_http=settings.plain_http, auth_mode=settings.auth_mode)
        urls = await server.start(settings.listen, passed.sockets(), admit)
        await asyncio.wrap_future(site.lanes.beside(site.observer.listens, urls))
        await asyncio.wrap_future(site.lanes.beside(_note_certificate, site, server))
        for url in urls:
            print(f"listening on {url}", flush=True)
            _warn_of_open_doors([url])
        systemd.notify("READY=1")
        watchdog.start()
        await house.keep(ended)
    finally:
        watchdog.stop()
        # A manager that is told of an end does not expect the same process to be ready again.
        if again:
            systemd.reloading()
        else:
            systemd.notify("STOPPING=1")
        log.info("ending")
        await server.close(SERVER_GRACE_SECONDS)
        await transfers.close(TRANSFERS_GRACE_SECONDS)
    return again


def _apply(settings: Config, site: Site, dispatch: Dispatch, server: Server) -> None:
    """Put the live keys of a configuration in use. OSError, with nothing changed, if the certificate cannot be used."""
    if server.tls is not None:
        server.tls.use(settings.certificate_path, settings.certificate_key)
    logging.getLogger().setLevel(settings.log_level.upper())
    site.store.cascade = settings.destroy == "xapi"
    vars(site.guests).update(vars(_guests(settings)))
    site.sessions.idle_seconds = settings.session_idle_seconds
    dispatch.login_delay_seconds = settings.login_delay_seconds
    dispatch.throttle.size = settings.failed_logins
    site.logins.follow(settings.logins)
    plugins = site.plugins
    plugins.plugins, plugins.extensions, plugins.timeout_seconds = (
        settings.plugins,
        settings.extensions,
        settings.plugin_seconds,
    )


def _guests(settings: Config) -> Guests:
    return Guests(
        settings.guests_at_once,
        settings.guest_shutdown_seconds,
        settings.guest_hard_shutdown,
        settings.rapid_seconds,
        settings.rapid_crashes,
        settings.rapid_reboots,
    )


def _house(site: Site, tasks: Tasks, server: Server, reload: Reload) -> House:
    """What is to be done by the clock."""
    loop = asyncio.get_running_loop()
    house = House(site.lanes)
    house.every(SWEEP_SECONDS, "old sessions", site.sessions.sweep)
    house.every(SWEEP_SECONDS, "old tasks", tasks.sweep)
    house.every(LOOK_SECONDS, "the numbers", lambda: site.archives.tick(site.store, site.machine.meters))
    house.every(SWEEP_SECONDS, "numbers of what is gone", lambda: site.archives.forget_missing(site.store))
    house.every(LOOK_SECONDS, "machines that start with the host", Boot(site).sweep)
    house.every(LOOK_SECONDS, "machines left standing still", partial(vm_stillness.recover, site, Counter()))
    house.every(SCHEDULE_SECONDS, "snapshot schedules", Schedules(site).sweep)
    house.every(SWEEP_SECONDS, "disks that nothing rests on any more", partial(vdi_chains.sweep, site))
    house.every(SWEEP_SECONDS, "default templates", partial(templates.offer, site.store))
    house.every(COPY_SECONDS, "the daily copy of the state", lambda: archive.daily(reload.settings, datetime.now(UTC)))
    house.every(LOOK_SECONDS, "sessions of removed users", lambda: _revoke(site, (By.USERS, By.CERTIFICATE)))
    house.every(SWEEP_SECONDS, "sessions of removed accounts", lambda: _revoke(site, (By.PAM, By.PEER)))

    def follow_certificate() -> None:
        if server.tls is not None and server.tls.replaced():
            loop.call_soon_threadsafe(_take_certificate, server.tls)

    house.every(LOOK_SECONDS, "the certificate", follow_certificate)
    house.every(LOOK_SECONDS, "the certificate as an object", lambda: _note_certificate(site, server))
    return house


def _note_certificate(site: Site, server: Server) -> None:
    """Show the certificate that is in use as an object."""
    certificates.note(site.store, site.observer.host, None if server.tls is None else server.tls.shown)


def _take_certificate(tls: Tls) -> None:
    """Take a certificate that was replaced. On the loop, since OpenSSL would have handshakes wait for it as well."""
    try:
        tls.use(tls.path, tls.key)
    except OSError as error:
        log.error("the certificate was replaced, and the old one stays in use: %s", error)
    else:
        log.info("the certificate was replaced: %s", tls.path)


def _revoke(site: Site, kinds: tuple[By, ...]) -> None:
    """End the sessions of users who might not log in any more or have another role now, by what vouched for them."""
    ended = site.sessions.revoke(partial(site.logins.role_now, site.users), kinds)
    if ended:
        log.info("%d sessions were ended: their users were removed, or have another role now", ended)


def _watchdog(site: Site, house: House) -> Watchdog:
    """What the service manager's trust in us rests on. Idle where it asked for no signs of life."""

    def store_works() -> bool:
        with site.store.transaction():  # returns when all before it is durable
            return True

    signs = {"the loop": house.turning, "the store": store_works, "libvirt's worker": site.machine.alive}
    return Watchdog(systemd.watchdog_seconds(), signs)


def _start_anew(passed: systemd.Passed) -> NoReturn:
    """Become a fresh agent in the same process, called as this one was, with the sockets that it was passed."""
    log.info("starting anew")
    logging.shutdown()
    passed.hand_on(os.environ)
    _on_signals(signal.SIG_DFL)
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        complain(error)
        os._exit(1)


def _limit_the_end(instead: Callable[[], NoReturn] | None = None) -> None:
    """See to it that the process ends in time, even if libvirt keeps a thread or the disk hangs; or does `instead`."""

    def leave() -> None:
        log.warning("closing takes too long; leaving. What was acknowledged is on disk")
        if instead is not None:
            instead()
        os._exit(0)

    timer = threading.Timer(END_SECONDS, leave)
    timer.daemon = True
    timer.start()


def _warn_of_open_doors(urls: Sequence[str]) -> None:
    """Passwords travel in clear over http, which is fine within this host only."""
    for url in urls:
        if url.startswith("http:") and not config.is_loopback(url):
            log.warning("%s lets passwords travel in clear: use https there", url)
