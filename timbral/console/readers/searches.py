"""Searches for settings: those that run and ended, their trials, and what is kept of them."""

from __future__ import annotations

import importlib.util
import json
from typing import Any, Final, NamedTuple

from producers.connections import connections
from timbral import keys
from timbral.console.plots import Series
from timbral.console.readers.jobs import JobDetail, JobRow, read_ended, read_job, read_open
from timbral.queue import ended_jobs, layout
from timbral.queue.ended_jobs import EndedJob
from timbral.redis_server.replies import text

__all__ = ["SearchDetail", "Searches", "read_search", "read_searches"]

TASK: Final = "tune_model"
SHOWN: Final = 15
MOST_TRIALS: Final = 8
BEST: Final = "Best so far"


class EndedSearch(NamedTuple):
    """A search that is over; ``answer`` is empty where it failed, or has expired."""

    job: EndedJob
    answer: dict[str, Any]

    @property
    def dataset(self) -> str:
        """What was searched on, as people say it."""
        if self.job.arguments is None and not self.answer:
            return "a data set that was not noted"
        return str({**(self.job.arguments or {}), **self.answer}.get("dataset") or "the history of plays")


class Searches(NamedTuple):
    """The screen: ``kept`` has the answer of the search that each data set's settings are from; None is the history."""

    running: list[JobRow]
    ended: list[EndedSearch]
    kept: dict[str | None, dict[str, Any]]


class SearchDetail(NamedTuple):
    """One search: ``trials`` by number, ``importances`` by setting, the greatest first; ``answer`` once it is over."""

    job: JobDetail
    trials: list[Any]
    importances: dict[str, float]
    answer: dict[str, Any]
    lacks_optuna: bool

    @property
    def best(self) -> Any | None:
        """The best trial of those that were judged on all folds."""
        done = [trial for trial in self.trials if trial.quality is not None]
        return max(done, key=lambda trial: trial.quality, default=None)

    @property
    def top(self) -> list[Any]:
        """The best trials; of those that were not judged on all folds, by their first look."""
        return sorted(self.trials, key=lambda one: (-(one.quality or 0.0), -(one.first_look or 0.0)))[:MOST_TRIALS]

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of the first trial, from which a search starts."""
        found: dict[str, Any] = self.answer.get("defaults") or (self.trials[0].settings if self.trials else {})
        return found

    @property
    def settings(self) -> list[tuple[str, Any, Any, float | None]]:
        """Name, default, best and share in what mattered of each setting; what mattered most first."""
        best = self.answer.get("tried") or (self.best.settings if self.best is not None else {})
        names = [*self.importances, *(name for name in self.defaults if name not in self.importances)]
        return [(name, self.defaults.get(name), best.get(name), self.importances.get(name)) for name in names]

    @property
    def n_ended(self) -> int:
        return sum(trial.state != "running" for trial in self.trials)

    def series(self) -> list[Series]:
        """The qualities of the trials, and the best of them so far."""
        best, so_far = 0.0, []
        for trial in self.trials:
            if trial.quality is not None and trial.quality > best:
                best = trial.quality
            if best:
                so_far.append((float(trial.number), best))
        early = [(float(one.number), one.first_look) for one in self.trials if one.quality is None and one.first_look]
        done = [(float(one.number), one.quality) for one in self.trials if one.quality is not None]
        return [
            Series(name, points, [f"trial {x:.0f}" for x, _ in points], "line" if name == BEST else "marks")
            for name, points in ((BEST, so_far), ("On all folds", done), ("First look alone", early))
            if points
        ]


def read_searches() -> Searches:
    """Those that run, the last that ended, and what is kept of their data sets."""
    running = read_open(SHOWN, TASK).rows
    ended = [one for one in read_ended(ended_jobs.KEPT, 0)[0] if one.task == TASK][:SHOWN]
    datasets = list(dict.fromkeys([None, *(dict(one.arguments or {}).get("dataset") for one in ended)]))
    with connections().asking() as client:
        raw: Any = client.mget([keys.tuning(dataset) for dataset in datasets])
    kept = {name: found for name, one in zip(datasets, raw, strict=True) if (found := _object(one))}
    results: Any = []
    if ended:
        with connections().asking(results=True) as queue:
            results = queue.mget([layout.result_key(one.id) for one in ended])
    return Searches(
        running, [EndedSearch(one, _answer(result)) for one, result in zip(ended, results, strict=True)], kept
    )


def read_search(job_id: str) -> SearchDetail | None:
    """One search; None where nothing is known of it."""
    job = read_job(job_id)
    if job is None or job.row.task != TASK:
        return None
    trials: list[Any] = []
    importances: dict[str, float] = {}
    lacks_optuna = importlib.util.find_spec("optuna") is None
    if not lacks_optuna:
        from timbral.tuning.trials import read_trials  # half a second, for whoever looks at a search

        with connections().asking() as client:
            trials, importances = read_trials(client, job_id)
    answer = job.answer or {}
    return SearchDetail(job, trials, answer.get("importances") or importances, answer, lacks_optuna)


def _answer(result: Any) -> dict[str, Any]:
    stored = layout.stored_result(result)
    answer = stored.get("result") if stored.get("status") == "SUCCESS" else None
    return answer if isinstance(answer, dict) else {}


def _object(raw: Any) -> dict[str, Any]:
    try:
        found = json.loads(text(raw) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
