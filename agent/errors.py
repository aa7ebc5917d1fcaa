"""Every error a client can be told: a code, its parameters in order, one sentence that says what it means.

Codes and the order of parameters are those of today's xapi; where a code comes from the original server instead, its
class says so. How an error travels (a Failure with an ErrorDescription) is the business of ``agent.rpc``.
Over the usual size, since it is one catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar


def _text(value: object) -> str:
    """A parameter as the wire shows it: an object by its reference, all else as text."""
    reference = getattr(value, "ref", None)
    return reference if isinstance(reference, str) else str(value)


class XenError(Exception):
    """Base of all errors with a XenAPI code. Raised anywhere below the front door, shown to the client as it is."""

    code: ClassVar[str]

    @property
    def description(self) -> list[str]:
        """The ErrorDescription: the code and its parameters, all text."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return [self.code, *(_text(getattr(self, name)) for name in names)]

    def __str__(self) -> str:
        return " ".join(self.description)


# --- the call itself


@dataclass(eq=False)
class MessageMethodUnknown(XenError):
    """No message of this name is served."""

    code = "MESSAGE_METHOD_UNKNOWN"
    method: str


@dataclass(eq=False)
class MessageParameterCountMismatch(XenError):
    """The message takes another number of parameters; the session reference is not counted."""

    code = "MESSAGE_PARAMETER_COUNT_MISMATCH"
    method: str
    expected: int
    received: int


@dataclass(eq=False)
class NoAsyncForm(XenError):
    """The message answers at once and has no ``Async.`` form."""

    code = "Fault"
    text: str


@dataclass(eq=False)
class InternalError(XenError):
    """Something failed that should not; the log of the agent has the rest under the id in the text."""

    code = "INTERNAL_ERROR"
    message: str


@dataclass(eq=False)
class OperationNotAllowed(XenError):
    """A rule of this class forbids it; the parameter says which."""

    code = "OPERATION_NOT_ALLOWED"
    reason: str


# --- values


@dataclass(eq=False)
class FieldTypeError(XenError):
    """The value cannot be read as the type that this field or parameter has."""

    code = "FIELD_TYPE_ERROR"
    field: str


@dataclass(eq=False)
class InvalidValue(XenError):
    """The value has the right type and is still none that this field can hold."""

    code = "INVALID_VALUE"
    field: str
    value: object


@dataclass(eq=False)
class ValueNotSupported(XenError):
    """The value is a lawful one that this host cannot realise, or lies out of range; the last parameter says why."""

    code = "VALUE_NOT_SUPPORTED"
    field: str
    value: object
    reason: str


@dataclass(eq=False)
class NotImplementedHere(XenError):
    """This host has nothing that could do it."""

    code = "NOT_IMPLEMENTED"
    function: str


@dataclass(eq=False)
class MessageRemoved(XenError):
    """xapi has it no more either."""

    code = "MESSAGE_REMOVED"


@dataclass(eq=False)
class FeatureRestricted(XenError):
    """The host has no such feature."""

    code = "FEATURE_RESTRICTED"


@dataclass(eq=False)
class LicenceRestriction(XenError):
    """The host has no such feature, which xapi has where its licence says so. The code has Britain's spelling."""

    code = "LICENCE_RESTRICTION"
    feature: str


@dataclass(eq=False)
class InvalidUpdate(XenError):
    """It is no update for this host."""

    code = "INVALID_UPDATE"
    info: str


@dataclass(eq=False)
class OpenvswitchNotActive(XenError):
    """The networks of this host are bridges of the kernel."""

    code = "OPENVSWITCH_NOT_ACTIVE"


@dataclass(eq=False)
class CreateUnspecifiedAttribute(XenError):
    """The record given to create lacks a field that has no default. The code is the original server's (xend)."""

    code = "CREATE_UNSPECIFIED_ATTRIBUTE"
    attribute: str
    class_name: str


@dataclass(eq=False)
class MapDuplicateKey(XenError):
    """The map has this key; remove it first or set the whole map."""

    code = "MAP_DUPLICATE_KEY"
    class_name: str
    field: str
    reference: object
    key: object


