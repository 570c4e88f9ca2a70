"""Who does the sweeps of a training.

The engine ``fleet``: the blocks of a half-sweep are messages on the queue of chunks, done by whoever listens there.

The trainer that drives waits for the answers in a list of its own. A block whose worker was lost is delivered again
like any message; and what nobody answers for long, the trainer does itself. So a block is done at least once, and twice
does no harm: it is the same file with the same bits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import current_app

from timbral import keys
from timbral.config.settings import settings
from timbral.config.train_engine import EngineName, url_problem
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.engines.ray_run import RayRun
from timbral.engines.spark_run import SparkRun
from timbral.engines.stored_engine import LocalEngine, StoredEngine
from timbral.engines.stores import store_of
from timbral.errors import MessageError, ParameterError
from timbral.extras import require
from timbral.models.kernels.kernel import sources_digest
from timbral.models.kernels.threads import resolve_n_threads
from timbral.queue import layout
from timbral.redis_server.replies import text
from workers import resources

if TYPE_CHECKING:
    from timbral.spark_data.spark_reader import SparkReader

__all__ = ["FleetRun", "do_block", "engine_of", "reader_of"]

logger = structlog.get_logger(__name__)

TASK: Final = "train_block"
LOOK_S: Final = 1
"""Seconds between two looks whether the training was cancelled."""
LEAST_PATIENCE_S: Final = 5.0
PATIENCE: Final = 4.0
"""Times the longest wait for an answer until now, after which the trainer does a block itself."""
ANSWERS_LIFE_S: Final = 3600
DRIVEN_LIFE_S: Final = 86_400
"""Of the mark of a training that is lost for good; each half-sweep sets it anew."""

ANSWER: Final = """
-- KEYS: mark that a trainer waits, answers. ARGV: an answer, life in s. Of a training that has ended, nothing stays.
if redis.call('EXISTS', KEYS[1]) == 0 then return end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
"""


class FleetRun:
    """Has the blocks of one fit done by the fleet; ``check`` raises where the training was cancelled."""

    def __init__(self, store: BlockStore, n_threads: int, check: Callable[[], None]) -> None:
        self._store = store
        self._n_threads = n_threads
        self._check = check
        self._key = keys.train_answers(store.folder.name)
        self._driven = keys.train_driven(store.folder.name)
        self._longest_s = 0.0

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        waiting = {task.number: task for task in tasks}
        resources.records().set(self._driven, 1, ex=DRIVEN_LIFE_S)
        with current_app.producer_or_acquire() as producer:
            for task in tasks:
                task_id = f"{task.training}.{task.half}.{task.number}"
                current_app.send_task(
                    TASK, kwargs=task.as_dict(), task_id=task_id, queue=layout.own_queue(TASK), producer=producer,
                    headers={layout.WORK_HEADER: task_id}, ignore_result=True,
                )  # fmt: skip
        heard_s = time.monotonic()
        while waiting:
            answer = self._next_answer(blocking=time.monotonic() - heard_s < self._patience_s)
            if answer is not None and answer["half"] == tasks[0].half and answer["number"] in waiting:
                self._longest_s = max(self._longest_s, time.monotonic() - heard_s)
                heard_s = time.monotonic()
                if answer.get("unseen"):
                    logger.error(
                        "a worker does not see the training's store, or has another version of timbral",
                        store=str(self._store.folder),
                    )
                    answer = solve(waiting[answer["number"]], self._store, self._n_threads)
            elif answer is None and time.monotonic() - heard_s >= self._patience_s:
                self._check()
                number = max(waiting)  # the one that was sent last is the least likely to be going on elsewhere
                logger.info("does a block itself, which nobody has answered for", block=str(waiting[number]))
                answer = solve(waiting[number], self._store, self._n_threads)
            else:
                self._check()
                continue
            del waiting[answer["number"]]
            yield answer

    def close(self) -> None:
        """Nobody reads what comes late."""
        resources.records().delete(self._driven, self._key)

    @property
    def _patience_s(self) -> float:
        return max(LEAST_PATIENCE_S, PATIENCE * self._longest_s)

    def _next_answer(self, *, blocking: bool) -> Answer | None:
        records = resources.records()
        found = records.blpop([self._key], timeout=LOOK_S) if blocking else records.lpop(self._key)
        if not found:
            return None
        answer: Answer = json.loads(text(found[1] if blocking else found))
        return answer


def do_block(arguments: dict[str, Any]) -> None:
    """Do one block of somebody's training; nothing where that has ended."""
    try:
        task = BlockTask.from_dict(arguments)
        store = store_of(task.training)
    except (TypeError, ValueError) as error:
        problem = {"field": "arguments", "problem": str(error)[:200], "value": repr(arguments)[:80]}
        raise MessageError(TASK, [problem]) from None
    # While the fleet is redeployed, some may have another version of timbral.
    if store.exists() and task.code == sources_digest():
        answer = solve(task, store, resolve_n_threads(resources.store().n_threads))
    else:
        answer = {"half": task.half, "number": task.number, "unseen": True}
    known = keys.train_driven(task.training), keys.train_answers(task.training)
    resources.records().eval(ANSWER, len(known), *known, json.dumps(answer), ANSWERS_LIFE_S)


def engine_of(asked: EngineName | None, job_id: str, check: Callable[[], None]) -> LocalEngine | StoredEngine:
    """The engine ``asked`` for, else what ``TRAIN_ENGINE`` says, for one training.

    Raises:
        ParameterError: it needs what is not installed, or a URL that is not given.
    """
    engine, url = asked or settings.TRAIN_ENGINE, settings.TRAIN_ENGINE_URL
    if engine == "local":
        return LocalEngine()
    if engine == "fleet":
        return StoredEngine(job_id, lambda store, n_threads: FleetRun(store, n_threads, check))
    require(f"the engine {engine}", engine)
    problem = url_problem(engine, url)
    if problem is not None:
        raise ParameterError(f"the engine {engine}: {problem}")
    if engine == "ray":
        return StoredEngine(job_id, lambda store, _: RayRun(store, url))
    return StoredEngine(job_id, lambda store, _: SparkRun(store, url or ""))


def reader_of(asked: EngineName | None, job_id: str) -> AbstractContextManager[SparkReader | None]:
    """What reads the data of a training where the engine is Spark; None for the process itself."""
    if (asked or settings.TRAIN_ENGINE) != "spark":
        return nullcontext()
    # Imported here: only who trains reads data sets.
    from timbral.spark_data.spark_reader import SparkReader

    return SparkReader(settings.TRAIN_ENGINE_URL or "", job_id)
