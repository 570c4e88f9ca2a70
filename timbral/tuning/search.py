"""Search: the parts of a job that looks for settings. It begins once, has a chunk for each trial, and ends once.

Whoever does a part reads the data anew (a process keeps those of its last search), so no file has to reach the workers
that their own data folder has not, and no rows lie about when the search is over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import redis
import structlog
from optuna.exceptions import TrialPruned

from timbral.data.interactions import Interactions
from timbral.errors import DataError, JobCancelledError, TimbralError
from timbral.history.location import open_history
from timbral.logic.jobs import Chunk, Jobs
from timbral.logic.split import Parts
from timbral.logic.training import TrainingRun, fingerprint
from timbral.messages import TuneModel, read_message, utc_now
from timbral.models.nmf_model import NMFModel
from timbral.redis_server.replies import server_now_s
from timbral.tuning.finals import N_BEST, final_settings
from timbral.tuning.kept_settings import KeptSettings
from timbral.tuning.neighbor_weights import NeighborWeights
from timbral.tuning.nested_split import NestedSplit
from timbral.tuning.space import Space
from timbral.tuning.study import TrialStudy
from timbral.tuning.trial import Bench, OutOfTimeError, run_trial
from timbral.tuning.verdict import compare_settings

__all__ = ["Search", "begin", "n_trials"]

logger = structlog.get_logger(__name__)

DEFAULT_MINUTES: Final = 30.0
TRIALS_OF_MINUTES: Final = 500
"""Most trials where only the time is limited; a sampler learns little more from later ones."""

TRIALS_SHARE: Final = 0.8
"""Of the budget's time; what is left is for the best trials on further folds."""

LOOK_EVERY_S: Final = 0.5


def n_trials(message: TuneModel) -> int:
    """How many trials there may be."""
    return TRIALS_OF_MINUTES if message.trials is None else message.trials


def budget_s(message: TuneModel) -> float | None:
    """Seconds from the first trial's begin to the choice of the best one; None where only their number is limited."""
    if message.minutes is not None:
        return message.minutes * 60.0
    return DEFAULT_MINUTES * 60.0 if message.trials is None else None


