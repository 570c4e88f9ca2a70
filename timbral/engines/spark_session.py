"""What is done on Spark: a function of timbral's for each of some descriptions, by Spark Connect."""

from __future__ import annotations

import atexit
import functools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import structlog

from timbral.errors import TrainingError

__all__ = ["on_spark"]

logger = structlog.get_logger(__name__)

Description = dict[str, Any]
"""Plain JSON, small: what is large goes by files."""

MOST_ATTEMPTS: Final = 3
MOST_RETRIES: Final = 7
"""Of a call that does not reach the server: about two minutes, in which one may be started anew."""
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
    from pyspark.errors import PySparkException

    shown = url.partition("/;")[0]  # behind it may be a token
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            # A range, and the descriptions by the function: a table of them would be cut and sent around first.
            frame = _session(url).range(0, len(descriptions), 1, len(descriptions))
            answers = frame.mapInArrow(_each(do, list(descriptions)), "answer string").toArrow()
            return [json.loads(text) for text in answers.column(0).to_pylist()]
        except (PySparkException, _rpc_error()) as error:
            # Its session is gone with a server that was started anew.
            _session.cache_clear()
            problem = _problem(error)
            logger.warning("Spark has not done its part", url=shown, attempt=attempt, problem=problem)
    raise TrainingError(f"Spark at {shown} has not done its part: {problem}")


@functools.cache
def _session(url: str) -> Any:
    with warnings.catch_warnings():
        # Of pyspark's, about the versions of pandas, of which nothing is used here.
        warnings.simplefilter("ignore")
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession

    session = SparkSession(connection=url)
    atexit.register(_leave, session, DefaultPolicy(max_retries=0))
    session.client.set_retry_policies([DefaultPolicy(max_retries=MOST_RETRIES)])
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    return session


def _leave(session: Any, policy: Any) -> None:
    """Stop the session before pyspark does at the process's end: where the server is gone that takes it minutes."""
    session.client.set_retry_policies([policy])
    session.stop()


def _rpc_error() -> type[Exception]:
    from grpc import RpcError

    error: type[Exception] = RpcError
    return error


def _each(
    do: Callable[[Description], Description], descriptions: list[Description]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def each(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            answers = [json.dumps(do(descriptions[number])) for number in batch.column(0).to_pylist()]
            yield pa.RecordBatch.from_pydict({"answer": pa.array(answers, pa.string())})

    return each


def _problem(error: Exception) -> str:
    """The line of Spark's that says something."""
    if isinstance(error, _rpc_error()):  # the server was not reached, or not reached any more
        return str(getattr(error, "details", lambda: error)())[:500]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error: " in line or "Exception: " in line]
    return ((told or lines or [type(error).__name__])[-1 if told else 0])[:500]
