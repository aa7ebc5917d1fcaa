"""The templates that a first start offers: halted machines that cannot be started, to be cloned and provisioned.

Each is made once in the life of a store. Which were is noted, so that one that a client deleted or renamed stays so,
and one that this host could not have before (UEFI firmware was installed since) comes when it can. Clients expect of
one ``other_config:disks`` and ``recommendations`` as xapi writes them, and Terraform's provider fails without some keys
of ``platform`` and ``HVM_boot_params``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.classes import VM, Host, Pool
from agent.classes.devices import CARDS, PLACES
from agent.classes.enums import DomainType
from agent.observer.domains import make_parts
from agent.store.store import Store

GIB = 2**30
MIB = 2**20
MARK = "default_template"
"""The key of other_config by which xapi's clients tell a default template; a copy does not have it."""
ORIGIN = "base_template_name"
"""The key of other_config in which a copy names the default template that it came from."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """What one template says. Sizes in bytes."""

    key: str
    """Its name in the note of those that were made; also its reference_label."""
    name: str
    description: str
    domain_type: DomainType
    memory: int = GIB
    memory_least: int = 128 * MIB
    disk: int = 0
    """Of its one disk, the system's; 0 for none."""
    firmware: str = ""
    """``bios`` or ``uefi`` for an HVM guest."""
    platform: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    """Of other_config."""


_SHARED = {"cores-per-socket": "1", "acpi": "1", "apic": "true", "pae": "true", "secureboot": "false"}
_HVM = {**_SHARED, "hpet": "true", "vga": "std"}

TEMPLATES = (
    Template(
        key="generic-pvh",
        name="Generic PVH",
        description="A Linux guest without emulated hardware, whose kernel pygrub finds on its disk. The usual choice.",
        domain_type=DomainType.PVH,
        disk=10 * GIB,
        platform=_SHARED,
        notes={"linux_template": "true"},
    ),
    Template(
        key="generic-pv",
        name="Generic PV (pygrub)",
        description="A paravirtualised guest, for hosts without hardware virtualisation. pygrub finds its kernel.",
        domain_type=DomainType.PV,
        disk=10 * GIB,
        platform=_SHARED,
        notes={"linux_template": "true"},
    ),
    Template(
        key="generic-hvm-bios",
        name="Generic HVM (BIOS)",
        description="A guest with emulated hardware that boots by BIOS from its disk, or else from a CD.",
        domain_type=DomainType.HVM,
        disk=10 * GIB,
        firmware="bios",
        platform=_HVM,
        notes={"install-methods": "cdrom"},
    ),
    Template(
        key="generic-hvm-uefi",
        name="Generic HVM (UEFI)",
        description="A guest with emulated hardware that boots by UEFI from its disk, or else from a CD.",
        domain_type=DomainType.HVM,
        disk=10 * GIB,
        firmware="uefi",
        platform=_HVM,
        notes={"install-methods": "cdrom"},
    ),
    Template(
        key="other-install-media",
        name="Other install media",
        description="An empty guest with emulated hardware and no disk, for systems that are installed from a CD.",
        domain_type=DomainType.HVM,
        firmware="bios",
        platform=_HVM,
        notes={"install-methods": "cdrom"},
    ),
)


def offer(store: Store) -> None:
    """Make the templates that were never made here and that this host can have."""
    with store.transaction():
        pool, host = store.only(Pool), store.only(Host)
        made = pool.templates_made
        for template in TEMPLATES:
            if template.key not in made and (template.firmware != "uefi" or host.uefi):
                _make(store, template)
                made = (*made, template.key)
        pool.templates_made = made


def _make(store: Store, template: Template) -> None:
    hvm = template.domain_type is DomainType.HVM
    vm = VM(
        name_label=template.name,
        name_description=template.description,
        is_a_template=True,
        domain_type=template.domain_type,
        memory_static_min=template.memory_least,
        memory_dynamic_min=template.memory,
        memory_dynamic_max=template.memory,
        memory_static_max=template.memory,
        HVM_boot_policy="BIOS order" if hvm else "",
        # Terraform's provider reads both keys of every machine, whatever its kind.
        HVM_boot_params={"order": "cdn", "firmware": template.firmware or "bios"},
        PV_bootloader="" if hvm else "pygrub",
        platform=template.platform,
        other_config={MARK: "true", **template.notes, **_disks(template)},
        recommendations=_recommendations(template),
        reference_label=template.key,
    )
    vm.is_default_template = vm.ours = True
    store.add(vm)
    make_parts(store, vm)


def _disks(template: Template) -> Mapping[str, str]:
    """other_config:disks: what VM.provision makes, in the pool's default storage."""
    if not template.disk:
        return {}
    disk = f'<disk device="0" size="{template.disk}" sr="" bootable="true" type="system"/>'
    return {"disks": f"<provision>{disk}</provision>"}


def _recommendations(template: Template) -> str:
    """Limits for those who draw sliders, in xapi's XML: what the agent and Xen can do for such a guest at most."""
    hvm = template.domain_type is DomainType.HVM
    limits = [
        f'<restriction field="memory-static-min" min="{template.memory_least}"/>',
        f'<restriction field="vcpus-max" max="{512 if template.domain_type is DomainType.PV else 128}"/>',
        f'<restriction property="number-of-vbds" max="{PLACES}"/>',
        f'<restriction property="number-of-vifs" max="{CARDS}"/>',
    ]
    if hvm:
        limits += [
            f'<restriction field="supports-{firmware}" value="{"yes" if firmware == template.firmware else "no"}"/>'
            for firmware in ("bios", "uefi")
        ]
    return f"<restrictions>{''.join(limits)}</restrictions>"
