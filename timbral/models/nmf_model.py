"""NMFModel: a non-negative factorisation of who played what, users × items ≈ user_factors · item_factors."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.config.settings import Constants, settings
from timbral.errors import DataError, ModelFileError, NotFittedError, ParameterError
from timbral.models.checks import check_by_user, check_ids, check_int, check_items, check_real, check_vectors
from timbral.models.engine.factorization import Callback
from timbral.models.engine.fitting import fit_factors
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.fold_in import fold_in
from timbral.models.engine.objective import Objective, Target
from timbral.models.engine.sparse_rows import SparseRows, read_rows
from timbral.models.engine.weighting import Side, Weighting
from timbral.models.explanation import strongest
from timbral.models.file import model_file
from timbral.models.file.model_record import ModelRecord
from timbral.models.kernels.threads import Threads, resolve_n_threads
from timbral.models.popular_lists import popular_where_unknown
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.top_k import TopK
from timbral.models.search.top_k import top_k as best_items
from timbral.models.similarity import mean_direction, most_similar

__all__ = ["NMFModel"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]


class NMFModel:
    """Non-negative matrix factorisation for listening data, ratings or clicks.

    Args:
        n_components: number of factors k; ``settings.NMF_N_COMPONENTS`` where None.
        random_state: seed; ``settings.NMF_RANDOM_STATE`` where None. Same seed, data and options give the same model to the bit, on any
            number of threads.
        max_iter: most sweeps; ``Constants.NMF_MAX_ITER`` where None.
        tol: stop when a sweep lowers the root of the loss by less than this share of it; ``Constants.NMF_TOL`` where None.
        unobserved_weight, unobserved_target, popularity_exponent, confidence, target, regularization, regularization_exponent,
            l1_regularization: the objective; see ``timbral.models.engine.objective.Objective``.
            ``NMFModel(unobserved_weight=1, confidence=0, regularization=0)`` is the classic NMF that minimises the Frobenius norm.
        n_threads: ``settings.N_THREADS`` where None; 0 for every core.

    Attributes:
        user_factors: float32 (n_users, n_components), None before a fit.
        item_factors: float32 (n_components, n_items), None before a fit.
        is_fitted, n_users, n_items: what they say; the counts are 0 before a fit.
        training_history: the loss after each sweep.
        n_iter_: sweeps that the fit took.
        item_index: ItemIndex of item_factors, set by who asks often and keeps one; None, and each ``recommend`` makes its own.
        converged: whether the loss had stopped falling, before ``max_iter`` sweeps.

    Raises:
        ParameterError: an argument that cannot be right; it is a ValueError.
    """

    def __init__(
        self,
        n_components: int | None = None,
        random_state: int | None = None,
        max_iter: int | None = None,
        tol: float | None = None,
        *,
        unobserved_weight: float | None = Objective.unobserved_weight,
        unobserved_target: float | None = Objective.unobserved_target,
        popularity_exponent: float = Objective.popularity_exponent,
        confidence: float = Objective.confidence,
        target: Target | None = Objective.target,
        regularization: float | None = Objective.regularization,
        regularization_exponent: float = Objective.regularization_exponent,
        l1_regularization: float = Objective.l1_regularization,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = check_int(
            settings.NMF_N_COMPONENTS if n_components is None else n_components, "n_components", 1, 4096
        )
        self.random_state = check_int(
            settings.NMF_RANDOM_STATE if random_state is None else random_state, "random_state", 0, 2**32 - 1
        )
        self.max_iter = check_int(Constants.NMF_MAX_ITER if max_iter is None else max_iter, "max_iter", 1, 100_000)
        self.tol = check_real(Constants.NMF_TOL if tol is None else tol, "tol", 0.0, 1.0)
        self.objective = Objective(
            unobserved_weight, unobserved_target, popularity_exponent, confidence, target, regularization,
            regularization_exponent, l1_regularization,
        )  # fmt: skip
        self.n_threads = n_threads
        resolve_n_threads(n_threads)
        self._forget()

    def _forget(self) -> None:
        self.is_fitted = False
        self.n_users = 0
        self.n_items = 0
        self.user_factors: FloatArray | None = None
        self.item_factors: FloatArray | None = None
        self.training_history: list[float] = []
        self.n_iter_ = 0
        self.converged = False
        self._seen: sparse.csr_matrix | None = None
        self._weighting: Weighting | None = None
        self._fixed: dict[str, Fixed] = {}
        self._mean_item: FloatArray | None = None
        self._popularity: FloatArray | None = None
        self.item_index: ItemIndex | None = None

    # Training

    def fit(self, user_item_matrix: Any, callback: Callback | None = None) -> Self:
        """Train on ``user_item_matrix`` (n_users, n_items): ndarray, DataFrame, scipy sparse, or what ``DataLoader.load_csr`` gives.

        Args:
            user_item_matrix: plays, ratings or clicks, ≥ 0; zero and absent are the same. It is copied, and never made dense.
            callback: ``callback(iteration, max_iter, loss)`` after each sweep; where it returns False or raises, the training ends and
                the model stays what it was.

        Raises:
            DataError: a value that is negative, NaN or infinite, an empty or not 2-D matrix, a table of interactions; it is a ValueError.
            TrainingError: the training failed or was cancelled; it is a RuntimeError.
        """
        rows = read_rows(user_item_matrix, "user_item_matrix")
        if len(rows.values) == 0:
            raise DataError(f"user_item_matrix of shape {(rows.n_rows, rows.n_columns)} is empty: no value is above 0")
        factors, weighting = fit_factors(
            self.objective, rows, n_components=self.n_components, seed=self.random_state, max_iter=self.max_iter,
            tol=self.tol, n_threads=resolve_n_threads(self.n_threads), callback=callback,
        )  # fmt: skip
        self._become(factors.user, factors.item, rows, weighting, factors.loss)
        self.converged = factors.converged
        logger.info("Trained %d × %d, k=%d, %d sweeps", self.n_users, self.n_items, self.n_components, self.n_iter_)
        return self

    def _become(
        self, user: FloatArray, item: FloatArray, seen: SparseRows, weighting: Weighting, history: list[float]
    ) -> None:
        self.user_factors = user
        self.item_factors = item.T
        self.n_users, self.n_items = user.shape[0], item.shape[0]
        self.n_components = user.shape[1]
        self._seen = seen.as_csr()
        self._weighting = weighting
        self.training_history = history
        self.n_iter_ = len(history)
        self._fixed = {}
        self._mean_item = self._popularity = self.item_index = None
        self.is_fitted = True

    @property
    def n_interactions(self) -> int:
        """(user, item) pairs that the model was fitted to; 0 before a fit."""
        return 0 if self._seen is None else int(self._seen.nnz)

    @property
    def regularization_(self) -> float:
        """κ as used: as given, or as chosen on a part of the data."""
        return float(self._fitted_weighting().objective.regularization or 0.0)

    @property
    def unobserved_weight_(self) -> float:
        """α₀ as used: as given, or by the density of the data."""
        return self._fitted_weighting().unobserved_weight

    def parameters(self) -> dict[str, Any]:
        """What the model was made with: plain values by the names of the constructor's arguments."""
        own = {name: getattr(self, name) for name in ("n_components", "random_state", "max_iter", "tol")}
        return own | self.objective.as_dict()

    # Folding in

    def fold_in(self, user_items: Any) -> FloatArray:
        """Vectors (n, n_components) for new or changed users, whose plays are ``user_items`` (n, n_items), the items being fixed.

        It is what the training's own half-sweep over users converges to. A user without plays gets zeros.
        """
        weighting = self._fitted_weighting()
        rows = read_rows(user_items, "user_items", self.n_items)
        return self._fold_in(weighting.users_side(rows), "items")

    def fold_in_items(self, users_per_item: Any) -> FloatArray:
        """Vectors (n, n_components) for new items, whose plays are ``users_per_item`` (n, n_users), the users being fixed."""
        weighting = self._fitted_weighting()
        rows = read_rows(users_per_item, "users_per_item", self.n_users)
        return self._fold_in(weighting.items_side(rows), "users")

    def _fold_in(self, side: Side, name: Literal["items", "users"]) -> FloatArray:
        return fold_in(
            side, self._fixed_side(name), l1=self.objective.l1_regularization, classic=self.objective.is_classic,
            n_threads=resolve_n_threads(self.n_threads),
        )  # fmt: skip

    def _fixed_side(self, name: Literal["items", "users"]) -> Fixed:
        """Kept: its sums cost as much as folding in thousands of rows."""
        if name not in self._fixed:
            weighting = self._fitted_weighting()
            factors, weight = (
                (self._items(), weighting.item_weights)
                if name == "items"
                else (self._users(), (np.diff(self._seen_of(None).indptr) > 0).astype(np.float32))
            )
            with Threads(resolve_n_threads(self.n_threads)) as threads:
                self._fixed[name] = Fixed.of(factors, weight, weighting.unobserved_target, threads)
        return self._fixed[name]

    def _fitted_weighting(self) -> Weighting:
        if self._weighting is None:
            raise NotFittedError
        return self._weighting

    # Asking

    def predict(self, user_ids: Any, item_ids: Any) -> FloatArray:
        """Scores (len,), float32, of user_ids[j] with item_ids[j]."""
        self._check_fitted()
        users = check_ids(user_ids, self.n_users, "User IDs", "user_ids")
        items = check_ids(item_ids, self.n_items, "Item IDs", "item_ids")
        if len(users) != len(items):
            raise ParameterError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
        # In double precision, as top_k does it: the same pair has the same score everywhere.
        scores = np.einsum("jf,jf->j", self._users()[users], self._items()[items], dtype=np.float64)
        return np.asarray(scores, dtype=np.float32)

    def get_user_embeddings(self, user_ids: Any) -> FloatArray:
        """Rows of user_factors (len, n_components), a copy."""
        self._check_fitted()
        return self._users()[check_ids(user_ids, self.n_users, "User IDs", "user_ids")]

    def get_item_embeddings(self, item_ids: Any) -> FloatArray:
        """Columns of item_factors as rows (len, n_components), a copy."""
        self._check_fitted()
        return self._items()[check_ids(item_ids, self.n_items, "Item IDs", "item_ids")]

    def get_top_recommendations(
        self, user_id: int, top_k: int = 10, exclude_seen: bool = True
    ) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """The best items of a user: (item_indices, scores), best first; fewer than ``top_k`` where fewer are left."""
        self._check_fitted()
        users = check_ids([user_id], self.n_users, "User IDs", "user_id")
        found = self.recommend(users, top_k=top_k, exclude_seen=exclude_seen)
        return found.item_indices, found.scores

    def recommend(
        self,
        user_ids: Any = None,
        *,
        user_factors: npt.ArrayLike | None = None,
        top_k: int = 10,
        exclude_seen: bool = True,
        seen: Any = None,
        blocked: Any = None,
        blocked_by_user: Any = None,
        allowed: Any = None,
        allowed_by_user: Any = None,
    ) -> TopK:
        """The best items of many users; where nothing is known of a user, the most popular ones, at score 0.

        Args:
            user_ids: the users; everybody where None (and no ``user_factors``).
            user_factors: (n, n_components), from ``fold_in``, in place of the trained vectors.
            top_k: most items a user.
            exclude_seen: leave out what a user has played in training (``user_ids``), or ``seen`` where given.
            seen: sparse (n, n_items), what each of the asked users has seen, in place of the training's.
            blocked, allowed: item ids that nobody gets, or the only ones that anybody gets.
            blocked_by_user, allowed_by_user: sparse (n, n_items), the same for each of the asked users.
        """
        self._check_fitted()
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        known = None if user_ids is None else check_ids(user_ids, self.n_users, "User IDs", "user_ids")
        if user_factors is not None:
            wanted = check_vectors(
                user_factors, "user_factors", None if known is None else len(known), self.n_components
            )
        else:
            wanted = self._users() if known is None else self._users()[known]
        if exclude_seen and seen is None and (user_factors is None or known is not None):
            seen = self._seen_of(known)
        shape = len(wanted), self.n_items
        limits: dict[str, Any] = {
            "seen": check_by_user(seen, "seen", shape) if exclude_seen else None,
            "blocked": check_items(blocked, self.n_items, "blocked"),
            "blocked_by_user": check_by_user(blocked_by_user, "blocked_by_user", shape),
            "allowed": check_items(allowed, self.n_items, "allowed"),
            "allowed_by_user": check_by_user(allowed_by_user, "allowed_by_user", shape),
            "n_threads": resolve_n_threads(self.n_threads),
        }
        k = min(top_k, self.n_items)
        found = best_items(wanted, self._items().T, k, index=self.item_index, **limits)
        if self._popularity is None:
            self._popularity = np.bincount(self._seen_of(None).indices, minlength=self.n_items).astype(np.float32)
        return popular_where_unknown(found, self._popularity, k, **limits)

    def _seen_of(self, users: npt.NDArray[np.int64] | None) -> sparse.csr_matrix:
        if self._seen is None:
            raise NotFittedError
        return self._seen if users is None else self._seen[users]

    def similar_items(self, item_id: int, top_k: int = 10) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """The items most like ``item_id``: (item_indices, scores in (0, 1)), best first; see ``timbral.models.similarity``."""
        self._check_fitted()
        item = int(check_ids([item_id], self.n_items, "Item IDs", "item_id")[0])
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        if self._mean_item is None:
            self._mean_item = mean_direction(self._items())
        return most_similar(self._items(), self._mean_item, item, top_k)

    def explain(self, user_id: int, item_id: int, top_k: int = 10) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """What in a user's history speaks for an item: (item_indices, contributions), the greatest first, none negative.

        ``predict([user_id], [item_id])`` is shared out in proportion to how far it would fall, had the user not played one item or
        another: all contributions (``top_k`` = n_items) add up to it. Items that contribute nothing are left out; ``item_id`` itself is
        not, where the user has played it. See ``timbral.models.explanation``.
        """
        weighting = self._fitted_weighting()
        user = int(check_ids([user_id], self.n_users, "User IDs", "user_id")[0])
        item = int(check_ids([item_id], self.n_items, "Item IDs", "item_id")[0])
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        side = weighting.users_side(read_rows(self._seen_of(np.array([user])), "history", self.n_items))
        return strongest(self._users()[user], self._items()[item], side, self._fixed_side("items"), top_k)

    # Files

    def tensors(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
        """All of the fitted model: arrays by name, none of them copied, and texts by name."""
        weighting = self._fitted_weighting()
        seen = self._seen_of(None)
        record = ModelRecord(
            parameters=self.parameters(),
            user=self._users(),
            item=self._items(),
            fixed_items=self._fixed_side("items"),
            seen=SparseRows(seen.indptr, seen.indices, seen.data, self.n_items),  # type: ignore[arg-type]
            weighting=weighting,
            loss=self.training_history,
            converged=self.converged,
        )
        return record.tensors()

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write the model to ``filepath``, making missing folders, replacing an old file atomically.

        Raises:
            NotFittedError: there is no model yet.
            ModelStoreError: the disk is full, no permission, …; an old file is untouched.
        """
        arrays, texts = self.tensors()
        model_file.write(filepath, arrays, texts)

    def load(self, filepath: str | os.PathLike[str]) -> Self:
        """Become the model that was saved at ``filepath``. Its arrays are mapped from the file, read-only; no code is run.

        Raises:
            ModelNotFoundError: no such file; it is a FileNotFoundError.
            ModelFileError: damaged, or not a model of ours; it is a ValueError. The model stays what it was.
        """
        arrays, texts = model_file.read(filepath)
        try:
            self._restore(ModelRecord.from_tensors(arrays, texts))
        except (DataError, ParameterError) as error:
            raise ModelFileError(os.fspath(filepath), f"not a model that this version can read: {error}") from error
        return self

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> Self:
        """The model whose ``tensors()`` these were; DataError or ParameterError where they are none's."""
        model = cls()
        model._restore(ModelRecord.from_tensors(tensors, metadata))
        return model

    def _restore(self, record: ModelRecord) -> None:
        made = NMFModel(**record.parameters, n_threads=self.n_threads)
        made._become(record.user, record.item, record.seen, record.weighting, record.loss)
        made.converged = record.converged
        if record.fixed_items is not None:
            made._fixed["items"] = record.fixed_items
        self.__dict__.update(made.__dict__)

    def _check_fitted(self) -> None:
        if not self.is_fitted:
            raise NotFittedError

    def _users(self) -> FloatArray:
        if self.user_factors is None:
            raise NotFittedError
        return self.user_factors

    def _items(self) -> FloatArray:
        """item_factors by items: (n_items, n_components), C-contiguous."""
        if self.item_factors is None:
            raise NotFittedError
        return np.ascontiguousarray(self.item_factors.T)
