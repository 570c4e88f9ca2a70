"""The rows of a csv file by its own rules, for what Arrow reads without a word: quotes that are not where quotes
belong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["Record", "next_record"]

MOST_RECORD_BYTES: Final = 2**20
LINE_ENDS: Final = b"\r\n"
NEVER_CLOSED: Final = "has a quote that is never closed"
BEHIND: Final = "has something behind a field's closing quote"
SPACED: Final = "has a space before a field's opening quote"
JOINS: Final = "and the rows after it look like rows of their own, but a quote makes them one"


@dataclass(frozen=True)
class Record:
    """A row: its fields without quotes, where it ends, and what is wrong with its quotes."""

    fields: list[bytes]
    end: int
    problem: str | None = None


@lru_cache
def _patterns(separator: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    stop = re.escape(separator)
    return re.compile(rb'"((?:[^"]|"")*+)"'), re.compile(rb"[^\r\n" + stop + rb"]*")


def next_record(
    data: bytes, at: int, separator: bytes, n_columns: int, *, quoted: bool, trusted: bool, is_end: bool
) -> Record | None:
    """The row that begins at ``at``; None where ``data`` does not hold all of it.

    Args:
        data: the file from somewhere on.
        at: where a row begins.
        separator: one byte.
        n_columns: of the header.
        quoted: whether quotes are more than characters.
        trusted: whether a quoted field may have lines that look like rows of their own.
        is_end: whether the file ends where ``data`` ends.
    """
    in_quotes, plain = _patterns(separator)
    fields: list[bytes] = []
    lines_over: list[tuple[int, int, int]] = []
    place = at
    while True:
        if quoted and data[place : place + 1] == b'"':
            match = in_quotes.match(data, place)
            if match is None or (match.end() == len(data) and not is_end):
                if is_end or len(data) - at > MOST_RECORD_BYTES:
                    return Record(fields, len(data), NEVER_CLOSED)
                return None
            if data[match.end() : match.end() + 1] not in (separator, b"\r", b"\n", b""):
                return Record(fields, match.end(), BEHIND)
            if b"\n" in match[1] or b"\r" in match[1]:
                lines_over.append((len(fields), match.start(1), match.end(1)))
            fields.append(match[1].replace(b'""', b'"'))
        else:
            match = plain.match(data, place)
            assert match is not None  # noqa: S101 - the pattern matches nothing, too
            if quoted and match[0][:1] == b" " and match[0].lstrip(b" ")[:1] == b'"':
                return Record(fields, match.end(), SPACED)
            fields.append(match[0])
        place = match.end()
        if place == len(data) and not is_end:
            return None
        if data[place : place + 1] != separator:
            break
        place += 1
    end = place + (2 if data[place : place + 2] == b"\r\n" else 1)
    if not trusted:
        for n_before, start, stop in lines_over:
            if _joins_rows(data[start:stop], separator, n_before, len(fields) - n_before - 1, n_columns):
                return Record(fields, end, JOINS)
    return Record(fields, end)


def _joins_rows(text: bytes, separator: bytes, n_before: int, n_after: int, n_columns: int) -> bool:
    """Whether the first and the last line of a quoted field would be whole rows if the quotes were plain characters."""
    lines = re.split(rb"\r\n|\n|\r", text)
    first = n_before + 1 + lines[0].count(separator)
    last = lines[-1].count(separator) + 1 + n_after
    return first == n_columns == last
