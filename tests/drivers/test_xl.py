"""xl: its output understood, as Xen 4.17 printed it; and the tool run without trust in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.classes.enums import DomainType, OnNormalExit, PowerState
from agent.ports import SeenDisk, SeenNic
from drivers.program import OUTPUT_BYTES
from drivers.xl import Xl, XlDomain, described, domains_in, vcpus_in

MIB = 2**20
WEB = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"

LIST = f"""\
Name                                        ID   Mem VCPUs	State	Time(s)   UUID                            Reason-Code	Security Label
Domain-0                                     0  1024     2     r-----     606.5 00000000-0000-0000-0000-000000000000        -                -
t1                                           2   128     1     --psr-     218.0 {WEB}        1                -
(null)                                       6     0     0     --p---       0.0 {OTHER}        -                -
"""  # noqa: E501 - so wide is xl's table
VCPUS = """\
Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)
Domain-0                             0     0    0   -b-     323.7  all / all
Domain-0                             0     1    0   r--     286.8  all / all
t1                                   1     0    1   r--       6.1  all / all
t1                                   1     1    -   --p       0.0  0 / all
"""
MADE = {
    "domid": 6,
    "config": {
        "c_info": {"type": "pvh", "name": "x1", "domid": 4294967295, "uuid": OTHER, "run_hotplug_scripts": "True"},
        "b_info": {
            "max_vcpus": 2,
            "avail_vcpus": [0],
            "max_memkb": 196608,
            "target_memkb": 131072,
            "sched_params": {"sched": "credit2", "weight": 256, "cap": 0},
            "kernel": "/var/lib/lab/vmlinux",
            "cmdline": "console=hvc0 quiet",
            "ramdisk": "/var/lib/lab/guest.cpio.gz",
            "type.pvh": {},
        },
        "disks": [
            {"pdev_path": "/srv/d3.raw", "vdev": "xvda", "format": "raw", "readwrite": 1},
            {"pdev_path": "/srv/cd.iso", "vdev": "hdc", "format": "raw", "is_cdrom": 1},
            {"vdev": "hdd", "format": "empty", "is_cdrom": 1},
        ],
        "nics": [
            {"devid": 1, "mac": "00:16:3E:00:02:03", "bridge": "br1", "nictype": "vif"},
            {"devid": 0, "mac": "00:16:3e:00:02:02", "bridge": "br0", "nictype": "vif"},
        ],
        "on_reboot": "restart",
    },
}


def domain(**fields: object) -> XlDomain:
    """A line of the list."""
    known = {"name": "x1", "domid": 6, "memory": 128 * MIB, "vcpus": 1, "state": "-b----", "cpu_seconds": 1.0}
    return XlDomain(**{"uuid": OTHER, **known, **fields})  # type: ignore[arg-type]


# --- understood


def test_a_list_is_understood_as_xl_prints_it() -> None:
    control, rebooting, unborn = domains_in(LIST)
    assert control == XlDomain("Domain-0", 0, 1024 * MIB, 2, "r-----", 606.5, "00000000-0000-0000-0000-000000000000")
    assert (rebooting.domid, rebooting.uuid, rebooting.cpu_seconds) == (2, WEB, 218.0)
    assert (control.settled, rebooting.settled, unborn.settled) == (True, True, False)


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        ("r-----", PowerState.RUNNING),
        ("-b----", PowerState.RUNNING),
        ("------", PowerState.RUNNING),
        ("--p---", PowerState.PAUSED),
        ("-bp---", PowerState.PAUSED),
        ("---s--", PowerState.HALTED),
        ("--psr-", PowerState.HALTED),
        ("--psc-", PowerState.HALTED),
        ("---sS-", PowerState.HALTED),
        ("-----d", PowerState.HALTED),
    ],
)
def test_six_letters_are_a_power_state(letters: str, state: PowerState) -> None:
    assert domain(state=letters).power_state is state


@pytest.mark.parametrize("name", ["web 2", "a   3   128     1     r-----      1.0", "ümläut", "x" * 200])
def test_a_name_may_have_anything_in_it(name: str) -> None:
    line = f"{name:<40} {7:>5} {128:>5} {1:>5}     -b----  {3.5:>8.1f} {WEB} {'-':>16} {'-':>16}"
    (found,) = domains_in(line)
    assert (found.name, found.domid, found.vcpus) == (name, 7, 1)


def test_what_is_no_line_of_a_domain_is_left_out() -> None:
    assert domains_in("") == domains_in("xl: error\n\n  \nNo such domain\n") == []


def test_a_label_of_the_security_module_is_understood() -> None:
    line = f"web                                          7   128     1     -b----     3.5 {WEB}        - %16s"
    assert domains_in(line % "system_u:system_r:domU_t")[0].label == "system_u:system_r:domU_t"
    assert domains_in(line % "-")[0].label == domains_in(line % "")[0].label == ""


def test_virtual_cpus_are_understood_as_xl_prints_them() -> None:
    found = {(vcpu.domid, vcpu.number): vcpu for vcpu in vcpus_in(VCPUS)}
    assert found.keys() == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert (found[1, 0].cpu, found[1, 0].seconds, found[1, 0].flags) == (1, 6.1, ("online", "running"))
    assert (found[0, 0].flags, found[1, 1].cpu, found[1, 1].flags) == (("online", "blocked"), None, ())


def test_a_domain_is_described_as_it_was_made() -> None:
    seen = described(json.dumps([MADE]), domain())
    assert seen is not None
    assert (seen.uuid, seen.name, seen.domid, seen.power_state) == (OTHER, "x1", 6, PowerState.RUNNING)
    assert (seen.domain_type, seen.VCPUs, seen.VCPUs_max) == (DomainType.PVH, 1, 2)
    assert (seen.memory, seen.memory_max) == (128 * MIB, 192 * MIB)
    assert (seen.PV_kernel, seen.PV_args) == ("/var/lib/lab/vmlinux", "console=hvc0 quiet")
    assert (seen.actions_after_shutdown, seen.actions_after_reboot) == (OnNormalExit.DESTROY, OnNormalExit.RESTART)
    assert seen.disks == (
        SeenDisk("xvda", source="/srv/d3.raw"),
        SeenDisk("hdc", cdrom=True, source="/srv/cd.iso", read_only=True),
        SeenDisk("hdd", cdrom=True, read_only=True),
    )
    assert seen.nics == (SeenNic("00:16:3e:00:02:02", "br0"), SeenNic("00:16:3e:00:02:03", "br1"))


def test_older_versions_keep_the_kernel_elsewhere() -> None:
    own = {"kernel": "/boot/k", "cmdline": "a=b", "ramdisk": "/boot/i"}
    config = {"c_info": {"type": "pv"}, "b_info": {"type.pv": own}}
    seen = described(json.dumps([{"domid": 6, "config": config}]), domain())
    assert seen is not None
    assert (seen.domain_type, seen.PV_kernel, seen.PV_ramdisk, seen.PV_args) == (
        DomainType.PV,
        "/boot/k",
        "/boot/i",
        "a=b",
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '[{"domid": 5, "config": {}}]', '[null, ["domid"]]', '{"domid": 7}'],
)
def test_what_describes_no_such_domain_is_nothing(text: str) -> None:
    assert described(text, domain()) is None


def test_a_description_of_the_wrong_shape_describes_little() -> None:
    config = {"c_info": 3, "b_info": {"max_vcpus": "x"}, "disks": {"vdev": 1}, "nics": [1, {"mac": []}]}
    seen = described(json.dumps({"domid": 6, "config": config}), domain())
    assert seen is not None
    assert (seen.disks, seen.nics, seen.VCPUs_max, seen.domain_type) == ((), (), 1, DomainType.UNSPECIFIED)


# --- run


def script(folder: Path, text: str) -> Xl:
    """An xl that is this shell script."""
    path = folder / "xl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Xl(str(path), timeout_seconds=30)


@pytest.mark.threat("T13")
def test_xl_is_given_its_arguments_one_by_one(tmp_path: Path) -> None:
    xl = script(tmp_path, f"printf '%s\\n' \"$@\" >>{tmp_path}/said; cat {tmp_path}/list")
    (tmp_path / "list").write_text(LIST)
    found = xl.list()
    assert found is not None
    assert [one.domid for one in found] == [0, 2, 6]
    assert xl.pause(7)
    assert xl.unpause(7)
    assert (tmp_path / "said").read_text().split() == ["list", "-v", "pause", "7", "unpause", "7"]


def test_a_host_without_xl_has_no_list(tmp_path: Path) -> None:
    for xl in (Xl(None), Xl(str(tmp_path / "nothing"))):
        assert xl.list() is None
        assert list(xl.vcpus()) == []
        assert xl.describe(domain()) is None
        assert not xl.pause(1)
    assert not Xl(None).there


@pytest.mark.parametrize("text", ["exit 1", f"echo '{LIST}'; exit 1", "echo nonsense", "kill -9 $$"])
def test_an_xl_that_fails_tells_nothing(tmp_path: Path, text: str) -> None:
    assert script(tmp_path, text).list() is None


def test_an_xl_that_hangs_is_ended(tmp_path: Path) -> None:
    script(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 1000")
    xl = Xl(str(tmp_path / "xl"), timeout_seconds=1)
    assert xl.list() is None
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_an_xl_that_never_stops_talking_is_not_listened_to(tmp_path: Path) -> None:
    xl = script(tmp_path, f"head -c {OUTPUT_BYTES + 1} /dev/zero; exec sleep 1000")
    xl._timeout_seconds = 2
    assert xl.list() is None


def test_a_name_that_is_no_text_is_cleaned(tmp_path: Path) -> None:
    line = f"a\\377\\033b                                   7   128     1     -b----     3.5 {WEB}  -   -"
    (found,) = script(tmp_path, f"printf '{line}\\n'").list() or []
    assert (found.name, found.domid) == ("a�b", 7)
