"""The files of a data set: one, those of a folder (as Spark and Hive write them), or those of a zip archive."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import ending_of
from timbral.data.decompression import first_line
from timbral.data.presets import PRESETS, Preset
from timbral.errors import DataError

__all__ = ["Part", "dataset_files", "dataset_parts", "is_folder"]

NO_DATA: Final = r"(?i)^(readme|license|licence|copying|notice|citation|changelog|checksum|md5)|\.(md|pdf|html?|crc|md5|sha\d*|docx?)$"
MOST_PARTS: Final = 100_000
TABLES: Final = {"_delta_log": "a Delta Lake table", ".hoodie": "a Hudi table"}
HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """A file, and the columns that the folders it lies in say: ``year=2026/part-0.parquet``."""

    file: DatasetFile
    partitions: dict[str, str | None] = field(default_factory=dict)


def is_folder(file: DatasetFile) -> bool:
    """Whether ``file`` is a folder; False where there is nothing."""
    if file.member is not None:
        return False
    if file.filesystem is None:
        return "\0" not in file.path and os.path.isdir(file.path)  # noqa: PTH112 - a path of bytes that are no text, too
    try:
        return bool(file.filesystem.get_file_info(file.path).type == fs.FileType.Directory)
    except (OSError, pa.ArrowException):
        return False


def dataset_parts(file: DatasetFile, preset: Preset | None = None) -> list[Part]:
    """The files of ``file`` in the order of their names, which is one where it is neither a folder nor a zip.

    What begins with "_" or "." is none of them, nor is documentation. Where a preset is meant, or names tell one, just
    its own files.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: nothing is in it, or files of several kinds, which it says; a folder in it may not be read, or is a
            link; it is a table with a past.
    """
    folder = is_folder(file)
    if folder:
        names = sorted(_names_in_folder(file))
        _refuse_tables(names, file)
    elif not _is_zip(file):
        return [Part(file)]
    else:
        names = sorted(_names_in_zip(file))
    names = [name for name in names if not _is_hidden(name)]
    chosen = _chosen(names, file, preset, "folder" if folder else "zip archive")
    return [Part(_below(file, name, folder), _partitions(name)) for name in chosen]


def dataset_files(file: DatasetFile) -> list[DatasetFile]:
    """Every file below ``file`` where it is a folder, else ``file`` itself: what may change when the data set does."""
    if not is_folder(file):
        return [file]
    return [_below(file, name, folder=True) for name in sorted(_names_in_folder(file)) if not _is_hidden(name)]


def _below(file: DatasetFile, name: str, folder: bool) -> DatasetFile:
    called = f"{file.name.rstrip('/')}/{name}"
    if not folder:
        return replace(file, name=called, member=name)
    return replace(file, name=called, path=f"{file.path.rstrip('/')}/{name}")


def _names_in_folder(file: DatasetFile) -> Iterable[str]:
    if file.filesystem is None:

        def refuse(error: OSError) -> None:
            problem = error.strerror or type(error).__name__
            raise DataError(f"a folder in it may not be read: {error.filename}: {problem}", file.name)

        for folder, folders, files in os.walk(file.path, onerror=refuse):
            folders.sort()
            below = os.path.relpath(folder, file.path)
            for name in folders:
                # What os.walk leaves out without a word would be missing in the model.
                if os.path.islink(os.path.join(folder, name)) and not _is_hidden(name):  # noqa: PTH114, PTH118 - as above
                    linked = name if below == "." else f"{below}/{name}"
                    raise DataError(f"has a link to a folder in it, {linked}, which is not followed", file.name)
            for name in files:
                yield name if below == "." else f"{below}/{name}"
        return
    base = file.path.rstrip("/")
    for info in file.filesystem.get_file_info(fs.FileSelector(base, recursive=True)):
        if info.type == fs.FileType.File and info.size:
            yield info.path[len(base) + 1 :]


def _is_zip(file: DatasetFile) -> bool:
    if file.member is not None:
        return False
    with file.open() as opened:
        return opened.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _names_in_zip(file: DatasetFile) -> list[str]:
    with file.open() as opened:
        try:
            archive = zipfile.ZipFile(opened)
            infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"its compressed bytes are damaged or cut off: {first_line(error)}", file.name) from None
    names = [info.filename for info in infos if not info.is_dir() and info.file_size]
    if "[Content_Types].xml" in names:
        raise DataError("is an Excel workbook: save it as csv", file.name)
    return [name for name in names if not name.startswith("__MACOSX/")]


def _refuse_tables(names: list[str], file: DatasetFile) -> None:
    """A table's folder holds files of its past, too: read as they lie, rows that were rewritten would count twice."""
    for name in names:
        table = next((TABLES[part] for part in name.split("/") if part in TABLES), None)
        if table is not None:
            text = f"is {table}, whose folder holds rows of its past, too: export what it holds now, as parquet"
            raise DataError(text, file.name)


def _is_hidden(name: str) -> bool:
    # A column's folder may begin so (_year=2026), a marker such as _SUCCESS or _temporary may not.
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in name.split("/"))


def _chosen(names: list[str], file: DatasetFile, preset: Preset | None, kind: str) -> list[str]:
    for one in [preset] if preset else PRESETS.values():
        own = [name for name in names if _is_of(name, one)]
        if own:
            return own
    names = [name for name in names if not re.search(NO_DATA, name.rsplit("/", 1)[-1])]
    if not names:
        raise DataError(f"is a {kind} without data files", file.name)
    if len(names) > MOST_PARTS:
        raise DataError(f"is a {kind} of {len(names)} files; at most {MOST_PARTS} are read", file.name)
    kinds = {ending_of(name): name for name in reversed(names)}
    if len(kinds) > 1:
        shown = ", ".join(sorted(kinds.values())[:5])
        raise DataError(f"is a {kind} with files of several kinds ({shown}): say which one", file.name)
    return names


def _is_of(name: str, preset: Preset) -> bool:
    return any(fnmatch(name, pattern) or fnmatch(name.rsplit("/", 1)[-1], pattern) for pattern in preset.files)


def _partitions(name: str) -> dict[str, str | None]:
    folders = [part.partition("=") for part in name.split("/")[:-1] if "=" in part]
    return {unquote(key): None if value == HIVE_NULL else unquote(value) for key, _, value in folders}
