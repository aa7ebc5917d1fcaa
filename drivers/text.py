"""Text that comes from outside (another tool, a guest, the kernel), made fit to be shown and kept."""

from __future__ import annotations

from pathlib import Path


def cleaned(text: str | None, limit: int = 255) -> str:
    """The printable characters of `text`, at most `limit` of them; None is the empty text."""
    if text and text.isprintable():
        return text[:limit].strip()
    return "".join(character for character in (text or "") if character.isprintable())[:limit].strip()


def cleaned_lines(text: str, limit: int) -> str:
    """The lines of `text`, each cleaned, and of them the last `limit` characters."""
    lines = "\n".join(cleaned(line.expandtabs(), 4096) for line in text.splitlines())
    return lines[-limit:]


def content(path: Path) -> str:
    """What a small file of the system says; empty if there is none, or it has no answer (a card that is down)."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
