"""What a user is shown: one function decides, for producers and the HTTP API."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timbral.lists.served_list import served_list

IDS = st.one_of(st.integers(0, 9), st.integers(0, 9).map(str))
LISTS = st.none() | st.lists(IDS, unique_by=repr, max_size=8).map(
    lambda ids: [{"item_id": i, "score": 0.5} for i in ids]
)


@given(LISTS, LISTS, st.sets(IDS), st.sets(IDS))
def test_a_list_of_ones_own_goes_before_what_is_popular_and_nothing_blocked_is_in_either(
    listed: Any, popular: Any, seen: set[Any], blocked: set[Any]
) -> None:
    answer = served_list(listed, popular, seen=seen, blocked=blocked)

    source = "cache" if listed is not None else "none" if popular is None else "popular"
    kept_out = blocked if source == "cache" else blocked | seen
    assert answer.source == source
    assert not {item["item_id"] for item in answer.items} & kept_out
    given_items = {"cache": listed, "popular": popular, "none": []}[source]
    assert answer.items == [item for item in given_items if item["item_id"] not in kept_out]


def test_one_and_the_text_one_are_two_items() -> None:
    popular = [{"item_id": 1, "score": 0.9}, {"item_id": "1", "score": 0.8}]

    assert served_list(None, popular, seen={1}).items == popular[1:]
    assert served_list(None, popular, blocked={"1"}).items == popular[:1]


def test_an_empty_list_is_a_list() -> None:
    assert served_list([], [{"item_id": 1}]).source == "cache"
    assert served_list(None, []).source == "popular"
