"""Texts as they are cleaned at the doors, and names and texts in SQL."""

from __future__ import annotations

# What `trim` of DuckDB takes off: the space separators of Unicode, and no line ends or tabs.
_BLANKS = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def clean_text(text: str) -> str | None:
    """Return the text without blanks around it, None when nothing is left.

    >>> clean_text(" a b "), clean_text("  ")
    ('a b', None)
    """
    return text.strip(_BLANKS) or None


def sql_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def sql_literal(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
