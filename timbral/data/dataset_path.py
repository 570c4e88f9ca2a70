"""From what a message calls its data set to a file or a folder that may be read."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError, DatasetNotFoundError

__all__ = ["resolve_dataset"]

MOST_SHOWN = 10
_URI = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def resolve_dataset(dataset: str, data_dir: str | os.PathLike[str], uri_prefixes: Sequence[str] = ()) -> DatasetFile:
    """The file that ``dataset`` names, if a message may name it.

    Args:
        dataset: a path below ``data_dir``, or a URI under one of ``uri_prefixes``.
        data_dir: folder; links in the path are followed, and have to stay below it.
        uri_prefixes: such as "s3://plays/2026". They are compared by path segments: "s3://plays" does not allow
            "s3://plays-of-others". Anything that pyarrow can open: s3://, gs://, file://, …

    Raises:
        DataError: the path leads out of ``data_dir``, or is neither file nor folder; the URI is under no prefix.
        DatasetNotFoundError: there is none; says what is there.
    """
    if not dataset or "\0" in dataset:
        raise DataError("a data set's name must be a path or a URI", repr(dataset))
    return _resolve_uri(dataset, uri_prefixes) if _URI.match(dataset) else _resolve_path(dataset, Path(data_dir))


def _resolve_path(dataset: str, data_dir: Path) -> DatasetFile:
    path = Path(dataset)
    if path.is_absolute() or ".." in path.parts or dataset.startswith("~"):
        raise DataError("must be a path below the data folder, without '..'", dataset)
    try:
        root = Path(os.path.realpath(data_dir, strict=True))
    except OSError:
        raise DatasetNotFoundError(f"{dataset} (there is no data folder {data_dir})") from None
    try:
        real = Path(os.path.realpath(root / path, strict=True))
        mode = real.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetNotFoundError(dataset, _what_is_there(root, path)) from None
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror or error}", dataset) from None
    if not real.is_relative_to(root):
        raise DataError("is a link that leads out of the data folder", dataset)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("is not a regular file", dataset)
    return DatasetFile(dataset, str(real), root=str(root))


def _what_is_there(root: Path, path: Path) -> str:
    """What the folder has in which ``path`` is not: for whoever mistyped, or put the file elsewhere."""
    folder = root / path.parent
    while not folder.is_dir() or not Path(os.path.realpath(folder)).is_relative_to(root):
        folder = folder.parent
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir() if entry.name[0] != ".")
    if not names:
        return f"the folder {folder} is empty"
    close = [
        f"{folder.relative_to(root) / name}" for name in difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    ]
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"in the folder {folder} there are {', '.join(names[:MOST_SHOWN])}{more}{meant}"


def _resolve_uri(dataset: str, uri_prefixes: Sequence[str]) -> DatasetFile:
    parts = _segments(dataset)
    if parts is None or not any(_is_under(parts, prefix) for prefix in uri_prefixes):
        allowed = f"; allowed: {', '.join(uri_prefixes)}" if uri_prefixes else "; none is allowed"
        raise DataError(f"is not under an allowed prefix{allowed}", _without_password(dataset))
    if dataset.lower().startswith("file://"):
        return _resolve_file_uri(dataset, uri_prefixes)
    try:
        filesystem, path = fs.FileSystem.from_uri(dataset)
    except (pa.ArrowException, OSError, ValueError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot be opened: {problem}", dataset) from None
    return DatasetFile(dataset, path, filesystem)


def _resolve_file_uri(dataset: str, uri_prefixes: Sequence[str]) -> DatasetFile:
    """A file on this machine: its links must stay below the prefix too."""
    path = unquote(urlsplit(dataset).path)
    for prefix in uri_prefixes:
        parts = _segments(dataset)
        if parts is not None and _is_under(parts, prefix):
            root = unquote(urlsplit(prefix).path).rstrip("/") or "/"
            below = posixpath.relpath(path, root)
            if below == ".":
                root, below = posixpath.dirname(root), posixpath.basename(root)
            found = _resolve_path(below, Path(root))
            return DatasetFile(dataset, found.path, root=found.root)
    raise DataError("is not under an allowed prefix", dataset)


def _segments(uri: str) -> tuple[str, ...] | None:
    """Scheme, host and path segments of a URI; None where one could be read in two ways, or goes up."""
    try:
        parts = urlsplit(uri)
        if parts.query or parts.fragment or "@" in parts.netloc or "\\" in uri:
            # A query can send s3:// to another server (endpoint_override) or carry keys.
            return None
    except ValueError:
        return None
    segments = [segment for segment in unquote(parts.path).split("/") if segment]
    if (
        any(segment in (".", "..") for segment in segments)
        or "%2f" in parts.path.lower()
        or "\\" in unquote(parts.path)
    ):
        return None
    return (parts.scheme.lower(), parts.netloc, *segments)


def _is_under(parts: tuple[str, ...], prefix: str) -> bool:
    wanted = _segments(prefix.split("?")[0]) if _URI.match(prefix) else None
    return wanted is not None and parts[: len(wanted)] == wanted


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri.split("?")[0])
