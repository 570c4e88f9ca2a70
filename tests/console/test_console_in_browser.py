"""The console in a real headless Chromium before a fleet that works: what a person does, and what axe-core finds."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_fixtures import ApiProcess
from fleet_fixtures import Fleet

import producers
from timbral import keys
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
    "/console/models",
    "/console/models/{live}",
    "/console/models/compare",
    "/console/models/compare?first={live}&second={live}",
    "/console/jobs",
    "/console/dead-letters",
    "/console/data",
    "/console/fleet",
    "/console/login",
    "/console/nothing",
)
RICH = ("/", "/console/users?user=1003", "/console/models/{live}", "/console/items")
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
        log_in(made, console)
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


def _wait(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def log_in(browser: Chromium, console: ApiProcess) -> None:
    browser.open(f"{console.url}/console/models")
    assert browser.run("return location.pathname") == "/console/login"
    browser.type("#token", "write" + ENTER)
    browser.wait_for("return location.pathname === '/console/models'")


@pytest.mark.parametrize(("width", "dark"), [(320, True), (1100, False)])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    console: ApiProcess, live_fleet: Fleet, axe: str, width: int, dark: bool
) -> None:
    with live_fleet.server.client() as store:
        live = store.get(keys.MODEL_CURRENT).decode()
        letter = dead_letters.park(
            store, b"no message", kind="garbage", reason="it is not JSON", queue="celery", args='{"a": 1}'
        )
    known = {"live": live, "item": 5}
    found: dict[str, Any] = {}
    try:
        with Chromium(width, 800, dark=dark) as browser:
            log_in(browser, console)
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
    assert producers.job(job.id).wait(30)["users_done"] > 0


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
    browser.click("#actions > .confirm summary")
    browser.type("#actions input[name=again]", user)
    browser.click("#actions > .confirm button")

    browser.wait_for("return location.pathname.startsWith('/console/jobs/')")
    browser.wait_for("return document.querySelector('#state-title')?.innerText === 'done'", timeout_s=60)
    with live.server.client() as store:
        assert not store.exists(*keys.of_user(user))
