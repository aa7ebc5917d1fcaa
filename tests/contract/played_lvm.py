#!/usr/bin/env python3
"""lvm2 as libvirt and the agent call it, played where the kernel has no device mapper: a volume is a sparse file on a
loop device, a snapshot is a copy. Installed under the names of lvm2's programs, beside ``groups.json``.

What it answers is in the form of lvm2 2.03: for libvirt 9.0.0 fields between separators, for the agent JSON.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAMS = ("lvs", "vgs", "lvcreate", "lvremove", "lvchange", "lvextend", "lvrename", "vgchange", "vgscan", "pvs")
EXTENT = 4 * 2**20
VALUED = {"--separator", "--units", "--options", "-o", "--name", "-L", "--size", "--extents", "--reportformat", "-s"}
VALUED |= {"--setactivationskip"}
FOLDER = Path(__file__).resolve().parent


class Refused(Exception):
    """What lvm2 would complain of."""


def extents(size: int) -> int:
    return -(-size // EXTENT) * EXTENT


def in_bytes(text: str) -> int:
    return int(text[:-1]) * {"K": 2**10, "b": 1}[text[-1]]


class Groups:
    """The volume groups there are, and what is asked of them."""

    def __init__(self) -> None:
        self.path = FOLDER / "groups.json"
        self.all: dict[str, Any] = json.loads(self.path.read_text())

    def save(self) -> None:
        self.path.write_text(json.dumps(self.all))

    def free(self, group: str) -> int:
        return int(self.all[group]["size"]) - sum(int(one["size"]) for one in self.all[group]["volumes"].values())

    def find(self, text: str) -> tuple[str, str]:
        group, name = text.removeprefix("/dev/").split("/")
        if name not in self.all.get(group, {"volumes": {}})["volumes"]:
            raise Refused(f'Failed to find logical volume "{group}/{name}"')
        return group, name

    def make(self, group: str, name: str, size: int, origin: str = "") -> None:
        if name in self.all[group]["volumes"]:
            raise Refused(f'Logical Volume "{name}" already exists in volume group "{group}"')
        if size > self.free(group):
            raise Refused(f'Volume group "{group}" has insufficient free space')
        number = self.all[group]["made"] = self.all[group]["made"] + 1
        file = FOLDER / f"{group}-{number}"
        if origin:
            shutil.copyfile(self.all[group]["volumes"][origin]["file"], file)
        else:
            file.write_bytes(b"\xaa" * size)  # what was there before
        shown = subprocess.run(["losetup", "-f", "--show", file], check=True, capture_output=True, text=True)
        self.all[group]["volumes"][name] = {
            "size": size,
            "origin": origin,
            "file": str(file),
            "loop": shown.stdout.strip(),
            "active": True,
        }
        self.link(group, name)

    def link(self, group: str, name: str) -> None:
        Path("/dev", group, name).symlink_to(self.all[group]["volumes"][name]["loop"])

    def remove(self, group: str, name: str) -> None:
        volumes = self.all[group]["volumes"]
        for other in [other for other, volume in volumes.items() if volume["origin"] == name]:
            self.remove(group, other)
        volume = volumes.pop(name)
        Path("/dev", group, name).unlink(missing_ok=True)
        subprocess.run(["losetup", "-d", volume["loop"]], check=True)
        Path(volume["file"]).unlink()

    # --- the programs

    def lvs(self, options: dict[str, str], names: list[str]) -> None:
        if options.get("--reportformat") == "json":
            group, name = self.find(names[0])
            volume = self.all[group]["volumes"][name]
            row = {"origin": volume["origin"], "pool_lv": "", "lv_size": str(volume["size"])}
            print(json.dumps({"report": [{"lv": [row]}]}))
            return
        if options.get("-o") == "lv_name":
            print("".join(f"  {name}\n" for name in self.all[names[0]]["volumes"]), end="")
            return
        for name, volume in self.all[names[0]]["volumes"].items():
            state = "a" if volume["active"] else "-"
            attributes = f"swi-{state}-s---" if volume["origin"] else f"-wi-{state}-----"
            size = volume["size"]
            fields = [name, volume["origin"], Path(volume["file"]).name, "/dev/loop99(0)", "linear", 1, size, EXTENT]
            print("  " + options["--separator"].join(map(str, [*fields, size, attributes])))

    def vgs(self, options: dict[str, str], names: list[str]) -> None:
        if names[0] not in self.all:
            raise Refused(f'Volume group "{names[0]}" not found')
        print("  " + options["--separator"].join([str(self.all[names[0]]["size"]), str(self.free(names[0]))]))

    def lvcreate(self, options: dict[str, str], names: list[str]) -> None:
        if "--snapshot" in options:
            group, origin = self.find(names[0])
            assert options["--extents"] == "100%ORIGIN"
            self.make(group, options["--name"], self.all[group]["volumes"][origin]["size"], origin)
        else:
            self.make(names[0], options["--name"], extents(in_bytes(options["-L"])))

    def lvremove(self, options: dict[str, str], names: list[str]) -> None:
        self.remove(*self.find(names[0]))

    def lvextend(self, options: dict[str, str], names: list[str]) -> None:
        group, name = self.find(names[0])
        volume, size = self.all[group]["volumes"][name], extents(in_bytes(options["--size"]))
        if size <= volume["size"]:
            raise Refused("New size (2 extents) matches existing size (2 extents).")
        if size - volume["size"] > self.free(group):
            raise Refused("Insufficient free space: 9 extents needed, but only 1 available")
        volume["size"] = size
        if volume["origin"]:
            return  # it has more room for what changes, and is no larger
        with Path(volume["file"]).open("r+b") as file:
            file.truncate(size)
        subprocess.run(["losetup", "-c", volume["loop"]], check=True)

    def lvrename(self, options: dict[str, str], names: list[str]) -> None:
        group, old, new = names
        self.find(f"{group}/{old}")
        volumes = self.all[group]["volumes"]
        if new in volumes:
            raise Refused(f'Logical Volume "{new}" already exists in volume group "{group}"')
        Path("/dev", group, old).unlink(missing_ok=True)
        volumes[new] = volumes.pop(old)
        for volume in volumes.values():
            volume["origin"] = new if volume["origin"] == old else volume["origin"]
        if volumes[new]["active"]:
            self.link(group, new)

    def lvchange(self, options: dict[str, str], names: list[str]) -> None:
        group, name = self.find(names[0])
        volume = self.all[group]["volumes"][name]
        Path("/dev", group, name).unlink(missing_ok=True)
        volume["active"] = not {"-an", "-aln"} & options.keys()
        if volume["active"]:
            self.link(group, name)

    def nothing(self, options: dict[str, str], names: list[str]) -> None:
        """The group is always active."""

    vgchange = vgscan = nothing

    def pvs(self, options: dict[str, str], names: list[str]) -> None:
        for group in self.all:
            print(f"  /dev/loop99 {group}")


def main(program: str, arguments: list[str]) -> int:
    options: dict[str, str] = {}
    names: list[str] = []
    while arguments:
        word = arguments.pop(0)
        if word in VALUED:
            options[word] = arguments.pop(0)
        elif word.startswith("-"):
            options[word] = ""
        else:
            names.append(word)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        groups = Groups()
        try:
            getattr(groups, program)(options, names)
        except Refused as error:
            print(f"  {error}", file=sys.stderr)
            return 5
        groups.save()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
