"""The console in a real headless Chromium before a fleet that works: what a person does, and what axe-core finds."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_fixtures import ApiProcess, csrf_of, log_in
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral import keys
from timbral.lists.item_sets import ItemSets
from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer
from tools.chromium import Chromium, missing

pytestmark = [
    pytest.mark.browser,
    pytest.mark.integration,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ENTER = "\ue007"
AXE = "axe-core@4.10.3"
SCREENS = (
    "/",
    "/console/users?user=1003",
    "/console/users/compare?user=1003&first={live}&second={live}",
    "/console/items",
    "/console/items?q=a",
    "/console/items/{item}",
    "/console/item-sets",
    "/console/item-sets/axe",
    "/console/models",
    "/console/models/{live}",
    "/console/models/compare",
    "/console/models/compare?first={live}&second={live}",
    "/console/jobs",
    "/console/dead-letters",
    "/console/data",
    "/console/data/imports/{imported}",
    "/console/tuning",
    "/console/tuning/{search}",
    "/console/fleet",
    "/console/login",
    "/console/nothing",
)
RICH = (
    "/",
    "/console/users?user=1003",
    "/console/models/{live}",
    "/console/items",
    "/console/data",
    "/console/tuning/{search}",
)
RUN_AXE = """
window.found = null;
axe.run({resultTypes: ["violations"]}).then((result) => {
  window.found = result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
});
"""
SETTLED = """
return document.readyState === "complete" && !document.querySelector(".htmx-request")
  && !/(Looking|Counting|Adding up|Making lists|Reading the names)/.test(document.body.innerText);
