"""What a producer sends and a worker checks: one model per task, and the ids and plays inside them.

Arguments are flat keywords. Both ends call ``read_message``: the producer before it sends, the worker before it works.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from timbral.config.train_engine import EngineName, ListEngineName
from timbral.data_message import READ_ARGUMENTS, DataMessage, Message, PresetName
from timbral.errors import MessageError, ParameterError

__all__ = [
    "ANSWERS",
    "MESSAGES",
    "MODEL_OPTIONS",
    "READ_ARGUMENTS",
    "REFRESH_PLAYED",
    "SET_NAME",
    "ComputeRecommendations",
    "DataMessage",
    "ExportUser",
    "ForgetUsers",
    "Id",
    "Message",
    "Play",
    "PresetName",
    "RecordPlays",
    "RefreshEmbeddings",
    "TrainModel",
    "TuneModel",
    "read_message",
]

MAX_IDS = 100_000
"""Most ids in one message; for more, leave ``user_ids`` out and have everybody done."""

MAX_FORGOTTEN = 1_000
"""Most users that one message has forgotten; each table and file is rewritten once for all of them."""

MAX_TRIALS = 1_000
"""Most trials of one search."""

MAX_ID_CHARACTERS = 512

Id = (
    Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
    | Annotated[str, Field(strict=True, min_length=1, max_length=MAX_ID_CHARACTERS)]
)
"""An original id: a 64-bit int or a string. 1 and "1" are two ids; a float or a bool is none."""


def checked_id(original_id: Any) -> Id:
    """An id as Python's, where numpy has it as its own.

    Raises:
        ParameterError: it is none.
    """
    is_numpys = hasattr(original_id, "dtype") and getattr(original_id, "shape", None) == ()
    plain = original_id.item() if is_numpys else original_id
    if isinstance(plain, bool) or not isinstance(plain, int | str):
        raise ParameterError(f"an id must be an int or a string, got {original_id!r:.80}")
    if isinstance(plain, int):
        if not -(2**63) <= plain < 2**63:
            raise ParameterError(f"an id that is an int must fit 64 bits, got {plain}")
    elif not 1 <= len(plain) <= MAX_ID_CHARACTERS:
        raise ParameterError(f"an id must have 1 to {MAX_ID_CHARACTERS} characters, has {len(plain)}: {plain!r:.80}")
    elif not plain.isascii() and any("\ud800" <= character <= "\udfff" for character in plain):
        raise ParameterError(f"an id must be text that UTF-8 has, got {plain!r:.80}")
    return plain


def checked_ids(original_ids: Any, name: str) -> list[Id]:
    """Ids in a list, a tuple, a set, a generator, an array: all but a string, whose letters would be ids.

    Raises:
        ParameterError: ``name`` is none of these, or an id in it is none.
    """
    if isinstance(original_ids, str | bytes | Mapping) or not isinstance(original_ids, Iterable):
        raise ParameterError(f"{name} must be a list of ids, got {original_ids!r:.80}")
    return [checked_id(one) for one in original_ids]


UserIds = Annotated[list[Id], AfterValidator(lambda ids: list(dict.fromkeys(ids)))]
"""Each once: a user who is named twice is one user."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(days=1)
"""How far ahead of ours an app's clock may be."""

SET_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
SetNames = Annotated[
    list[Annotated[str, Field(strict=True, pattern=f"^{SET_NAME}$")]], Field(min_length=1, max_length=16)
]

