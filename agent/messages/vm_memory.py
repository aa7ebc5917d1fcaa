"""A machine's memory and processors: limits while it is halted, targets while it runs."""

from __future__ import annotations

from contextlib import suppress

from agent.call import Call
from agent.classes import VM
from agent.classes.enums import DomainType, PowerState, VmOperation
from agent.classes.lifecycle import kind_of, require
from agent.errors import InvalidValue, MemoryConstraintViolation, ValueNotSupported, XenError
from agent.messages.vif import acting
from agent.model.messages import Kind, message
from agent.roles import Role

POWER_ADMIN = Role.VM_POWER_ADMIN
MIB = 2**20
LIVE = (PowerState.RUNNING, PowerState.PAUSED)


def check_limits(static_min: int, dynamic_min: int, dynamic_max: int, static_max: int) -> None:
    """MEMORY_CONSTRAINT_VIOLATION unless 0 <= static_min <= dynamic_min <= dynamic_max <= static_max (bytes)."""
    if not 0 <= static_min <= dynamic_min <= dynamic_max <= static_max:
        raise MemoryConstraintViolation(
            f"static_min {static_min} <= dynamic_min {dynamic_min} <= dynamic_max {dynamic_max} "
            f"<= static_max {static_max}"
        )


def check_vcpus(at_startup: int, maximum: int) -> None:
    """INVALID_VALUE unless 1 <= at_startup <= maximum."""
    if not 1 <= at_startup <= maximum:
        raise InvalidValue("VCPUs_at_startup", f"{at_startup}: it must be at least 1 and at most VCPUs_max, {maximum}")


def _assign(
    vm: VM,
    *,
    static_min: int | None = None,
    static_max: int | None = None,
    dynamic_min: int | None = None,
    dynamic_max: int | None = None,
) -> None:
    """Set the given limits, if all four are in order then. In a transaction."""
    low = vm.memory_static_min if static_min is None else static_min
    high = vm.memory_static_max if static_max is None else static_max
    least = vm.memory_dynamic_min if dynamic_min is None else dynamic_min
    most = vm.memory_dynamic_max if dynamic_max is None else dynamic_max
    check_limits(low, least, most, high)
    vm.memory_static_min, vm.memory_dynamic_min = low, least
    vm.memory_dynamic_max, vm.memory_static_max = most, high


@message(VM, kind=Kind.WRITE, role=POWER_ADMIN)
def set_memory_static_max(call: Call, self: VM, value: int) -> None:
    """Set the most memory a halted machine can ever have, in bytes."""
    require(self, VmOperation.CHANGING_STATIC_RANGE)
    _assign(self, static_max=value)


@message(VM, kind=Kind.WRITE, role=POWER_ADMIN)
def set_memory_static_min(call: Call, self: VM, value: int) -> None:
    """Set the least memory a halted machine can ever have, in bytes."""
    require(self, VmOperation.CHANGING_STATIC_RANGE)
    _assign(self, static_min=value)


@message(VM, kind=Kind.WRITE, role=POWER_ADMIN, has_async=True)
def set_memory_static_range(call: Call, self: VM, min: int, max: int) -> None:
    """Set both static limits of a halted machine, in bytes."""
    require(self, VmOperation.CHANGING_STATIC_RANGE)
    _assign(self, static_min=min, static_max=max)


@message(VM, kind=Kind.WRITE, role=POWER_ADMIN, has_async=True)
def set_memory_limits(
    call: Call, self: VM, static_min: int, static_max: int, dynamic_min: int, dynamic_max: int
) -> None:
    """Set all memory limits of a halted machine, in bytes."""
    require(self, VmOperation.CHANGING_MEMORY_LIMITS)
    _assign(self, static_min=static_min, static_max=static_max, dynamic_min=dynamic_min, dynamic_max=dynamic_max)


@message(VM, kind=Kind.WRITE, role=POWER_ADMIN, has_async=True)
def set_memory(call: Call, self: VM, value: int) -> None:
    """Give a halted machine exactly so much memory, in bytes: the dynamic limits and the static maximum become it."""
    require(self, VmOperation.CHANGING_MEMORY_LIMITS)
    _assign(self, static_min=min(self.memory_static_min, value), static_max=value, dynamic_min=value, dynamic_max=value)


def _dynamic(call: Call, vm: VM, least: int, most: int) -> None:
    require(vm, VmOperation.CHANGING_DYNAMIC_RANGE)
    before = vm.memory_dynamic_min, vm.memory_dynamic_max
    with call.store.transaction():
        _assign(vm, dynamic_min=least, dynamic_max=most)
    if vm.power_state in LIVE and (most != before[1] or _has(vm) != most):
        try:
            with acting(call, vm):
                call.domains.set_memory(vm, most)
        except XenError:
            with suppress(XenError):  # the first error is the one to tell
                call.refresh(vm)
            if _has(vm) != most:  # else it was done, and only the answer was lost
                with call.store.transaction():
                    vm.memory_dynamic_min, vm.memory_dynamic_max = before
            raise
    call.observer.redefine(vm)


