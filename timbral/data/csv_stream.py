"""A csv file's bytes as Arrow is to see them: UTF-8, from the first row on, one byte between fields, no quote
misplaced."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from timbral.data.csv_form import CsvForm
from timbral.data.csv_records import next_record
from timbral.data.dataset_file import DatasetFile
from timbral.data.read_options import ReadOptions
from timbral.data.text_decoding import decoder_of
from timbral.errors import DataError

__all__ = ["CsvStream", "MisplacedQuoteError", "cleaned_chunks", "one_byte_separator"]

CHUNK_BYTES: Final = 2**20
MOST_LINE_BYTES: Final = 8 * 2**20
STAND_IN: Final = b"\x1f"
"""Between fields in place of a separator of several characters; ASCII's own character for it."""
QUOTE, LINE_FEED, RETURN = 34, 10, 13


class MisplacedQuoteError(Exception):
    """A quote that is malformed or would join rows; csv_problem says where."""


class CsvStream:
    """A binary file over chunks, for Arrow."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._waiting = bytearray()
        self.closed = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._waiting) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._waiting += chunk
        n_bytes = len(self._waiting) if size < 0 else min(size, len(self._waiting))
        data = bytes(self._waiting[:n_bytes])
        del self._waiting[:n_bytes]
        return data

    def close(self) -> None:
        self.closed = True


def one_byte_separator(form: CsvForm) -> bytes:
    """What stands between fields in ``cleaned_chunks``."""
    return form.separator.encode() if len(form.separator) == 1 else STAND_IN


def cleaned_chunks(
    file: DatasetFile, stream: Any, form: CsvForm, options: ReadOptions, *, check_quotes: bool = True
) -> Iterator[bytes]:
    """The rows of ``stream`` as bytes; the text stays as it is where it is not in the encoding (csv_problem says
    where).

    Raises:
        MisplacedQuoteError: with ``check_quotes``.
        DataError: a character is not in the encoding, or stands for the separator.
    """
    chunks = _without_head(_utf8(file, stream, options), form.n_skipped)
    if len(form.separator) > 1:
        chunks = _with_one_byte(file, chunks, form.separator.encode())
    if form.quoted and check_quotes:
        chunks = _checked(chunks, one_byte_separator(form), len(form.header), trusted=bool(options.quoted))
    return chunks


def _utf8(file: DatasetFile, stream: Any, options: ReadOptions) -> Iterator[bytes]:
    decode = None if options.is_utf8 else decoder_of(options.encoding)
    is_first = True
    while True:
        data = stream.read(CHUNK_BYTES)
        if decode is None:
            chunk = data
        else:
            try:
                chunk = decode(data, not data).encode()
            except UnicodeError as error:
                raise DataError(f"is not in the encoding {options.encoding}: {error}", file.name) from None
        if is_first:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
            is_first = False
        if chunk:
            yield chunk
        if not data:
            return


def _without_head(chunks: Iterator[bytes], n_bytes: int) -> Iterator[bytes]:
    for chunk in chunks:
        if n_bytes >= len(chunk):
            n_bytes -= len(chunk)
            continue
        yield chunk[n_bytes:] if n_bytes else chunk
        n_bytes = 0


def _with_one_byte(file: DatasetFile, chunks: Iterator[bytes], separator: bytes) -> Iterator[bytes]:
    left = b""
    for chunk in chunks:
        data = left + chunk
        if STAND_IN in data:
            raise DataError(
                "has the character U+001F, which cannot be read with a separator of several characters", file.name
            )
        # A separator may go on in the next chunk, or begin with the character that it ends with.
        n_kept = next((n for n in range(len(separator) - 1, 0, -1) if data.endswith(separator[:n])), 0)
        while n_kept and data.count(separator) != data[: len(data) - n_kept].count(separator):
            n_kept -= 1
        left = data[len(data) - n_kept :]
        yield data[: len(data) - n_kept].replace(separator, STAND_IN)
    if left:
        yield left.replace(separator, STAND_IN)


def _checked(chunks: Iterator[bytes], separator: bytes, n_columns: int, *, trusted: bool) -> Iterator[bytes]:
    """The same bytes, a row never cut in two while quotes are about."""
    left = b""
    chunk = next(chunks, None)
    while chunk is not None:
        following = next(chunks, None)
        data = left + chunk
        is_end = following is None
        if b'"' not in data:
            cut = len(data) if is_end else max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        else:
            cut = _end_of_good(data, separator, n_columns, trusted=trusted, is_end=is_end)
        if not cut and len(data) > MOST_LINE_BYTES:
            cut = len(data)  # Arrow refuses such a row
        yield data[:cut]
        left = data[cut:]
        chunk = following
    if left:
        yield left


def _end_of_good(data: bytes, separator: bytes, n_columns: int, *, trusted: bool, is_end: bool) -> int:
    """Where the last whole row of ``data`` ends; every quote before is where it belongs, or a plain character."""
    last_line_end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    done = 0
    for start in _odd_lines(data, separator):
        if start < done:
            continue
        if start >= last_line_end and not is_end:
            break
        record = next_record(data, start, separator, n_columns, quoted=True, trusted=trusted, is_end=is_end)
        if record is None:
            return start
        if record.problem is not None:
            raise MisplacedQuoteError(record.problem)
        done = record.end
    return len(data) if is_end else last_line_end


def _odd_lines(data: bytes, separator: bytes) -> list[int]:
    """Where the lines begin whose quotes are not plainly around whole fields of that very line."""
    codes = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(codes == QUOTE)
    ends = np.flatnonzero((codes == LINE_FEED) | (codes == RETURN))
    edges = np.array([ord(separator), LINE_FEED, RETURN], np.uint8)
    padded = np.concatenate([[LINE_FEED], codes, [LINE_FEED]]).astype(np.uint8)
    line = np.searchsorted(ends, quotes)
    is_first = np.ones(len(quotes), dtype=bool)
    is_first[1:] = line[1:] != line[:-1]
    firsts = np.flatnonzero(is_first)
    nth = np.arange(len(quotes)) - firsts[np.cumsum(is_first) - 1]
    beside = np.zeros(len(quotes) + 1, dtype=bool)
    beside[1:-1] = np.diff(quotes) == 1
    opens = np.isin(padded[quotes], edges) | beside[:-1]
    closes = np.isin(padded[quotes + 2], edges) | beside[1:]
    good = np.where(nth % 2 == 0, opens, closes)
    is_last = np.ones(len(quotes), dtype=bool)
    is_last[:-1] = is_first[1:]
    good &= ~is_last | (nth % 2 == 1)
    odd = np.unique(line[~good])
    starts: list[int] = [int(ends[at - 1]) + 1 if at else 0 for at in odd]
    return starts
