"""What is done on Spark: a function of timbral's for each of some descriptions, by Spark Connect."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
import structlog

from timbral.errors import TrainingError

__all__ = ["ANSWER", "Each", "answer", "answers_of_spark", "each_described", "on_spark"]

logger = structlog.get_logger(__name__)

Description = dict[str, Any]
"""Plain JSON, small: what is large goes by files."""

MOST_ATTEMPTS: Final = 3
MOST_RETRIES: Final = 5
"""Of a call that does not reach the server any more: some 20 s. Longer would not help: one that is started anew does
not know the session."""
PATIENCE_S: Final = 120.0
"""Within which a server must answer that is being started, perhaps anew."""
DEFAULT_PORT: Final = 15002
ANSWER: Final = "answer string"
"""The schema of answers."""
_RAISED: Final = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$", re.MULTILINE)
"""What Python raised: in its tracebacks all other lines are indented, or have more words before a colon."""
_DETAILS: Final = re.compile(r'^\s*details = "(.+)"$', re.MULTILINE)
"""What gRPC says where pyspark has made one of its errors of it."""
SETTINGS: Final = {
    # There is nothing to be planned anew, and compiling takes longer than what it would speed up.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
}


def on_spark(
    url: str, do: Callable[[Description], Description], descriptions: Sequence[Description]
) -> list[Description]:
    """What ``do`` gives for each description, each in a Spark task of its own; one may be done more than once.

    ``do`` is found by its name: the executors' Python has timbral.

    Raises:
        TrainingError: the server is not reached, or Spark has given up.
    """
    return answers_of_spark(
        url, lambda session: each_described(session, Each(functools.partial(_answered, do), descriptions), ANSWER)
    )


def each_described(session: Any, each: Each, schema: str) -> Any:
    """A frame of ``schema`` of what the tasks give."""
    # A range, and the descriptions by the function: a table of them would be cut and sent around first.
    n = each.n_descriptions
    return session.range(0, n, 1, n).mapInArrow(each, schema)


def answers_of_spark(
    url: str, asked: Callable[[Any], Any], options: Mapping[str, str] = MappingProxyType({})
) -> list[Description]:
    """The answers, texts of JSON, in the frame that ``asked`` makes of a session, which has ``options`` meanwhile.

    Raises:
        TrainingError: the server is not reached, or Spark has given up.
    """
    from pyspark.errors import PySparkException, PythonException

    shown = url.partition("/;")[0]  # behind it may be a token
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            _wait_for_server(url, shown)
            session = _session(url)
            session.client.set_retry_policies([_patience()])
            with _set(session, options):
                return [json.loads(text) for text in asked(session).toArrow().column(0).to_pylist()]
        except PythonException as error:  # what a task raised, each of the four times that Spark did it
            _session.cache_clear()  # it has this call's options
            raise TrainingError(f"Spark at {shown} has not done its part: {_problem(error)}") from None
        except (PySparkException, _rpc_error()) as error:
            # Its session is gone with a server that was started anew.
            _session.cache_clear()
            problem = _problem(error)
            logger.warning("Spark has not done its part", url=shown, attempt=attempt, problem=problem)
    raise TrainingError(f"Spark at {shown} has not done its part: {problem}")


def _wait_for_server(url: str, shown: str) -> None:
    """Return when something listens at ``url``; pyspark's own attempts go on for minutes and say nothing meanwhile.

    Raises:
        TrainingError: nothing does within PATIENCE_S.
    """
    place = urlsplit(url)
    deadline, is_said = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            socket.create_connection((place.hostname or "", place.port or DEFAULT_PORT), 5.0).close()
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise TrainingError(f"no Spark Connect server answers at TRAIN_ENGINE_URL={shown}: {error}") from None
            if not is_said:
                logger.warning("waits for Spark Connect", url=shown, problem=str(error), at_most_s=PATIENCE_S)
            is_said = True
            time.sleep(0.5)
        else:
            return


@contextlib.contextmanager
def _set(session: Any, options: Mapping[str, str]) -> Iterator[None]:
    for name, value in options.items():
        session.conf.set(name, value)
    yield
    for name in options:
        if name in SETTINGS:
            session.conf.set(name, SETTINGS[name])
        else:
            session.conf.unset(name)


@functools.cache
def _session(url: str) -> Any:
    with warnings.catch_warnings():
        # Of pyspark's, about the versions of pandas, of which nothing is used here.
        warnings.simplefilter("ignore")
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession

    session = SparkSession(connection=url)
    atexit.register(_leave, session, DefaultPolicy(max_retries=0))
    session.client.set_retry_policies([_patience()])
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    return session


def _patience() -> Any:
    """Retries for who asks; next to none for pyspark's own threads, that tell the server what it can forget.

    A process waits for these at its end, and the server forgets by itself.
    """
    from pyspark.sql.connect.client.retries import DefaultPolicy

    asker, others = threading.get_ident(), DefaultPolicy(max_retries=1)

    def to_state(policy: Any) -> Any:
        return DefaultPolicy.to_state(policy) if threading.get_ident() == asker else others.to_state()

    return type("Patience", (DefaultPolicy,), {"to_state": to_state})(max_retries=MOST_RETRIES)


def _leave(session: Any, policy: Any) -> None:
    """Stop the session before pyspark does at the process's end: where the server is gone that takes it minutes."""
    session.client.set_retry_policies([policy])
    session.stop()


def _rpc_error() -> type[Exception]:
    from grpc import RpcError

    error: type[Exception] = RpcError
    return error


class Each:
    """For each number of a description, the batches that ``rows_of`` makes of it."""

    def __init__(
        self, rows_of: Callable[[Description], Iterable[pa.RecordBatch]], descriptions: Sequence[Description]
    ) -> None:
        self._rows_of = rows_of
        self._descriptions = list(descriptions)

    @property
    def n_descriptions(self) -> int:
        return len(self._descriptions)

    def __call__(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from self._rows_of(self._descriptions[number])


def answer(given: Description) -> pa.RecordBatch:
    """An answer as a row of ``ANSWER``."""
    return pa.RecordBatch.from_pydict({"answer": pa.array([json.dumps(given)], pa.string())})


def _answered(do: Callable[[Description], Description], description: Description) -> list[pa.RecordBatch]:
    return [answer(do(description))]


def _problem(error: Exception) -> str:
    """The line of Spark's that says something."""
    if isinstance(error, _rpc_error()):  # the server was not reached, or not reached any more
        return str(getattr(error, "details", lambda: error)())[:500]
    text = str(error)
    details = _DETAILS.search(text)
    if details:
        return details[1][:500]
    raised = _RAISED.findall(text) if "Traceback" in text else []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = raised or [line for line in lines if "Error: " in line or "Exception: " in line]
    return ((told or lines or [type(error).__name__])[-1 if told else 0])[:500]