def _has(vm: VM) -> int:
    """The memory that a running machine has, as it was seen last."""
    return vm.metrics.memory_actual if vm.metrics is not None else 0


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_DYNAMIC_RANGE.value)
def set_memory_dynamic_range(call: Call, self: VM, min: int, max: int) -> None:
    """Set between how many bytes the machine's memory may be; a running one gets `max` now."""
    _dynamic(call, self, min, max)


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_DYNAMIC_RANGE.value, has_async=False)
def set_memory_dynamic_max(call: Call, self: VM, value: int) -> None:
    """Set the upper dynamic limit, in bytes; a running machine gets so much now."""
    _dynamic(call, self, self.memory_dynamic_min, value)


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_DYNAMIC_RANGE.value, has_async=False)
def set_memory_dynamic_min(call: Call, self: VM, value: int) -> None:
    """Set the lower dynamic limit, in bytes."""
    _dynamic(call, self, value, self.memory_dynamic_max)


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_MEMORY_LIVE.value)
def set_memory_dynamic_max_live(call: Call, self: VM, max: int) -> None:
    """Set the upper dynamic limit of a running machine and give it so much now. The original API's word."""
    require(self, VmOperation.CHANGING_MEMORY_LIVE)
    _dynamic(call, self, self.memory_dynamic_min, max)


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_MEMORY_LIVE.value)
def set_memory_dynamic_min_live(call: Call, self: VM, min: int) -> None:
    """Set the lower dynamic limit of a running machine. The original API's word."""
    require(self, VmOperation.CHANGING_MEMORY_LIVE)
    _dynamic(call, self, min, self.memory_dynamic_max)


@message(VM, role=POWER_ADMIN, operation=VmOperation.CHANGING_MEMORY_LIVE.value)
def set_memory_target_live(call: Call, self: VM, target: int) -> None:
    """Give a running machine `target` bytes now, within its dynamic limits' static frame. The limits become the
    target.
    """
    require(self, VmOperation.CHANGING_MEMORY_LIVE)
    _dynamic(call, self, target, target)


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def compute_memory_overhead(call: Call, vm: VM) -> int:
    """Bytes that the hypervisor needs for the machine beyond the machine's own memory."""
    return overhead(vm, vm.memory_static_max)


def overhead(vm: VM, memory: int) -> int:
    """Bytes beside the guest's own: libxl's shadow allowance (1 MiB a processor and 8 KiB a MiB) where there are page
    tables to keep, and 1 MiB in every case.
    """
    if kind_of(vm) is DomainType.PV:
        return MIB
    return MIB + vm.VCPUs_max * MIB + memory // MIB * 8 * 1024


@message(VM, kind=Kind.READ, role=Role.READ_ONLY)
def maximise_memory(call: Call, self: VM, total: int, approximate: bool) -> int:
    """The most memory, in bytes, that the machine could have if it and its overhead were to fit into `total`.

    `approximate` is not used: the sum is exact.
    """
    low, high = 0, max(0, total // MIB)
    while low < high:
        middle = (low + high + 1) // 2
        if middle * MIB + overhead(self, middle * MIB) <= total:
            low = middle
        else:
            high = middle - 1
    return low * MIB


# --- processors


@message(VM, kind=Kind.WRITE)
def set_VCPUs_max(call: Call, self: VM, value: int) -> None:
    """Set how many processors a halted machine can ever have."""
    require(self, VmOperation.CHANGING_VCPUS)
    check_vcpus(self.VCPUs_at_startup, value)
    self.VCPUs_max = value


@message(VM, kind=Kind.WRITE)
def set_VCPUs_at_startup(call: Call, self: VM, value: int) -> None:
    """Set how many processors a halted machine starts with."""
    require(self, VmOperation.CHANGING_VCPUS)
    check_vcpus(value, self.VCPUs_max)
    self.VCPUs_at_startup = value


@message(VM, operation=VmOperation.CHANGING_VCPUS_LIVE.value)
def set_VCPUs_number_live(call: Call, self: VM, nvcpu: int) -> None:
    """Change how many processors a running machine has, up to VCPUs_max."""
    require(self, VmOperation.CHANGING_VCPUS_LIVE)
    if not 1 <= nvcpu <= self.VCPUs_max:
        raise InvalidValue("nvcpu", f"{nvcpu}: it must be at least 1 and at most VCPUs_max, {self.VCPUs_max}")
    with acting(call, self):
        call.domains.set_vcpus(self, nvcpu)


@message(VM, operation=VmOperation.CHANGING_VCPUS_LIVE.value)
def add_to_VCPUs_params_live(call: Call, self: VM, key: str, value: str) -> None:
    """Set `weight` (1 to 65535), `cap` (percent of a processor; 0 is none) or `mask` (a list of the host's processors
    such as 0,2-3) of a running machine, and keep it.

    VALUE_NOT_SUPPORTED for other keys, and for processors that the host does not have.
    """
    require(self, VmOperation.CHANGING_VCPUS_LIVE)
    limits = {"weight": (1, 65535), "cap": (0, 65535)}
    if key == "mask":
        with acting(call, self):
            call.domains.pin_vcpus(self, value)
    elif key not in limits:
        raise ValueNotSupported("key", key, "only weight, cap and mask can be changed while the machine runs")
    else:
        if not value.isascii() or not value.isdecimal() or not limits[key][0] <= int(value[:9]) <= limits[key][1]:
            raise InvalidValue(key, f"{value[:100]}: it is a number from {limits[key][0]} to {limits[key][1]}")
        number = int(value)
        with acting(call, self):
            call.domains.set_scheduler(self, number if key == "weight" else None, number if key == "cap" else None)
    with call.store.transaction():
        self.VCPUs_params = {**self.VCPUs_params, key: value}
    call.observer.redefine(self)