@dataclass(eq=False)
class HandleInvalid(XenError):
    """No object of this class has this reference: it is of another class, gone, or never was."""

    code = "HANDLE_INVALID"
    class_name: str
    handle: str


@dataclass(eq=False)
class UuidInvalid(XenError):
    """No object of this class has this uuid."""

    code = "UUID_INVALID"
    class_name: str
    uuid: str


@dataclass(eq=False)
class UniquenessViolated(XenError):
    """Another object has this value in a field that must be unique."""

    code = "DB_UNIQUENESS_CONSTRAINT_VIOLATION"
    table: str
    field: str
    value: str


# --- sessions, roles, events, tasks


@dataclass(eq=False)
class SessionInvalid(XenError):
    """The session is over or never was: log in again."""

    code = "SESSION_INVALID"
    handle: str


@dataclass(eq=False)
class SessionAuthenticationFailed(XenError):
    """User and password do not go together."""

    code = "SESSION_AUTHENTICATION_FAILED"
    user: str
    message: str


@dataclass(eq=False)
class RbacPermissionDenied(XenError):
    """The user's role is too low for this message."""

    code = "RBAC_PERMISSION_DENIED"
    permission: str
    message: str


@dataclass(eq=False)
class PermissionDenied(XenError):
    """The object belongs to another user."""

    code = "PERMISSION_DENIED"
    message: str


@dataclass(eq=False)
class SessionNotRegistered(XenError):
    """event.next needs event.register in this session first."""

    code = "SESSION_NOT_REGISTERED"
    handle: str


@dataclass(eq=False)
class EventsLost(XenError):
    """Events since the token are no longer kept: read everything anew and go on from there."""

    code = "EVENTS_LOST"


@dataclass(eq=False)
class EventFromTokenParseFailure(XenError):
    """The token is none that event.from gave out."""

    code = "EVENT_FROM_TOKEN_PARSE_FAILURE"
    token: str


@dataclass(eq=False)
class EventSubscriptionParseFailure(XenError):
    """A subscription is a class, ``class/reference`` or ``*``."""

    code = "EVENT_SUBSCRIPTION_PARSE_FAILURE"
    subscription: str


@dataclass(eq=False)
class TaskCancelled(XenError):
    """The task was told to stop and undid what it had begun."""

    code = "TASK_CANCELLED"
    task: object


@dataclass(eq=False)
class TooManyPendingTasks(XenError):
    """As many tasks are under way as this host takes on at once; try again when some are done."""

    code = "TOO_MANY_PENDING_TASKS"


# --- virtual machines


@dataclass(eq=False)
class VMSnapshotWithQuiesceNotSupported(XenError):
    """The guest cannot be asked to bring its disks in order for a snapshot."""

    code = "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED"
    vm: object
    error: str


@dataclass(eq=False)
class VMCheckpointSuspendFailed(XenError):
    """The machine could not be saved for a snapshot with its memory."""

    code = "VM_CHECKPOINT_SUSPEND_FAILED"
    vm: object


@dataclass(eq=False)
class VMCheckpointResumeFailed(XenError):
    """The machine was saved for a snapshot and does not go on: it is suspended."""

    code = "VM_CHECKPOINT_RESUME_FAILED"
    vm: object


@dataclass(eq=False)
class VMBadPowerState(XenError):
    """The machine is not in a state in which this can be done. States are written with a small initial, as xapi
    does.
    """

    code = "VM_BAD_POWER_STATE"
    vm: object
    expected: str
    actual: str


@dataclass(eq=False)
class VMFailedShutdownAcknowledgment(XenError):
    """The guest did not react to being asked to shut down or to reboot."""

    code = "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT"
    vm: object


@dataclass(eq=False)
class VMIsTemplate(XenError):
    """A template cannot be run: clone it first."""

    code = "VM_IS_TEMPLATE"
    vm: object


@dataclass(eq=False)
class VMIsSnapshot(XenError):
    """A snapshot cannot be run: revert to it, or clone it first."""

    code = "VM_IS_SNAPSHOT"
    vm: object
    operation: str


@dataclass(eq=False)
class OperationBlocked(XenError):
    """The object's blocked_operations has this operation, with the code its admin gave as the reason."""

    code = "OPERATION_BLOCKED"
    ref: object
    reason: str