_KEYS_IN_URI = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=\?)[^\s'\"]*")


class Play(BaseModel):
    """``plays`` plays of an item by a user."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    user_id: Id
    item_id: Id
    plays: float = Field(1.0, gt=0, le=1e9, allow_inf_nan=False)
    at: AwareDatetime | None = Field(
        None, strict=False, description="When it was played, with a time zone (2026-03-01T20:15:00Z); now if unset."
    )
    event_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="The app's own id of this play: recorded again within EVENT_ID_WINDOW_S, it counts once.",
    )

    @field_validator("at", mode="before")
    @classmethod
    def _is_no_number(cls, at: Any) -> Any:
        # Seconds or milliseconds? Nobody can know, so nobody guesses.
        problem = "must be ISO 8601 with a time zone, such as 2026-03-01T20:15:00Z, or an aware datetime"
        if isinstance(at, int | float):
            raise ValueError(problem)
        if not isinstance(at, str):
            return at
        try:  # read here, since a strict check takes no text for a moment
            moment = datetime.fromisoformat(at)
        except ValueError:
            raise ValueError(problem) from None
        if moment.tzinfo is None:
            raise ValueError(problem)
        return moment

    @field_validator("at")
    @classmethod
    def _is_a_past_moment(cls, at: datetime | None) -> datetime | None:
        if at is not None and not EARLIEST <= at <= datetime.now(UTC) + MOST_AHEAD:
            raise ValueError("must be after 1970 and not in the future")
        return at


class TrainModel(DataMessage):
    """Train on the history of plays, or on a data set, and write a new model version."""

    task = "train_model"
    n_components: int | None = Field(None, ge=1, le=4096, description="Factors; NMF_N_COMPONENTS if unset.")
    random_state: int | None = Field(None, ge=0, lt=2**32, description="Seed; NMF_RANDOM_STATE if unset.")
    max_iter: int | None = Field(
        None, ge=1, le=100_000, description="Maximum number of sweeps; Constants.NMF_MAX_ITER if unset."
    )
    tol: float | None = Field(
        None, ge=0, lt=1, description="Relative fall of the root of the loss to stop at; Constants.NMF_TOL if unset."
    )
    regularization: float | None = Field(
        None, ge=0, le=1e6, description="κ, against the noise of the data; chosen on a part of the data if unset."
    )
    unobserved_weight: float | None = Field(
        None, ge=0, le=1, description="α₀, weight of what was not observed; by the density of the data if unset."
    )
    unobserved_target: float | None = Field(
        None, ge=0, le=1e6, description="μ, what is aimed at where nothing was observed; NMFModel's if unset."
    )
    popularity_exponent: float | None = Field(
        None,
        ge=0,
        le=1,
        description="β, how much more a popular item weighs that was not observed; NMFModel's if unset.",
    )
    confidence: float | None = Field(
        None, ge=0, le=1e6, description="How much the weight of an entry grows with its plays; NMFModel's if unset."
    )
    regularization_exponent: float | None = Field(
        None, ge=0, le=2, description="ν, how the regularization grows with a row's entries; NMFModel's if unset."
    )
    n_neighbors: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Most items that speak for an item, 0 for no neighbour part; NMFModel's if unset.",
    )
    neighbor_weight: float | None = Field(
        None, ge=0, le=1e6, description="γ, of the neighbour part; chosen on a part of the data if unset."
    )
    neighbor_regularization: float | None = Field(
        None, ge=0, le=1e6, description="λ, how much neighbours share; 3 if unset."
    )
    neighbor_play_exponent: float | None = Field(
        None, ge=0, le=4, description="e, how much plays count in the neighbour part; NMFModel's if unset."
    )
    recency_weight: float | None = Field(
        None, ge=0, le=1e6, description="ρ, of the recency part, which data with times have; chosen if unset."
    )
    l1_regularization: float | None = Field(None, ge=0, le=1e6, description="Of all factors; NMFModel's if unset.")
    target: Literal["one", "log", "value"] | None = Field(
        None,
        description="What is aimed at where something was observed: 1, log1p(plays) or the plays; NMFModel's if unset.",
    )
    settings: Literal["defaults", "tuned"] = Field(
        "defaults",
        description="Where the model's arguments come from that are unset here: NMFModel's own, or what tune_model "
        "has found for this data set.",
    )
    holdout: float = Field(
        0.2,
        ge=0,
        le=0.9,
        description="Share of each user's rows held out for the metrics; 0 for no metrics and no comparison.",
    )
    warm_start: bool = Field(
        False,
        description="Start from the live model's factors: fewer sweeps are needed; the scheduler's trainings do.",
    )
    engine: EngineName | None = Field(
        None, description="Who does the sweeps, to the same model to the bit (scale.md); TRAIN_ENGINE if unset."
    )
    promote: Literal["if_not_worse", "always", "never"] = Field(
        "if_not_worse",
        description="Whether the new version goes live: unless it is worse or cannot be compared; in any case; or not.",
    )


class TuneModel(DataMessage):
    """Search for the settings of the model that rank a data set, or the history of plays, best, and keep them for
    trainings with settings "tuned"."""

    task = "tune_model"
    minutes: float | None = Field(
        None,
        gt=0,
        le=10_080,
        description="Time for trials, from the first on; 30 if neither this nor trials is set. What is found is judged "
        "after it.",
    )
    trials: int | None = Field(
        None, ge=1, le=MAX_TRIALS, description="Most trials; as many as there is time for if unset."
    )
    random_state: int | None = Field(None, ge=0, lt=2**32, description="Seed; NMF_RANDOM_STATE if unset.")
    holdout: float = Field(
        0.2, gt=0, le=0.5, description="Share of each user's rows that no trial sees: the result is judged on them."
    )


class ComputeRecommendations(Message):
    """Write the recommendations of the users named, or of all of them, into the cache."""

    task = "compute_recommendations"
    user_ids: UserIds | None = Field(
        None, min_length=1, max_length=MAX_IDS, description="The users; everybody if unset."
    )
    top_k: int = Field(10, ge=1, le=1000, description="Items in a list.")
    exclude_seen: bool = Field(True, description="Leave out what a user has played.")
    max_per_group: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Most items of one group (items:groups), 0 for any number; MAX_PER_GROUP if unset.",
    )
    exploration_share: float | None = Field(
        None, ge=0, lt=1, description="Share of places for items from further down; EXPLORATION_SHARE if unset."
    )
    allow: SetNames | None = Field(
        None, description="Names of item sets: only items that are in each of them. The list is one of its own."
    )
    exclude: SetNames | None = Field(None, description="Names of item sets: no item that is in any of them.")
    engine: ListEngineName | None = Field(
        None, description="Who makes everybody's lists, the same ones (scale.md); the fleet if unset."
    )

    @model_validator(mode="after")
    def _engines_are_for_everybody(self) -> Self:
        if self.engine not in (None, "fleet") and self.user_ids is not None:
            raise ValueError(f"engine {self.engine!r} makes everybody's lists: leave user_ids out, or the engine")
        if self.engine not in (None, "fleet") and (self.allow or self.exclude):
            raise ValueError(
                f"engine {self.engine!r} makes lists of all items: leave allow and exclude out, or the engine"
            )
        return self


class RefreshEmbeddings(Message):
    """Write embeddings into the cache; for users with new plays, fold these in and renew their recommendations."""

    task = "refresh_embeddings"
    user_ids: UserIds | None = Field(
        None, min_length=1, max_length=MAX_IDS, description="The users; all users and items if unset."
    )
    plays: list[Play] | None = Field(
        None, min_length=1, max_length=MAX_IDS, description="New plays, kept until a training has seen them."
    )
    top_k: int = Field(10, ge=1, le=1000, description="Items in a renewed list of recommendations.")


class ForgetUsers(Message):
    """Remove all that is stored of users, and keep them out from then on."""

    task = "forget_users"
    user_ids: list[Id] = Field(min_length=1, max_length=MAX_FORGOTTEN, description='The users; 1 and "1" are one.')


class ExportUser(Message):
    """Gather all that is stored of a user, for the one who asked to read."""

    task = "export_user"
    user_id: Id = Field(description="The user.")


MODEL_OPTIONS: tuple[str, ...] = (
    "regularization", "unobserved_weight", "unobserved_target", "popularity_exponent", "confidence",
    "regularization_exponent",
    "n_neighbors", "neighbor_weight", "neighbor_regularization", "neighbor_play_exponent", "recency_weight",
    "l1_regularization", "target",
)  # fmt: skip
"""Arguments of ``TrainModel`` that are NMFModel's own; where one is unset, NMFModel's default holds."""


class RecordPlays(Message):
    """Record plays. They go straight into Redis, and not onto the queue."""

    task = "record_plays"
    plays: list[Play] = Field(min_length=1, max_length=MAX_IDS, description="What users have played.")


REFRESH_PLAYED = "refresh_played"
"""The task that refreshes the users who wait in ``plays:refresh``; it has no arguments."""

MESSAGES: dict[str, type[Message]] = {
    m.task: m for m in (TrainModel, TuneModel, ComputeRecommendations, RefreshEmbeddings, ForgetUsers, ExportUser)
}

ANSWERS: dict[str, tuple[str, ...]] = {
    "train_model": (
        "model_version", "promoted", "verdict", "reason", "n_users", "n_items", "n_interactions", "n_components",
        "iterations", "loss",
        "user_id_kind", "item_id_kind", "value_col", "data", "chosen", "metrics", "errors", "baseline", "tuned",
        "durations_s", "started_from", "read_by", "sampled",
    ),
    "tune_model": (
        "job_id", "dataset", "outcome", "reason", "settings", "tried", "defaults", "quality", "importances", "trials",
        "n_users", "durations_s",
    ),
    "compute_recommendations": ("users_done", "users_unknown", "job_id", "model_version"),
    "refresh_embeddings": ("users", "items", "users_unknown", "plays", "model_version"),
    "forget_users": ("users", "removed", "kept", "data_sets", "forgotten_at"),
    "export_user": ("models", "plays", "on_their_way"),
}  # fmt: skip
"""The fields of each task's result."""

M = TypeVar("M", bound=Message)


def read_message(message: type[M], arguments: dict[str, Any], *, strict: bool = False) -> M:
    """Check ``arguments`` against ``message``; ``strict`` takes no "10" for 10 and no 0 for false.

    Raises:
        MessageError: names the task and lists each bad field with its problem and the value that it had.
    """
    try:
        return message.model_validate(arguments, strict=strict or None)
    except ValidationError as error:
        problems: list[dict[str, str]] = []
        for detail in error.errors(include_url=False, include_context=False):
            field = ".".join(str(part) for part in detail["loc"] if part not in ("constrained-int", "constrained-str"))
            value = "…" if detail["type"] == "missing" or not detail["loc"] else _shown(detail["input"])
            problems.append({"field": field or message.task, "problem": _problem(detail), "value": value})
        raise MessageError(message.task, problems) from None


def _problem(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "no such argument"
    if detail["type"] == "missing":
        return "is required"
    return str(detail["msg"]).removeprefix("Value error, ")


def _shown(value: Any) -> str:
    text = _KEYS_IN_URI.sub("…", repr(value)) if "://" in repr(value) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def utc_now() -> str:
    """Now, as ISO 8601 in UTC with whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
