"""The few commands that are more than one message of the table, called as xe calls them.

Each is declared with its words, so that help and completion know it as they know the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.client import Failure
from agent.shell import transfer
from agent.shell.objects import Missing
from agent.shell.sitting import Failed, Sitting, note
from agent.shell.spellings import VIEWS, View
from agent.shell.values import NULL, uuid
from agent.shell.words import Shape, Word

STRING, BOOL, INT = Shape("string", "string"), Shape("bool", "bool"), Shape("int", "int")
FILE = Shape("file", "file")
FORMATS = Shape("enum", "word", words=("raw", "vhd", "qcow2"))


def _ref(to: str) -> Shape:
    return Shape("ref", f"{to} ref", to)


Given = Mapping[str, Any]
"""What was given, by the names of the words: references as such, other types as they are sent."""


@dataclass(frozen=True)
class Special:
    """One such command."""

    name: str
    of: str
    """The word under which help shows it."""
    needs: tuple[str, ...]
    """The classes that it works on."""
    doc: str
    params: tuple[Word, ...]
    work: Callable[[Sitting, Given], None]

    def view(self, word: Word) -> View | None:
        """Of what kind the object is that a word names."""
        return VIEWS.get(word.name) if word.shape.kind == "ref" else None

    def spellings(self, word: Word) -> tuple[str, ...]:
        """How a word may be written; the object that the command is about by ``uuid=`` too."""
        names = (word.label, f"{word.label}-uuid") if word.shape.kind == "ref" else (word.label,)
        return ("uuid", *names) if word.name == self.of else names


def _subject(name: str, to: str) -> Word:
    return Word(name, _ref(to), "which one", True)


VM = _subject("vm", "VM")
FILENAME = Word("filename", FILE, "the file; - is standard output or input", True)
FORMAT = Word("format", FORMATS, "of the file: raw, vhd or qcow2", default="raw")
FORCE = Word("force", BOOL, "do not ask the guest", default="false")


def shutdown(sitting: Sitting, given: Given) -> None:
    """``vm-shutdown``."""
    sitting.do("VM.hard_shutdown" if given.get("force") else "VM.clean_shutdown", given["vm"])


def reboot(sitting: Sitting, given: Given) -> None:
    """``vm-reboot``."""
    sitting.do("VM.hard_reboot" if given.get("force") else "VM.clean_reboot", given["vm"])


def install(sitting: Sitting, given: Given) -> None:
    """``vm-install``: a machine of a template, with the disks that it describes."""
    send = sitting.objects.send
    name, sr = given["new_name_label"], given.get("sr")
    if sr is None:
        vm = sitting.do("VM.clone", given["template"], name)
    else:
        vm = sitting.do("VM.copy", given["template"], name, sr)
    try:
        sitting.do("VM.provision", vm)
        if send("VM.get_is_a_template", vm):
            send("VM.set_is_a_template", vm, False)
    except Failure:
        note(f"what was made so far is {uuid(vm)}; vm-uninstall removes it")
        raise
    sitting.answer(_ref("VM"), [vm])


def uninstall(sitting: Sitting, given: Given) -> None:
    """``vm-uninstall``: a machine, its cards and its disks, but for those that another machine has too."""
    send = sitting.objects.send
    vm: str = given["vm"]
    record = send("VM.get_record", vm)
    vbds = {vbd: send("VBD.get_record", vbd) for vbd in record["VBDs"]}
    disks = [each["VDI"] for each in vbds.values() if each["type"] == "Disk" and each["VDI"] != NULL]
    own = [vdi for vdi in dict.fromkeys(disks) if set(send("VDI.get_VBDs", vdi)) <= set(vbds)]
    if not given.get("force"):
        names = "".join(f"\n  {uuid(vdi)} ({send('VDI.get_name_label', vdi)})" for vdi in own)
        raise Failed(f"this destroys {record['name_label']!r} and its disks; say force=true if you mean it{names}")
    if record["power_state"] in ("Running", "Paused"):
        sitting.do("VM.hard_shutdown", vm)
    for vif in record["VIFs"]:
        sitting.do("VIF.destroy", vif)
    for vbd in vbds:
        sitting.do("VBD.destroy", vbd)
    sitting.do("VM.destroy", vm)
    for vdi in own:
        sitting.do("VDI.destroy", vdi)


def _drive(sitting: Sitting, vm: str, *, empty: bool) -> str:
    """The one CD drive of a machine that is empty, or is not."""
    vbds = [(ref, sitting.objects.send("VBD.get_record", ref)) for ref in sitting.objects.send("VM.get_VBDs", vm)]
    drives = [(ref, record) for ref, record in vbds if record["type"] == "CD"]
    if not drives:
        raise Missing("the machine has no CD drive; vbd-create type=CD empty=true gives it one")
    fitting: list[str] = [ref for ref, record in drives if record["empty"] is empty]
    if not fitting:
        raise Missing("there is a CD in the drive: vm-cd-eject it first" if empty else "there is no CD in the drive")
    if len(fitting) > 1:
        listed = "".join(f"\n  {uuid(ref)}" for ref in fitting)
        raise Missing(f"the machine has {len(fitting)} such drives; use vbd-insert or vbd-eject with one of:{listed}")
    return fitting[0]


def insert(sitting: Sitting, given: Given) -> None:
    """``vm-cd-insert``."""
    sitting.do("VBD.insert", _drive(sitting, given["vm"], empty=True), given["cd_name"])


def eject(sitting: Sitting, given: Given) -> None:
    """``vm-cd-eject``."""
    sitting.do("VBD.eject", _drive(sitting, given["vm"], empty=False))


def add_disk(sitting: Sitting, given: Given) -> None:
    """``vm-disk-add``: a new disk in a place of a machine; where the machine refuses it, nothing is left."""
    vm, place = given["vm"], given["device"]
    label = given.get("name_label") or f"{sitting.objects.send('VM.get_name_label', vm)} {place}"
    disk = {"name_label": label, "SR": given["sr"], "virtual_size": given["disk_size"], "type": "user"}
    vdi = sitting.do("VDI.create", disk)
    device = {"VM": vm, "VDI": vdi, "userdevice": place, "mode": "RW", "type": "Disk"}
    try:
        vbd = sitting.do("VBD.create", device)
    except Failure:
        sitting.do("VDI.destroy", vdi)
        raise
    if sitting.objects.send("VM.get_power_state", vm) == "Running":
        sitting.do("VBD.plug", vbd)
    sitting.answer(_ref("VDI"), [vdi])


def export_disk(sitting: Sitting, given: Given) -> None:
    """``vdi-export``."""
    query = {"vdi": given["vdi"], "format": given.get("format", "raw")}
    transfer.fetch(sitting, "/export_raw_vdi", query, given["filename"], sparse=query["format"] == "raw")


def import_disk(sitting: Sitting, given: Given) -> None:
    """``vdi-import``."""
    query = {"vdi": given["vdi"], "format": given.get("format", "raw")}
    transfer.send(sitting, "/import_raw_vdi", query, given["filename"])


def export_machine(sitting: Sitting, given: Given) -> None:
    """``vm-export``."""
    query = {"ref": given["vm"], "use_compression": "true" if given.get("compress") else "false"}
    transfer.fetch(sitting, "/export", query, given["filename"])


def import_machine(sitting: Sitting, given: Given) -> None:
    """``vm-import``."""
    query = {"restore": "true" if given.get("preserve") else "false"}
    if given.get("sr"):
        query["sr_id"] = given["sr"]
    made = transfer.send(sitting, "/import", query, given["filename"])
    sitting.answer(Shape("set", "VM ref set", parts=(_ref("VM"),)), [made])


def console(sitting: Sitting, given: Given) -> None:
    """``console``: the terminal of a machine, on this terminal."""
    found = [
        ref
        for ref in sitting.objects.send("VM.get_consoles", given["vm"])
        if sitting.objects.send("console.get_protocol", ref) in ("vt100", "VT100")
    ]
    if not found:
        raise Missing("the machine has no text console; it must be running")
    transfer.terminal(sitting, f"/console?ref={found[0]}")


_DECLARED = (
    Special("vm-shutdown", "vm", ("VM",), "Shut a machine down: ask its guest, or with force=true, pull the plug.",
            (VM, FORCE), shutdown),
    Special("vm-reboot", "vm", ("VM",), "Restart a machine: ask its guest, or with force=true, push the button.",
            (VM, FORCE), reboot),
    Special("vm-install", "vm", ("VM",),
            "Make a machine of a template, with the disks that it describes. Prints the uuid.",
            (Word("template", _ref("VM"), "of what", True),
             Word("new_name_label", STRING, "what it is to be called", True),
             Word("sr", _ref("SR"), "where its disks go; then they are copied in full")), install),
    Special("vm-uninstall", "vm", ("VM", "VBD", "VDI", "VIF"),
            "Destroy a machine, its devices, and its disks but for those that another machine has too.",
            (VM, Word("force", BOOL, "yes, really; it is also shut down", default="false")), uninstall),
    Special("vm-cd-insert", "vm", ("VBD", "VDI"), "Put a CD image into the empty drive of a machine.",
            (VM, Word("cd_name", _ref("VDI"), "name or uuid of the image", True)), insert),
    Special("vm-cd-eject", "vm", ("VBD", "VDI"), "Take the CD out of the drive of a machine.", (VM,), eject),
    Special("vm-disk-add", "vm", ("VBD", "VDI"),
            "Give a machine a new disk, at once if it is running. Prints the disk's uuid.",
            (VM, Word("sr", _ref("SR"), "where the disk goes", True),
             Word("disk_size", INT, "such as 8GiB", True),
             Word("device", STRING, "place among the disks of the machine, such as 1", True),
             Word("name_label", STRING, "what the disk is called")), add_disk),
    Special("vm-export", "vm", ("VM",), "Write a halted machine, a template or a snapshot to an XVA file.",
            (VM, FILENAME, Word("compress", BOOL, "by gzip", default="false")), export_machine),
    Special("vm-import", "vm", ("VM",), "Make a machine of an XVA file. Prints the uuid.",
            (FILENAME, Word("sr", _ref("SR"), "where its disks go; the pool's default otherwise"),
             Word("preserve", BOOL, "keep uuid and hardware addresses", default="false")), import_machine),
    Special("vdi-export", "vdi", ("VDI",), "Write the content of a disk to a file.",
            (_subject("vdi", "VDI"), FILENAME, FORMAT), export_disk),
    Special("vdi-import", "vdi", ("VDI",), "Replace the content of a disk by that of a file.",
            (_subject("vdi", "VDI"), FILENAME, FORMAT), import_disk),
    Special("console", "vm", ("VM", "console"), "Be at the terminal of a running machine. Ctrl-] leaves it.",
            (VM,), console),
)  # fmt: skip

SPECIALS: Mapping[str, Special] = {special.name: special for special in _DECLARED}