@dataclass(eq=False)
class OtherOperationInProgress(XenError):
    """Something else is being done to the object, and takes longer than one waits for."""

    code = "OTHER_OPERATION_IN_PROGRESS"
    class_name: str
    ref: object
    operation_type: str
    operation_ref: str


@dataclass(eq=False)
class HostNotEnoughFreeMemory(XenError):
    """The host cannot give the machine its memory now. Both numbers are bytes."""

    code = "HOST_NOT_ENOUGH_FREE_MEMORY"
    needed: int
    available: int


@dataclass(eq=False)
class HostDisabled(XenError):
    """The host is disabled: it starts no machines until host.enable."""

    code = "HOST_DISABLED"
    host: object


@dataclass(eq=False)
class HostNotDisabled(XenError):
    """The host must be disabled first, so that it starts no machine meanwhile: host.disable."""

    code = "HOST_NOT_DISABLED"


@dataclass(eq=False)
class HostInUse(XenError):
    """A machine runs on the host; the last parameters name one, by class and reference."""

    code = "HOST_IN_USE"
    host: object
    type: str
    ref: object


@dataclass(eq=False)
class HostOffline(XenError):
    """The hypervisor does not answer the agent now; reads still work, changes do not."""

    code = "HOST_OFFLINE"
    host: object


@dataclass(eq=False)
class MemoryConstraintViolation(XenError):
    """Memory limits must satisfy static_min <= dynamic_min <= dynamic_max <= static_max."""

    code = "MEMORY_CONSTRAINT_VIOLATION"
    constraint: str


@dataclass(eq=False)
class VMRequiresSR(XenError):
    """The machine needs storage that this host does not reach."""

    code = "VM_REQUIRES_SR"
    vm: object
    sr: object


@dataclass(eq=False)
class VMHVMRequired(XenError):
    """The machine needs a processor with virtualisation (HVM), which this host does not have."""

    code = "VM_HVM_REQUIRED"
    vm: object


# --- the certificate of the front door


@dataclass(eq=False)
class ServerCertificateInvalid(XenError):
    """This is no certificate."""

    code = "SERVER_CERTIFICATE_INVALID"


@dataclass(eq=False)
class ServerCertificateChainInvalid(XenError):
    """These are no certificates that another is signed by."""

    code = "SERVER_CERTIFICATE_CHAIN_INVALID"


@dataclass(eq=False)
class ServerCertificateKeyInvalid(XenError):
    """This is no private key that can be used without a password."""

    code = "SERVER_CERTIFICATE_KEY_INVALID"


@dataclass(eq=False)
class ServerCertificateKeyMismatch(XenError):
    """The private key is not the certificate's."""

    code = "SERVER_CERTIFICATE_KEY_MISMATCH"


@dataclass(eq=False)
class CertificateDoesNotExist(XenError):
    """The agent trusts no certificate of this name."""

    code = "CERTIFICATE_DOES_NOT_EXIST"
    name: str


@dataclass(eq=False)
class CrlDoesNotExist(XenError):
    """The agent has no list of revoked certificates of this name."""

    code = "CRL_DOES_NOT_EXIST"
    name: str


# --- programs of the host's admin


@dataclass(eq=False)
class XenapiMissingPlugin(XenError):
    """There is no program of this name that the agent may run."""

    code = "XENAPI_MISSING_PLUGIN"
    name: str


@dataclass(eq=False)
class XenapiPluginFailure(XenError):
    """The program failed: how, what it printed, and what it complained of."""

    code = "XENAPI_PLUGIN_FAILURE"
    status: str
    stdout: str
    stderr: str


@dataclass(eq=False)
class PluginFailed(XenError):
    """The error that a program itself told, whose code and parameters are its own."""

    code = "XENAPI_PLUGIN_EXCEPTION"
    words: tuple[str, ...]

    @property
    def description(self) -> list[str]:
        return list(self.words)


# --- what a pool of one host does not have


@dataclass(eq=False)
class LicenseDoesNotSupportPooling(XenError):
    """The agent serves one host, which joins no pool of others."""

    code = "LICENSE_DOES_NOT_SUPPORT_POOLING"


@dataclass(eq=False)
class LicenseProcessingError(XenError):
    """There are no licences here, so none can be taken."""

    code = "LICENSE_PROCESSING_ERROR"