"""


@pytest.fixture(scope="module")
def console(live_fleet: Fleet) -> Iterator[ApiProcess]:
    made = ApiProcess(
        live_fleet.server.url,
        live_fleet.directory,
        API_TOKEN="write",
        API_READ_TOKEN="read",
        DATA_DIR=str(live_fleet.data_dir),
    )
    made.start().wait(_wait)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser(console: ApiProcess) -> Iterator[Chromium]:
    """Somebody who has logged in with the token for writing."""
    with Chromium(1100, 900) as made:
        begin(made, console)
        yield made


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm: it is too large to keep."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on the PATH to get axe-core with: accessibility was not looked at")
    folder = tmp_path_factory.mktemp("axe")
    got = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=90)
    if got.returncode != 0:
        pytest.skip(f"npm did not get {AXE}: accessibility was not looked at ({got.stderr.strip()[-200:]})")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.fixture(scope="module")
def imported(console: ApiProcess) -> str:
    """An import of a file that had rows to leave out."""
    with console.client() as client:
        log_in(client, "write")
        client.headers["x-csrf-token"] = csrf_of(client.get("/console/data"))
        body = b"listener,artist,n_plays,at\n1,2,3,1767225600\n2,2,0,1767225601\n"
        answer = client.post("/console/data/import", params={"name": "a.csv"}, content=body)
        where = answer.headers["location"]
        _wait(lambda: 'class="tag done"' in client.get(where).text, 20, "the import")
        return where.rpartition("/")[2]


@pytest.fixture(scope="module")
def search(live_fleet: Fleet) -> str:
    """A search for settings that is over."""
    producers.connect(live_fleet.server.url)
    job = producers.enqueue_tune_model("plays.csv", trials=11)
    job.wait(90)
    producers.connect()
    return job.id


def _wait(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + 3 * timeout_s  # ample on a quiet machine, and this one may be busy
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def begin(browser: Chromium, console: ApiProcess) -> None:
    """Log in with the token for writing."""
    browser.open(f"{console.url}/console/models")
    assert browser.run("return location.pathname") == "/console/login"
    browser.type("#token", "write" + ENTER)
    browser.wait_for("return location.pathname === '/console/models'")


@pytest.mark.parametrize(("width", "dark"), [(320, True), (1100, False)])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    console: ApiProcess, live_fleet: Fleet, axe: str, imported: str, search: str, width: int, dark: bool
) -> None:
    with live_fleet.server.client() as store:
        live = store.get(keys.MODEL_CURRENT).decode()
        letter = dead_letters.park(
            store, b"no message", kind="garbage", reason="it is not JSON", queue="celery", args='{"a": 1}'
        )
    producers.connect(live_fleet.server.url)
    producers.put_item_set("axe", [5, 7])
    producers.connect()
    known = {"live": live, "item": 5, "imported": imported, "search": search}
    found: dict[str, Any] = {}
    try:
        with Chromium(width, 800, dark=dark) as browser:
            begin(browser, console)
            for screen in SCREENS if dark else RICH:
                browser.open(console.url + screen.format(**known))
                browser.wait_for(SETTLED, timeout_s=30)
                browser.run(f"{axe}; return null")
                browser.run(RUN_AXE)
                violations = browser.wait_for("return window.found && [window.found]", timeout_s=30)[0]
                wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
                if violations or wide > 0:
                    found[screen] = (violations, wide)
            complaints = [line for line in browser.log() if "Content Security Policy" in line]
    finally:
        with live_fleet.server.client() as store:
            dead_letters.delete(store, letter)

    assert found == {}
    assert complaints == []


def test_a_person_trains_watches_promotes_and_rolls_back(
    browser: Chromium, console: ApiProcess, live: Fleet, wait_until: Callable[..., None]
) -> None:
    with live.server.client() as store:
        before = store.get(keys.MODEL_CURRENT).decode()
    browser.open(f"{console.url}/console/jobs")
    browser.type("input[name=dataset]", "plays.csv")
    browser.click("#train .act")
    browser.wait_for("return location.pathname.startsWith('/console/jobs/')")

    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'done'", timeout_s=60)
    browser.wait_for("return document.querySelector('svg.plot polyline') && !document.querySelector('[sse-connect]')")
    browser.click("main .card .button")
    browser.wait_for("return location.pathname.startsWith('/console/models/')")
    version = browser.run("return location.pathname.split('/').pop()")

    with live.server.client() as store:
        if store.get(keys.MODEL_CURRENT).decode() == before:
            browser.click(".confirm summary")
            browser.click(".confirm[open] button")
            browser.wait_for("return document.querySelector('.done')?.innerText.includes('is live')")
        assert store.get(keys.MODEL_CURRENT).decode() == version

        browser.open(f"{console.url}/console/models")
        browser.click(".confirm summary")
        browser.click(".confirm[open] button")
        browser.wait_for("return document.querySelector('.done')?.innerText.includes('live again')")

        assert store.get(keys.MODEL_CURRENT).decode() == before
    assert "action='rolled back'" in console.log


def test_the_curve_of_a_training_grows_while_it_runs(browser: Chromium, console: ApiProcess, live: Fleet) -> None:
    write_history(live.data_dir / "slow.csv", history(12_000))
    job = producers.enqueue_train_model("slow.csv", n_components=200, tol=0.0, promote="never", holdout=0.0)
    browser.open(f"{console.url}/console/jobs/{job.id}")
    grown = """
    const lines = [...document.querySelectorAll('svg.plot polyline')];
    const n = lines.reduce((n, line) => n + line.getAttribute('points').split(' ').length, 0);
    return n > arguments[0] && n;
    """

    seen = [0]
    for _ in range(3):
        seen.append(browser.wait_for(grown, seen[-1], timeout_s=60))

    assert "Loss after each sweep, since this page was opened" in browser.run(
        "return document.querySelector('svg.plot').getAttribute('aria-label')"
    )
    browser.click(".confirm summary")
    browser.click(".confirm[open] button")
    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'cancelled'", timeout_s=30)


def test_a_file_is_dropped_imported_and_trained_on(browser: Chromium, console: ApiProcess, live: Fleet) -> None:
    with live.server.client() as store:
        before = store.get(keys.MODEL_CURRENT).decode()
    rows = (live.data_dir / "plays.csv").read_text()
    browser.open(f"{console.url}/console/data")
    drop = """
    const carried = new DataTransfer();
    for (const name of arguments[1]) carried.items.add(new File([arguments[0]], name));
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
    """
    browser.run(drop, rows, ["a.csv", "b.csv"])
    assert "One file at a time" in browser.text(".drop [role=status]")
    browser.run(drop, rows, ["everything.csv"])
    assert "everything.csv is chosen" in browser.text(".drop [role=status]")

    browser.press(ENTER)  # the button has the focus: no mouse is needed

    browser.wait_for("return location.pathname.startsWith('/console/data/imports/')")
    browser.wait_for("return document.querySelector('#next-title')", timeout_s=30)
    assert "Read as user 'user_id', item 'item_id', value 'rating', played now." in browser.text("main")
    browser.click("main form .act")
    browser.wait_for("return location.pathname.startsWith('/console/jobs/')")
    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'done'", timeout_s=60)
    with live.server.client() as store:
        if store.get(keys.MODEL_CURRENT).decode() != before:
            browser.open(f"{console.url}/console/models")
            browser.click(".confirm summary")
            browser.click(".confirm[open] button")
            browser.wait_for("return document.querySelector('.done')?.innerText.includes('live again')")
        assert store.get(keys.MODEL_CURRENT).decode() == before


def test_a_search_is_started_and_its_trials_come_by_themselves(
    browser: Chromium, console: ApiProcess, live: Fleet
) -> None:
    browser.open(f"{console.url}/console/tuning")
    browser.type("input[name=trials]", "4")
    browser.type("input[name=dataset]", "plays.csv")
    browser.click("main form .act")

    browser.wait_for("return location.pathname.startsWith('/console/tuning/')")
    browser.wait_for("return document.querySelector('svg.plot circle')", timeout_s=60)
    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'done'", timeout_s=60)
    browser.wait_for("return !document.querySelector('[sse-connect]')")

    marks = browser.run("return document.querySelectorAll('svg.plot circle').length")
    assert marks == 4
    assert "against the defaults" in browser.text("main")
    browser.open(f"{console.url}/console/tuning")
    assert "plays.csv" in browser.text("main table")


def test_a_dead_letter_is_sent_again_and_worked_on(
    browser: Chromium, console: ApiProcess, connected: EmbeddedServer, live_fleet: Fleet
) -> None:
    job = producers.enqueue_compute_recommendations()  # to a server without workers
    with connected.client() as elsewhere, live_fleet.server.client() as store:
        message = elsewhere.rpop("celery")
        assert isinstance(message, bytes)
        dead_letters.park(
            store, message, kind="poison", reason="it was a test", queue="celery", task="compute_recommendations",
            task_id=job.id, deliveries=3,
        )  # fmt: skip
    browser.open(f"{console.url}/console/dead-letters")

    browser.click("main .inline button")

    browser.wait_for("return document.querySelector('.done')?.innerText.includes('back in its queue')")
    producers.connect(live_fleet.server.url)
    assert producers.job(job.id).wait(100)["users_done"] > 0


def test_an_item_set_is_made_replaced_and_deleted(browser: Chromium, console: ApiProcess, live: Fleet) -> None:
    with live.server.client() as store:
        ItemSets(store).delete("jazz")
    browser.open(f"{console.url}/console/item-sets")
    browser.type("input[name=name]", "jazz")
    browser.type("textarea", "5\n7\n\n9")
    browser.click("main form .act")

    browser.wait_for("return location.pathname === '/console/item-sets/jazz'")
    assert browser.run("return document.querySelector('.done').innerText").startswith("The set jazz has these items")
    assert browser.run("return document.querySelectorAll('main .rows li').length") == 3
    assert browser.run("return document.querySelector('textarea').value.split('\\n').length") == 3
    browser.type("textarea", "5\n7\n9\n11")
    browser.click("section form .act")

    browser.wait_for("return document.querySelectorAll('main .rows li').length === 4")
    with live.server.client() as store:
        assert ItemSets(store).items("jazz") == [5, 7, 9, 11]
    browser.click(".confirm summary")
    browser.click(".confirm button")

    browser.wait_for("return document.querySelector('.done')?.innerText === 'The set jazz was deleted.'")
    with live.server.client() as store:
        assert "jazz" not in {one.name for one in ItemSets(store).listed()}


def test_a_list_changes_when_something_was_blocked_and_a_user_is_forgotten(
    browser: Chromium, console: ApiProcess, live: Fleet, wait_until: Callable[..., None]
) -> None:
    user = "somebody-new"
    producers.record_plays([{"user_id": user, "item_id": 5}])
    browser.open(f"{console.url}/console/users?user={user}")
    browser.wait_for(
        "return document.querySelector('#actions form') && document.querySelectorAll('#gets .item').length"
    )
    first = browser.run("return document.querySelector('#gets .name').textContent")

    browser.type("#actions input[name=item]", first.split()[-1])
    browser.click("#actions .quiet-button")

    browser.wait_for("return document.querySelector('#gets .name').textContent !== arguments[0]", first)
    browser.wait_for("return document.querySelector('#actions').innerText.includes('Unblock')")
    browser.click("#actions > .confirm summary")
    browser.type("#actions input[name=again]", user)
    browser.click("#actions > .confirm button")

    browser.wait_for("return location.pathname.startsWith('/console/jobs/')")
    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'done'", timeout_s=60)
    with live.server.client() as store:
        assert not store.exists(*keys.of_user(user))
