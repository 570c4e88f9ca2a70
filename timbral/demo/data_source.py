"""The demo's data set: a listening history of its own making, or the user's file with its columns recognised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timbral.data.dataset_file import DatasetFile
from timbral.data.item_table import read_item_names
from timbral.data.read_options import ReadOptions
from timbral.data.tables import opened_tables
from timbral.demo.synthetic import make_listening_history
from timbral.errors import DatasetNotFoundError

__all__ = ["DemoData", "own_history", "recognise"]


@dataclass(frozen=True)
class DemoData:
    """A data set and how to speak of it: ``read`` are arguments of ``train_model``, ``names`` go by item id."""

    path: Path
    read: dict[str, Any]
    names: dict[int | str, str] = field(default_factory=dict)
    description: str = ""

    def name(self, item_id: int | str) -> str:
        """The item's name, or its id where it has none."""
        return self.names.get(item_id) or self.names.get(_other_kind(item_id)) or str(item_id)


def own_history(directory: Path, random_state: int = 7) -> DemoData:
    """A few thousand users with tastes in genres, and named artists; written to ``directory``."""
    history = make_listening_history(random_state=random_state)
    path = directory / "plays.csv"
    history.write_csv(path)
    names = [f"{name} · {genre}" for name, genre in zip(history.artist_names, history.artist_genres, strict=True)]
    n_users, n_genres = len(history.user_genres), len(set(history.artist_genres))
    return DemoData(
        path=path,
        read={"user_col": None, "item_col": None},
        names=dict(enumerate(names)),
        description=f"{n_users:,} users and {len(names):,} artists of {n_genres} genres, made up here",
    )


def recognise(path: Path, *, names_path: Path | None = None, **read: Any) -> DemoData:
    """The user's file or folder, read as a training reads it; what ``read`` does not say is told from it.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: a column cannot be told; names the columns that there are.
        ParameterError: an argument is wrong.
    """
    if not path.exists():
        raise DatasetNotFoundError(str(path))
    read = {"user_col": None, "item_col": None, **read}
    columns = read.get("columns")
    options = ReadOptions(**{**read, "columns": None if columns is None else tuple(columns)})
    _, table = next(opened_tables(DatasetFile.of(path), options))
    names = read_item_names(DatasetFile.of(names_path)) if names_path else {}
    return DemoData(path=path, read=read, names=names, description=f"{path} ({', '.join(table.told())})")


def _other_kind(item_id: int | str) -> int | str:
    """7 for "7" and "7" for 7: one odd id among the plays makes all of them text, and none among the names."""
    if isinstance(item_id, int):
        return str(item_id)
    return (
        int(item_id)
        if item_id.lstrip("-").isdecimal() and len(item_id) < 20 and str(int(item_id)) == item_id
        else item_id
    )