@dataclass(eq=False)
class InvalidEdition(XenError):
    """There are no editions to choose from."""

    code = "INVALID_EDITION"
    edition: str


@dataclass(eq=False)
class MessageDeprecated(XenError):
    """xapi does not do this any more; another message does, which the reference names."""

    code = "MESSAGE_DEPRECATED"


@dataclass(eq=False)
class HaNotInstalled(XenError):
    """High availability needs several hosts, and the agent serves one."""

    code = "HA_NOT_INSTALLED"
    host: object


@dataclass(eq=False)
class HaNotEnabled(XenError):
    """High availability is off, as it always is here."""

    code = "HA_NOT_ENABLED"


@dataclass(eq=False)
class HaOperationWouldBreakFailoverPlan(XenError):
    """No machine could be restarted elsewhere if so many hosts failed."""

    code = "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"


@dataclass(eq=False)
class HaConstraintViolationSrNotShared(XenError):
    """Other hosts could not reach the storage."""

    code = "HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED"
    SR: object


@dataclass(eq=False)
class HaConstraintViolationNetworkNotShared(XenError):
    """Other hosts could not reach the network: it is on no card of the host."""

    code = "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED"
    network: object


@dataclass(eq=False)
class HostIsLive(XenError):
    """The host is alive: it answers this very call."""

    code = "HOST_IS_LIVE"
    host: object


@dataclass(eq=False)
class HostPowerOnModeDisabled(XenError):
    """No way to switch the host on is set up."""

    code = "HOST_POWER_ON_MODE_DISABLED"


@dataclass(eq=False)
class CannotEvacuateHost(XenError):
    """Machines cannot leave the host; the text has, for each, a code and its parameters."""

    code = "CANNOT_EVACUATE_HOST"
    errors: str


@dataclass(eq=False)
class VMMigrateFailed(XenError):
    """The machine cannot be moved; the last parameter says why."""

    code = "VM_MIGRATE_FAILED"
    vm: object
    source: object
    destination: object
    msg: str


@dataclass(eq=False)
class VMLacksFeature(XenError):
    """The guest does not offer what is asked of it."""

    code = "VM_LACKS_FEATURE"
    vm: object


@dataclass(eq=False)
class WlbNotInitialized(XenError):
    """There is no load balancer to ask."""

    code = "WLB_NOT_INITIALIZED"


@dataclass(eq=False)
class AuthUnknownType(XenError):
    """The agent knows no directory of this kind: users are in its own file."""

    code = "AUTH_UNKNOWN_TYPE"
    type: str


@dataclass(eq=False)
class AuthIsDisabled(XenError):
    """No directory is asked about users."""

    code = "AUTH_IS_DISABLED"


@dataclass(eq=False)
class CannotEnableRedoLog(XenError):
    """The journal cannot be kept there; the parameter says why."""

    code = "CANNOT_ENABLE_REDO_LOG"
    reason: str


@dataclass(eq=False)
class HostsFailedToEnableCaching(XenError):
    """The host caches no disks."""

    code = "HOSTS_FAILED_TO_ENABLE_CACHING"
    host: object


@dataclass(eq=False)
class NoRepositoriesConfigured(XenError):
    """No repository of updates is known to the agent, which installs none."""

    code = "NO_REPOSITORIES_CONFIGURED"


@dataclass(eq=False)
class NoRepositoryEnabled(XenError):
    """No repository of updates is in use."""

    code = "NO_REPOSITORY_ENABLED"


@dataclass(eq=False)
class PifHasNoNetworkConfiguration(XenError):
    """The host has no address on this card."""

    code = "PIF_HAS_NO_NETWORK_CONFIGURATION"
    PIF: object


@dataclass(eq=False)
class PifNotPresent(XenError):
    """The host has no card on this network."""

    code = "PIF_NOT_PRESENT"
    host: object
    network: object


@dataclass(eq=False)
class InterfaceHasNoIP(XenError):
    """The host has no address on this card."""

    code = "INTERFACE_HAS_NO_IP"
    interface: str


@dataclass(eq=False)
class EnableSshFailed(XenError):
    """The agent does not switch the host's ssh on."""

    code = "ENABLE_SSH_FAILED"
    host: object


