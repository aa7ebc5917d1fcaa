"""The published API is the one in tests/golden/api.txt, one line a message: it changes only on purpose.

After a change on purpose write it anew, and read the difference before it is committed:
``XEN_HOST_AGENT_GOLDEN=write pytest tests/agent/test_golden_api.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.model import reference
from tests.door import sealed

GOLDEN = Path(__file__).parents[1] / "golden" / "api.txt"


def test_the_api_is_the_published_one() -> None:
    lines = list(reference.lines(sealed()))
    if os.environ.get("XEN_HOST_AGENT_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("\n".join(lines) + "\n", "utf-8")
    assert GOLDEN.read_text("utf-8").splitlines() == lines
