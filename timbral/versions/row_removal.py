"""Taking users out of a model version: their rows hold nothing any more, and their ids are nobody's.

The rows stay where they are, empty, so that the codes of everybody else stay what they were: a job that goes through
the rows in chunks misses nobody. What the items' factors learned from all users together stays until the next training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.id_index import INT64_MIN, IdIndex
from timbral.errors import DataError
from timbral.models.nmf_model import NMFModel
from timbral.versions.served_model import ServedModel

__all__ = ["without_rows"]


def without_rows(served: ServedModel, codes: npt.NDArray[np.int32], revision: int) -> ServedModel:
    """``served`` without what it holds of the users in the rows ``codes``, as its ``revision``."""
    gone = np.unique(codes)
    arrays, texts = served.model.tensors()
    indptr, indices = arrays["seen_indptr"], arrays["seen_indices"]
    counts = np.diff(indptr)
    kept = np.ones(len(counts), dtype=bool)
    kept[gone] = False
    entries = np.repeat(kept, counts)
    users_per_item = served.users_per_item - np.bincount(indices[~entries], minlength=len(served.item_ids))
    emptied: dict[str, npt.NDArray[Any]] = {
        "seen_indptr": np.concatenate([[0], np.cumsum(np.where(kept, counts, 0))]).astype(indptr.dtype),
        "seen_indices": indices[entries],
        "seen_values": arrays["seen_values"][entries],
    }
    for name in ("user_factors", "user_levels"):
        emptied[name] = np.array(arrays[name])
        emptied[name][gone] = 0
    rated_zero = served.rated_zero
    if rated_zero is not None:
        rated_zero = (sparse.diags(kept.astype(np.float32)) @ rated_zero).tocsr().astype(bool)
        rated_zero.eliminate_zeros()
    model = NMFModel.from_tensors({**arrays, **emptied}, texts)
    model.n_threads = served.model.n_threads
    # Of the items, of which nothing changes.
    model.item_index, model.similarity_index = served.model.item_index, served.model.similarity_index
    return replace(
        served,
        model=model,
        user_ids=_with_placeholders(served.user_ids, gone),
        users_per_item=users_per_item.astype(np.int64),
        forgotten_rows=np.union1d(served.forgotten_rows, gone).astype(np.int32),
        revision=revision,
        rated_zero=rated_zero,
    )


def _with_placeholders(index: IdIndex, codes: npt.NDArray[np.int32]) -> IdIndex:
    """The index with ids of nobody at ``codes``."""
    ids: Any = index.ids(np.arange(len(index)))
    for code in codes.tolist():
        ids[code] = INT64_MIN + code if index.is_int else f"forgotten row {code}"
    taken = index.codes([ids[code] for code in codes.tolist()])
    if (taken >= 0).any():  # somebody is called like that
        raise DataError(f"the id {ids[int(codes[int((taken >= 0).argmax())])]!r} cannot stand for a forgotten row")
    return IdIndex(ids)
