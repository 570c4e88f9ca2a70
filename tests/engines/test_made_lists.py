"""Lists that an engine has made in parts are those that the fleet makes by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.engines.block_store import BlockStore
from timbral.engines.made_lists import MadeLists, make_all
from timbral.engines.ray_run import on_ray
from timbral.engines.spark_session import on_spark
from timbral.lists.forgotten import Forgotten
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.overlay import Overlay
from timbral.messages import Play
from timbral.models.nmf_model import NMFModel
from timbral.versions.served_model import ServedModel

CHUNK = 16
N_USERS = 120


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return served_model(history())


def here(do: Callable[[dict[str, Any]], dict[str, Any]], parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The smallest engine, which does everything twice."""
    return [do(part) for part in [*parts, *parts]]


@pytest.fixture(params=["here", "ray", "spark"])
def everywhere(request: pytest.FixtureRequest) -> Any:
    if request.param == "spark":
        return partial(on_spark, request.getfixturevalue("spark").url)
    if request.param == "ray":
        request.getfixturevalue("ray")
        return partial(on_ray, None)
    return here


def made(
    folder: Path, served: ServedModel, everywhere: Any = here, blocked: Iterable[int] = (), top_k: int = 6
) -> MadeLists:
    file, store = folder / "model.safetensors", BlockStore(folder, "lists", folder / "cache")
    served.write(file)
    make_all(
        store, file, served, top_k=top_k, exclude_seen=True, blocked=np.array(sorted(blocked), np.int32),
        chunk_rows=CHUNK, n_parts=3, everywhere=everywhere,
    )  # fmt: skip
    return MadeLists.open(store)


def written(client: redis.Redis, served: ServedModel, **options: Any) -> dict[bytes, bytes]:
    """Everybody's lists, written in chunks as the fleet does."""
    for start in range(0, N_USERS, CHUNK):
        BatchRecommendation(client, served, **options).for_codes(start, start + CHUNK)
    names = sorted(client.scan_iter("recommendations:user:*"))
    lists = dict(zip(names, client.mget(names), strict=True))
    client.delete(*names)
    return lists


def test_lists_are_those_of_the_fleet(
    client: redis.Redis, served: ServedModel, everywhere: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: an item that nobody gets; users with blocks, with new plays, and one who was forgotten
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(102))
    client.sadd(keys.blocks_user(1004), keys.encode_id(101), keys.encode_id(103))
    Overlay(client).add_plays("t", [Play(user_id=1009, item_id=item, plays=40) for item in range(300, 312)])
    Forgotten(client).add([1011])
    (hidden,) = served.item_ids.codes([102]).tolist()
    lists = made(tmp_path, served, everywhere, [hidden])
    theirs = written(client, served, top_k=6)

    # when: of the model, no more is asked than it must be
    asked: list[int] = []
    recommend = NMFModel.recommend

    def counted(self: NMFModel, user_ids: Any = None, **more: Any) -> Any:
        asked.append(0 if user_ids is None else len(user_ids))
        return recommend(self, user_ids, **more)

    monkeypatch.setattr(NMFModel, "recommend", counted)
    mine = written(client, served, top_k=6, made=lists)

    # then
    assert mine == theirs
    assert len(mine) == N_USERS - 1
    assert sum(asked) <= 1, "but for the user with blocks, and the one with new plays"


def test_shorter_lists_and_such_with_groups_come_from_those_that_are_made(
    client: redis.Redis, served: ServedModel, tmp_path: Path
) -> None:
    client.hset("items:groups", mapping={keys.encode_id(item): str(item % 3) for item in range(100, 440)})
    lists = made(tmp_path, served, top_k=20)

    for options in ({"top_k": 3}, {"top_k": 4, "max_per_group": 1}, {"top_k": 4, "exploration_share": 0.5}):
        assert written(client, served, made=lists, **options) == written(client, served, **options), options


@pytest.mark.parametrize("options", [{"top_k": 9}, {"top_k": 6, "exclude_seen": False}])
def test_lists_that_are_asked_otherwise_than_they_were_made_are_made_anew(
    client: redis.Redis, served: ServedModel, tmp_path: Path, options: dict[str, Any]
) -> None:
    lists = made(tmp_path, served)
    assert written(client, served, made=lists, **options) == written(client, served, **options)


def test_an_item_hidden_meanwhile_is_in_no_list(client: redis.Redis, served: ServedModel, tmp_path: Path) -> None:
    lists = made(tmp_path, served)
    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(102))

    mine = written(client, served, top_k=6, made=lists)

    assert mine == written(client, served, top_k=6)
    assert not any(b'"item_id": 102,' in one for one in mine.values())


def test_lists_of_an_engine_that_has_not_come_to_its_end_are_none(served: ServedModel, tmp_path: Path) -> None:
    def fails(do: object, parts: object) -> list[dict[str, Any]]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made(tmp_path, served, fails)
    with pytest.raises(OSError, match="asked"):
        MadeLists.open(BlockStore(tmp_path, "lists"))
