"""Prints the sealed table: as text and HTML for people, as data for programs, as one line a message for tests.

What is printed is what is declared: a sentence that is wrong here is wrong in a class, a verb or an error.
"""

from agent.model.reference.page import html
from agent.model.reference.text import data, lines, text

__all__ = ["data", "html", "lines", "text"]