@dataclass
class Search:
    """A search as one process knows it.

    Args:
        arguments: of the job, as ``begin`` made them.
        run: reads the data.
    """

    redis: redis.Redis
    job_id: str
    arguments: dict[str, Any]
    run: TrainingRun
    n_threads: int | None = None

    def __post_init__(self) -> None:
        self.message = read_message(TuneModel, self.arguments["message"])
        self.jobs = Jobs(self.redis)
        self._look_at = 0.0

    @cached_property
    def nested(self) -> NestedSplit:
        """Of the data, which have to be those that the search began with."""
        state = fingerprint(self.message)
        if state != self.arguments["state"]:
            raise DataError(f"{self.message.dataset or 'the history'} was changed during the search: search once more")
        return NestedSplit.of(read_data(self.run, self.message), self.message.holdout)

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        return Space.read(self.arguments["space"])

    @cached_property
    def bench(self) -> Bench:
        """Where trials are judged."""
        weights = NeighborWeights.read(self.arguments["weights"])
        return Bench(self.nested, weights, self.message.random_state, self.n_threads)

    @cached_property
    def study(self) -> TrialStudy:
        """With a seed of this process's own: equal ones would draw equal trials."""
        return TrialStudy(self.redis, self.job_id, time.time_ns() % 2**32)

    @property
    def verdict_number(self) -> int:
        """Of the chunk that comes after all trials."""
        return n_trials(self.message)

    @property
    def seconds_left(self) -> float | None:
        """For trials, since the first one began; None where the budget has no time."""
        return self._seconds_left(TRIALS_SHARE)

    def _seconds_left(self, share: float) -> float | None:
        budget = budget_s(self.message)
        if budget is None:
            return None
        return self.jobs.began_at_s(self.job_id) + share * budget - server_now_s(self.redis)

    def _is_over(self, trials_s: float) -> bool:
        """Whether there is no time left for finalists: where only the number of trials is limited, they have as long
        as the trials took."""
        left = self._seconds_left(1.0)
        if left is None:
            left = self.jobs.began_at_s(self.job_id) + 2.0 * trials_s - server_now_s(self.redis)
        return left <= 0

    def try_one(self, chunk: Chunk) -> None:
        """The trial of a chunk. Whatever becomes of it, it is written down, and the chunk is done.

        Raises:
            JobCancelledError: the job was cancelled, or has failed.
        """
        left = self.seconds_left
        if left is not None and left <= 0:
            return
        bench = self.bench
        begun = self.study.begin(chunk.number, self.space)
        if begun is None:
            return
        trial, settings = begun
        ends_at = None if left is None else time.monotonic() + left

        def check() -> None:
            if ends_at is not None and time.monotonic() >= ends_at:
                raise OutOfTimeError
            self.check()

        try:
            table = run_trial(trial, bench, self.space.used(settings), check)
        except (TrialPruned, OutOfTimeError):
            self.study.prune(trial)
        except JobCancelledError:
            self.study.fail(trial)
            raise
        except (TimbralError, ArithmeticError, MemoryError) as error:
            if isinstance(error, ConnectionError):  # Redis is away: the trial goes on later
                raise
            logger.warning("trial failed", chunk=chunk.number, settings=settings, problem=str(error))
            self.study.fail(trial)
        else:
            self.study.complete(trial, table)

    def progress(self) -> tuple[int, int, str]:
        """Done, total and text of the job's progress: of the time or of the trials, whichever ends first."""
        counts, total = self.study.counts(), n_trials(self.message)
        ended, left, budget = sum(counts.values()), self.seconds_left, budget_s(self.message)
        share = ended / total
        text = f"{ended} trials, {counts['pruned']} pruned"
        best, first = self.study.best_quality(), self.study.first()
        if best is not None:
            text += f", best {best:.4f}"
        if first is not None:
            text += f" (defaults {first.mean(axis=0)[self.bench.weights.defaults]:.4f})"
        if left is not None and budget is not None:
            share = max(share, 1.0 - max(0.0, left) / (TRIALS_SHARE * budget))
            text += f", {max(0.0, left) / 60:.1f} min left"
        return min(99, round(100 * share)), 100, text

    def judge(self) -> dict[str, Any]:
        """The end: the best settings against the defaults on the outer part. They are kept, or the defaults are; gives
        the job's answer."""
        self.study.close()
        nested, space, bench = self.nested, self.space, self.bench
        trials_s = server_now_s(self.redis) - self.jobs.began_at_s(self.job_id)
        best = final_settings(
            self.study.best(N_BEST), self.study.first(), bench, space, lambda: self._is_over(trials_s), self.check
        )
        tuned_on = nested.outer if best is None else self._outer_of(best)
        verdict = compare_settings(best, nested.outer, tuned_on, self.message.random_state, self.check, self.n_threads)
        total_s = server_now_s(self.redis) - self.jobs.began_at_s(self.job_id)
        answer: dict[str, Any] = {
            "job_id": self.job_id,
            "dataset": self.message.dataset,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "settings": best if best is not None and verdict.is_better else {},
            "tried": best or {},
            "defaults": space.used(space.defaults) | bench.weights.of_defaults(),
            "quality": verdict.quality,
            "importances": self.study.importances(),
            "trials": self.study.counts(),
            "n_users": verdict.n_users,
            "durations_s": {"trials": round(trials_s, 3), "judge": round(total_s - trials_s, 3)},
        }
        self.check()
        KeptSettings(self.redis).keep(self.message.dataset, answer | {"tuned_at": utc_now()})
        logger.info("tuned", outcome=verdict.outcome, reason=verdict.reason, settings=answer["settings"])
        return answer

    def _outer_of(self, settings: dict[str, Any]) -> Parts:
        """The outer part, with plays that count by their age as ``settings`` say."""
        if "half_life_days" not in settings:
            return self.nested.outer
        message = self.message.model_copy(update={"half_life_days": settings["half_life_days"]})
        return NestedSplit.of(read_data(self.run, message), message.holdout).outer

    def check(self) -> None:
        """Raise where the job was cancelled; looks twice a second at most."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self.jobs.check_cancelled(self.job_id)


def begin(
    redis_client: redis.Redis, job_id: str, message: TuneModel, run: TrainingRun, n_threads: int | None
) -> dict[str, Any]:
    """Read the data, refuse what cannot be searched on, and fit the defaults once, which the search starts from; gives
    the arguments of the job.

    Raises:
        DatasetNotFoundError, DataError, ParameterError: the data set or an argument; nothing changed.
    """
    if message.dataset is None and message.history_version is None:
        # All parts see the same plays, whatever is recorded meanwhile.
        message = message.model_copy(update={"history_version": open_history().version()})
    state = fingerprint(message)
    run.on_progress(0, 100, "reading the history" if message.dataset is None else "reading the data set")
    outer = NestedSplit.of(read_data(run, message), message.holdout).outer
    run.on_progress(0, 100, "fitting the defaults")
    model = NMFModel(random_state=message.random_state, n_threads=n_threads)
    model.fit(outer.train, callback=lambda *_: run.check(), times=outer.times)  # and not to what is held out
    with_half_life = message.dataset is None and message.half_life_days is None
    plays_differ = bool(outer.train.data.min() < outer.train.data.max())
    space = Space.around(
        model,
        with_values=with_half_life or plays_differ,
        with_times=outer.times is not None,
        with_half_life=with_half_life,
    )
    TrialStudy(redis_client, job_id).begin_with(space)
    weights = NeighborWeights.around(model.chosen_, with_plays=plays_differ)
    return {"message": message.kwargs(), "state": state, "space": space.as_dict(), "weights": weights.as_dict()}


def read_data(run: TrainingRun, message: TuneModel) -> Interactions:
    """The plays to search on.

    Raises:
        DataError: there are none.
    """
    data = run.read(message)
    if not data.matrix.nnz:
        raise DataError(f"{message.dataset or 'the history'} has no plays to search on")
    return data