@dataclass(eq=False)
class DisableSshFailed(XenError):
    """The agent does not switch the host's ssh off."""

    code = "DISABLE_SSH_FAILED"
    host: object


@dataclass(eq=False)
class EnableSshPartiallyFailed(XenError):
    """The agent does not switch ssh on, on these hosts."""

    code = "ENABLE_SSH_PARTIALLY_FAILED"
    hosts: object


@dataclass(eq=False)
class DisableSshPartiallyFailed(XenError):
    """The agent does not switch ssh off, on these hosts."""

    code = "DISABLE_SSH_PARTIALLY_FAILED"
    hosts: object


@dataclass(eq=False)
class SrOperationNotSupported(XenError):
    """This storage cannot do it."""

    code = "SR_OPERATION_NOT_SUPPORTED"
    sr: object


# --- CPU pools; the codes are the original server's


@dataclass(eq=False)
class PoolBadState(XenError):
    """The CPU pool is ``activated``, ``deactivated`` or ``in use``, and for this it must not be."""

    code = "POOL_BAD_STATE"
    state: str


@dataclass(eq=False)
class InsufficientCpus(XenError):
    """There are not as many processors that are in no CPU pool as the pool wants."""

    code = "INSUFFICIENT_CPUS"
    needed: int
    available: int


@dataclass(eq=False)
class UnknownSchedPolicy(XenError):
    """The hypervisor has no scheduler of this name. The code is spelled as in the original reference."""

    code = "UNKOWN_SCHED_POLICY"


@dataclass(eq=False)
class InvalidCpu(XenError):
    """The processor is in another CPU pool, or not in this one; the text says which."""

    code = "INVALID_CPU"
    message: str


@dataclass(eq=False)
class LastCpuNotRemovable(XenError):
    """A CPU pool with machines keeps one processor. The code is spelled as in the original reference."""

    code = "LAST_CPU_NOT_REMOVEABLE"
    message: str


# --- security


@dataclass(eq=False)
class SecurityError(XenError):
    """A security label or policy cannot be what was asked for; the first parameter is one of the original's XSERR
    numbers.
    """

    code = "SECURITY_ERROR"
    xserr: int
    message: str


# --- devices


@dataclass(eq=False)
class InvalidDevice(XenError):
    """No guest has a device of this name, or the name is no number."""

    code = "INVALID_DEVICE"
    device: str


@dataclass(eq=False)
class DeviceAlreadyExists(XenError):
    """The machine has a device of this name."""

    code = "DEVICE_ALREADY_EXISTS"
    device: str


@dataclass(eq=False)
class DeviceAlreadyAttached(XenError):
    """The running machine has the device."""

    code = "DEVICE_ALREADY_ATTACHED"
    device: object


@dataclass(eq=False)
class DeviceAlreadyDetached(XenError):
    """The running machine does not have the device."""

    code = "DEVICE_ALREADY_DETACHED"
    device: object


@dataclass(eq=False)
class DeviceDetachRejected(XenError):
    """The guest keeps the device; the hypervisor's words are in the last parameter."""

    code = "DEVICE_DETACH_REJECTED"
    class_name: str
    device: object
    message: str


@dataclass(eq=False)
class VtpmMaxAmountReached(XenError):
    """The machine has as many virtual TPMs as it can have."""

    code = "VTPM_MAX_AMOUNT_REACHED"
    amount: int


@dataclass(eq=False)
class MacInvalid(XenError):
    """A hardware address is six pairs of hexadecimal digits, of one card (not multicast)."""

    code = "MAC_INVALID"
    MAC: str


@dataclass(eq=False)
class VbdIsEmpty(XenError):
    """The drive has no medium."""

    code = "VBD_IS_EMPTY"
    vbd: object


@dataclass(eq=False)
class VbdNotEmpty(XenError):
    """The drive has a medium: eject it first."""

    code = "VBD_NOT_EMPTY"
    vbd: object


@dataclass(eq=False)
class VbdNotRemovableMedia(XenError):
    """Only the medium of a CD drive can be changed."""

    code = "VBD_NOT_REMOVABLE_MEDIA"
    vbd: object


# --- storage


