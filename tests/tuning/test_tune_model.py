"""A search over real workers: its trials, its verdict, and what a training makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fleet_fixtures import Fleet, Watch, WorkerProcess
from taste import history, write_history

import producers
from timbral import keys
from timbral.cli.tuning import show_found
from timbral.errors import DataError, DatasetNotFoundError, JobCancelledError, ParameterError
from timbral.messages import ANSWERS
from timbral.stack.embedded_server import EmbeddedServer
from timbral.tuning.kept_settings import KeptSettings
from timbral.tuning.study import TrialStudy

pytestmark = pytest.mark.integration

TRIALS = 8
WAIT_S = 90


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with EmbeddedServer(append_only=False) as server:
        fleet = Fleet(server, tmp_path_factory.mktemp("tuning"))
        write_history(fleet.data_dir / "plays.csv", history())
        write_history(fleet.data_dir / "slow.csv", history(1500, seed=2))
        write_history(fleet.data_dir / "one.csv", history(1))
        (fleet.data_dir / "none.csv").write_text("user_id,item_id,rating\n")
        producers.connect(server.url)
        try:
            yield fleet.start(1, concurrency=2)[0]
        finally:
            producers.connect()
            fleet.close()


@pytest.fixture(scope="module")
def found(worker: WorkerProcess) -> dict[str, Any]:
    """The answer of a search over plays.csv, which others do not spoil."""
    seen: list[str] = []
    job = producers.enqueue_tune_model("plays.csv", trials=TRIALS)
    answer = job.wait(WAIT_S, on_progress=lambda _, progress: seen.append(progress.text))
    return answer | {"seen": seen}


def test_a_search_accounts_for_its_trials_and_judges_on_unseen_rows(found: dict[str, Any]) -> None:
    assert set(found) - {"seen"} == set(ANSWERS["tune_model"])
    assert sum(found["trials"].values()) == TRIALS
    assert found["trials"]["complete"] >= 1
    assert found["trials"]["failed"] == 0
    assert found["n_users"] > 50
    assert {"tuned", "defaults", "difference", "error"} <= set(found["quality"])
    assert found["outcome"] == ("better" if found["settings"] else "not better")
    assert set(found["tried"]) == set(found["defaults"])
    assert any("trials" in text for text in found["seen"]), found["seen"]


def test_people_see_the_settings_beside_the_defaults_and_what_they_are_worth(
    found: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    show_found(found)

    said = capsys.readouterr().out
    for name, value in found["tried"].items():
        shown = f"{found['defaults'][name]:.3g}", f"{value:.3g}"
        assert re.search(rf"^{name} +{re.escape(shown[0])} +{re.escape(shown[1])}", said, re.MULTILINE), name
    assert f"{found['quality']['defaults']['ndcg@20']:.4f}" in said
    assert found["reason"][:20] in said
    assert f"{TRIALS} trials (" in said


def test_a_training_with_tuned_settings_uses_them_and_says_so(worker: WorkerProcess, found: dict[str, Any]) -> None:
    with worker.server.client() as client:
        kept = KeptSettings(client).read("plays.csv")
        assert kept is not None
        # Whatever eight trials found: what is kept is what is used.
        KeptSettings(client).keep("plays.csv", kept | {"settings": {"n_components": 5, "regularization": 0.33}})

        answer = producers.enqueue_train_model("plays.csv", settings="tuned").wait(WAIT_S)

        record = client.get(keys.model_metadata(answer["model_version"])).decode()
    assert answer["n_components"] == 5
    assert answer["chosen"]["regularization"] == 0.33
    assert answer["tuned"]["job_id"] == found["job_id"]
    assert answer["tuned"]["settings"] == {"n_components": 5, "regularization": 0.33}
    assert found["job_id"] in record


def test_a_training_with_the_defaults_says_so_and_one_without_a_search_is_refused(worker: WorkerProcess) -> None:
    assert producers.enqueue_train_model("plays.csv").wait(WAIT_S)["tuned"] is None
    with pytest.raises(ParameterError, match=r"No settings are kept for slow\.csv"):
        producers.enqueue_train_model("slow.csv", settings="tuned").wait(WAIT_S)


@pytest.mark.parametrize(
    ("dataset", "error", "said"),
    [
        ("missing.csv", DatasetNotFoundError, "missing.csv"),
        ("none.csv", DataError, "none.csv"),
        ("one.csv", DataError, "1 of 1 users"),
    ],
)
def test_what_cannot_be_searched_on_is_refused(
    worker: WorkerProcess, dataset: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        producers.enqueue_tune_model(dataset, trials=2).wait(WAIT_S)


@pytest.mark.parametrize("budget", [{"minutes": 0}, {"trials": 0}, {"minutes": -1.0}, {"trials": 5_000}])
def test_a_budget_that_is_none_is_refused_before_anything_is_sent(budget: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(budget))):
        producers.enqueue_tune_model("plays.csv", **budget)


def running(client: redis.Redis, job_id: str) -> int:
    """Trials that were begun and have no end yet."""
    if not client.exists(keys.tuning_journal(job_id)):
        return 0
    study = TrialStudy(client, job_id)
    return len([trial for trial in study._trials() if trial.state.name == "RUNNING" and trial.params])


def test_a_search_ends_with_all_trials_accounted_for_though_a_process_is_killed_in_one(
    worker: WorkerProcess, wait_until: Any
) -> None:
    with worker.server.client() as client:
        job = producers.enqueue_tune_model("slow.csv", trials=6)
        wait_until(lambda: running(client, job.id) == 2, WAIT_S, "both processes try something")

        worker.kill_child()

        answer = job.wait(WAIT_S)
        assert sum(answer["trials"].values()) == 6
        assert "trial goes on after its worker was lost" in worker.log
        assert running(client, job.id) == 0
        assert client.zscore(keys.JOBS_OPEN, job.id) is None


def test_a_search_that_is_cancelled_ends_and_keeps_nothing(worker: WorkerProcess, wait_until: Any) -> None:
    with worker.server.client() as client:
        client.delete(keys.tuning("slow.csv"))
        job = producers.enqueue_tune_model("slow.csv", minutes=30)
        wait_until(lambda: running(client, job.id) > 0, WAIT_S, "a trial")

        assert job.cancel()

        with pytest.raises(JobCancelledError):
            job.wait(WAIT_S)
        wait_until(lambda: running(client, job.id) == 0, WAIT_S, "the end of the trials")
        assert client.get(keys.tuning("slow.csv")) is None


def test_time_that_is_up_ends_the_trials_and_the_answer_comes_and_flower_sees_how_far_it_is(
    worker: WorkerProcess, wait_until: Any
) -> None:
    with Watch(worker.server) as watch:
        job = producers.enqueue_tune_model("slow.csv", minutes=0.05)
        answer = job.wait(WAIT_S)
        wait_until(lambda: "task-succeeded" in watch.types(job.id), 10, "the job's end in Flower")

    assert "task-progress" in watch.types(job.id)
    assert 1 <= sum(answer["trials"].values()) < 500
    assert answer["outcome"] in ("better", "not better")
