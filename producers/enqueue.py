"""Sending the three tasks. Arguments are checked before anything is sent, by the model that the worker checks them
with."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from redis.exceptions import NoPermissionError

from producers.connections import Connections, connections
from producers.jobs import Job
from producers.plain import plain
from timbral import keys
from timbral.config.train_engine import EngineName, ListEngineName
from timbral.errors import RedisUnavailableError
from timbral.messages import (
    ComputeRecommendations,
    Id,
    Message,
    Play,
    PresetName,
    RefreshEmbeddings,
    TrainModel,
    TuneModel,
    read_message,
)
from timbral.redis_server.replies import server_now_s

__all__ = [
    "enqueue",
    "enqueue_compute_recommendations",
    "enqueue_refresh_embeddings",
    "enqueue_train_model",
    "enqueue_tune_model",
]

logger = logging.getLogger(__name__)
_warned: set[str] = set()


def enqueue_train_model(
    dataset: str | None = None,
    *,
    history_version: int | None = None,
    half_life_days: float | None = None,
    format: Literal["csv", "parquet", "json"] | None = None,  # noqa: A002 - the public interface's name
    preset: PresetName | None = None,
    separator: str | None = None,
    columns: list[str] | None = None,
    quoted: bool | None = None,
    encoding: str = "utf-8",
    decimal: Literal[".", ","] = ".",
    user_col: str | None = None,
    item_col: str | None = None,
    value_col: str | None = "rating",
    time_col: str | None = None,
    time_format: str | None = None,
    on_missing: Literal["refuse", "drop"] | None = None,
    repeats: Literal["sum", "last", "max", "mean"] = "sum",
    apply_play_thresholds: bool = False,
    n_components: int | None = None,
    random_state: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    regularization: float | None = None,
    unobserved_weight: float | None = None,
    unobserved_target: float | None = None,
    popularity_exponent: float | None = None,
    confidence: float | None = None,
    regularization_exponent: float | None = None,
    n_neighbors: int | None = None,
    neighbor_weight: float | None = None,
    neighbor_regularization: float | None = None,
    neighbor_play_exponent: float | None = None,
    recency_weight: float | None = None,
    l1_regularization: float | None = None,
    target: Literal["one", "log", "value"] | None = None,
    settings: Literal["defaults", "tuned"] = "defaults",
    holdout: float = 0.2,
    warm_start: bool = False,
    engine: EngineName | None = None,
    promote: Literal["if_not_worse", "always", "never"] = "if_not_worse",
) -> Job:
    """Have a model trained on the history of plays, or on ``dataset``, and, if it is not worse than the one that is
    live, put live.

    The answer: ``model_version``, ``promoted`` and its ``reason``, ``n_users``, ``n_items``, ``n_interactions``,
    ``n_components``, ``iterations``, ``loss``, ``user_id_kind`` and ``item_id_kind`` ("int" or "str"), ``value_col``
    (None: each row counted 1), ``data`` (what was found in the data set), ``chosen`` (what the data decided),
    ``metrics`` and their standard ``errors``, ``baseline`` (popularity's metrics), ``tuned`` (the search that its
    settings are from, or None), ``verdict`` (first, not worse, worse, not compared), ``durations_s``, ``started_from``
    (the version that a warm start started from), ``read_by`` (spark, where it read the data into order, else trainer),
    ``sampled`` (how many users and rows the choice and the metrics are from, where those are not all; else None).

    Args:
        dataset: path below the workers' DATA_DIR, or a URI under one of their DATASET_URI_PREFIXES, of a file, a zip or
            a folder; where None, all plays that were recorded or imported until now.
        history_version: version of the history's table, to repeat a training; the newest where None.
        half_life_days: age at which a play of the history counts half, from the newest on; all count alike where None.
        format: by the ending or the content where None.
        preset: the form of a data set that many have ("lastfm-360k", "spotify-extended", …; docs/data.md); found by
            itself where the file tells.
        separator: column separator of a csv file, one character or several; told from its first lines where None.
        columns: the names of a csv file's columns, where it has no header.
        quoted: whether quotes in a csv file are around fields; where None yes, but not if a tab separates them.
        encoding: of a csv file.
        decimal: decimal mark of values that are text.
        user_col: column of the users' ids; told by its name where None.
        item_col: column of the items' ids; told by its name where None.
        value_col: column of the plays or ratings; where there is no "rating", one that is unmistakably it ("plays", …).
            1 a row where there is none, or for None.
        time_col: column of the time of a row; the newest rows are held out, random ones where None.
        time_format: how times are written as text, in strptime's letters.
        on_missing: "refuse" or "drop" rows without an id, a value or a time.
        repeats: what becomes of rows of the same user and item: their "sum", the "last", the "max" or the "mean".
        apply_play_thresholds: leave rows with few plays out, and cap the plays of a row.
        n_components: factors; the workers' NMF_N_COMPONENTS where None.
        random_state: seed; NMF_RANDOM_STATE where None.
        max_iter: most sweeps; ``Constants.NMF_MAX_ITER`` where None.
        tol: relative fall of the loss to stop at; ``Constants.NMF_TOL`` where None.
        regularization: κ, against the noise of the data; chosen on a part of them where None.
        unobserved_weight: α₀, weight of what was not observed; by the density of the data where None.
        unobserved_target: μ, what is aimed at where nothing was observed; NMFModel's where None, as those below.
        popularity_exponent: β, how much more a popular item weighs that was not observed.
        confidence: how much the weight of an entry grows with its plays.
        regularization_exponent: ν, how the regularization grows with a row's entries.
        n_neighbors: most items that speak for an item, 0 for no neighbour part.
        neighbor_weight: γ, of the neighbour part; chosen on a part of the data where None.
        neighbor_regularization: λ, how much neighbours share; 3 where None.
        neighbor_play_exponent: e, how much plays count in the neighbour part.
        recency_weight: ρ, of the recency part, which data with times have; chosen where None.
        l1_regularization: of all factors.
        target: what is aimed at where something was observed: 1 ("one"), log1p(plays) ("log") or the plays ("value").
        settings: where the model's arguments come from that are None: "defaults", or "tuned" for what
            ``enqueue_tune_model`` has found for this data set.
        holdout: share of each user's rows that is held out for the metrics; 0 for no metrics and no comparison.
        warm_start: start from the live model's factors, by id, with new users and items folded in: fewer sweeps.
        engine: who does the sweeps, to the same model to the bit: the trainer ("local"), the whole "fleet", "ray" or
            "spark"; the trainer's TRAIN_ENGINE where None.
        promote: "if_not_worse" leaves live what is better, and what the new version cannot be compared with.

    Raises:
        MessageError: lists each argument that is wrong; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(TrainModel, locals())


