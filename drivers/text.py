"""Text that comes from outside (another tool, a guest, a disk's header), made fit to be shown and kept."""

from __future__ import annotations


def cleaned(text: str | None, limit: int = 255) -> str:
    """The printable characters of `text`, at most `limit` of them; None is the empty text."""
    return "".join(character for character in (text or "") if character.isprintable())[:limit].strip()
