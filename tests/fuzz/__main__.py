"""``python -m tests.fuzz [OPTIONS OF LIBFUZZER] [FOLDERS]``: looks for inputs that break the agent, guided by the code
that each input reaches. ``make fuzz SECONDS=60`` runs it with the samples of this folder.

An input that breaks it is written to a file and ends the run; ``python -m tests.fuzz FILE`` tries it again.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agent"], exclude=["agent.shell", "agent.archives"]):
    from tests.fuzz.target import Target, samples, words


def main() -> None:
    """Fuzz until libFuzzer has had enough."""
    logging.disable(logging.CRITICAL)
    target = Target()
    with tempfile.TemporaryDirectory() as folder:
        dictionary = Path(folder) / "words"
        # Escaped as C does, which JSON is near enough to for text of this kind.
        dictionary.write_text("".join(f"{json.dumps(word)}\n" for word in words()), "utf-8")
        seeds = Path(folder) / "samples"
        seeds.mkdir()
        for number, sample in enumerate(samples()):
            (seeds / str(number)).write_bytes(sample)
        replays = any(Path(word).is_file() for word in sys.argv[1:])
        more = [] if replays else [str(seeds)]
        atheris.Setup([*sys.argv, f"-dict={dictionary}", "-timeout=60", *more], target.try_out)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
