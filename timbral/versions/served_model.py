"""One model version as workers use it: mapped from its file, one copy a host, with the original ids beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.errors import DataError, ModelFileError, ModelNotFoundError
from timbral.messages import Id
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.file import model_file
from timbral.models.nmf_model import NMFModel
from timbral.versions.similar_items import SimilarItems

__all__ = ["ServedModel", "revision_of"]

USERS, ITEMS, USERS_PER_ITEM, EVALUATED = "user_ids", "item_ids", "users_per_item", "evaluated."
RECORD = "record"
ZERO_INDPTR, ZERO_INDICES = "rated_zero_indptr", "rated_zero_indices"
FORGOTTEN, REVISION = "forgotten_rows", "revision"
SIMILAR = "similar."

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A version with all that serving needs.

    ``users_per_item`` is int64 (n_items,), how many users an item has. ``evaluated`` is the model of the training's
    evaluation, which has not seen the held-out rows: item factors alone, None where the training measured nothing.
    ``rated_zero`` is CSR of shape (n_users, n_items), what users rated 0: it is in no list of theirs; None where nobody
    did. ``forgotten_rows`` are codes of rows that are empty because their users were forgotten; ``revision`` counts how
    often the version was rewritten for that. ``similar`` is found when the file is written.
    """

    version: str
    model: NMFModel
    user_ids: IdIndex
    item_ids: IdIndex
    users_per_item: npt.NDArray[np.int64]
    evaluated: NMFModel | None
    record: dict[str, Any]
    forgotten_rows: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    revision: int = 0
    similar: SimilarItems | None = None
    rated_zero: sparse.csr_matrix | None = None

    @cached_property
    def seen(self) -> sparse.csr_matrix:
        """What the training saw, CSR of shape (n_users, n_items), mapped from the file."""
        arrays = self.model.tensors()[0]
        parts = (arrays["seen_values"], arrays["seen_indices"], arrays["seen_indptr"])
        return sparse.csr_matrix(parts, shape=(self.model.n_users, self.model.n_items), copy=False)

    def codes_in_rows(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """Codes of the users in rows ``start`` to ``stop``, without the last, and without who was forgotten."""
        codes = np.arange(start, min(stop, len(self.user_ids)), dtype=np.int32)
        return codes[~np.isin(codes, self.forgotten_rows)]

    def users_in_rows(self, start: int, stop: int) -> list[Id]:
        """Ids of ``codes_in_rows``."""
        return self.user_ids.ids(self.codes_in_rows(start, stop))

    def codes_of_items(self, item_ids: Sequence[Id]) -> npt.NDArray[np.int32] | None:
        """Codes of those of ``item_ids`` that the model knows; None where there are none."""
        codes = self.item_ids.codes(item_ids) if item_ids else np.empty(0, np.int32)
        codes = codes[codes >= 0]
        return np.unique(codes) if len(codes) else None

    def rows_with_plays(self, codes: npt.NDArray[np.int32], plays: Sequence[Mapping[Id, float]]) -> SparseRows:
        """What each user has played, the training and new plays together: (len(codes), n_items).

        A code of -1 is a user whom the training did not see. Plays of items that it did not see count for nothing.
        """
        parts: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]] = []
        for code, played in zip(codes.tolist(), plays, strict=True):
            known = self.item_ids.codes(list(played))
            here = np.fromiter(played.values(), np.float32, len(played))
            row = slice(self.seen.indptr[code], self.seen.indptr[code + 1]) if code >= 0 else slice(0, 0)
            parts += [(self.seen.indices[row], self.seen.data[row]), (known[known >= 0], here[known >= 0])]
        items = np.concatenate([np.empty(0, np.int32), *(part for part, _ in parts)])
        values = np.concatenate([np.empty(0, np.float32), *(part for _, part in parts)])
        lengths = [len(trained) + len(new) for (trained, _), (new, _) in zip(parts[::2], parts[1::2], strict=True)]
        return SparseRows.added_up(lengths, items, values, len(self.item_ids))

    def rated_zero_of(self, codes: npt.NDArray[np.int32]) -> sparse.csr_matrix | None:
        """What the users ``codes`` rated 0, CSR (len(codes), n_items); -1 is a user whom the training did not see."""
        if self.rated_zero is None:
            return None
        rows = self.rated_zero[np.maximum(codes, 0)].astype(np.float32)
        if (codes < 0).any():  # not in the model: no row is theirs
            rows = (sparse.diags((codes >= 0).astype(np.float32)) @ rows).tocsr()
            rows.eliminate_zeros()
        return rows

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` by this version.

        Raises:
            ModelStoreError: no room, no permission, …; the old file is untouched.
        """
        tensors, texts = self.model.tensors()
        tensors = dict(tensors) | self.user_ids.to_tensors(USERS) | self.item_ids.to_tensors(ITEMS)
        tensors[USERS_PER_ITEM] = self.users_per_item
        # Made once and mapped by all, where every batch of every process would make its own.
        tensors |= self.model.index_tensors()
        texts = dict(texts) | {"version": self.version, RECORD: json.dumps(self.record)}
        if self.rated_zero is not None:
            tensors[ZERO_INDPTR] = self.rated_zero.indptr.astype(np.int64)
            tensors[ZERO_INDICES] = self.rated_zero.indices.astype(np.int32)
        similar = self.similar or SimilarItems.of(self.model, self.users_per_item)
        tensors |= similar.tensors(SIMILAR)
        if len(self.forgotten_rows):
            tensors[FORGOTTEN], texts[REVISION] = self.forgotten_rows, str(self.revision)
        if self.evaluated is not None:
            theirs, their_texts = self.evaluated.tensors()
            tensors |= {f"{EVALUATED}{name}": tensor for name, tensor in _without_users(theirs).items()}
            texts |= {f"{EVALUATED}{name}": value for name, value in their_texts.items()}
        model_file.write(path, tensors, texts)

    @classmethod
    def read(cls, path: Path, version: str, *, verify: bool = False) -> ServedModel:
        """Map the file at ``path``; ``verify`` checks every byte of a large file too.

        Raises:
            ModelNotFoundError: there is no such file.
            ModelFileError: it is damaged, or is not this version.
        """
        tensors, texts = model_file.read(path, verify=verify)
        if texts.get("version") != version:
            raise ModelFileError(str(path), f"holds version {texts.get('version')!r}, not {version!r}")
        try:
            model = NMFModel.from_tensors(tensors, texts, with_indexes=True)
            users, items = IdIndex.from_tensors(tensors, USERS), IdIndex.from_tensors(tensors, ITEMS)
            users_per_item = tensors[USERS_PER_ITEM]
            theirs, their_texts = _evaluated_part(tensors), _evaluated_part(texts)
            evaluated = NMFModel.from_tensors(theirs, their_texts) if theirs else None
            record = json.loads(texts.get(RECORD, "{}"))
            forgotten = tensors.get(FORGOTTEN, np.empty(0, np.int32))
            revision = int(texts.get(REVISION, "0"))
            rated_zero = _rated_zero(tensors, (len(users), len(items)))
            similar = SimilarItems.from_tensors(tensors, SIMILAR, len(items))
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise ModelFileError(str(path), f"is not a model that this version can read ({error})") from error
        if (len(users), len(items), len(users_per_item)) != (model.n_users, model.n_items, model.n_items):
            raise ModelFileError(str(path), "is damaged: its ids do not fit its factors")
        if len(forgotten) and not 0 <= forgotten.min() <= forgotten.max() < len(users):
            raise ModelFileError(str(path), "is damaged: its forgotten rows are none of it")
        return cls(
            version, model, users, items, users_per_item, evaluated, record, forgotten, revision, similar, rated_zero
        )


def revision_of(path: Path) -> int:
    """How often the file at ``path`` was rewritten without forgotten users; 0 for one that cannot be read."""
    try:
        return int(model_file.read(path)[1].get(REVISION, "0"))
    except (ModelFileError, ModelNotFoundError, ValueError):
        return 0


def _without_users(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """A model's arrays without those of its users: it can still fold users in and recommend to them."""
    kept = {name: tensor[:0] if name.startswith(("user_", "seen_")) else tensor for name, tensor in tensors.items()}
    return kept | {"seen_indptr": np.zeros(1, tensors["seen_indptr"].dtype)}


def _evaluated_part(parts: Mapping[str, T]) -> dict[str, T]:
    return {name.removeprefix(EVALUATED): part for name, part in parts.items() if name.startswith(EVALUATED)}


def _rated_zero(tensors: Mapping[str, npt.NDArray[Any]], shape: tuple[int, int]) -> sparse.csr_matrix | None:
    """What users rated 0, mapped; its numbers are checked, since a kernel reads memory where they say."""
    if ZERO_INDPTR not in tensors:
        return None
    indices = tensors[ZERO_INDICES]
    made = sparse.csr_matrix((np.ones(len(indices), bool), indices, tensors[ZERO_INDPTR]), shape=shape, copy=False)
    made.check_format(full_check=True)
    return made