def enqueue_tune_model(
    dataset: str | None = None,
    *,
    history_version: int | None = None,
    half_life_days: float | None = None,
    format: Literal["csv", "parquet", "json"] | None = None,  # noqa: A002 - the public interface's name
    preset: PresetName | None = None,
    separator: str | None = None,
    columns: list[str] | None = None,
    quoted: bool | None = None,
    encoding: str = "utf-8",
    decimal: Literal[".", ","] = ".",
    user_col: str | None = None,
    item_col: str | None = None,
    value_col: str | None = "rating",
    time_col: str | None = None,
    time_format: str | None = None,
    on_missing: Literal["refuse", "drop"] | None = None,
    repeats: Literal["sum", "last", "max", "mean"] = "sum",
    apply_play_thresholds: bool = False,
    minutes: float | None = None,
    trials: int | None = None,
    random_state: int | None = None,
    holdout: float = 0.2,
) -> Job:
    """Have the fleet search the settings of the model that rank the history of plays, or ``dataset``, best. Trainings
    with ``settings="tuned"`` use them.

    The answer: ``job_id``, ``dataset``, ``outcome`` ("better", or "not better": the defaults stay) and its ``reason``,
    ``settings`` (those to use; empty where the defaults stay), ``tried`` (the best ones, used or not), ``defaults``,
    ``quality`` (of both, on rows that no trial saw), ``importances`` (share of each setting in what made trials
    differ), ``trials`` (how many were ``complete``, ``pruned`` and ``failed``), ``n_users`` judged at the end,
    ``durations_s``.

    Args:
        dataset: path below the workers' DATA_DIR, or a URI under one of their DATASET_URI_PREFIXES, of a file, a zip or
            a folder; where None, all plays that were recorded or imported until now.
        history_version: version of the history's table, to repeat a training; the newest where None.
        half_life_days: age at which a play of the history counts half, from the newest on; all count alike where None.
        format: by the ending or the content where None.
        preset: the form of a data set that many have ("lastfm-360k", "spotify-extended", …; docs/data.md); found by
            itself where the file tells.
        separator: column separator of a csv file, one character or several; told from its first lines where None.
        columns: the names of a csv file's columns, where it has no header.
        quoted: whether quotes in a csv file are around fields; where None yes, but not if a tab separates them.
        encoding: of a csv file.
        decimal: decimal mark of values that are text.
        user_col: column of the users' ids; told by its name where None.
        item_col: column of the items' ids; told by its name where None.
        value_col: column of the plays or ratings; where there is no "rating", one that is unmistakably it ("plays", …).
            1 a row where there is none, or for None.
        time_col: column of the time of a row; the newest rows are held out, random ones where None.
        time_format: how times are written as text, in strptime's letters.
        on_missing: "refuse" or "drop" rows without an id, a value or a time.
        repeats: what becomes of rows of the same user and item: their "sum", the "last", the "max" or the "mean".
        apply_play_thresholds: leave rows with few plays out, and cap the plays of a row.
        minutes: time for trials, from the first on; 30 where neither this nor ``trials`` is given.
        trials: most trials; as many as there is time for where None.
        random_state: seed; NMF_RANDOM_STATE where None.
        holdout: share of each user's rows that no trial sees, and that the result is judged on.

    Raises:
        MessageError: lists each argument that is wrong; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(TuneModel, locals())


def enqueue_compute_recommendations(
    *,
    user_ids: Iterable[Id] | None = None,
    top_k: int = 10,
    exclude_seen: bool = True,
    max_per_group: int | None = None,
    exploration_share: float | None = None,
    allow: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    engine: ListEngineName | None = None,
) -> Job:
    """Have the recommendations of the users named, or of everybody, written into the cache.

    The answer: ``users_done``, ``users_unknown``, ``job_id``, ``model_version``.

    Args:
        user_ids: original ids of the users; everybody where None.
        top_k: items in a list.
        exclude_seen: leave out what a user has played.
        max_per_group: most items of one group in a list, 0 for any number; the app says in ``items:groups`` which item
            is of which. The workers' MAX_PER_GROUP where None.
        exploration_share: share of a list's places for items from further down, drawn at random; their
            EXPLORATION_SHARE where None.
        allow: names of item sets (``put_item_set``): lists of items that are in each of them, beside the users' lists
            of all items; ``get_recommendations`` reads them by the same names. The task fails with a ParameterError
            where there is no such set.
        exclude: the same, of items that are in none of them.
        engine: who makes everybody's lists, the same ones: the "fleet", or "spark"; the fleet where None.

    Raises:
        MessageError: lists each argument that is wrong; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(ComputeRecommendations, locals())


