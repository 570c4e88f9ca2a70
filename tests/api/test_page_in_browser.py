"""The page in a real headless Chromium: every state of it, by keyboard and by mouse, with hostile names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis

from timbral import keys
from timbral.stack.embedded_server import EmbeddedServer
from tools.chromium import Chromium, missing
from tools.example_users import Example

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ENTER, TAB = "\ue007", "\ue004"
SHOWN = "return document.getElementById('results').getAttribute('aria-busy') === 'false' && !document.getElementById('results').hidden"
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium(1100, 900) as made:
        yield made


def _complaints(browser: Chromium) -> list[str]:
    # A 404 of an unknown user is an answer, and the browser logs each of them.
    return [line for line in browser.log() if "Failed to load resource" not in line]


def _show(browser: Chromium, url: str, user_id: str) -> None:
    browser.open(f"{url}/console/users?user={quote(user_id, safe='')}")
    browser.wait_for(SHOWN)


def test_a_person_types_an_id_and_sees_plays_recommendations_reasons_and_similar_artists(
    browser: Chromium, api: Any, example: Example, store: redis.Redis
) -> None:
    browser.open(f"{api.url}/console/users")
    assert browser.run("return document.activeElement.id") == "user"
    assert browser.run("return document.getElementById('results').hidden")

    browser.type("#user", "7" + ENTER)

    browser.wait_for(SHOWN)
    played = example.played_by(7)
    most = max(played.values())
    first = browser.text("#plays li .name")
    assert first in {f"{example.name(item)} {item}" for item, plays in played.items() if plays == most}
    listed = json.loads(store.get(keys.recommendations_user(7)))
    names = browser.run("return [...document.querySelectorAll('#gets .name')].map(n => n.firstChild.data)")
    assert names == [example.name(item["item_id"]) for item in listed]
    assert browser.run("return location.search") == "?user=7"

    browser.click("#gets .line")

    browser.wait_for(
        "return document.querySelectorAll('#gets .reason').length && document.querySelectorAll('#gets .chips "
        "li').length"
    )
    reason = browser.run("return document.querySelector('#gets .reason span').textContent")
    assert reason in {example.name(item) for item in played}
    assert browser.run("return document.querySelector('#gets .line').getAttribute('aria-expanded')") == "true"
    assert _complaints(browser) == []


def test_an_unknown_user_gets_popular_artists_and_is_told_so(browser: Chromium, api: Any) -> None:
    _show(browser, api.url, "nobody")

    assert "does not know this user" in browser.text("#note")
    assert "what most users play" in browser.text("#note")
    assert browser.run("return document.querySelectorAll('#gets .item').length") == 10


def test_hostile_ids_and_names_stay_text(browser: Chromium, api: Any, store: redis.Redis) -> None:
    items = [
        {"item_id": HOSTILE, "score": 1},
        {"item_id": 2**63 - 1, "score": 0.5},
        {"item_id": "x" * 500, "score": 0.2},
    ]
    store.set(keys.recommendations_user(HOSTILE), json.dumps(items))
    store.hset(keys.ITEMS_NAMES, keys.encode_id(HOSTILE), HOSTILE + " by name")
    store.rpush(keys.plays_user(HOSTILE), f"1-0 [{keys.encode_id(HOSTILE)},3,0]")
    try:
        _show(browser, api.url, HOSTILE)
        browser.click("#gets .line")
        browser.wait_for("return document.querySelectorAll('#gets .more p').length")
        shown = browser.run("return [...document.querySelectorAll('#gets .name')].map(n => n.textContent)")
        overflow = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        title = browser.text("#who")
    finally:
        store.delete(keys.recommendations_user(HOSTILE), keys.plays_user(HOSTILE))
        store.hdel(keys.ITEMS_NAMES, keys.encode_id(HOSTILE))

    assert shown == [f"{HOSTILE} by name {HOSTILE}", "9223372036854775807", "x" * 500]
    assert title == f"User {HOSTILE}"
    assert overflow == 0
    assert browser.run("return window.hacked === undefined")
    assert browser.run("return document.querySelectorAll('main img, main script').length") == 0


def test_everything_can_be_reached_with_the_keyboard(browser: Chromium, api: Any) -> None:
    _show(browser, api.url, "3")
    browser.run("document.getElementById('user').focus()")

    reached = []
    for _ in range(4):
        browser.press(TAB)
        reached.append(browser.run("const e = document.activeElement; return e.className || e.textContent"))
    browser.press(ENTER)

    assert reached == ["Show", "line", "line", "line"]
    assert browser.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_back_and_forward_go_from_user_to_user(browser: Chromium, api: Any) -> None:
    _show(browser, api.url, "1")
    browser.type("#user", "2" + ENTER)
    browser.wait_for("return document.getElementById('who').textContent === 'User 2'")

    browser.run("history.back()")

    browser.wait_for("return document.getElementById('who').textContent === 'User 1'")
    assert browser.run("return document.getElementById('user').value") == "1"


def test_back_to_the_empty_page_has_the_title_of_the_empty_page(browser: Chromium, api: Any) -> None:
    browser.open(f"{api.url}/console/users")
    browser.type("#user", "2" + ENTER)
    browser.wait_for("return document.title.startsWith('2')")

    browser.run("history.back()")

    browser.wait_for("return document.getElementById('results').hidden")
    assert browser.run("return document.title") == "Users · timbral"


@pytest.mark.parametrize("user_id", [".", "..", "a/b", "%2e"])
def test_any_id_can_be_looked_at(browser: Chromium, api: Any, store: redis.Redis, user_id: str) -> None:
    store.set(keys.recommendations_user(user_id), json.dumps([{"item_id": "only this one", "score": 1}]))
    try:
        _show(browser, api.url, user_id)
        shown = browser.run("return [...document.querySelectorAll('#gets .name')].map(n => n.textContent)")
    finally:
        store.delete(keys.recommendations_user(user_id))

    assert shown == ["only this one"]


def test_without_a_model_the_page_says_so_and_what_the_fleet_lacks(
    browser: Chromium, own_server: EmbeddedServer, start_api: Callable[..., Any]
) -> None:
    api = start_api(own_server.url)
    _show(browser, api.url, "5")

    assert browser.text("#note") == "No model is live yet."
    browser.open(api.url)
    assert "No worker takes tasks" in browser.text("main")
    assert "From nothing to a user’s list" in browser.text("main")


def test_a_page_follows_a_job_by_an_event_source_with_the_cookie(
    browser: Chromium, seeded: Any, start_api: Callable[..., Any], store: redis.Redis
) -> None:
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="write", API_READ_TOKEN="read me")
    store.set("celery-task-meta-followed", json.dumps({"status": "SUCCESS", "result": {"users": 1}, "name": "t"}))
    browser.open(f"{api.url}/console/users")
    browser.run(
        """document.cookie = "timbral_token=" + encodeURIComponent("read me") + "; path=/; samesite=strict"; const
        source = new EventSource("/jobs/followed/events"); source.addEventListener("done", (event) => { source.close();
        window.followed = event.data; });"""
    )
    try:
        browser.wait_for("return window.followed?.includes('SUCCESS')")
    finally:
        browser.run("document.cookie = 'timbral_token=; path=/; max-age=0'")
        store.delete("celery-task-meta-followed")


def test_the_docs_show_every_task_and_load_nothing_from_elsewhere(browser: Chromium, api: Any) -> None:
    browser.log()  # what pages said that were left while they still asked something
    browser.open(f"{api.url}/docs")
    browser.wait_for("return document.body.innerText.includes('/tasks/train_model')")

    loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith((api.url, "data:")) for name in loaded)
    assert _complaints(browser) == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_sideways_scrolling_and_with_contrast(api: Any, dark: bool) -> None:
    with Chromium(320, 740, dark=dark) as phone:
        _show(phone, api.url, "4")
        phone.click("#gets .line")
        phone.wait_for("return document.querySelectorAll('#gets .chips li').length")

        assert phone.run("return innerWidth") == 320
        wide = "return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 320).map(e => e.tagName + '.' + e.className)"
        assert phone.run(wide) == []
        assert phone.run("return document.documentElement.scrollWidth") <= 320
        columns = phone.run(
            "return getComputedStyle(document.querySelector('.columns')).gridTemplateColumns.split(' ').length"
        )
        assert columns == 1
        for selector in ("body", ".quiet", "#hint", ".rank", ".name small", ".amount", ".field button", ".chips li"):
            assert phone.run(CONTRAST, selector) >= 4.5, selector


def test_when_redis_is_away_the_page_says_so_and_tries_again(
    browser: Chromium, own_server: EmbeddedServer, start_api: Callable[..., Any]
) -> None:
    api = start_api(own_server.url)
    own_server.stop()
    browser.open(f"{api.url}/console/users?user=5")
    browser.wait_for("return !document.getElementById('trouble').hidden")
    assert "Redis is away" in browser.text("#trouble")
    assert browser.run("return document.getElementById('trouble').getAttribute('role')") == "alert"

    own_server.start()
    browser.click("#again")

    browser.wait_for(SHOWN)
    assert "no list of any kind" in browser.text("#gets-note")


def test_an_api_that_wants_a_token_for_reading_is_given_one(
    browser: Chromium, seeded: Any, start_api: Callable[..., Any]
) -> None:
    api = start_api(seeded.server.url, seeded.directory, API_TOKEN="write", API_READ_TOKEN="read me")
    browser.open(f"{api.url}/console/users?user=5")

    browser.type("#token", "not it" + ENTER)
    browser.wait_for("return document.querySelector('.wrong')?.textContent.includes('not the right one')")

    browser.type("#token", "read me" + ENTER)

    browser.wait_for("return location.pathname === '/console/users'")
    browser.wait_for(SHOWN)
    assert browser.run("return document.querySelectorAll('#gets .item').length") == 10
    assert browser.run("return document.cookie") == ""


CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
let element = document.querySelector(arguments[0]);
const ink = light(parse(getComputedStyle(element).color));
let ground = null;
while (element && !ground) {
  const parts = parse(getComputedStyle(element).backgroundColor);
  if (parts.length === 3 || parts[3] > 0) ground = light(parts);
  element = element.parentElement;
}
const [high, low] = ink > ground ? [ink, ground] : [ground, ink];
return (high + 0.05) / (low + 0.05);
"""
