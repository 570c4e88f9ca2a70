"""NMFModel: who will play what, from non-negative factors of who played what and from which items go together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.config.settings import Constants, settings
from timbral.errors import DataError, ParameterError
from timbral.judging.matrix import Csr, MatrixLike, Sparse
from timbral.models.checks import check_by_user, check_id, check_ids, check_int, check_items, check_real, check_vectors
from timbral.models.engine.factorization import Callback, HalvesOf
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.halves import HalvesHere
from timbral.models.engine.objective import Objective, Target
from timbral.models.engine.sparse_rows import SparseRows, read_rows, read_times
from timbral.models.engine.training_state import Checkpoints
from timbral.models.engine.weighting import Weighting
from timbral.models.explanation import strongest
from timbral.models.file.model_record import ModelRecord
from timbral.models.fitted_model import FittedModel, FloatArray
from timbral.models.fitting.fitting import fit
from timbral.models.fitting.options import PartOptions
from timbral.models.fitting.training_data import HeldData, TrainingData
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.kernels.threads import resolve_n_threads
from timbral.models.parameters import Parameters
from timbral.models.popular_lists import popular_where_unknown
from timbral.models.scoring import Scoring
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.similarity_index import SimilarityIndex
from timbral.models.search.top_k import TopK
from timbral.models.similar_lists import similar_lists
from timbral.models.similarity import mean_direction, most_similar

__all__ = ["NMFModel"]

ITEM_INDEX, SIMILARITY_INDEX = "item_index.", "similarity_index."
"""What stands before the names of their arrays in a file."""

logger = logging.getLogger(__name__)


class NMFModel(Parameters, FittedModel):
    """Non-negative matrix factorisation and non-negative neighbours, for listening data, ratings or clicks.

    A score is that of the factors, w_u·h_i, and where the data gain by it, what the played items say for this one as
    its neighbours (see ``timbral.models.neighbors.neighbors``), and how recently it is played.

    Args:
        n_components: number of factors k; ``settings.NMF_N_COMPONENTS`` where None.
        random_state: seed; ``settings.NMF_RANDOM_STATE`` where None. Same seed, data and options give the same model to
            the bit, on any number of threads.
        max_iter: most sweeps; ``Constants.NMF_MAX_ITER`` where None.
        tol: stop when a sweep lowers the root of the loss by less than this share; ``Constants.NMF_TOL`` where None.
        unobserved_weight, unobserved_target, popularity_exponent, confidence, target, regularization,
        regularization_exponent, l1_regularization: the objective; see ``timbral.models.engine.objective.Objective``.
            ``NMFModel(unobserved_weight=1, confidence=0, regularization=0)`` is the classic NMF that minimises the
            Frobenius norm.
        n_neighbors, neighbor_weight, neighbor_regularization, neighbor_play_exponent, recency_weight: what a score has
            beside the factors (``n_neighbors=0``: nothing); see ``timbral.models.fitting.options.PartOptions``.
        n_threads: ``settings.N_THREADS`` where None; 0 for every core.

    Attributes:
        user_factors: float32 (n_users, n_components), None before a fit.
        item_factors: float32 (n_components, n_items), None before a fit.
        is_fitted, n_users, n_items: what they say; the counts are 0 before a fit.
        training_history: the loss after each sweep.
        n_iter_: sweeps that the fit took.
        item_index: ItemIndex of the items' part of the score, and
        similarity_index: SimilarityIndex of the items, both mapped from the model's file; None before a fit and after
            one: then every item is looked at, with the same result.
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
        n_neighbors: int = PartOptions.n_neighbors,
        neighbor_weight: float | None = PartOptions.neighbor_weight,
        neighbor_regularization: float | None = PartOptions.neighbor_regularization,
        neighbor_play_exponent: float = PartOptions.neighbor_play_exponent,
        recency_weight: float | None = PartOptions.recency_weight,
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
        self.parts = PartOptions(
            n_neighbors, neighbor_weight, neighbor_regularization, neighbor_play_exponent, recency_weight
        )
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
        self._scoring: Scoring | None = None
        self._chosen: dict[str, float] = {}
        self._seen: sparse.csr_matrix | None = None
        self._weighting: Weighting | None = None
        self._fixed: dict[str, Fixed] = {}
        self._mean_item: FloatArray | None = None
        self._popularity: FloatArray | None = None
        self.item_index: ItemIndex | None = None
        self.similarity_index: SimilarityIndex | None = None

    # Training

    def fit(
        self,
        user_item_matrix: MatrixLike | TrainingData,
        callback: Callback | None = None,
        *,
        times: npt.ArrayLike | None = None,
        known: KnownFactors | None = None,
        checkpoints: Checkpoints | None = None,
        halves_of: HalvesOf = HalvesHere,
    ) -> Self:
        """Train on ``user_item_matrix`` (n_users, n_items): ndarray, DataFrame, scipy sparse, or what
        ``DataLoader.load_csr`` gives.

        Args:
            user_item_matrix: plays, ratings or clicks, ≥ 0; zero and absent are the same. It is copied, and never made
                dense. A ``TrainingData`` is taken as it is: of data that are mapped from files.
            callback: ``callback(iteration, max_iter, loss)`` after each sweep; where it returns False or raises, the
                training ends and the model stays what it was.
            times: when each entry was last played, ints, larger is newer, in the order of the ``data`` of a CSR matrix
                with sorted indices. With them, what is chosen is chosen on the newest rows, and a score can have a
                recency part.
            known: factors of an earlier model to start from; its new rows are folded in. Fewer sweeps are needed then.
            checkpoints: where this fit keeps what it has reached, and goes on from if it was cut off; the bits are
                those of a fit that never was.
            halves_of: who does the half-sweeps: this process's threads, or an engine (docs/scale.md). The bits are the
                same.

        Raises:
            DataError: a value that is negative, NaN or infinite, an empty or not 2-D matrix, a table of interactions;
                it is a ValueError.
            TrainingError: the training failed or was cancelled; it is a RuntimeError.
        """
        data = user_item_matrix if isinstance(user_item_matrix, TrainingData) else _held(user_item_matrix, times)
        rows = data.rows
        if len(rows.values) == 0:
            raise DataError(f"user_item_matrix of shape {(rows.n_rows, rows.n_columns)} is empty: no value is above 0")
        if known is not None:
            known.check(rows.n_rows, rows.n_columns, self.n_components)
        fitted = fit(
            self.objective, self.parts, data, n_components=self.n_components, seed=self.random_state,
            max_iter=self.max_iter, tol=self.tol, n_threads=resolve_n_threads(self.n_threads), callback=callback,
            known=known, checkpoints=checkpoints, halves_of=halves_of,
        )  # fmt: skip
        factors, choice = fitted.factors, fitted.choice
        scoring = Scoring(factors.item, fitted.neighbors, fitted.recency)
        self._become(factors.user, scoring, rows, fitted.weighting, choice.numbers(), factors.loss)
        self.converged = factors.converged
        logger.info("Trained %d × %d, k=%d, %d sweeps", self.n_users, self.n_items, self.n_components, self.n_iter_)
        return self

    def _become(
        self,
        user: FloatArray,
        scoring: Scoring,
        seen: SparseRows,
        weighting: Weighting,
        chosen: dict[str, float],
        history: list[float],
    ) -> None:
        self._forget()
        self.user_factors = user
        self.item_factors = scoring.items.T
        self.n_users, self.n_items = user.shape[0], scoring.items.shape[0]
        self.n_components = user.shape[1]
        self._scoring = scoring
        self._seen = seen.as_csr()
        self._weighting = weighting
        self._chosen = chosen
        self.training_history = history
        self.n_iter_ = len(history)
        self.is_fitted = True

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.parameters().items() if value is not None)
        fitted = f"fitted to {self.n_users} users × {self.n_items} items" if self.is_fitted else "not fitted"
        return f"<NMFModel({said}), {fitted}>"

    # Asking

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """Scores (len,), float32, of user_ids[j] with item_ids[j]: the same that lists are ranked by."""
        self._check_fitted()
        users = check_ids(user_ids, self.n_users, "User IDs", "user_ids")
        items = check_ids(item_ids, self.n_items, "Item IDs", "item_ids")
        if len(users) != len(items):
            raise ParameterError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
        return self.scoring.of_pairs(self._users(), self._seen_of(None), users, items)

    def get_user_embeddings(self, user_ids: npt.ArrayLike) -> FloatArray:
        """Rows of user_factors (len, n_components), a copy."""
        self._check_fitted()
        return self._users()[check_ids(user_ids, self.n_users, "User IDs", "user_ids")]

    def get_item_embeddings(self, item_ids: npt.ArrayLike) -> FloatArray:
        """Columns of item_factors as rows (len, n_components), a copy."""
        self._check_fitted()
        return self._items()[check_ids(item_ids, self.n_items, "Item IDs", "item_ids")]

    def get_top_recommendations(
        self, user_id: int, top_k: int = 10, exclude_seen: bool = True
    ) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """The best items of a user: (item_indices, scores), best first; fewer than ``top_k`` where fewer are left."""
        self._check_fitted()
        user = check_id(user_id, self.n_users, "User IDs", "user_id")
        found = self.recommend([user], top_k=top_k, exclude_seen=exclude_seen)
        return found.item_indices, found.scores

    def recommend(
        self,
        user_ids: npt.ArrayLike | None = None,
        *,
        plays: MatrixLike | SparseRows | None = None,
        user_factors: npt.ArrayLike | None = None,
        top_k: int = 10,
        exclude_seen: bool = True,
        seen: Sparse | None = None,
        blocked: npt.ArrayLike | None = None,
        blocked_by_user: Sparse | None = None,
        allowed: npt.ArrayLike | None = None,
        allowed_by_user: Sparse | None = None,
    ) -> TopK:
        """The best items of many users; where nothing is known of a user, the most popular ones, at score 0.

        Args:
            user_ids: the users; everybody where None (and neither ``plays`` nor ``user_factors``).
            plays: (n, n_items), what each of the asked users has played, in place of the training's: of users whom the
                training did not see, too. Their vectors are those of ``fold_in(plays)``.
            user_factors: (n, n_components), from ``fold_in``, where they are there already. The plays are ``plays``,
                else the training's of ``user_ids``, else ``seen``; without any of them the score is that of the factors
                alone.
            top_k: most items a user.
            exclude_seen: leave out what a user has played, or ``seen`` where given.
            seen: sparse (n, n_items), what each of the asked users has seen, in place of the plays.
            blocked, allowed: item ids that nobody gets, or the only ones that anybody gets; or bool (n_items,), True
                for these.
            blocked_by_user, allowed_by_user: sparse (n, n_items), the same for each of the asked users.
        """
        scoring = self.scoring
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        known = None if user_ids is None else check_ids(user_ids, self.n_users, "User IDs", "user_ids")
        played = None if plays is None else read_rows(plays, "plays", self.n_items)
        if played is not None and known is not None and played.n_rows != len(known):
            raise ParameterError(f"user_ids and plays must be equally long, got {len(known)} and {played.n_rows}")
        if user_factors is not None:
            n = len(known) if known is not None else None if played is None else played.n_rows
            wanted = check_vectors(user_factors, "user_factors", n, self.n_components)
        elif played is not None:
            wanted = self._fold_in(self._fitted_weighting().users_side(played), "items")
        else:
            wanted = self._users() if known is None else self._users()[known]
        shape = len(wanted), self.n_items
        given = check_by_user(seen, "seen", shape)
        if played is not None:
            heard: Csr | None = played.as_csr()
        else:
            heard = given if user_factors is not None and known is None else self._seen_of(known)
        limits: dict[str, Any] = {
            "seen": (heard if given is None else given) if exclude_seen else None,
            "blocked": check_items(blocked, self.n_items, "blocked"),
            "blocked_by_user": check_by_user(blocked_by_user, "blocked_by_user", shape),
            "allowed": check_items(allowed, self.n_items, "allowed"),
            "allowed_by_user": check_by_user(allowed_by_user, "allowed_by_user", shape),
            "n_threads": resolve_n_threads(self.n_threads),
        }
        k = min(top_k, self.n_items)
        found = scoring.best(wanted, heard, k, index=self.item_index, **limits)
        if (found.indptr[1:] > found.indptr[:-1]).all():
            return found
        unknown = np.flatnonzero(~scoring.knows(wanted, heard))
        if not len(unknown):
            return found
        if self._popularity is None:
            self._popularity = np.bincount(self._seen_of(None).indices, minlength=self.n_items).astype(np.float32)
        return popular_where_unknown(found, unknown, self._popularity, k, **limits)

    def similar_items(self, item_id: int, top_k: int = 10) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """The items most like ``item_id``: (item_indices, scores in (0, 1)), best first; see
        ``timbral.models.similarity``."""
        self._check_fitted()
        item = check_id(item_id, self.n_items, "Item IDs", "item_id")
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        neighbors, weight, index = self.scoring.neighbors, self._chosen["neighbor_weight"], self.similarity_index
        if index is not None:
            together = index.together(neighbors, item, weight)
            n_threads = resolve_n_threads(self.n_threads)
            return most_similar(self._items(), index.mean, together, item, top_k, index.blocks, n_threads)
        if self._mean_item is None:
            self._mean_item = mean_direction(self._items())
        return most_similar(self._items(), self._mean_item, neighbors.likeness(item, weight), item, top_k)

    def similar_lists(self, items: npt.NDArray[np.int32], top_k: int) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """``similar_items`` of each of ``items``, ascending, among them: (item_indices (len(items), top_k), scores), -1
        where none is left."""
        together = self.scoring.neighbors.all_likenesses(self._chosen["neighbor_weight"])
        return similar_lists(self._items(), together, items, top_k)

    def explain(self, user_id: int, item_id: int, top_k: int = 10) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """What in a user's history speaks for an item: (item_indices, contributions), the greatest first, none
        negative.

        ``predict([user_id], [item_id])`` is shared out in proportion to how far it would fall, had the user not played
        one item or another: all contributions (``top_k`` = n_items) add up to it. Items that contribute nothing are
        left out; ``item_id`` is not, where the user has played it. See ``timbral.models.explanation``.
        """
        weighting = self._fitted_weighting()
        user = check_id(user_id, self.n_users, "User IDs", "user_id")
        item = check_id(item_id, self.n_items, "Item IDs", "item_id")
        top_k = check_int(top_k, "top_k", 1, 2**31 - 1)
        side = weighting.users_side(read_rows(self._seen_of(np.array([user])), "history", self.n_items))
        scoring = self.scoring
        spoken = scoring.neighbors.said_for(item, side.rows)
        more = spoken, float(scoring.recency[item])
        return strongest(self._users()[user], self._items()[item], side, self._fixed_side("items"), *more, top_k)

    # Files

    def index_tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What makes questions to a large catalogue quick, for the model's file: both indexes, made here unless the
        model was read with them."""
        item_index = self.item_index or self.scoring.index()
        similarity_index = self.similarity_index or SimilarityIndex.of(self._items(), self.scoring.neighbors)
        return item_index.tensors(ITEM_INDEX) | similarity_index.tensors(SIMILARITY_INDEX)

    def _map_indexes(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        vectors, n_pairs = self._items(), len(self.scoring.neighbors.items)
        item_index = ItemIndex.from_tensors(arrays, ITEM_INDEX, vectors, self.scoring.boost)
        self.similarity_index = SimilarityIndex.from_tensors(arrays, SIMILARITY_INDEX, vectors, n_pairs)
        self.item_index = item_index

    def _record(self) -> ModelRecord:
        weighting = self._fitted_weighting()
        seen = self._seen_of(None)
        return ModelRecord(
            parameters=self.parameters(),
            user=self._users(),
            scoring=self.scoring,
            chosen=self._chosen,
            fixed_items=self._fixed_side("items"),
            seen=SparseRows(seen.indptr, seen.indices, seen.data, self.n_items),  # type: ignore[arg-type]  # see as_csr
            weighting=weighting,
            loss=self.training_history,
            converged=self.converged,
        )

    def _restore(self, record: ModelRecord) -> None:
        made = NMFModel(**record.parameters, n_threads=self.n_threads)
        made._become(record.user, record.scoring, record.seen, record.weighting, record.chosen, record.loss)
        made.converged = record.converged
        if record.fixed_items is not None:
            made._fixed["items"] = record.fixed_items
        self.__dict__.update(made.__dict__)


def _held(matrix: MatrixLike, times: npt.ArrayLike | None) -> HeldData:
    return HeldData(read_rows(matrix, "user_item_matrix"), None if times is None else read_times(times, matrix))
