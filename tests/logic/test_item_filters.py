"""Lists from item sets: exact, apart from the users' own lists, never of a set that is not there or has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
from taste import history, served_model

from timbral import keys
from timbral.errors import ParameterError
from timbral.lists.filtered import ItemFilter, read_filtered
from timbral.lists.item_sets import ItemSets
from timbral.logic import filter_masks
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.overlay import Overlay
from timbral.messages import Play
from timbral.versions.served_model import ServedModel

ROWS = history()


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return served_model(ROWS)


@pytest.fixture
def sets(client: redis.Redis, served: ServedModel) -> ItemSets:
    made = ItemSets(client)
    items = served.item_ids.ids(range(len(served.item_ids)))
    made.put("even", [item for item in items if int(item) % 2 == 0] + ["no item of the model"])
    made.put("first", items[: len(items) // 2])
    made.put("none", [])
    client.set(keys.MODEL_CURRENT, served.version)
    return made


def batch(client: redis.Redis, served: ServedModel, **options: Any) -> BatchRecommendation:
    return BatchRecommendation(client, served, **{"top_k": 7} | options)


def items_of(listed: list[dict[str, Any]] | None) -> list[Any]:
    assert listed is not None
    return [entry["item_id"] for entry in listed]


@pytest.mark.parametrize(
    ("allow", "exclude"),
    [
        (["even"], []),
        ([], ["even"]),
        (["first", "even"], []),
        (["first"], ["even", "none"]),
        (["even", "first"], ["none"]),
    ],
)
def test_a_list_is_the_best_of_what_is_in_every_allowed_set_and_in_no_excluded_one(
    client: redis.Redis, served: ServedModel, sets: ItemSets, allow: list[str], exclude: list[str]
) -> None:
    wanted = set(served.item_ids.ids(range(len(served.item_ids))))
    for name in allow:
        wanted &= set(sets.items(name))
    for name in exclude:
        wanted -= set(sets.items(name))

    batch(client, served, allow=allow, exclude=exclude).for_users([1000, 1003])

    for user in (1000, 1003):
        code = int(served.user_ids.codes([user])[0])
        codes, scores = served.model.get_top_recommendations(code, len(served.item_ids))
        best = [
            (item, score)
            for item, score in zip(served.item_ids.ids(codes), scores.tolist(), strict=True)
            if item in wanted
        ][:7]
        found = read_filtered(client, user, ItemFilter.of(allow[::-1], exclude))
        assert items_of(found) == [item for item, _ in best]
        assert [entry["score"] for entry in found or []] == pytest.approx([score for _, score in best], abs=1e-6)


def test_the_users_own_list_is_neither_read_nor_written(
    client: redis.Redis, served: ServedModel, sets: ItemSets
) -> None:
    batch(client, served).for_users([1000])
    own = client.get(keys.recommendations_user(1000))

    batch(client, served, allow=["even"]).for_users([1000, 1004])

    assert client.get(keys.recommendations_user(1000)) == own
    assert not client.exists(keys.recommendations_user(1004))
    assert {item % 2 for item in items_of(read_filtered(client, 1000, ItemFilter.of(["even"], None)))} == {0}
    assert read_filtered(client, 1000, ItemFilter.of(["first"], None)) is None
    assert 0 < client.ttl(keys.recommendations_filtered(1000)) <= 21_600


def test_a_list_counts_no_more_when_a_set_the_model_or_the_plays_are_others(
    client: redis.Redis, served: ServedModel, sets: ItemSets
) -> None:
    wanted = ItemFilter.of(["even"], ["none"])

    def is_there() -> bool:
        batch(client, served, allow=["even"], exclude=["none"]).for_users([1000])
        return read_filtered(client, 1000, wanted) is not None

    assert is_there()
    sets.put("none", [2, 4])
    assert read_filtered(client, 1000, wanted) is None
    assert is_there()
    client.set(keys.MODEL_CURRENT, "another")
    assert read_filtered(client, 1000, wanted) is None
    client.set(keys.MODEL_CURRENT, served.version)
    assert is_there()
    Overlay(client).add_plays("t", [Play(user_id=1000, item_id=ROWS[0][1])])
    batch(client, served).for_users([1000])
    assert read_filtered(client, 1000, wanted) is None
    assert is_there()


def test_an_item_that_is_blocked_since_is_left_out(client: redis.Redis, served: ServedModel, sets: ItemSets) -> None:
    batch(client, served, allow=["even"]).for_users([1000])
    before = items_of(read_filtered(client, 1000, ItemFilter.of(["even"], None)))

    client.sadd(keys.BLOCKS_ITEMS, keys.encode_id(before[0]))
    client.sadd(keys.blocks_user(1000), keys.encode_id(before[2]))

    assert items_of(read_filtered(client, 1000, ItemFilter.of(["even"], None))) == [before[1], *before[3:]]
    assert before[0] not in items_of(batch(client, served, allow=["even"]).list_of(1000))


def test_a_set_that_is_not_there_is_refused_by_who_makes_lists_and_by_who_reads_them(
    client: redis.Redis, served: ServedModel, sets: ItemSets
) -> None:
    batch(client, served, exclude=["even"]).for_users([1000])
    sets.delete("even")

    for ask in (
        lambda: batch(client, served, exclude=["even"]).for_users([1000]),
        lambda: batch(client, served, allow=["first"], exclude=["even"]).list_of(1000),
        lambda: read_filtered(client, 1000, ItemFilter.of(None, ["even"])),
    ):
        with pytest.raises(ParameterError, match="there is no item set 'even'"):
            ask()


def test_a_set_that_leaves_nothing_or_has_lost_items_is_refused(
    client: redis.Redis, served: ServedModel, sets: ItemSets
) -> None:
    with pytest.raises(ParameterError, match="knows no item that allow=none&exclude= would leave"):
        batch(client, served, allow=["none"]).for_users([1000])
    client.srem(keys.item_set("even"), keys.encode_id("no item of the model"))
    filter_masks._kept.clear()
    with pytest.raises(ParameterError, match=r"has \d+ items, and \d+ were put there"):
        batch(client, served, allow=["even"]).for_users([1000])


def test_who_is_unknown_gets_what_is_popular_of_what_is_allowed(
    client: redis.Redis, served: ServedModel, sets: ItemSets
) -> None:
    made = batch(client, served, allow=["even"], top_k=5)

    assert made.list_of("nobody") is None
    popular = items_of(made.popular("nobody"))

    users = dict(zip(served.item_ids.ids(range(len(served.item_ids))), served.users_per_item, strict=True))
    assert len(popular) == 5
    assert {item % 2 for item in popular} == {0}
    assert min(users[item] for item in popular) >= np.sort([n for item, n in users.items() if item % 2 == 0])[-5]


def test_the_items_of_a_set_are_read_once_for_many_requests(
    client: redis.Redis, served: ServedModel, sets: ItemSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    filter_masks._kept.clear()
    batch(client, served, allow=["even"]).for_users([1000])
    monkeypatch.setattr(ItemSets, "items", lambda *_: pytest.fail("the items are here already"))

    batch(client, served, allow=["even"]).for_users([1004])

    assert read_filtered(client, 1004, ItemFilter.of(["even"], None))


def test_a_large_set_is_put_whole_and_read_whole(client: redis.Redis) -> None:
    sets = ItemSets(client)
    sets.put("large", range(5))

    made = sets.put("large", [*range(25_000), *map(str, range(3))])

    assert made.n_items == 25_003
    assert set(sets.items("large")) == {*range(25_000), "0", "1", "2"}
    assert len(sets.items("large", 10)) == 10
    assert [one.name for one in sets.listed()] == ["large"]
    assert client.ttl(keys.item_set("large")) == -1
    assert client.keys("*large*") == [keys.item_set("large").encode()]


@pytest.mark.parametrize("name", ["", "a:b", "é", "-x", "a" * 65, "a b", 7])
def test_a_name_or_an_id_that_cannot_be_is_refused_and_changes_nothing(client: redis.Redis, name: Any) -> None:
    sets = ItemSets(client)
    with pytest.raises(ParameterError, match="the name of an item set must be"):
        sets.put(name, [1])
    with pytest.raises(ParameterError, match="an id must be an int or a string"):
        sets.put("fine", [1, 2.5])  # type: ignore[list-item]  # what is refused

    assert sets.listed() == []
