"""The observer: the only writer of what the hypervisor owns. A lost event costs time, never truth.

It looks at the machine at start, when an event says that something changed, after a lost connection and on a slow
sweep, and assigns what it sees. It never folds events into a state: it always looks. What clients asked for is not its
to change, but for machines that it adopted and nobody has changed through the API since.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic

from agent.classes import VM, CpuPool, Host, Pool
from agent.classes.enums import PowerState
from agent.errors import HostOffline, XenError
from agent.guests import Guests
from agent.lanes import HOST, Lanes
from agent.model.entity import reference_of
from agent.observer import (
    consoles,
    cpu_pools,
    devices,
    domains,
    dumps,
    loops,
    metrics,
    networks,
    node,
    notices,
    security,
    storage,
    usb,
)
from agent.ports import Machine
from agent.store.store import Store

log = logging.getLogger(__name__)
SWEEP_SECONDS = 60.0
FRESH_SECONDS = 1.0


class Observer:
    """Keeps the store true to one machine."""

    def __init__(
        self, store: Store, machine: Machine, lanes: Lanes, guests: Guests, *, sweep_seconds: float = SWEEP_SECONDS
    ) -> None:
        self._store = store
        self._machine = machine
        self._lanes = lanes
        self._guests = guests
        self._sweep_seconds = sweep_seconds
        self._lock = threading.Lock()
        self.making: set[str] = set()
        """The uuids of disks that verbs are making: a volume of one is not adopted as another's."""
        self._refreshing: set[str] = set()
        self._defining: set[str] = set()
        self._behind: set[str] = set()
        self._cpu_pools = threading.RLock()
        """Held from a look at the CPU pools, or a change of them, until it is noted."""
        self._cpu_pools_to_start = True
        self._memories_to_recover = True
        self._meter = ThreadPoolExecutor(1, thread_name_prefix="measure")
        """Of its own: whoever waits for a measurement may be all that works beside the lanes."""
        self._measured = 0.0
        self._measuring: Future[None] | None = None
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)

    @property
    def host(self) -> Host:
        """This host."""
        return self._store.only(Host)

    @property
    def pool(self) -> Pool:
        """The pool of which this host is the only member."""
        return self._store.only(Pool)

    def start(self) -> None:
        """Look at everything once, then watch. A hypervisor that does not answer is looked at when it does."""
        node.ensure(self._store)
        self._machine.domains.watch(self._changed, self._crashed)
        self._resync()
        self._sweeper.start()

    def listens(self, urls: Sequence[str]) -> None:
        """Note where the front door is, and with it where consoles are opened. From a worker thread."""
        with self._store.transaction():
            self.host.listener = consoles.best_listener(urls)
            consoles.locate(self._store)

    def close(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._meter.shutdown(wait=False)

    def refresh(self, uuid: str) -> None:
        """Look at one domain and note what it is now. From a worker thread, in the machine's lane."""
        before = self._domid(uuid)
        seen = self._machine.domains.look(uuid)
        started = domains.note(self._store, self.host, uuid, seen, rapid_seconds=self._guests.rapid_seconds)
        if before not in (-1, self._domid(uuid)):
            self._look_for_dumps()
        if started is not None:
            self._place(started)
            # Whoever starts or reboots it beside us knows no cap. The weight is in its definition.
            if domains.share_of(started)[1] is not None:
                self.share(started)

    def _domid(self, uuid: str) -> int:
        vm = self._store.known(VM, uuid)
        return -1 if vm is None else vm.domid

    def _look_for_dumps(self) -> None:
        """Domains that end may have left their memory. What cannot be listed now is found by the next sweep."""
        try:
            dumps.note(self._store, self._machine.domains)
        except XenError as error:
            log.warning("crash dumps cannot be looked for: %s", error)

    def share(self, vm: VM) -> None:
        """Give a running machine the weight and the cap that its fields say, where they do."""
        weight, cap = domains.share_of(vm)
        if (weight is None and cap is None) or not vm.ours or vm.foreign:
            return
        try:
            self._machine.domains.set_scheduler(vm, weight, cap)
        except XenError as error:
            log.warning("%r runs without its share of the processors: %s", vm, error)

    def refresh_cpu_pools(self) -> None:
        """Look at the CPU pools and note them. From a worker thread."""
        with self._cpu_pools:
            seen = self._machine.node.cpu_pools.list()
            if seen is not None:
                cpu_pools.note(self._store, seen)

    @contextmanager
    def changing_cpu_pools(self) -> Iterator[None]:
        """Change CPU pools with nobody else at it. They are looked at before and, whether it worked or not, after."""
        with self._cpu_pools:
            self.refresh_cpu_pools()
            try:
                yield
            except XenError:
                with suppress(XenError):  # the first error is the one to tell
                    self.refresh_cpu_pools()
                raise
            self.refresh_cpu_pools()

    def _place(self, vm: VM) -> None:
        """Note in which CPU pool a machine runs that was just started, and move it into its own. All begin in one."""
        pools = cpu_pools.activated(self._store)
        if len(pools) < 2:
            with self._store.transaction(wait=False):
                vm.in_pool = pools[0] if pools else None
            return
        wanted = next((pool.name_label for pool in pools if pool.name_label == vm.pool_name), None)
        try:
            with self._cpu_pools:
                if wanted is not None and vm.ours and not vm.foreign:
                    self._machine.node.cpu_pools.move(vm, wanted)
                self.refresh_cpu_pools()
        except XenError as error:
            log.warning("%r does not run in its CPU pool, %s: %s", vm, vm.pool_name, error)

    def redefine(self, vm: VM) -> None:
        """Let the hypervisor's definition of the machine follow its fields, soon. From any thread."""
        if vm.is_a_template or vm.is_a_snapshot or vm.is_control_domain:
            return  # never defined
        with self._lock:
            if vm.ref in self._defining:
                return
            self._defining.add(vm.ref)
        self._lanes.submit(vm.ref, lambda: self._define(vm))

    def measure(self) -> Future[None] | None:
        """Measure live numbers, unless they are fresh (None). All who ask meanwhile share one measurement."""
        with self._lock:
            if self._measuring is not None and not self._measuring.done():
                return self._measuring
            if monotonic() - self._measured < FRESH_SECONDS:
                return None
            self._measuring = self._meter.submit(self._measure)
            return self._measuring

    # --- in worker threads

    def _changed(self, uuid: str | None) -> None:
        """The driver says that something changed. Called in its thread."""
        if self._stop.is_set():
            return
        if uuid is None:
            self._lanes.submit(HOST, self._resync)
            return
        with self._lock:
            if uuid in self._refreshing:
                return
            self._refreshing.add(uuid)
        self._lanes.submit(reference_of(uuid), lambda: self._look(uuid))

    def _crashed(self, uuid: str) -> None:
        """The driver says that a guest has crashed. Called in its thread."""
        if not self._stop.is_set():
            self._lanes.submit(reference_of(uuid), lambda: self._note_crash(uuid))

    def _note_crash(self, uuid: str) -> None:
        vm = self._store.known(VM, uuid)
        if vm is not None and not vm.is_control_domain:
            loops.note_crash(self._store, vm)

    def _stop_loop(self, uuid: str) -> None:
        """Stop a machine whose guest crashes or reboots again and again, unless a client works on it. In its lane."""
        vm = self._store.known(VM, uuid)
        if vm is None or vm.current_operations or (loop := loops.loop_of(vm, self._guests)) is None:
            return
        name, why = loop
        log.error("%r %s: it is stopped", vm, why)
        try:
            self._machine.domains.destroy(vm)
        except XenError as error:
            log.error("%r cannot be stopped, which its next start will try again: %s", vm, error)
            return
        notices.tell_trouble(self._store, vm, name, f"{why}, and was stopped.")
        self.refresh(uuid)

    def _look(self, uuid: str) -> None:
        with self._lock:
            self._refreshing.discard(uuid)
        try:
            self.refresh(uuid)
            self._stop_loop(uuid)
        except XenError as error:
            log.warning("domain %s cannot be looked at: %s", uuid, error)
        except Exception:
            log.exception("domain %s cannot be understood", uuid)

    def _define(self, vm: VM) -> None:
        with self._lock:
            self._defining.discard(vm.ref)
        if not self._store.is_live(vm) or vm.is_a_template or vm.is_a_snapshot or vm.is_control_domain or vm.foreign:
            return
        try:
            if not vm.ours:
                with self._store.transaction():
                    vm.ours = True
            self._machine.domains.define(vm)
            self._behind.discard(vm.uuid)
        except XenError as error:
            self._behind.add(vm.uuid)
            log.warning("%r cannot be defined yet, which starting it will try again: %s", vm, error)
        except Exception:
            log.exception("%r cannot be defined", vm)

    def _resync(self) -> None:
        """Look at everything. What cannot be seen now stays as it was."""
        parts: tuple[tuple[str, Callable[[], None]], ...] = (
            # Networks first: a card of the host joins the one that has its bridge, and only else makes one.
            ("networks", lambda: networks.note(self._store, self._machine)),
            ("host", lambda: node.note(self._store, self._machine.node)),
            ("devices", lambda: devices.note(self._store, self._machine.node)),
            ("USB devices", lambda: usb.note(self._store, self._machine.node)),
            ("storage", lambda: storage.note(self._store, self._machine.storage, self.making)),
            ("domains", self._resync_domains),
            ("saved memory", self._recover_memories),
            ("CPU pools", self._resync_cpu_pools),
            ("security", lambda: security.note(self._store, self._machine.node.control.security())),
            ("kernels", self._drop_kernels),
            ("crash dumps", lambda: dumps.note(self._store, self._machine.domains)),
        )
        for name, look in parts:
            try:
                look()
            except HostOffline as error:
                log.warning("%s cannot be looked at now: %s", name, error)
                node.offline(self._store)
                return
            except XenError as error:
                log.warning("%s cannot be looked at now: %s", name, error)
            except Exception:
                log.exception("%s cannot be understood", name)

    def _resync_domains(self) -> None:
        seen = {domain.uuid: domain for domain in self._machine.domains.list()}
        if not self._sweeper.is_alive():
            domains.note_all(self._store, self.host, list(seen.values()), rapid_seconds=self._guests.rapid_seconds)
            for vm in domains.behind(self._store, seen):
                self.redefine(vm)
        for uuid, domain in seen.items():
            if domains.differs(self._store, domain):
                self._apart(uuid)
        for vm in self._store.all(VM):
            if vm.uuid in seen or vm.is_a_template or vm.is_a_snapshot:
                continue
            if vm.power_state != "Halted":
                self._apart(vm.uuid)
            elif vm.foreign and not vm.ours:
                domains.forget_foreign(self._store, vm)
                continue
            if vm.ours:
                self.redefine(vm)
        for uuid in list(self._behind):
            vm_behind = self._store.known(VM, uuid)
            if vm_behind is not None and vm_behind.ours:
                self.redefine(vm_behind)
            else:
                # It was destroyed; a domain of its uuid that others made since is not ours to define.
                self._behind.discard(uuid)

    def _drop_kernels(self) -> None:
        """Remove kernels that clients sent and no machine names any more."""
        named = {path.removeprefix("file://") for vm in self._store.all(VM) for path in (vm.PV_kernel, vm.PV_ramdisk)}
        self._machine.domains.drop_images(named)

    def _recover_memories(self) -> None:
        """Once: finish what was begun with the memory of machines; snapshots that have one are shown as suspended."""
        if not self._memories_to_recover:
            return
        kept = self._machine.domains.recover_memories(lambda uuid: self._store.known(VM, uuid))
        self._memories_to_recover = False
        with self._store.transaction(wait=False):
            for uuid in kept:
                snapshot = self._store.known(VM, uuid)
                if snapshot is not None:
                    snapshot.power_state = PowerState.SUSPENDED

    def _resync_cpu_pools(self) -> None:
        self.refresh_cpu_pools()
        if not self._cpu_pools_to_start or not cpu_pools.activated(self._store):
            return
        self._cpu_pools_to_start = False
        for pool in self._store.all(CpuPool):
            if pool.auto_power_on and not pool.activated:
                try:
                    with self.changing_cpu_pools():
                        cpu_pools.activate(self._store, self._machine.node.cpu_pools, pool)
                except XenError as error:
                    log.warning("%r cannot be activated, as it should be at the start: %s", pool, error)

    def _apart(self, uuid: str) -> None:
        """Look in the machine's own lane, so that no verb is under way there; at start there is nobody to wait for."""
        if self._sweeper.is_alive():
            self._changed(uuid)
        else:
            self._look(uuid)

    def _measure(self) -> None:
        try:
            metrics.note(self._store, self._machine.meters.read())
        except XenError as error:
            log.warning("live numbers cannot be read now: %s", error)
        except Exception:
            log.exception("live numbers cannot be understood")
        finally:
            self._measured = monotonic()

    def _sweep(self) -> None:
        while not self._stop.wait(self._sweep_seconds):
            self._lanes.submit(HOST, self._resync)
