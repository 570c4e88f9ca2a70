"""Pictures of the console for the docs: ``python -m tools.screenshot_page [folder]``; needs a chromium on the PATH."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import redis
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial

from timbral import keys
from timbral.queue import dead_letters, ended_jobs
from timbral.redis_server.replies import server_now_s
from timbral.stack.embedded_server import EmbeddedServer
from timbral.tuning.journal import RedisJournal
from timbral.tuning.trial import FIRST_STEP
from tools.chromium import Chromium, missing
from tools.example_api import example_api
from tools.example_users import seed

IMAGES = Path(__file__).parent.parent / "docs" / "images"
USER = 17
SHOWN = "return document.getElementById('results').getAttribute('aria-busy') === 'false'"
OPENED = (
    "return document.querySelectorAll('#gets .reason').length && document.querySelectorAll('#gets .chips li').length"
)
SETTLED = "return !/(Looking|Counting|Adding up)/.test(document.body.innerText)"
SEARCH = "2b7d1f3c-9a54-4c0e-8f6b-7d1e5a90c3f4"
SEARCHED = {
    "regularization": 0.30, "unobserved_target": 0.16, "neighbor_weight": 0.08, "popularity_exponent": 0.05,
    "confidence": 0.02,
}  # fmt: skip
"""Settings of the search in the pictures, and how much each matters."""
NDCG = (0.252, 0.261, 0.259, 0.268, 0.274, 0.247, 0.281, 0.286)
"""Of the versions in the pictures, the oldest first; one is worse, and was held back."""


@contextmanager
def api() -> Iterator[str]:
    """Address of an API before a server with users, versions and jobs of our own making."""
    with EmbeddedServer(append_only=False) as server, tempfile.TemporaryDirectory() as directory:
        with server.client() as client:
            example = seed(client, Path(directory) / "models", n_users=3_000, n_items=1_500)
            _add_versions(client, example.served.version)
            _add_jobs(client)
            add_search(client)
        with example_api(server.url, directory) as (url, _):
            yield url


def _add_versions(client: redis.Redis, live: str) -> None:
    known = json.loads(client.get(keys.model_metadata(live)) or "{}")
    now, before = datetime.now(UTC), ""
    for place, ndcg in enumerate(NDCG):
        at = now - timedelta(days=len(NDCG) - 1 - place, minutes=20)
        is_last = place == len(NDCG) - 1
        version = live if is_last else f"{at:%Y%m%dT%H%M%S}-{place + 1}"
        is_worse = bool(place) and ndcg < NDCG[place - 1] - 0.01
        verdict = {"outcome": "first"} if not place else {
            "outcome": "worse" if is_worse else "not worse", "against": before, "candidate": ndcg,
            "live": NDCG[place - 1], "n_users": 2_987,
        }  # fmt: skip
        record = known | {
            "version": version,
            "created_at": at.isoformat(timespec="seconds"),
            "metrics": {"ndcg@20": ndcg, "recall@20": ndcg * 1.17, "coverage@20": 0.6 + ndcg},
            "errors": {"ndcg@20": 0.004, "recall@20": 0.005},
            "baseline": {"ndcg@20": 0.11, "recall@20": 0.12, "coverage@20": 0.03},
            "verdict": verdict,
            "iterations": 12,
            "loss": 0.31,
            "loss_per_iteration": [0.3 + 0.7 / sweep**1.4 for sweep in range(1, 13)],
        }
        client.set(keys.model_metadata(version), json.dumps(record))
        client.zadd(keys.MODEL_VERSIONS, {version: place + 1})
        if not is_worse:
            client.lpush(keys.MODEL_HISTORY, version)
            before = version
    client.set(keys.MODEL_CURRENT, live)


def _add_jobs(client: redis.Redis) -> None:
    now = server_now_s(client)
    client.zadd(keys.WORKERS, {"worker@music-1": now + 3_600, "trainer@music-1": now + 3_600})
    sent = {"task": "train_model", "kwargs": {}, "queue": "training", "at": now - 40}
    job_id = "7c1f5a52-3c0e-4ad5-9c39-0f6d2f1a9b11"
    client.hset(keys.SUBMITTED, job_id, json.dumps(sent))
    client.set(f"celery-task-meta-{job_id}", json.dumps({"status": "PROGRESS", "result": {}, "name": "train_model"}))
    client.hset(keys.progress(job_id), mapping={"done": 154, "total": 400, "text": "measuring: sweep 155, loss 0.3127"})
    dead_letters.park(
        client, b"{", kind="garbage", reason="it is not JSON: Expecting property name", queue="celery", deliveries=1
    )
    ended_jobs.note(client, "5d8f7f0a-0d3e-4b5c-a1f2-93f1f3b4c2d0", "compute_recommendations", "SUCCESS", {})


def add_search(client: redis.Redis) -> None:
    """A search for settings that runs, with 40 trials."""
    study = optuna.create_study(
        study_name=SEARCH, storage=JournalStorage(RedisJournal(client, SEARCH)), direction="maximize"
    )
    rng = np.random.default_rng(3)
    for number in range(40):
        settings = {name: float(rng.uniform(0.1, 1.0)) for name in SEARCHED}
        look = 0.28 - sum(share * (settings[name] - 0.5) ** 2 for name, share in SEARCHED.items())
        is_good = number == 0 or (look > 0.265 and number % 2)
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if is_good else TrialState.PRUNED,
                value=look + 0.01 if is_good else None,
                params=settings,
                distributions={name: FloatDistribution(0.1, 1.0) for name in SEARCHED},
                intermediate_values={FIRST_STEP: look},
            )
        )
    progress: dict[Any, Any] = {
        "done": 62,
        "total": 100,
        "text": "40 trials, 33 pruned, best 0.2812 (defaults 0.2421), 11.4 min left",
    }
    client.hset(keys.progress(SEARCH), mapping=progress)
    sent = {"task": "tune_model", "kwargs": {"minutes": 30}, "queue": "batch", "at": server_now_s(client) - 1_100}
    client.hset(keys.SUBMITTED, SEARCH, json.dumps(sent))
    client.set(f"celery-task-meta-{SEARCH}", json.dumps({"status": "PROGRESS", "result": {}, "task": "tune_model"}))


def take(url: str, folder: Path) -> None:
    """Take all the pictures."""
    with Chromium(1120, 860) as browser:
        for name, path in (("home", "/"), ("models", "/console/models"), ("tuning", f"/console/tuning/{SEARCH}")):
            browser.open(url + path)
            browser.wait_for(SETTLED, timeout_s=60)
            browser.picture(folder / f"console-{name}.png", whole_page=False)
        browser.open(f"{url}/console/users?user={USER}")
        browser.wait_for(SHOWN, timeout_s=60)
        browser.click("#gets .line")
        browser.wait_for(OPENED, timeout_s=60)
        browser.run("document.activeElement.blur(); scrollTo(0, 0)")
        browser.picture(folder / "console-user.png", whole_page=False)
    with Chromium(390, 844, dark=True, scale=2) as phone:
        phone.open(url)
        phone.picture(folder / "console-phone-dark.png", whole_page=False)
    with Chromium(390, 844, scale=2) as phone:
        phone.open(f"{url}/console/models")
        phone.picture(folder / "console-models-phone.png", whole_page=False)


def main() -> int:
    """The command."""
    if (lacking := missing()) is not None:
        print(lacking, file=sys.stderr)
        return 1
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with api() as url:
        take(url, folder)
    for picture in sorted(folder.glob("console*.png")):
        print(f"{picture} ({picture.stat().st_size // 1024} KB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
