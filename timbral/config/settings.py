"""Settings, read once from the environment and ``.env``.

``settings`` is made at import; a value that cannot be right stops the process there, with a SettingsError that names
it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from timbral.config.constants import Constants
from timbral.config.redis_url import CLUSTER, RedisUrl, parsed_url
from timbral.config.train_engine import EngineName, url_problem
from timbral.errors import SettingsError

__all__ = ["Constants", "Settings", "settings"]

LOCAL_REDIS: Final = "redis://127.0.0.1:6379"
QUEUE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$"
SECRETS_DIR: Final = Path("/run/secrets")


class Settings(BaseSettings):
    """What a deployment may set. Every field can be set by an environment variable of its name, in ``.env``, or by a
    file of its name in ``/run/secrets``, where containers find secrets."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,  # an empty password or token is none
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="ignore",
        frozen=True,
    )

    # Redis
    CACHE_CLUSTER: bool = Field(
        False,
        description="REDIS_URL is one node of a Redis Cluster, or several: redis://host:6379;host:6379. BROKER_URL and "
        "a KEY_PREFIX in braces have to be set too.",
    )
    REDIS_URL: str | None = Field(
        None,
        description="The Redis that holds the cache, the model records and, unless BROKER_URL is set, the queue: "
        "redis://, "
        "rediss://, unix:// or sentinel://host:26379;host:26379/name; redis://127.0.0.1:6379 if unset.",
    )
    REDIS_PASSWORD: SecretStr | None = Field(
        None, description="Password for REDIS_URL and BROKER_URL where the URL has none; never logged."
    )
    SENTINEL_PASSWORD: SecretStr | None = Field(
        None, description="Password of the sentinels of a sentinel:// URL, where they ask for one; never logged."
    )
    REDIS_DB: int = Field(0, ge=0, le=1_000_000, description="Database number, used where the URL names none.")
    BROKER_URL: str | None = Field(
        None, description="The Redis of the queue and the task results, where it is another than REDIS_URL."
    )
    REDIS_CA_CERTS: Path | None = Field(
        None, description="CA file that a rediss:// server's certificate must chain to; the system's CAs if unset."
    )

    KEY_PREFIX: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:-]{0,62}[:_.-]|\{[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}\}:)?$",
        description='Stands in front of every key and queue, as in "music:": for a Redis database that others use too; '
        'as in "{music}:" for a cluster, where it keeps all keys in one slot. The same in every program, producers '
        "included.",
    )
    QUEUE: str = Field(
        "celery", pattern=QUEUE_NAME, description="Queue of what users wait for; Celery's default if unset."
    )
    BATCH_QUEUE: str = Field("batch", pattern=QUEUE_NAME, description="Queue of the chunks of large jobs.")
    TRAINING_QUEUE: str = Field("training", pattern=QUEUE_NAME, description="Queue of the trainings.")

    # The model
    NMF_N_COMPONENTS: int = Field(100, ge=1, le=4096, description="Number of factors, k, of a model.")
    NMF_RANDOM_STATE: int = Field(42, ge=0, le=2**32 - 1, description="Seed of a training; 0 is a seed too.")
    N_THREADS: int = Field(
        0, ge=0, le=1024, description="Threads of a training or a batch; 0 takes every core that the process may use."
    )

    # Data and models
    DATA_DIR: Path = Field(
        Path("data"), description="Folder below which data sets must lie, for messages that name a path."
    )
    DATASET_URI_PREFIXES: tuple[str, ...] = Field(
        (), description='URI prefixes that data sets may be read from, as a JSON list: ["s3://plays/"].'
    )
    MODEL_DIR: Path = Field(Path("models"), description="Folder of the model versions; shared by all workers.")
    MODEL_ARCHIVE_URI: str | None = Field(
        None, description="Where model files are kept too (s3://models/production), for hosts that share no MODEL_DIR."
    )
    KEEP_MODELS: int = Field(
        5,
        ge=1,
        le=1000,
        description="How many of the model versions that were live are kept, and as many of the others; the current "
        "one always is.",
    )

    # Trainings
    TRAIN_STORE_URI: str | None = Field(
        None,
        description="What all hosts of the fleet see, for checkpoints, and for the blocks of trainings that several "
        "hosts do: a folder, as a path or a file:// URI, or s3://…, which needs TRAIN_CACHE_DIR. MODEL_DIR if unset.",
    )
    TRAIN_ENGINE: EngineName = Field(
        "local",
        description="Who does the sweeps of a training that names no engine: the trainer's own cores, all workers of "
        "the queue of chunks, a Ray cluster, or Spark. The model is the same to the bit. See scale.md.",
    )
    TRAIN_ENGINE_URL: str | None = Field(
        None,
        description="Where the engine is: of spark its Spark Connect server, sc://host:15002; of ray ray://host:10001 "
        "or host:6379, and one on the trainer's machine if unset.",
    )
    TRAIN_CACHE_DIR: Path | None = Field(
        None,
        description="A folder of each host's own, into which the factors that all rows need are copied once for each "
        "half-sweep; they are mapped from the store if unset. From s3:// everything is.",
    )
    TRAIN_BLOCKS: int = Field(
        8,
        ge=1,
        le=1024,
        description="Blocks that each half of a sweep is cut into, where others than the trainer do it.",
    )
    TRAIN_SAMPLE_PLAYS: int = Field(
        20_000_000,
        ge=100_000,
        description="Where Spark reads the data, the plays of the users, drawn at random, that a training measures and "
        "chooses on and finds neighbours by; all that have no more. The factors are of all plays. See scale.md.",
    )
    CHECKPOINT_EVERY_S: float = Field(
        10.0,
        ge=0,
        description="Seconds between two checkpoints of a training, which goes on from the last one if it is cut off; "
        "more where writing one takes more than 3 % of that. 0: after each sweep.",
    )

    # The plays
    HISTORY_URI: str | None = Field(
        None,
        description="The table of all plays: a folder, or s3://bucket/plays; the folder history below DATA_DIR if "
        "unset.",
    )
    ARCHIVE_EVERY_S: int = Field(
        60, ge=0, description="Seconds between two moves of recorded plays into the history; 0 for with trainings only."
    )
    IMPORT_MAX_MB: int = Field(
        1_000,
        ge=0,
        description="Largest file, in MB as it is stored, that the console imports into the history; it lies in the "
        "system's temporary folder (TMPDIR) meanwhile. 0: none.",
    )
    EVENT_ID_WINDOW_S: int = Field(
        86_400, ge=60, description="Seconds in which a play with the same event_id, recorded again, counts once."
    )

    # The cache
    RECOMMENDATIONS_TTL_S: int = Field(21_600, ge=1, description="Seconds that a user's recommendations live in Redis.")
    EMBEDDINGS_TTL_S: int = Field(43_200, ge=1, description="Seconds that embeddings live in Redis.")
    RESULT_EXPIRES_S: int = Field(
        86_400, ge=60, description="Seconds that a task's result and progress live; longer than the cache's."
    )

    # Fresh lists
    MAX_PER_GROUP: int = Field(
        0, ge=0, le=1000, description="Most items of one group (items:groups: an artist) in a list; 0 for any number."
    )
    EXPLORATION_SHARE: float = Field(
        0.0, ge=0, lt=1, description="Share of a list's places that items from further down get, drawn at random."
    )

    # The fleet
    CHUNK_SIZE: int = Field(2_000, ge=1, le=100_000, description="Users in one chunk of a fanned-out job.")
    VISIBILITY_TIMEOUT_S: int = Field(
        300, ge=2, description="Seconds after which a message that no living worker holds is delivered again."
    )
    RESTORE_INTERVAL_S: float = Field(
        15.0, gt=0, description="Seconds between two looks for messages (and jobs) that nobody holds."
    )
    MAX_DELIVERIES: int = Field(3, ge=1, le=100, description="Deliveries of one message before it is parked.")
    TRAIN_TIME_LIMIT_S: int = Field(86_400, ge=1, description="Seconds after which a hung training is ended.")
    TASK_TIME_LIMIT_S: int = Field(900, ge=1, description="Seconds after which any other hung task is ended.")
    SOFT_SHUTDOWN_S: float = Field(
        60.0, ge=0, description="Seconds that a worker told to stop gives its running tasks."
    )

    # The schedule
    RENEW_EVERY_S: int = Field(
        10_800, ge=0, description="Seconds between two renewals of everyone's recommendations; 0 for never."
    )
    RETRAIN_EVERY_S: int = Field(0, ge=0, description="Seconds between two trainings by the scheduler; 0 for never.")
    RETRAIN_AFTER_PLAYS: int = Field(
        0, ge=0, description="Plays recorded since the scheduler's last training after which it trains; 0 for never."
    )
    RETRAIN_DATASET: str | None = Field(
        None, description="The data set of the scheduler's trainings; the history of plays if unset."
    )

    # The HTTP API
    API_HOST: str = Field("0.0.0.0", description="Address that the HTTP API listens on.")  # noqa: S104 - meant
    API_PORT: int = Field(8000, ge=0, le=65_535, description="Port of the HTTP API; 0 takes a free one.")
    API_WORKERS: int = Field(4, ge=1, le=256, description="Processes of the HTTP API.")
    API_TOKEN: SecretStr | None = Field(
        None,
        description="Bearer token that writing through the HTTP API needs; required unless it listens on loopback.",
    )
    API_READ_TOKEN: SecretStr | None = Field(
        None, description="Bearer token that reading needs (API_TOKEN reads too); reading is open if unset."
    )

    # Seeing it
    FLOWER_URL: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where people reach Flower, for the console's link to it; none if unset.",
    )
    GRAFANA_URL: str | None = Field(
        None, pattern=r"^https?://", description="Where people reach Grafana, for the console's link; none if unset."
    )
    DEBUG: bool = Field(False, description="Log at DEBUG level, and let the HTTP API show tracebacks.")
    LOG_FORMAT: Literal["console", "json"] = Field(
        "console", description="Logs for a person, or one JSON object a line."
    )
    METRICS_PORT: int = Field(0, ge=0, le=65_535, description="Port of a worker's Prometheus metrics; 0 for none.")

    @field_validator("REDIS_URL", "BROKER_URL")
    @classmethod
    def _is_a_redis_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None:
            is_cluster = info.field_name == "REDIS_URL" and info.data.get("CACHE_CLUSTER", False)
            RedisUrl.parse(url, cluster_tag="any" if is_cluster else "")
        return url

    @field_validator("TRAIN_STORE_URI")
    @classmethod
    def _is_seen_by_all(cls, uri: str | None) -> str | None:
        if uri is not None and "://" in uri and not uri.startswith(("file:///", "s3://")):
            raise ValueError("must be a path, a file:/// URI or an s3:// URI")
        return uri

    @model_validator(mode="after")
    def _remote_store_has_a_cache(self) -> Settings:
        if self.train_store_is_remote and self.TRAIN_CACHE_DIR is None:
            raise ValueError(f"TRAIN_STORE_URI={self.TRAIN_STORE_URI} needs TRAIN_CACHE_DIR: files are mapped from it")
        return self

    @model_validator(mode="after")
    def _engine_is_reached(self) -> Settings:
        problem = url_problem(self.TRAIN_ENGINE, self.TRAIN_ENGINE_URL)
        if problem is not None:
            raise ValueError(f"TRAIN_ENGINE={self.TRAIN_ENGINE}: {problem}")
        return self

    @model_validator(mode="after")
    def _cache_expires_before_results(self) -> Settings:
        # Under volatile-ttl Redis evicts what expires soonest: the cache has to go before the results do.
        for name in ("RECOMMENDATIONS_TTL_S", "EMBEDDINGS_TTL_S"):
            if getattr(self, name) > self.RESULT_EXPIRES_S:
                raise ValueError(
                    f"{name}={getattr(self, name)} must not exceed RESULT_EXPIRES_S={self.RESULT_EXPIRES_S}"
                )
        return self

    @model_validator(mode="after")
    def _queues_differ(self) -> Settings:
        if len({self.QUEUE, self.BATCH_QUEUE, self.TRAINING_QUEUE}) < 3:
            raise ValueError("QUEUE, BATCH_QUEUE and TRAINING_QUEUE must be three different names")
        return self

    @model_validator(mode="after")
    def _cluster_is_whole(self) -> Settings:
        if self.CACHE_CLUSTER and not self.KEY_PREFIX.startswith("{"):
            raise ValueError(
                "CACHE_CLUSTER needs a KEY_PREFIX in braces, as in {music}:, so that all keys are in one slot of the "
                f"cluster (got {self.KEY_PREFIX!r})"
            )
        if self.CACHE_CLUSTER and not self.BROKER_URL:
            raise ValueError(
                "CACHE_CLUSTER needs BROKER_URL: a single Redis for the queue, which cannot be in a cluster"
            )
        return self

    @model_validator(mode="after")
    def _urls_can_be_read(self) -> Settings:
        # Once more, with what completes them: a CA file that cannot be read shows here, and not at the first
        # connection.
        for name in ("REDIS_URL", "BROKER_URL"):
            try:
                self._read_url(name)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @property
    def redis_url(self) -> str:
        """URL of the cache, complete with password and database number. Holds the password: do not log it."""
        return str(self._read_url("REDIS_URL"))

    @property
    def broker_url(self) -> str:
        """URL of the queue and the results, complete with password and database number. Do not log it."""
        return str(self.queue)

    @property
    def queue(self) -> RedisUrl:
        """``broker_url`` in its parts."""
        return self._read_url("BROKER_URL")

    @property
    def history_uri(self) -> str:
        """Where the table of all plays is."""
        return self.HISTORY_URI or str(self.DATA_DIR / "history")

    @property
    def train_store(self) -> Path | None:
        """The folder in ``TRAIN_STORE_URI``; this host's cache where it is none."""
        if self.train_store_is_remote:
            return self.TRAIN_CACHE_DIR
        return None if self.TRAIN_STORE_URI is None else Path(self.TRAIN_STORE_URI.removeprefix("file://"))

    @property
    def train_store_is_remote(self) -> bool:
        """Whether ``TRAIN_STORE_URI`` is no folder."""
        return self.TRAIN_STORE_URI is not None and self.TRAIN_STORE_URI.startswith("s3://")

    def _read_url(self, name: str) -> RedisUrl:
        url = getattr(self, name) or self.REDIS_URL or LOCAL_REDIS
        if CLUSTER in urlsplit(url).scheme:
            raise ValueError("must begin with redis:// or rediss://; CACHE_CLUSTER=true says that it is a cluster")
        is_cluster = self.CACHE_CLUSTER and name == "REDIS_URL"
        return parsed_url(
            url,
            password=_secret(self.REDIS_PASSWORD),
            db=self.REDIS_DB,
            ca_certs=self.REDIS_CA_CERTS,
            sentinel_password=_secret(self.SENTINEL_PASSWORD),
            cluster_tag=self.KEY_PREFIX[1:].partition("}")[0] if is_cluster else "",
        )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def public_address(url: str) -> str:
    """``url`` as it may be shown: no user, no password, no query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def read_settings(**overrides: Any) -> Settings:
    """Read the settings now; ``overrides`` win over the environment.

    Raises:
        SettingsError: one line for each setting that cannot be right, and for each name in ``.env`` that looks
            mistyped.
    """
    try:
        problems = _mistyped_names()
    except UnicodeDecodeError as error:
        raise SettingsError([f"{Path('.env').absolute()} is not UTF-8, but for instance UTF-16: {error}"]) from None
    try:
        made = Settings(**overrides)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            name = str(detail["loc"][0]) if detail["loc"] else ""
            shown = "" if _may_hold_a_secret(name) else f" (got {detail['input']!r})" if name else ""
            text = str(detail["msg"]).removeprefix("Value error, ")
            problems.append(f"{name}: {text}{shown}" if name else text)
    if problems:
        raise SettingsError(problems)
    return made


def _may_hold_a_secret(name: str) -> bool:
    return name.endswith(("_URL", "_PASSWORD", "_TOKEN"))


def _mistyped_names() -> list[str]:
    source = DotEnvSettingsSource(Settings)
    names = [name.upper() for name in source.env_vars]
    known = list(Settings.model_fields)
    problems = []
    for name in names:
        close = [] if name in known else difflib.get_close_matches(name, known, n=1, cutoff=0.88)
        if close:
            problems.append(f"{name}: no such setting in .env; did you mean {close[0]}?")
    return problems


settings: Final[Settings] = read_settings()
