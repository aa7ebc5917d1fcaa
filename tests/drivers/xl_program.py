"""An xl to run in place of Xen's: it keeps CPU pools, a message buffer and a security module in a file, and prints and
ends as xl 4.17 does.

``python xl_program.py STATE COMMAND ...``. What it does is what tools/xl and libxl were read to do; where they end well
though they failed, so does this.
"""

from __future__ import annotations

import ast
import fcntl
import json
import re
import sys
from pathlib import Path
from typing import Any

SCHEDULERS = ("sedf", "credit", "credit2", "rtds", "arinc653", "null")
NOT_BUILT_IN = ("sedf", "arinc653")
_SETTING = re.compile(r'\s*(\w+)\s*=\s*("[^"\n]*"|\[\s*(?:"[^"\n]*"\s*,?\s*)*\])\s*')

State = dict[str, Any]
"""``cpus``: how many there are; ``pools``: each with name, sched, cpus; ``domains``: each with domid, name, uuid, pool;
``ring``: the message buffer; ``flask``: nothing, ``permissive`` or ``enforcing``.
"""


def new(cpus: int) -> State:
    """A host that was just booted."""
    control = {"domid": 0, "name": "Domain-0", "uuid": "00000000-0000-0000-0000-000000000000", "pool": "Pool-0"}
    return {
        "cpus": cpus,
        "pools": [{"name": "Pool-0", "sched": "credit2", "cpus": list(range(cpus))}],
        "domains": [control | {"label": "system_u:system_r:dom0_t"}],
        "ring": "(XEN) Xen version 4.17.4\n",
        "flask": "",
    }


class Failure(Exception):
    """It ends with 1, after these words on its error output."""


def pool_of(state: State, word: str) -> dict[str, Any]:
    """The pool of a name or, where the word is all digits, of a number."""
    pools: list[dict[str, Any]] = state["pools"]
    for number, pool in enumerate(pools):
        if word == str(number) or (pool["name"] == word and not word.isdecimal()):
            return pool
    raise Failure(f"unknown cpupool '{word}'")


def members(state: State, pool: dict[str, Any]) -> list[dict[str, Any]]:
    return [domain for domain in state["domains"] if domain["pool"] == pool["name"]]


def free(state: State) -> set[int]:
    return set(range(state["cpus"])) - {cpu for pool in state["pools"] for cpu in pool["cpus"]}


def cpupool_list(state: State, *options: str) -> None:
    print(f"{'Name':<19}" + ("CPU list" if options else "CPUs   Sched     Active   Domain count"))
    for pool in state["pools"]:
        count = len(pool["cpus"])
        listed = ",".join(str(cpu) for cpu in pool["cpus"])
        row = f"{count:3d} {pool['sched']:>9}       y       {len(members(state, pool)):4d}"
        print(f"{pool['name']:<19}{listed if options else row}")


def cpupool_create(state: State, *settings: str) -> None:
    given: dict[str, Any] = {}
    for line in "\n".join(settings).split("\n"):
        matched = _SETTING.fullmatch(line)
        if matched is None:
            raise Failure("command line:1: config parsing error near `" + line[:20] + "'")
        given[matched[1]] = ast.literal_eval(matched[2])
    if "name" not in given:
        raise Failure("Missing cpupool name!")
    if any(pool["name"] == given["name"] for pool in state["pools"]):
        raise Failure(f'Pool name "{given["name"]}" already exists')
    sched = given.get("sched", state["pools"][0]["sched"])
    if sched not in SCHEDULERS:
        raise Failure("Unknown scheduler")
    cpus = [int(cpu) for cpu in given.get("cpus", [])]
    for cpu in cpus:
        if cpu not in free(state):
            raise Failure(f"cpu {cpu} illegal or not free")
    print('Using config file "command line"')
    print(f"cpupool name:   {given['name']}\nscheduler:      {sched}\nnumber of cpus: {len(cpus)}")
    if sched in NOT_BUILT_IN:
        raise Failure("error on creating cpupool")
    state["pools"].append({"name": given["name"], "sched": sched, "cpus": sorted(cpus)})


def cpupool_destroy(state: State, word: str) -> None:
    pool = pool_of(state, word)
    if members(state, pool):
        raise Failure(f"Can't destroy cpupool '{word}'")
    state["pools"].remove(pool)


def cpupool_rename(state: State, word: str, name: str) -> None:
    pool = pool_of(state, word)
    for domain in members(state, pool):
        domain["pool"] = name
    pool["name"] = name


def cpupool_cpu_add(state: State, word: str, cpu: str) -> None:
    pool = pool_of(state, word)
    if int(cpu) in free(state):
        pool["cpus"] = sorted([*pool["cpus"], int(cpu)])
    else:
        print(f"some cpus may not have been added to {word}", file=sys.stderr)


def cpupool_cpu_remove(state: State, word: str, cpu: str) -> None:
    pool = pool_of(state, word)
    if int(cpu) in pool["cpus"] and (len(pool["cpus"]) > 1 or not members(state, pool)):
        pool["cpus"].remove(int(cpu))
    else:
        print(f"Some cpus may have not or only partially been removed from '{word}'.", file=sys.stderr)
        print(f"If a cpu can't be added to another cpupool, add it to '{word}' again and retry.", file=sys.stderr)


def cpupool_migrate(state: State, word: str, name: str) -> None:
    for domain in state["domains"]:
        if word in (str(domain["domid"]), domain["name"]):
            pool = pool_of(state, name)
            if not pool["cpus"]:
                raise Failure("libxl: error: libxl_cpupool.c: Error moving domain to cpupool")
            domain["pool"] = pool["name"]
            return
    raise Failure(f"unknown domain '{word}'")


def list_(state: State, option: str) -> None:
    verbose = "   UUID                            Reason-Code\tSecurity Label" if option == "-v" else "         Cpupool"
    print(f"{'Name':<40}   ID   Mem VCPUs\tState\tTime(s){verbose}")
    for domain in state["domains"]:
        line = f"{domain['name']:<40} {domain['domid']:5d} {128:5d} {1:5d}     -b----  {1.5:8.1f}"
        label = domain.get("label", "system_u:system_r:domU_t") if state["flask"] else "-"
        print(line + (f" {domain['uuid']} {'-':>8} {label:>16}" if option == "-v" else f"{domain['pool']:>16}"))


def dmesg(state: State, *options: str) -> None:
    print(state["ring"], end="")
    if options:
        state["ring"] = ""


def debug_keys(state: State, keys: str) -> None:
    for key in keys:
        state["ring"] += f"(XEN) '{key}' pressed -> something\n"


def getenforce(state: State) -> int:
    print({"": "Flask XSM Disabled", "permissive": "Permissive", "enforcing": "Enforcing"}[state["flask"]])
    return {"": -1, "permissive": 0, "enforcing": 1}[state["flask"]] & 255


COMMANDS = {
    "cpupool-list": cpupool_list,
    "cpupool-create": cpupool_create,
    "cpupool-destroy": cpupool_destroy,
    "cpupool-rename": cpupool_rename,
    "cpupool-cpu-add": cpupool_cpu_add,
    "cpupool-cpu-remove": cpupool_cpu_remove,
    "cpupool-migrate": cpupool_migrate,
    "list": list_,
    "dmesg": dmesg,
    "debug-keys": debug_keys,
    "getenforce": getenforce,
}


def main(path: str, command: str, *arguments: str) -> int:
    """Do it with the state in the file."""
    with Path(path).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        try:
            code = COMMANDS[command](state, *arguments)  # type: ignore[operator]
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 1
        file.seek(0)
        json.dump(state, file)
        file.truncate()
        return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