@dataclass(eq=False)
class VdiInUse(XenError):
    """The disk is in use, so this operation cannot be done on it."""

    code = "VDI_IN_USE"
    vdi: object
    operation: str


@dataclass(eq=False)
class VdiNotManaged(XenError):
    """The disk is a hidden base, which belongs to the disks that are laid over it."""

    code = "VDI_NOT_MANAGED"
    vdi: object


@dataclass(eq=False)
class VdiReadonly(XenError):
    """The disk is read-only."""

    code = "VDI_READONLY"
    vdi: object


@dataclass(eq=False)
class SrFull(XenError):
    """The storage has not as many bytes left as asked for."""

    code = "SR_FULL"
    requested: int
    maximum: int


@dataclass(eq=False)
class SrHasPbd(XenError):
    """The storage is still attached: unplug its PBDs first."""

    code = "SR_HAS_PBD"
    sr: object


@dataclass(eq=False)
class SrNotEmpty(XenError):
    """The storage still has disks."""

    code = "SR_NOT_EMPTY"


@dataclass(eq=False)
class VdiNoCbtMetadata(XenError):
    """Nobody kept account of the blocks of the disk that changed."""

    code = "VDI_NO_CBT_METADATA"
    vdi: object


@dataclass(eq=False)
class SrHasNoPbds(XenError):
    """The storage has no attached PBD, so nothing can be done in it."""

    code = "SR_HAS_NO_PBDS"
    sr: object


@dataclass(eq=False)
class SrUnknownDriver(XenError):
    """No storage of this type can be made here."""

    code = "SR_UNKNOWN_DRIVER"
    driver: str


@dataclass(eq=False)
class SrBackendFailure(XenError):
    """The storage refused; the words of the layer below are in the last parameter."""

    code = "SR_BACKEND_FAILURE"
    status: str
    output: str
    message: str


@dataclass(eq=False)
class VdiLocationMissing(XenError):
    """There is no volume at this place of the storage."""

    code = "VDI_LOCATION_MISSING"
    sr: object
    location: str


@dataclass(eq=False)
class VdiMissing(XenError):
    """The file or volume of this disk is gone from its storage."""

    code = "VDI_MISSING"
    sr: object
    vdi: object


@dataclass(eq=False)
class VdiTooSmall(XenError):
    """What is to be written to the disk needs at least so many bytes."""

    code = "VDI_TOO_SMALL"
    vdi: object
    minimum: int


@dataclass(eq=False)
class VdiIoError(XenError):
    """The content of a disk could not be read or written to its end; the parameter says why."""

    code = "VDI_IO_ERROR"
    reason: str


# --- imports of machines


@dataclass(eq=False)
class ImportFailed(XenError):
    """What was sent is no machine that can be imported; the parameter says why."""

    code = "IMPORT_ERROR"
    message: str


@dataclass(eq=False)
class ImportPrematureEof(XenError):
    """The import ended before all of the machine had come."""

    code = "IMPORT_ERROR_PREMATURE_EOF"


@dataclass(eq=False)
class ImportChecksumsFailed(XenError):
    """A piece of a disk is not what it was when it was exported."""

    code = "IMPORT_ERROR_SOME_CHECKSUMS_FAILED"


@dataclass(eq=False)
class ImportUnexpectedFile(XenError):
    """Another file came than the one that has to come here."""

    code = "IMPORT_ERROR_UNEXPECTED_FILE"
    expected: str
    found: str


@dataclass(eq=False)
class ImportObjectMissing(XenError):
    """The description names an object that it does not describe and that this host does not have."""

    code = "IMPORT_ERROR_FAILED_TO_FIND_OBJECT"
    id: str


# --- networks


@dataclass(eq=False)
class NetworkAlreadyConnected(XenError):
    """A card of the host carries this network already."""

    code = "NETWORK_ALREADY_CONNECTED"
    network: object
    connected_PIF: object


@dataclass(eq=False)
class VlanTagInvalid(XenError):
    """A VLAN has a number from 1 to 4094."""

    code = "VLAN_TAG_INVALID"
    VLAN: int


@dataclass(eq=False)
class VlanInUse(XenError):
    """The host has this VLAN on this card for a purpose of its own."""

    code = "VLAN_IN_USE"
    device: str
    vlan: int


