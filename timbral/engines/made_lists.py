"""MadeLists: the best items of everybody, made by an engine in parts, as parquet in a store, and read back in chunks.

What is in them is what the model alone knows, by its own numbers of users and items, and without what nobody is to get.
What users have played since, and what they block, is for whoever reads them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from timbral.engines.block_store import BlockStore
from timbral.models.search.top_k import TopK
from timbral.versions.served_model import ServedModel

__all__ = ["MadeLists", "make_all", "make_part"]

Description = dict[str, Any]
Everywhere = Callable[[Callable[[Description], Description], Sequence[Description]], Sequence[Description]]
"""Has a function done for each description, somewhere."""

MODEL: Final = "model"
BLOCKED: Final = "blocked"
ASKED: Final = "asked"
LISTS: Final = pa.schema([("item", pa.list_(pa.int32())), ("score", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class MadeLists:
    """The lists in ``store``; ``top_k`` items long, in files of ``part_rows`` users, in groups of ``chunk_rows``."""

    store: BlockStore
    version: str
    top_k: int
    exclude_seen: bool
    part_rows: int
    chunk_rows: int

    @classmethod
    def open(cls, store: BlockStore) -> Self:
        """Those that are in ``store``.

        Raises:
            OSError: there are none, seen from this host.
        """
        return cls(store, **json.loads(store.near(ASKED).read_bytes()))

    @functools.cached_property
    def blocked(self) -> npt.NDArray[np.int32]:
        """Item numbers, ascending, of what nobody is to get."""
        return np.array(self.store.get(BLOCKED))

    def lists(
        self, codes: npt.NDArray[np.int32], is_made: npt.NDArray[np.bool_], top_k: int, others: Callable[[int], TopK]
    ) -> TopK:
        """The first ``top_k`` items of the users ``codes``, ascending; ``others`` gives those of whom not ``is_made``
        holds."""
        mine = self._of_users(codes[is_made], top_k)
        return mine if is_made.all() else _merged(is_made, mine, others(top_k))

    def _of_users(self, codes: npt.NDArray[np.int32], top_k: int) -> TopK:
        """The first ``top_k`` items of the users ``codes``, ascending."""
        groups = np.unique(codes // self.chunk_rows)
        found = [self._group(int(group)) for group in groups]
        indptr, rows = _joined([lengths for lengths, _, _ in found]), []
        for group, (lengths, _, _) in zip(groups.tolist(), found, strict=True):
            rows.append(np.arange(group * self.chunk_rows, group * self.chunk_rows + len(lengths)))
        places = np.searchsorted(np.concatenate(rows), codes)
        lengths = np.minimum(np.diff(indptr)[places], top_k)
        taken = np.repeat(indptr[places] - np.append(0, np.cumsum(lengths)[:-1]), lengths) + np.arange(lengths.sum())
        items, scores = (np.concatenate([one[column] for one in found])[taken] for column in (1, 2))
        return TopK(np.append(0, np.cumsum(lengths)), items, scores)

    def _group(self, number: int) -> tuple[Any, Any, Any]:
        """Lengths, items and scores of the lists of a group of ``chunk_rows`` users."""
        part, first = divmod(number * self.chunk_rows, self.part_rows)
        with pq.ParquetFile(self.store.near(_part_name(part))) as file:
            table = file.read_row_group(first // self.chunk_rows)
        items, scores = (table[name].combine_chunks() for name in ("item", "score"))
        return np.asarray(items.value_lengths()), np.asarray(items.flatten()), np.asarray(scores.flatten())


def _merged(is_first: npt.NDArray[np.bool_], first: TopK, second: TopK) -> TopK:
    """The lists of ``first`` where ``is_first``, those of ``second`` elsewhere, each in their order."""
    lengths = np.empty(len(is_first), np.int64)
    lengths[is_first], lengths[~is_first] = np.diff(first.indptr), np.diff(second.indptr)
    of_first = np.repeat(is_first, lengths)
    items, scores = np.empty(len(of_first), np.int32), np.empty(len(of_first), np.float32)
    for mask, lists in ((of_first, first), (~of_first, second)):
        items[mask], scores[mask] = lists.item_indices, lists.scores
    return TopK(np.append(0, np.cumsum(lengths)), items, scores)


def _joined(lengths: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.append(0, np.cumsum(np.concatenate(lengths))).astype(np.int64)


def make_all(
    store: BlockStore,
    model_file: Path,
    served: ServedModel,
    *,
    top_k: int,
    exclude_seen: bool,
    blocked: npt.NDArray[np.int32],
    chunk_rows: int,
    n_parts: int,
    everywhere: Everywhere,
) -> None:
    """Have the lists of all users of ``served``, whose file is ``model_file``, made ``everywhere``, in ``n_parts``."""
    n_chunks = -(-len(served.user_ids) // chunk_rows)
    part_rows = -(-n_chunks // n_parts) * chunk_rows
    asked = MadeLists(store, served.version, top_k, exclude_seen, part_rows, chunk_rows)
    store.open()
    store.put_file(MODEL, model_file)
    store.put(BLOCKED, blocked)
    fields = {name: getattr(asked, name) for name in ("version", "top_k", "exclude_seen", "part_rows", "chunk_rows")}
    parts = [
        fields | {"start": start, "stop": min(start + part_rows, len(served.user_ids))}
        for start in range(0, len(served.user_ids), part_rows)
    ]
    everywhere(functools.partial(make_part, store), parts)
    # Last of all: who finds it finds all lists.
    with store.new_file(ASKED) as file:
        file.write_text(json.dumps(fields))


def make_part(store: BlockStore, asked: Description) -> Description:
    """Write the lists of the users ``start`` to ``stop``; done twice, it is the same file twice."""
    served = _served(str(store.near(MODEL)), asked["version"])
    start, stop, rows = asked["start"], asked["stop"], asked["chunk_rows"]
    with store.new_file(_part_name(start // asked["part_rows"])) as file, pq.ParquetWriter(file, LISTS) as writer:
        for first in range(start, stop, rows):
            codes = np.arange(first, min(first + rows, stop), dtype=np.int32)
            zeros = served.rated_zero_of(codes) if asked["exclude_seen"] else None
            found = served.model.recommend(
                codes, top_k=asked["top_k"], exclude_seen=asked["exclude_seen"], blocked=store.get(BLOCKED),
                blocked_by_user=zeros,
            )  # fmt: skip
            ends = pa.array(found.indptr, pa.int32())
            columns = [pa.ListArray.from_arrays(ends, pa.array(one)) for one in (found.item_indices, found.scores)]
            writer.write_table(pa.Table.from_arrays(columns, schema=LISTS), row_group_size=rows)
    return {"start": start}


@functools.lru_cache(maxsize=1)
def _served(path: str, version: str) -> ServedModel:
    """Mapped once in a process, which makes many parts."""
    served = ServedModel.read(Path(path), version)
    served.model.n_threads = 1
    return served


def _part_name(number: int) -> str:
    return f"part{number}.parquet"