def enqueue_refresh_embeddings(
    *,
    user_ids: Iterable[Id] | None = None,
    plays: Iterable[Play | Mapping[str, Any]] | None = None,
    top_k: int = 10,
) -> Job:
    """Have embeddings written into the cache: everybody's, or those of users who have just played something.

    The answer: ``users``, ``items``, ``users_unknown``, ``plays``, ``model_version``.

    Args:
        user_ids: original ids of the users; all users and items where neither these nor ``plays`` are given.
        plays: new plays, ``{"user_id": 7, "item_id": 12, "plays": 1}``; they are folded in at once, and kept until a
            training has seen them.
        top_k: items in a renewed list of recommendations.

    Raises:
        MessageError: lists each argument that is wrong; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    return enqueue(RefreshEmbeddings, locals())


def enqueue(message_class: type[Message], arguments: dict[str, Any]) -> Job:
    """Check the arguments, leave out those that are at their defaults, and put the task on its queue.

    Raises:
        MessageError: lists each argument that is wrong; nothing was sent.
        RedisUnavailableError: a ConnectionError, within seconds; nothing was sent.
    """
    fields = message_class.model_fields
    given = {name: plain(value) for name, value in arguments.items() if not _is(value, fields[name].default)}
    kwargs = read_message(message_class, given).kwargs()
    task, task_id = message_class.task, str(uuid.uuid4())
    reached = connections()
    queue = reached.broker.queue_of(task)
    # Celery takes a message off the queue before it notes who has it; this record closes that gap. It comes first, so
    # that a task is never on the queue without one, and finds out quickly whether Redis is there.
    recorded = _record(reached, task_id, {"task": task, "kwargs": kwargs, "queue": queue})
    try:
        reached.broker.publish(task, kwargs, task_id)
    except RedisUnavailableError:
        if recorded:
            with contextlib.suppress(RedisUnavailableError), reached.asking() as client:
                client.hdel(keys.SUBMITTED, task_id)
        raise
    logger.debug("Enqueued %s %s on %s", task, task_id, queue)
    return Job(task_id, task)


def _record(reached: Connections, task_id: str, sent: dict[str, Any]) -> bool:
    try:
        if reached.queue_is_apart:
            with reached.asking(results=True) as client:
                client.ping()
        with reached.asking() as client:
            # By the server's clock: this host's may be any. Who may not ask for it leaves the time out, and the first
            # rescue puts it in.
            with contextlib.suppress(NoPermissionError):
                sent |= {"at": server_now_s(client)}
            client.hset(keys.SUBMITTED, task_id, json.dumps(sent, ensure_ascii=False))
    except RedisUnavailableError as error:
        if not isinstance(error.__cause__, NoPermissionError):
            raise
        if not _warned:
            _warned.add(keys.SUBMITTED)
            logger.warning("This producer may not write %s: a task that is lost with its worker's host at the very "
                           "moment it is taken off the queue will not come back", keys.SUBMITTED)  # fmt: skip
        return False
    return True


def _is(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and value == default)
