"""A data set's format: as it was said, by the file's ending, or by how its content begins."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from timbral.config.settings import Constants
from timbral.data.dataset_file import DatasetFile
from timbral.data.decompression import COMPRESSION_ENDINGS
from timbral.errors import DataError, ParameterError

__all__ = ["SUPPORTED_FORMATS", "checked_format", "ending_of", "format_of", "other_kind", "written_format"]

SUPPORTED_FORMATS: Final = tuple(ending.removeprefix(".") for ending in Constants.SUPPORTED_DATA_FORMATS)
BY_ENDING: Final = {
    **{f".{name}": name for name in SUPPORTED_FORMATS},
    ".tsv": "csv",
    ".tab": "csv",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
}
OTHERS: Final = (
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format", "an SQLite database"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1\0", "an Arrow file"),
    (b"\x80\x04\x95", "a pickle"),
    (b"\x80\x05\x95", "a pickle"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"version https://git-lfs", "a pointer of Git LFS, and not the file (git lfs pull fetches it)"),
)


def checked_format(data_format: str | None) -> str | None:
    """``data_format``.

    Raises:
        ParameterError: it is none of SUPPORTED_FORMATS.
    """
    if data_format is not None and data_format not in SUPPORTED_FORMATS:
        raise ParameterError(f"Unsupported format {data_format!r}; supported: {', '.join(SUPPORTED_FORMATS)}")
    return data_format


def written_format(name: str, data_format: str | None) -> str:
    """The format to write a file in: as it was said, else by its ending.

    Raises:
        ParameterError: it is none of SUPPORTED_FORMATS, or the ending tells none.
    """
    told = checked_format(data_format) or BY_ENDING.get(ending_of(name))
    if told is None:
        raise ParameterError(f"The ending of {name!r} tells no format; say one: {', '.join(SUPPORTED_FORMATS)}")
    return told


def ending_of(name: str) -> str:
    """The ending that tells the format: ``.csv`` of ``plays.CSV.gz``."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSION_ENDINGS else path.suffix


def format_of(file: DatasetFile, *, is_text: bool = False) -> str:
    """ "csv", "parquet" or "json", by the ending or else by how the content begins; ``is_text``: its encoding was said.

    Raises:
        DataError: it is a file of another kind.
    """
    known = BY_ENDING.get(ending_of(file.name))
    if known is not None:
        return known
    with file.open_text() as stream:
        head = stream.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    other = other_kind(head)
    is_binary = not is_text and b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if other or is_binary:
        what = other or "neither text nor parquet"
        text = f"is {what}; what is read: {', '.join(SUPPORTED_FORMATS)} (or say its format)"
        raise DataError(text, file.name)
    text_head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "json" if text_head.startswith((b"{", b"[")) else "csv"


def other_kind(head: bytes) -> str | None:
    """What a file that begins so is, if it is none that is read."""
    if head.startswith(b"ORC") and b"\0" in head:
        return "an ORC file"
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page (of an error, or to log in?)"
    return next((called for magic, called in OTHERS if head.startswith(magic)), None)
