"""The screens of the item sets: what is shown, who may change it, and what a form may not do unseen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from api_fixtures import csrf_of, log_in

from timbral import keys
from timbral.lists.item_sets import ItemSets

WHERE = "/console/item-sets"


@pytest.fixture
def person(api: Any) -> Iterator[httpx.Client]:
    """Somebody who has logged in with the token for writing."""
    with api.client() as client:
        log_in(client, "a token for the tests")
        yield client


@pytest.fixture
def sets(store: redis.Redis) -> Iterator[ItemSets]:
    made = ItemSets(store)
    yield made
    for one in made.listed():
        made.delete(one.name)


def put(person: httpx.Client, page: str = WHERE, **fields: str) -> httpx.Response:
    """Send the form of ``page``, with these fields."""
    shown = person.get(page)
    version = re.search(r'name="version" value="(\w+)"', shown.text)
    form = {"version": version.group(1)} if version else {}
    return person.post(WHERE, data={"csrf": csrf_of(shown), **form, **fields})


def test_a_set_that_a_form_makes_is_there_and_shown_with_its_items_names(
    person: httpx.Client, sets: ItemSets, store: redis.Redis, api: Any
) -> None:
    store.hset(keys.ITEMS_NAMES, "90005", "Ada <Lune>")
    try:
        done = put(person, name="jazz", items=" 90005 \r\n7\r\n\r\n90005")
        page = person.get(done.headers["location"])
    finally:
        store.hdel(keys.ITEMS_NAMES, "90005")

    assert done.status_code == 303
    assert sorted(sets.items("jazz")) == [7, 90005]
    assert "The set jazz has these items" in page.text
    assert "Ada &lt;Lune&gt;" in page.text
    assert re.search(r"<textarea [^>]*>\s*7\n90005</textarea>", page.text)
    assert re.search(r"console .*action='item set put'.*what=jazz", api.log)
    listed = person.get(WHERE).text
    assert 'href="/console/item-sets/jazz"' in listed


def test_ids_that_are_text_stay_text(person: httpx.Client, sets: ItemSets) -> None:
    put(person, name="text", items="5\nx y\n007", are_text="on")

    assert set(sets.items("text")) == {"5", "x y", "007"}
    page = person.get(f"{WHERE}/text").text
    assert 'name="are_text" checked' in page
    put(person, f"{WHERE}/text", name="text", items="5", are_text="on")
    assert sets.items("text") == ["5"]


@pytest.mark.parametrize("items", [[5, "6"], [" 5", "x"], ["a\nb"], list(range(501))])
def test_what_a_form_would_not_give_back_as_it_is_is_not_in_one(
    person: httpx.Client, sets: ItemSets, items: list[Any]
) -> None:
    sets.put("odd", items)

    page = person.get(f"{WHERE}/odd").text

    assert re.search(r"<textarea [^>]*>\s*</textarea>", page)
    assert f"The {len(items)} items that are in it go" in page


def test_a_set_that_was_changed_meanwhile_and_one_that_is_there_already_are_not_replaced_unseen(
    person: httpx.Client, sets: ItemSets
) -> None:
    seen = sets.put("jazz", [1])
    sets.put("jazz", [2])
    csrf = csrf_of(person.get(WHERE))

    for version in (seen.version, ""):
        refused = person.post(WHERE, data={"csrf": csrf, "name": "jazz", "items": "3", "version": version})
        assert refused.status_code == 409
        assert "open it" in refused.text

    assert sets.items("jazz") == [2]


@pytest.mark.parametrize(
    "fields", [{"name": "jazz", "items": " \n"}, {"name": "no/name", "items": "5"}, {"items": "5"}]
)
def test_a_form_that_cannot_be_right_changes_nothing(
    person: httpx.Client, sets: ItemSets, fields: dict[str, str]
) -> None:
    refused = put(person, **fields)

    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    assert sets.listed() == []


def test_a_set_is_deleted_and_one_that_is_not_there_is_said_to_be_none(person: httpx.Client, sets: ItemSets) -> None:
    sets.put("jazz", [1])
    csrf = csrf_of(person.get(f"{WHERE}/jazz"))

    assert person.post(f"{WHERE}/jazz/delete", data={"csrf": csrf}).status_code == 303

    assert sets.listed() == []
    assert person.get(f"{WHERE}/jazz").status_code == 404
    assert person.post(f"{WHERE}/jazz/delete", data={"csrf": csrf}).status_code == 404


def test_a_set_whose_items_were_lost_says_so_and_can_be_put_again(
    person: httpx.Client, sets: ItemSets, store: redis.Redis
) -> None:
    sets.put("jazz", [1, 2])
    store.delete(keys.item_set("jazz"))

    assert "put it again" in person.get(f"{WHERE}/jazz").text
    put(person, f"{WHERE}/jazz", name="jazz", items="3")

    assert sets.items("jazz") == [3]


def test_very_many_sets_are_shown_a_page_at_a_time(person: httpx.Client, sets: ItemSets) -> None:
    for n in range(51):
        sets.put(f"set-{n:02}", [n])

    assert person.get(WHERE).text.count('scope="row"') == 50
    assert "51 to 51 of 51" in person.get(f"{WHERE}?page=2").text


def test_who_may_only_read_sees_sets_and_changes_none(
    seeded: Any, start_api: Callable[..., Any], sets: ItemSets
) -> None:
    sets.put("jazz", [1])
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="write", API_READ_TOKEN="read")
    with api.client() as client:
        assert client.get(f"{WHERE}/jazz").status_code == 303
        log_in(client, "read")
        page = client.get(f"{WHERE}/jazz")
        assert "<textarea" not in page.text
        assert "Delete…" not in page.text
        for where in (WHERE, f"{WHERE}/jazz/delete"):
            form = {"csrf": csrf_of(page), "name": "jazz", "items": "2"}
            assert client.post(where, data=form).status_code == 403
            assert client.post(where, data=form | {"csrf": "0" * 64}).status_code == 403

    assert sets.items("jazz") == [1]
