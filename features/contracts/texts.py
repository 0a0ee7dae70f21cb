"""Texts as they are cleaned at the doors, and names and texts in SQL.

Two ids that look the same are one id: blanks and characters without a shape are taken off both
ends, and letters are composed (NFC), so that `café` typed with one character or with two is one
text. The rule is written twice: as SQL over a text column (DuckDB), and as Python.
"""

from __future__ import annotations

import hashlib
import unicodedata

# Blanks and line ends of Unicode.
_BLANKS = (
    (0x09, 0x0D),
    (0x1C, 0x20),
    (0x85, 0x85),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
)
# Zero-width blanks and joiners, marks of direction, soft hyphens, byte order marks.
_SHAPELESS = (
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFEFF, 0xFEFF),
)
# Signs with which formulas begin; spreadsheets of East Asia read the wide ones alike.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_TRIMMED = (*_BLANKS, *_SHAPELESS)
_TRIMMED_CHARACTERS = "".join(
    chr(code) for first, last in _TRIMMED for code in range(first, last + 1)
)
_TRIMMED_CLASS = "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in _TRIMMED)


def clean_text(text: str) -> str | None:
    """Return the text composed and without blanks around it, None when nothing is left.

    >>> clean_text(" a b\\t\\u200b"), clean_text("cafe\\u0301"), clean_text(" \\ufeff")
    ('a b', 'café', None)
    """
    if "\x00" in text:
        # No database keeps it; DuckDB would end the composed text there.
        return text.strip(_TRIMMED_CHARACTERS)
    return unicodedata.normalize("NFC", text.strip(_TRIMMED_CHARACTERS)) or None


def clean_sql(text: str) -> str:
    """SQL for the cleaned text, null when nothing is left. The twin of `clean_text`."""
    trimmed = f"regexp_replace({text}, '^[{_TRIMMED_CLASS}]+|[{_TRIMMED_CLASS}]+$', '', 'g')"
    composed = f"nfc_normalize({trimmed})"
    # Most texts are plain: looking is ten times quicker than trimming.
    return (
        f"CASE WHEN regexp_full_match({text}, '[!-~]([ -~]*[!-~])?') THEN {text} "
        f"WHEN contains({text}, chr(0)) THEN {trimmed} "
        f"ELSE nullif({composed}, '') END"
    )


def sql_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def sql_literal(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def sql_path(path: str) -> str:
    """Return the path of one file as SQL writes it.

    >>> sql_path("/shop*/a's.csv")
    "'/shop[*]/a''s.csv'"
    """
    return sql_literal(escape_pattern(path))


def escape_pattern(path: str) -> str:
    """Return the pattern that matches this path only; DuckDB reads `*`, `?` and `[` as patterns.

    >>> escape_pattern("/a[1]/b*")
    '/a[[]1]/b[*]'
    """
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def defuse_cell(text: str) -> str:
    """Return a text for a cell of a spreadsheet, which computes what begins like a formula.

    For files that people open: an apostrophe makes the cell a text. Files for machines stay exact.

    >>> defuse_cell("=1+1"), defuse_cell("Socks")
    ("'=1+1", 'Socks')
    """
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text


def name_column(text: str) -> str:
    """Return the text as a part of a column's name, distinct for distinct texts.

    Letters and digits of any script stay. Databases do not tell capitals in names from small
    letters, and models take no other signs; a text with either gets a digest behind it.

    >>> name_column("display"), name_column("满减"), name_column("BOGO 50%")
    ('display', '满减', 'bogo_50_e563a92e')
    """
    plain = "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
    if plain == text:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{plain}_{digest}" if plain else digest
