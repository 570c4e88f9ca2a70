"""A fitted model as arrays by name and texts by name, and back: what its file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from timbral.errors import DataError
from timbral.models.checks import check_int, check_real
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.objective import Objective
from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.engine.weighting import Weighting
from timbral.models.fitting.choice import CHOSEN
from timbral.models.fitting.options import PartOptions
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.scoring import Scoring

__all__ = ["ModelRecord"]

KIND: Final = "nmf"
NUMBERS: Final = (
    "unobserved_weight",
    "unobserved_target",
    "user_l2",
    "item_l2",
    "item_weight_scale",
    "typical_target",
    "value_scale",
)
DTYPES: Final = {
    "user_factors": "float32",
    "item_vectors": "float32",
    "user_levels": "float32",
    "item_weights": "float32",
    "item_gram": "float32",
    "item_pull": "float32",
    "seen_indices": "int32",
    "seen_values": "float32",
    "neighbor_indptr": "int64",
    "neighbor_items": "int32",
    "neighbor_weights": "float32",
    "item_recency": "float32",
    "training_history": "float64",
}


SUMS: Final = {"item_gram", "item_pull"}
"""May be missing: they can be made again."""


@dataclass(frozen=True)
class ModelRecord:
    """``user`` (n_users, k), ``scoring`` with the items' part, ``chosen``: κ, λ, γ and ρ as used; ``fixed_items`` where
    they are known; ``seen``: who played what; the loss of each sweep.
    """

    parameters: dict[str, Any]
    user: npt.NDArray[np.float32]
    scoring: Scoring
    chosen: dict[str, float]
    fixed_items: Fixed | None
    seen: SparseRows
    weighting: Weighting
    loss: list[float]
    converged: bool

    def tensors(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
        """Arrays and texts; nothing is copied."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "user_factors": self.user,
            "item_vectors": self.scoring.items,
            "neighbor_indptr": self.scoring.neighbors.indptr,
            "neighbor_items": self.scoring.neighbors.items,
            "neighbor_weights": self.scoring.neighbors.weights,
            "item_recency": self.scoring.recency,
            "user_levels": self.weighting.user_levels,
            "item_weights": self.weighting.item_weights,
            "seen_indptr": self.seen.indptr,
            "seen_indices": self.seen.indices,
            "seen_values": self.seen.values,
            "training_history": np.asarray(self.loss, dtype=np.float64),
        }
        if self.fixed_items is not None:
            arrays |= {"item_gram": self.fixed_items.gram, "item_pull": self.fixed_items.pull}
        numbers = {name: getattr(self.weighting, name) for name in NUMBERS}
        record = {
            "parameters": self.parameters,
            "converged": self.converged,
            "weighting": numbers,
            "chosen": self.chosen,
        }
        return arrays, {"kind": KIND, "model": json.dumps(record, sort_keys=True)}

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str]) -> Self:
        """From what ``tensors`` gave; a kernel will read memory where these arrays say, so their shapes are checked.

        Raises:
            DataError, ParameterError: these are not a model's.
        """
        if texts.get("kind") != KIND:
            raise DataError(f"its kind is {texts.get('kind')!r}, not {KIND!r}")
        try:
            record = json.loads(texts["model"])
            parameters, numbers, converged = record["parameters"], record["weighting"], record["converged"]
            own = {name: parameters[name] for name in ("n_components", "random_state", "max_iter", "tol")}
            parts = PartOptions().as_dict()
            options = {name: value for name, value in parameters.items() if name not in own and name not in parts}
            chosen = {name: check_real(record["chosen"][name], name, 0.0, math.inf) for name in CHOSEN}
            objective = replace(Objective.from_dict(options), regularization=chosen["regularization"])
            # Files from before plays could count have none.
            play_exponent = check_real(
                parameters.get("neighbor_play_exponent", 0.0), "neighbor_play_exponent", 0.0, 4.0
            )
            checked = {name: check_real(numbers[name], name, 0.0, math.inf) for name in NUMBERS}
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"its record is not one of a model ({error!r})") from error
        _check_arrays(arrays, check_int(own["n_components"], "n_components", 1, 4096))
        seen = SparseRows(
            arrays["seen_indptr"], arrays["seen_indices"], arrays["seen_values"], len(arrays["item_vectors"])
        )
        weighting = Weighting(
            objective=objective, user_levels=arrays["user_levels"], item_weights=arrays["item_weights"], **checked
        )
        return cls(
            parameters=parameters,
            user=arrays["user_factors"],
            scoring=Scoring(
                arrays["item_vectors"],
                Neighbors(
                    arrays["neighbor_indptr"],
                    arrays["neighbor_items"],
                    arrays["neighbor_weights"],
                    play_exponent,
                ),
                arrays["item_recency"],
            ),
            chosen=chosen,
            fixed_items=Fixed(arrays["item_vectors"], weighting.item_weights, arrays["item_gram"], arrays["item_pull"])
            if set(arrays) >= SUMS
            else None,
            seen=seen,
            weighting=weighting,
            loss=arrays["training_history"].tolist(),
            converged=bool(converged),
        )


def _check_arrays(arrays: Mapping[str, npt.NDArray[Any]], k: int) -> None:
    missing = sorted((set(DTYPES) | {"seen_indptr"}) - set(arrays) - SUMS)
    if missing:
        raise DataError(f"it has no {', '.join(missing)}")
    for name, dtype in DTYPES.items():
        if name in arrays and arrays[name].dtype != dtype:
            raise DataError(f"its {name} is {arrays[name].dtype}, not {dtype}")
    indptr = arrays["seen_indptr"]
    if indptr.dtype not in (np.dtype(np.int32), np.dtype(np.int64)) or indptr.ndim != 1 or len(indptr) == 0:
        raise DataError(f"its seen_indptr is {indptr.dtype} of shape {indptr.shape}")
    n_users, n_items, n_seen = len(indptr) - 1, len(arrays["item_weights"]), int(indptr[-1])
    shapes = {
        "user_factors": (n_users, k),
        "item_vectors": (n_items, k),
        "user_levels": (n_users,),
        "item_weights": (n_items,),
        "item_gram": (k, k),
        "item_pull": (k,),
        "seen_indices": (n_seen,),
        "seen_values": (n_seen,),
        "neighbor_indptr": (n_items + 1,),
        "neighbor_items": (arrays["neighbor_items"].size,),
        "neighbor_weights": (arrays["neighbor_items"].size,),
        "item_recency": (n_items,),
        "training_history": (arrays["training_history"].size,),
    }
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise DataError(f"its {name} has shape {arrays[name].shape}, not {shape}")
    for name, size in (("seen_indptr", n_seen), ("neighbor_indptr", arrays["neighbor_items"].size)):
        if arrays[name][0] != 0 or arrays[name][-1] != size or (np.diff(arrays[name]) < 0).any():
            raise DataError(f"its {name} does not rise from 0 to {size}")
    pairs = arrays["neighbor_items"]
    if pairs.size and not 0 <= int(pairs.min()) <= int(pairs.max()) < n_items:
        raise DataError(f"its neighbor_items are not all in [0, {n_items})")
