"""The form of a csv file: its separator, its quoting, its header, where its rows begin."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from timbral.data.column_names import is_item_line, item_lines
from timbral.data.column_words import are_names
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import other_kind
from timbral.data.presets import Preset, preset_of_lines
from timbral.data.read_options import ReadOptions
from timbral.data.text_decoding import decoder_of
from timbral.errors import DataError

__all__ = ["CsvForm", "csv_form"]

MOST_HEADER_BYTES: Final = 2**20
LOOKED_AT_BYTES: Final = 2**16
LOOKED_AT_LINES: Final = 50
SEPARATORS: Final = ("::", ", ", "\t", ",", ";", "|", "\x01", " ")
"""What a separator may be that is not said; of two that fit as well the first."""
LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")


@dataclass(frozen=True)
class CsvForm:
    """Attributes:
    header: the columns' names, as they are there.
    separator: one character or several.
    quoted: whether a field in quotes may hold separators and line ends.
    preset: the form that it has, where it was said or the lines tell.
    n_skipped: bytes before the first row, as UTF-8 without byte-order mark.
    sample: the first lines, the header among them.
    """

    header: list[str]
    separator: str
    quoted: bool
    preset: Preset | None
    n_skipped: int
    sample: list[str]

    @property
    def names(self) -> list[str]:
        """``header`` with every name once: an empty one and a repeated one as pandas calls them."""
        names: list[str] = []
        for at, name in enumerate(self.header):
            unique, n = name or f"Unnamed: {at}", 0
            while unique in names:
                n += 1
                unique = f"{name or f'Unnamed: {at}'}.{n}"
            names.append(unique)
        return names

    def cells(self, column: str) -> list[str]:
        """What ``column`` holds in the first rows, as far as a line is a row."""
        at = self.names.index(column)
        rows = (_split(line, self.separator) for line in self.sample)
        return [row[at].strip() for row in rows if len(row) == len(self.header) and row != self.header]


def csv_form(file: DatasetFile, options: ReadOptions) -> CsvForm:
    """What ``options`` and the beginning of ``file`` say.

    Raises:
        DataError: it is empty, another format, not in the encoding, or its header has no end.
    """
    text, is_cut = _head_text(file, options)
    lines = LINE.findall(text)
    if re.match(r"\s*(\{|\[\s*\{)", text):
        raise DataError('is json, not csv: say format="json"', file.name)
    start = 0
    separator = options.separator
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start == len(lines):
        raise DataError("is empty", file.name)
    told = re.fullmatch(r"(?i)sep=(.|\\t)[\r\n]*", lines[start])
    if told:  # a line that Excel writes and reads
        separator = separator or told[1].replace("\\t", "\t")
        start += 1
    sample = [line.rstrip("\r\n") for line in lines[start : start + LOOKED_AT_LINES] if line.strip()]
    if is_cut and len(lines) <= start + LOOKED_AT_LINES and len(sample) > 1:
        sample.pop()
    preset = options.named_preset
    if preset is None and options.may_be_a_preset and separator in (None, ",") and not _has_wanted(sample, options):
        preset = preset_of_lines(sample)
    if preset is not None:
        options = options.like(preset)
        separator = options.separator
    if separator is None:
        separator = _likely_separator(sample, options, file.name)
    quoted = _is_quoted(options, separator)
    columns = options.columns
    if columns is not None:
        first = _first_row(lines[start:], separator, quoted, file.name)[0]
        if len(first) != len(columns):
            if is_item_line(first):
                raise item_lines(first[0], file.name)
            text = f"columns names {len(columns)} columns, {list(columns)}, but its first row has {len(first)}"
            raise DataError(text, file.name)
        if [cell.strip() for cell in first] == list(columns) or are_names(first):
            # As a row of data it would be a user more, and make text of ints.
            text = f"has a header, {first[:8]}, and columns is for files without: say which are which with user_col"
            raise DataError(f"{text} and item_col (--user-col, --item-col)", file.name)
        return CsvForm(list(columns), separator, quoted, preset, _n_bytes(lines[:start]), sample)
    header, n_lines = _first_row(lines[start:], separator, quoted, file.name)
    if is_cut and start + n_lines >= len(lines) - 1:
        raise DataError(f"its header has no end in the first {MOST_HEADER_BYTES} bytes", file.name)
    header = [name.strip() for name in header]
    return CsvForm(header, separator, quoted, preset, _n_bytes(lines[: start + n_lines]), sample)


def _head_text(file: DatasetFile, options: ReadOptions) -> tuple[str, bool]:
    """The first characters of the file without a byte-order mark, and whether there are more."""
    with file.open_text() as stream:
        head = _head(stream)
        is_cut = bool(stream.read(1))
    if head.startswith(b"PAR1"):
        raise DataError('is a parquet file, not csv: say format="parquet"', file.name)
    other = other_kind(head)
    if other is not None:
        raise DataError(f"is {other}, not csv", file.name)
    if not options.is_utf8:
        try:
            text = decoder_of(options.encoding)(head, False)
        except UnicodeError as error:
            raise DataError(f"is not in the encoding {options.encoding}: {error}", file.name) from None
        return text.removeprefix("\ufeff"), is_cut
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise DataError('is UTF-32; save it as UTF-8, or say encoding="utf-32" (--encoding)', file.name)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:200].count(b"\0") > 20:
        raise DataError('is UTF-16; save it as UTF-8, or say encoding="utf-16" (--encoding)', file.name)
    head = head.removeprefix(codecs.BOM_UTF8)
    try:
        return head.decode(), is_cut
    except UnicodeDecodeError as error:
        # What comes behind the header is checked when it is read; here it may be a character that the cut went through.
        good = head[: error.start].decode()
        if not re.search(r"[\r\n]", good.lstrip()):
            text = (
                'its header is not valid UTF-8; save it as UTF-8, or say its encoding: encoding="latin-1" (--encoding)'
            )
            raise DataError(text, file.name) from None
        return good, True


def _head(stream: Any) -> bytes:
    """As much of the beginning as tells the form: all that is looked at, or MOST_HEADER_BYTES where lines are that
    long."""
    head = b""
    while len(head) < MOST_HEADER_BYTES and (part := stream.read(min(LOOKED_AT_BYTES, MOST_HEADER_BYTES - len(head)))):
        head += part
        if len(head) >= LOOKED_AT_BYTES and max(head.count(b"\n"), head.count(b"\r")) > 2 * LOOKED_AT_LINES:
            break
    return head


def _is_quoted(options: ReadOptions, separator: str) -> bool:
    if options.quoted is not None:
        return options.quoted
    return len(separator) == 1 and separator not in "\t\x01"


def _has_wanted(sample: Sequence[str], options: ReadOptions) -> bool:
    wanted = [options.user_col or "user_id", options.item_col or "item_id"]
    return any(set(wanted) <= set(_split(sample[0], separator)) for separator in SEPARATORS)


def _likely_separator(sample: Sequence[str], options: ReadOptions, name: str) -> str:
    """The separator that the wanted columns appear with, or else the one that makes most columns, as many in each
    row."""
    wanted = {col for col in (options.user_col, options.item_col, options.value_col, options.time_col) if col}
    best, best_score = ",", (0, False, 1)
    for separator in SEPARATORS:
        rows = [_split(line, separator) for line in sample]
        n_columns = len(rows[0])
        if n_columns == 1 or (separator == ", " and any('"' in line for line in sample)):
            continue
        n_wanted = len(wanted & {cell.strip() for cell in rows[0]}) if options.columns is None else 0
        fits = options.columns is None or len(options.columns) == n_columns
        score = (n_wanted, fits and all(len(row) == n_columns for row in rows), n_columns)
        if name.lower().endswith((".tsv", ".tab")) and separator == "\t":
            score = (n_wanted + 1, *score[1:])
        if score > best_score:
            best, best_score = separator, score
    return best


def _split(line: str, separator: str) -> list[str]:
    if len(separator) > 1 or separator in "\t\x01":
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=separator != " "), [line])
    except csv.Error:  # a field of 128 kB
        return line.split(separator)


def _first_row(lines: Sequence[str], separator: str, quoted: bool, name: str) -> tuple[list[str], int]:
    """The first row that is not empty, and how many lines it ends after."""
    n_lines = 0

    def counted() -> Iterator[str]:
        nonlocal n_lines
        for line in lines:
            n_lines += 1
            yield line

    if not quoted:
        row = next((line.rstrip("\r\n") for line in counted() if line.strip("\r\n")), "")
        return row.split(separator), n_lines
    try:
        rows = csv.reader(counted(), delimiter=separator, skipinitialspace=separator != " ")
        cells = next((row for row in rows if row), [])
    except csv.Error as error:
        raise DataError(f"its header cannot be read: {error}", name) from None
    return cells, n_lines


def _n_bytes(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) for line in lines)
