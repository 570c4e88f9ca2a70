"""Message, the base of what producers send, and DataMessage: one that says what to train on, and how it is read."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["READ_ARGUMENTS", "DataMessage", "Message", "PresetName"]

PresetName = Literal[
    "lastfm-360k",
    "lastfm-1k",
    "msd",
    "movielens-100k",
    "movielens-1m",
    "listenbrainz",
    "spotify-extended",
    "spotify-account",
]
"""The forms of data sets that timbral.data.presets describes."""

_URI = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)

READ_ARGUMENTS: tuple[str, ...] = (
    "format", "preset", "separator", "columns", "quoted", "encoding", "decimal", "user_col", "item_col", "value_col",
    "time_col",
    "time_format", "on_missing", "repeats",
)  # fmt: skip
"""Arguments of ``DataMessage`` that say how a data set is read, as ``DataLoader.load_csr`` takes them."""


class Message(BaseModel):
    """Base of the messages: unknown arguments are refused, nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    task: ClassVar[str]

    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments to send, JSON-ready, without those that were left at their defaults."""
        return self.model_dump(mode="json", exclude_unset=True)


class DataMessage(Message):
    """A message about the history of plays, or a data set."""

    dataset: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="Path below DATA_DIR, or a URI under one of DATASET_URI_PREFIXES; the history of plays if unset.",
    )
    history_version: int | None = Field(
        None, ge=0, description="Version of the history's table, to repeat a training; the newest if unset."
    )
    half_life_days: float | None = Field(
        None,
        gt=0,
        le=36_500,
        description="Age at which a play of the history counts half; all count alike if unset.",
    )
    format: Literal["csv", "parquet", "json"] | None = Field(
        None, description="The data set's format; by its ending or its content if unset."
    )
    preset: PresetName | None = Field(
        None, description="A known data set's form; found by itself where the file tells. See data.md."
    )
    separator: str | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="Column separator of a csv file, one character or several; told from its first lines if unset.",
    )
    columns: list[str] | None = Field(
        None, min_length=1, max_length=10_000, description="Names of a csv file's columns, where it has no header."
    )
    quoted: bool | None = Field(
        None,
        description="Whether quotes in a csv file are around fields; if unset yes, but not if a tab separates them.",
    )
    encoding: str = Field("utf-8", min_length=1, max_length=40, description="Of a csv file: utf-8, latin-1, utf-16, ….")
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of values that are text.")
    user_col: str | None = Field(
        None, min_length=1, description="Column of the users' ids; user_id, or told by its name, if unset."
    )
    item_col: str | None = Field(
        None, min_length=1, description="Column of the items' ids; item_id, or told by its name, if unset."
    )
    value_col: str | None = Field(
        "rating",
        min_length=1,
        description="Column of the plays or ratings; where there is no rating, one that is unmistakably it (plays, "
        "play_count, …); 1 a row where there is none, or for null.",
    )
    time_col: str | None = Field(
        None,
        min_length=1,
        description="Column of the time of a row; the newest rows are held out, by random if unset.",
    )
    time_format: str | None = Field(
        None, min_length=1, max_length=80, description="How times are written as text, in strptime's letters."
    )
    on_missing: Literal["refuse", "drop"] | None = Field(
        None,
        description="Whether rows without an id, a value or a time are refused or left out and counted; refused if "
        "unset, "
        "but for presets with rows that are no music.",
    )
    repeats: Literal["sum", "last", "max", "mean"] = Field(
        "sum", description="What becomes of rows of the same user and item; the last is the one with the latest time."
    )
    apply_play_thresholds: bool = Field(
        False, description="Leave rows below Constants.MIN_PLAYS_THRESHOLD out, cap plays at MAX_PLAYS_THRESHOLD."
    )

    @field_validator("dataset")
    @classmethod
    def _stays_below_the_data_folder(cls, dataset: str | None) -> str | None:
        # The worker checks again, with links resolved; this is what can be known without its file system.
        if dataset is None:
            return None
        if "\0" in dataset or "\n" in dataset:
            raise ValueError("must be one line of text")
        if not _URI.match(dataset) and (dataset.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", dataset)):
            raise ValueError("must be a path below the data folder, without '..', or a URI")
        if _URI.match(dataset) and ".." in dataset.split("/"):
            raise ValueError("must be a URI without '..'")
        if _URI.match(dataset) and ("?" in dataset or "@" in dataset.split("/")[2]):
            # Messages are seen in Flower and logs.
            raise ValueError("must be a URI without keys and options: those belong into the workers' environment")
        return dataset

    @model_validator(mode="after")
    def _fits_its_source(self) -> Self:
        of_a_file = set(READ_ARGUMENTS) & self.model_fields_set
        of_the_history = {"history_version", "half_life_days"} & self.model_fields_set
        if self.dataset is None and of_a_file:
            raise ValueError(f"{', '.join(sorted(of_a_file))} say how a file is read, and there is no dataset")
        if self.dataset is not None and of_the_history:
            raise ValueError(f"{', '.join(sorted(of_the_history))} are of the history, and a dataset is given")
        return self

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        columns = [c for c in (self.user_col, self.item_col, self.value_col, self.time_col) if c is not None]
        if len(set(columns)) != len(columns):
            raise ValueError(f"user_col, item_col, value_col and time_col must differ, got {columns}")
        return self