@dataclass(eq=False)
class PifVlanExists(XenError):
    """This VLAN of that card is shown as a PIF already."""

    code = "PIF_VLAN_EXISTS"
    PIF: object


@dataclass(eq=False)
class PifIsVlan(XenError):
    """The card is a VLAN, on which there can be no other."""

    code = "PIF_IS_VLAN"
    PIF: object


@dataclass(eq=False)
class CannotAddVlanToBondSlave(XenError):
    """The card is one of a bond, which carries the VLANs."""

    code = "CANNOT_ADD_VLAN_TO_BOND_SLAVE"
    PIF: object


@dataclass(eq=False)
class PifIsPhysical(XenError):
    """The card is a piece of hardware, which is there for as long as the host has it."""

    code = "PIF_IS_PHYSICAL"
    PIF: object


@dataclass(eq=False)
class PifIsNotPhysical(XenError):
    """The card is no piece of hardware, and only that can be a part of a bond."""

    code = "PIF_IS_NOT_PHYSICAL"
    PIF: object


@dataclass(eq=False)
class PifAlreadyBonded(XenError):
    """The card is a part of a bond."""

    code = "PIF_ALREADY_BONDED"
    PIF: object


@dataclass(eq=False)
class PifBondNeedsMoreMembers(XenError):
    """A bond has two cards or more."""

    code = "PIF_BOND_NEEDS_MORE_MEMBERS"


@dataclass(eq=False)
class PifVlanStillExists(XenError):
    """The card has a VLAN: remove that first."""

    code = "PIF_VLAN_STILL_EXISTS"
    PIF: object


@dataclass(eq=False)
class PifIsManagementInterface(XenError):
    """The host's own address is on this card."""

    code = "PIF_IS_MANAGEMENT_INTERFACE"
    PIF: object


@dataclass(eq=False)
class VifInUse(XenError):
    """A running machine has a card on this network."""

    code = "VIF_IN_USE"
    network: object
    VIF: object


@dataclass(eq=False)
class NetworkContainsVif(XenError):
    """Machines have cards on this network."""

    code = "NETWORK_CONTAINS_VIF"
    vifs: object


@dataclass(eq=False)
class NetworkContainsPif(XenError):
    """A card of the host is on this network."""

    code = "NETWORK_CONTAINS_PIF"
    pifs: object


@dataclass(eq=False)
class NetworkIncompatiblePurposes(XenError):
    """The network is set aside for another service, which goes with no other."""

    code = "NETWORK_INCOMPATIBLE_PURPOSES"
    new_purpose: str
    conflicting_purpose: str


@dataclass(eq=False)
class PifDoesNotAllowUnplug(XenError):
    """A client has forbidden that the card is switched off: set_disallow_unplug."""

    code = "PIF_DOES_NOT_ALLOW_UNPLUG"
    PIF: object


@dataclass(eq=False)
class CannotPlugBondSlave(XenError):
    """The card is one of a bond, which is plugged as a whole."""

    code = "CANNOT_PLUG_BOND_SLAVE"
    PIF: object


@dataclass(eq=False)
class PifUnmanaged(XenError):
    """The addresses of the card are set up by the host's own network configuration: change them there."""

    code = "PIF_UNMANAGED"
    PIF: object


@dataclass(eq=False)
class MacStillExists(XenError):
    """The host has the card, so it is shown."""

    code = "MAC_STILL_EXISTS"
    MAC: str


@dataclass(eq=False)
class NoSuchInterface(XenError):
    """The host has no card of this name and hardware address."""

    code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    device: str
    mac: str


@dataclass(eq=False)
class DuplicatePifDeviceName(XenError):
    """The card is shown as a PIF already."""

    code = "DUPLICATE_PIF_DEVICE_NAME"
    device: str


@dataclass(eq=False)
class OperationPartiallyFailed(XenError):
    """It was done to some of the machines and failed for one; the log says why."""

    code = "OPERATION_PARTIALLY_FAILED"
    operation: str


@dataclass(eq=False)
class VmssHasVm(XenError):
    """The schedule is still that of a machine."""

    code = "VMSS_HAS_VM"


