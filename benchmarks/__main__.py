"""``python -m benchmarks``: runs the lines that were chosen and prints the table. It reports; it never fails."""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

from benchmarks import (
    lines_calls,
    lines_disks,
    lines_events,
    lines_machines,
    lines_process,
    lines_records,
    lines_storage,
    report,
)
from benchmarks.lab import FOLDER, Lab
from benchmarks.rows import Failed, Line, NotHere, Row

LINES: tuple[Line, ...] = (
    *lines_records.LINES,
    *lines_calls.LINES,
    *lines_calls.LOGIN_LINES,
    *lines_records.INSIDE_LINES,
    *lines_calls.INSIDE_LINES,
    *lines_machines.INSIDE_LINES,
    *lines_records.STATE_LINES,
    *lines_machines.LINES,
    *lines_events.LINES,
    *lines_process.LINES,
    *lines_storage.LINES,
    *lines_events.IDLE_LINES,
    *lines_disks.LINES,
)
"""In the order in which they are measured: those that look inside one after the other."""


def _chosen(text: str) -> set[str]:
    numbers = {number.strip() for number in text.split(",") if number.strip()}
    unknown = numbers - {line.number for line in LINES}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no line {', '.join(sorted(unknown))}; --list shows them")
    return numbers


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    made.add_argument("--only", type=_chosen, metavar="N,N", help="measure these lines only, such as 1,1a,9")
    made.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, no measurement")
    made.add_argument("--list", action="store_true", help="list the lines and measure nothing")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every round's value there too")
    made.add_argument(
        "--folder", type=Path, default=Path(FOLDER), help="where the agents' state goes: on a disk (%(default)s)"
    )
    return made


def _row(lab: Lab, line: Line) -> Row:
    lab.say(f"{line.number}: {line.title}")
    try:
        return Row(line, line.measure(lab))
    except NotHere as reason:
        return Row(line, None, f"not measured: {reason}")
    except (Failed, OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        return Row(line, None, f"failed: {error or type(error).__name__}")


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """As they are numbered: 2a after 2, 12 after 9."""
    return sorted(rows, key=lambda row: (int(row.line.number.rstrip(ascii_lowercase)), row.line.number))


def main() -> None:
    """Run one command line."""
    args = parser().parse_args()
    lines = [line for line in LINES if args.only is None or line.number in args.only]
    if args.list:
        for row in _sorted([Row(line, None) for line in lines]):
            print(f"{row.line.number:4} {row.line.title}")
        return
    # Whoever ends the run ends its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    with Lab(quick=args.quick, folder=args.folder) as lab:
        rows = _sorted([_row(lab, line) for line in lines])
        rounds = lab.rounds
    print(report.table(rows))
    if args.json is not None:
        setting = report.Setting(
            platform.python_version(), platform.platform(), rounds, args.quick, round(time.monotonic() - begin, 1)
        )
        report.write_json(args.json, rows, setting)


if __name__ == "__main__":
    main()
