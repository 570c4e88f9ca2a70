"""BatchRecommendation: the lists of many users, from one model version, into the cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import redis
from scipy import sparse

from timbral import keys
from timbral.config.settings import settings
from timbral.lists.filtered import ItemFilter, write_filtered
from timbral.lists.forgotten import Forgotten
from timbral.logic.filter_masks import filter_mask
from timbral.logic.newest_wins import NewestWins, Vectors
from timbral.logic.overlay import Overlay, UserOverlay
from timbral.messages import Id
from timbral.models.search.top_k import TopK
from timbral.plays.user_replies import UserReplies
from timbral.utils import plain_pickle
from timbral.versions.fresh_lists import FreshLists, groups_of
from timbral.versions.item_lists import popular_items
from timbral.versions.served_model import ServedModel

if TYPE_CHECKING:  # who reads no such lists does without parquet
    from timbral.engines.made_lists import MadeLists

__all__ = ["BatchRecommendation", "Done"]

SCORE_DIGITS = 6


class Made(NamedTuple):
    """Lists of users, by their places in the question, and the vectors (len(places), n_components) that they were made
    from."""

    places: list[int]
    top: TopK
    vectors: npt.NDArray[np.float32]


class Done(NamedTuple):
    """Users whose lists were written, and those whom neither the model nor a new play knows."""

    users: int
    unknown: int


class BatchRecommendation:
    """Computes and writes lists of ``top_k`` items.

    A user without plays gets what is popular, and nobody what they rated 0. A user with new plays is folded in first;
    so is one whom the model does not know but who has played items that it does know. Blocked items are in no list. A
    list that runs out of items is shorter, and may be empty. A user who was forgotten is unknown, even to a model that
    this process mapped before.

    With ``allow`` or ``exclude``, names of item sets, lists are of the items in each of the first and in none of the
    second, and are kept beside the users' lists of all items (``timbral.lists.filtered``).

    Raises, when lists are asked for:
        ParameterError: there is no set of one of the names; nothing that the model knows is allowed.
    """

    def __init__(
        self,
        redis_client: redis.Redis,
        served: ServedModel,
        *,
        top_k: int = 10,
        exclude_seen: bool = True,
        max_per_group: int | None = None,
        exploration_share: float | None = None,
        allow: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        made: MadeLists | None = None,
        replies: UserReplies | None = None,
    ) -> None:
        self.redis = redis_client
        self.served = served
        self.top_k = top_k
        self.exclude_seen = exclude_seen
        self.fresh = FreshLists(
            settings.MAX_PER_GROUP if max_per_group is None else max_per_group,
            settings.EXPLORATION_SHARE if exploration_share is None else exploration_share,
        )
        self.filter = ItemFilter.of(allow, exclude)
        self.made = made
        self.ttl_s = settings.RECOMMENDATIONS_TTL_S
        self.overlay = Overlay(redis_client, replies)
        self.newest_wins = NewestWins(redis_client)
        self.forgotten = Forgotten(redis_client)

    def for_users(self, user_ids: Sequence[Id]) -> Done:
        """Write the lists of ``user_ids`` (original ids)."""
        return self._write(list(user_ids), self.served.user_ids.codes(user_ids))

    def for_codes(self, start: int, stop: int) -> Done:
        """Write the lists of the users in the model's rows ``start`` to ``stop``, without the last."""
        codes = self.served.codes_in_rows(start, stop)
        return self._write(self.served.user_ids.ids(codes), codes)

    def with_vectors(self, user_ids: Sequence[Id], vectors_ttl_s: int) -> Done:
        """Write the lists of ``user_ids``, each in one step with the vector that it was made from."""
        return self._write(list(user_ids), self.served.user_ids.codes(user_ids), vectors_ttl_s)

    def list_of(self, user_id: Id) -> list[dict[str, Any]] | None:
        """The user's list as it would be written, and nothing is; None for one who is unknown, or was forgotten."""
        if self.forgotten.among([user_id]):
            return None
        codes = self.served.user_ids.codes([user_id])
        made = list(self._found([user_id], codes, self.overlay.load([user_id], self.served)))
        return self._entries(made[0].top)[0] if made else None

    def popular(self, user_id: Id) -> list[dict[str, Any]]:
        """What most users play, of the items that are wanted, without what is blocked for this user or everybody and
        what they have played."""
        overlay = self.overlay.load([user_id], self.served)
        out = self._out(overlay)
        barred = np.zeros(len(self.served.item_ids), bool) if out is None else self._as_mask(out)
        code = int(self.served.user_ids.codes([user_id])[0])
        seen = self.served.seen[code].indices if code >= 0 and self.exclude_seen else np.empty(0, np.int32)
        own = [*overlay.blocks.get(0, []), *(overlay.plays.get(0, {}) if self.exclude_seen else [])]
        codes = self.served.codes_of_items(own)
        barred[seen] = True
        if codes is not None:
            barred[codes] = True
        hidden = np.flatnonzero(barred).astype(np.int32)
        found: list[dict[str, Any]] = json.loads(
            popular_items(self.redis, self.served, hidden, self.top_k, self.fresh.max_per_group)
        )
        return found

    def _write(
        self,
        user_ids: list[Id],
        codes: npt.NDArray[np.int32],
        vectors_ttl_s: int | None = None,
    ) -> Done:
        if not user_ids:
            return Done(0, 0)
        overlay = self.overlay.load(user_ids, self.served)
        forgotten = self.forgotten.keep_out(user_ids, overlay.salt)
        if forgotten:
            places = [place for place, user_id in enumerate(user_ids) if user_id not in forgotten]
            others = self._write([user_ids[place] for place in places], codes[places], vectors_ttl_s)
            return Done(others.users, others.unknown + len(user_ids) - len(places))
        listed: list[int] = []
        salt: str | None = None
        for made in self._found(user_ids, codes, overlay):
            listed += made.places
            names = [user_ids[place] for place in made.places]
            newest = [overlay.newest.get(place, "") for place in made.places]
            salt = self.write_lists(names, made.top, newest, self._vectors(names, made, vectors_ttl_s))
        if not self.filter and self._settle(user_ids, overlay, listed):
            salt = None  # something was written after it was asked for
        forgotten = self.forgotten.keep_out(user_ids, salt)
        n_written = len(listed) - sum(user_ids[place] in forgotten for place in listed) if forgotten else len(listed)
        return Done(n_written, len(user_ids) - n_written)

    def _vectors(self, names: list[Id], made: Made, ttl_s: int | None) -> Vectors | None:
        if ttl_s is None:
            return None
        version = self.served.version
        return Vectors(
            [keys.embeddings(keys.user_embedding_name(user_id)) for user_id in names],
            [plain_pickle.dumps({"model_version": version, "vector": vector}) for vector in made.vectors],
            ttl_s,
        )

    def _found(self, user_ids: list[Id], codes: npt.NDArray[np.int32], overlay: UserOverlay) -> Iterator[Made]:
        """The lists of those of ``user_ids`` who are known: by the training alone, then of those who are folded in."""
        model = self.served.model
        folding = [place for place in overlay.plays if codes[place] >= 0 or self._knows_any(overlay.plays[place])]
        is_folded = np.zeros(len(user_ids), dtype=bool)
        is_folded[folding] = True
        trained = np.flatnonzero((codes >= 0) & ~is_folded)
        out = self._out(overlay)
        if len(trained):
            names = [user_ids[place] for place in trained.tolist()]
            top = self._lists(names, self._asking(trained, codes, overlay, out))
            yield Made(trained.tolist(), top, model.get_user_embeddings(codes[trained]))
        if folding:
            names = [user_ids[place] for place in folding]
            played = self.served.rows_with_plays(codes[folding], [overlay.plays[place] for place in folding])
            folded = model.fold_in(played)
            asked = {"plays": played, "user_factors": folded, "blocked": out}
            zeros = self._blocks(np.asarray(folding), codes, overlay)
            yield Made(folding, self._lists(names, self._recommending(blocked_by_user=zeros, **asked)), folded)

    def _out(self, overlay: UserOverlay) -> npt.NDArray[Any] | None:
        """What nobody gets: item codes, or a mask."""
        hidden = self.served.codes_of_items(overlay.blocked_items)
        if not self.filter:
            return hidden
        self.filter, mask = filter_mask(self.redis, self.served, self.filter)
        if hidden is None:
            return mask
        mask = mask.copy()
        mask[hidden] = True
        return mask

    def _as_mask(self, out: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        mask = np.zeros(len(self.served.item_ids), bool)
        mask[out] = True  # by codes or by a mask
        return mask

    def _settle(self, user_ids: list[Id], overlay: UserOverlay, listed: list[int]) -> bool:
        """Count the new plays of items that the model does not know, and note which of them have been looked at without
        a list to write; whether there was any of that."""
        if not overlay.newest:
            return False
        played = [item for items in overlay.unlisted.values() for item in items]
        n_unknown = int((self.served.item_ids.codes(played) < 0).sum()) if played else 0
        known = set(listed)
        rest = [place for place in overlay.newest if place not in known]
        if not (n_unknown or rest):
            return False
        self.overlay.settle([user_ids[place] for place in rest], [overlay.newest[place] for place in rest], n_unknown)
        return True

    def _recommending(self, **asked: Any) -> Callable[[int], TopK]:
        """The best items by ``model.recommend(**asked)``, as many as are asked for."""
        return lambda top_k: self.served.model.recommend(top_k=top_k, exclude_seen=self.exclude_seen, **asked)

    def _asking(
        self,
        places: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int32],
        overlay: UserOverlay,
        blocked: npt.NDArray[Any] | None,
    ) -> Callable[[int], TopK]:
        """The best items of users whom the model knows: those that an engine has made, and of users with blocks of
        their own by the model."""

        def by_model(some: npt.NDArray[np.int64]) -> Callable[[int], TopK]:
            zeros = self._blocks(some, codes, overlay)
            return self._recommending(user_ids=codes[some], blocked=blocked, blocked_by_user=zeros)

        made = self.made
        hidden = np.empty(0, np.int32) if blocked is None else blocked
        if made is None or made.exclude_seen != self.exclude_seen or not np.array_equal(made.blocked, hidden):
            return by_model(places)
        is_made = np.array([not overlay.blocks.get(place) for place in places.tolist()])
        others = by_model(places[~is_made])

        def ask(top_k: int) -> TopK:
            if top_k > made.top_k:
                return by_model(places)(top_k)
            return made.lists(codes[places], is_made, top_k, others)

        return ask

    def _lists(self, names: list[Id], ask: Callable[[int], TopK]) -> TopK:
        """The lists of ``names``, of the items that ``ask`` gives, as fresh as they are to be."""
        return self.fresh.lists(
            ask,
            self.top_k,
            len(self.served.item_ids),
            [f"{self.served.version} {keys.encode_id(name)}" for name in names]
            if self.fresh.exploration_share
            else [""] * len(names),
            partial(groups_of, self.redis, self.served.item_ids),
        )

    def _knows_any(self, plays: dict[Id, float]) -> bool:
        return bool((self.served.item_ids.codes(list(plays)) >= 0).any())

    def _blocks(
        self, places: npt.NDArray[np.int64], codes: npt.NDArray[np.int32], overlay: UserOverlay
    ) -> sparse.csr_matrix | None:
        """What each user must not get: their blocks, and what they rated 0 where what they know is left out."""
        zeros = self.served.rated_zero_of(codes[places]) if self.exclude_seen else None
        if not overlay.blocks:
            return zeros
        nothing = np.empty(0, dtype=np.int32)
        parts: list[npt.NDArray[np.int32]] = []
        for place in places.tolist():
            known = self.served.codes_of_items(overlay.blocks.get(place, []))
            parts.append(nothing if known is None else known)
        indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        indices = np.concatenate(parts)
        blocks = sparse.csr_matrix(
            (np.ones(len(indices), np.float32), indices, indptr), shape=(len(places), len(self.served.item_ids))
        )
        return blocks if zeros is None else (blocks + zeros).tocsr()

    # Writing

    def write_lists(
        self, user_ids: Sequence[Id], top: TopK, newest: Sequence[str] = (), vectors: Vectors | None = None
    ) -> str | None:
        """Write list ``i`` of ``top`` as that of ``user_ids[i]``, each in one command with its life.

        ``newest[i]`` is the id in the stream of the newest play that list ``i`` knows of, "" for none. Whatever the
        order in which two workers write, the list that knows of the newer play stays; ``vectors`` are written in the
        same step, where they are.

        Returns:
            The salt of the forgotten users once all was written, for ``Forgotten.keep_out``; None where it was not
            asked for.
        """
        if self.filter:
            made = zip(user_ids, self._entries(top), newest or [""] * len(user_ids), strict=True)
            write_filtered(self.redis, self.filter, self.served.version, self.ttl_s, list(made))
            return None
        used, place_of = np.unique(top.item_indices, return_inverse=True)
        heads = [f'{{"item_id": {json.dumps(item)}, "score": ' for item in self.served.item_ids.ids(used)]
        scores = np.round(top.scores.astype(np.float64), SCORE_DIGITS).tolist()
        entries = [f"{heads[place]}{score}}}" for place, score in zip(place_of.tolist(), scores, strict=True)]
        ends = top.indptr.tolist()
        lists = [f"[{', '.join(entries[ends[row] : ends[row + 1]])}]" for row in range(len(user_ids))]
        names = [keys.recommendations_user(user_id) for user_id in user_ids]
        return self.newest_wins.write(names, lists, newest or [""] * len(names), self.ttl_s, vectors)

    def _entries(self, top: TopK) -> list[list[dict[str, Any]]]:
        scores = np.round(top.scores.astype(np.float64), SCORE_DIGITS).tolist()
        entries = [
            {"item_id": item, "score": score}
            for item, score in zip(self.served.item_ids.ids(top.item_indices), scores, strict=True)
        ]
        ends = top.indptr.tolist()
        return [entries[start:stop] for start, stop in pairwise(ends)]

    def write_popular(self) -> None:
        """Write what most users play, for a user nobody knows; the score is the share of users."""
        hidden = self.served.codes_of_items(self.overlay.blocked_items())
        listed = popular_items(self.redis, self.served, hidden, self.top_k, self.fresh.max_per_group)
        self.redis.set(keys.RECOMMENDATIONS_POPULAR, listed, ex=self.ttl_s)