@dataclass(eq=False)
class PifIsNotSriovCapable(XenError):
    """The card has no functions that could be given to machines."""

    code = "PIF_IS_NOT_SRIOV_CAPABLE"
    PIF: object


@dataclass(eq=False)
class NetworkSriovEnableFailed(XenError):
    """The functions of the card cannot be given to machines; the last parameter says why."""

    code = "NETWORK_SRIOV_ENABLE_FAILED"
    PIF: object
    msg: str


@dataclass(eq=False)
class GpuGroupContainsPgpu(XenError):
    """The group has graphics cards of the host: put them into another first."""

    code = "GPU_GROUP_CONTAINS_PGPU"
    pgpus: object


@dataclass(eq=False)
class PgpuNotCompatible(XenError):
    """The graphics card is of another model than those of the group."""

    code = "PGPU_NOT_COMPATIBLE_WITH_GPU_GROUP"
    type: str
    group_types: str


# --- what one host has none of


@dataclass(eq=False)
class NotTrustedCertificate(XenError):
    """The certificate is none that other servers are trusted by."""

    code = "NOT_TRUSTED_CERTIFICATE"
    certificate: object


@dataclass(eq=False)
class SetSshAutoModePartiallyFailed(XenError):
    """These hosts do not switch their ssh by themselves as asked."""

    code = "SET_SSH_AUTO_MODE_PARTIALLY_FAILED"
    hosts: object


@dataclass(eq=False)
class SetSshTimeoutPartiallyFailed(XenError):
    """These hosts do not switch their ssh off after the time asked for."""

    code = "SET_SSH_TIMEOUT_PARTIALLY_FAILED"
    hosts: object


@dataclass(eq=False)
class Sysprep(XenError):
    """Windows in the machine cannot be told to prepare itself for copies."""

    code = "SYSPREP"
    vm: object
    message: str


@dataclass(eq=False)
class CouldNotImportDatabase(XenError):
    """What is given is no database that could be read."""

    code = "COULD_NOT_IMPORT_DATABASE"
    reason: str


@dataclass(eq=False)
class VdiIncompatibleType(XenError):
    """A disk of this type is not for that."""

    code = "VDI_INCOMPATIBLE_TYPE"
    vdi: object
    type: object


@dataclass(eq=False)
class VdiNeedsVMForMigrate(XenError):
    """The disk can be moved only while a running machine has it."""

    code = "VDI_NEEDS_VM_FOR_MIGRATE"
    vdi: object


@dataclass(eq=False)
class SrDoesNotSupportMigration(XenError):
    """The storage cannot have a disk moved that is in use."""

    code = "SR_DOES_NOT_SUPPORT_MIGRATION"
    sr: object
    capabilities: str


# --- USB devices


@dataclass(eq=False)
class UsbGroupContainsNoPusbs(XenError):
    """The group has no device that machines may be given."""

    code = "USB_GROUP_CONTAINS_NO_PUSBS"
    usb_group: object


@dataclass(eq=False)
class UsbGroupContainsPusb(XenError):
    """The group has devices."""

    code = "USB_GROUP_CONTAINS_PUSB"
    pusbs: object


@dataclass(eq=False)
class UsbGroupContainsVusb(XenError):
    """Machines are given devices of the group."""

    code = "USB_GROUP_CONTAINS_VUSB"
    vusbs: object


@dataclass(eq=False)
class UsbGroupConflict(XenError):
    """The machine is given a device of this group already."""

    code = "USB_GROUP_CONFLICT"
    USB_group: object


@dataclass(eq=False)
class UsbAlreadyAttached(XenError):
    """A machine has the device."""

    code = "USB_ALREADY_ATTACHED"
    PUSB: object
    VM: object


@dataclass(eq=False)
class TooManyVusbs(XenError):
    """A machine can have so many USB devices, and has them."""

    code = "TOO_MANY_VUSBS"
    number: int


@dataclass(eq=False)
class VMHasVusbs(XenError):
    """This cannot be done to a machine that has USB devices of the host."""

    code = "VM_HAS_VUSBS"
    vm: object


@dataclass(eq=False)
class VMRequiresVusb(XenError):
    """The machine is to have a device of this group, and none is free."""

    code = "VM_REQUIRES_VUSB"
    vm: object
    USB_group: object
