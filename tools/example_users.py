"""Users, a model and their lists without a fleet: what the HTTP API's tests, pictures and benchmark look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from scipy import sparse

from timbral import keys
from timbral.data.id_index import IdIndex
from timbral.demo.synthetic import ListeningHistory, make_listening_history
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.messages import utc_now
from timbral.models.nmf_model import NMFModel
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel

__all__ = ["Example", "seed"]


@dataclass(frozen=True)
class Example:
    """What was put there: users and artists with ids from 1."""

    history: ListeningHistory
    served: ServedModel

    def name(self, item_id: int) -> str:
        """An artist's name."""
        return self.history.artist_names[item_id - 1]

    def played_by(self, user_id: int) -> dict[int, int]:
        """Plays by artist."""
        rows = self.history.user_ids == user_id - 1
        return dict(zip((self.history.item_ids[rows] + 1).tolist(), self.history.plays[rows].tolist(), strict=True))


def seed(client: redis.Redis, model_dir: Path, *, n_users: int = 400, n_items: int = 300, top_k: int = 10) -> Example:
    """Train on a made-up history, put the model live, write everybody's lists, the popular one and the artists'
    names."""
    history = make_listening_history(n_users, n_items, 8, artists_per_user=20)
    users, items = IdIndex(np.arange(1, n_users + 1)), IdIndex(np.arange(1, n_items + 1))
    matrix = sparse.csr_matrix(
        (history.plays.astype(np.float32), (history.user_ids, history.item_ids)), shape=(n_users, n_items)
    )
    model = NMFModel(16, 42, 40).fit(matrix)
    model_dir.mkdir(parents=True, exist_ok=True)
    store = ModelStore(client, model_dir)
    version = store.trainings.begin("example").version
    record = {
        "version": version,
        "created_at": utc_now(),
        "n_users": n_users,
        "n_items": n_items,
        "n_interactions": int(matrix.nnz),
        "n_components": model.n_components,
    }
    users_per_item = np.bincount(matrix.indices, minlength=n_items).astype(np.int64)
    served = ServedModel(version, model, users, items, users_per_item, None, record)
    store.write(served)
    store.promote(version)
    batch = BatchRecommendation(client, served, top_k=top_k)
    batch.for_codes(0, n_users)
    batch.write_popular()
    names: dict[Any, Any] = {keys.encode_id(item_id): name for item_id, name in enumerate(history.artist_names, 1)}
    client.hset(keys.ITEMS_NAMES, mapping=names)
    return Example(history, served)
