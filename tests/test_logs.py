from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from timbral import logs


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.unbind()
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_what_was_bound_from_either_kind_of_logger() -> None:
    stream = io.StringIO()
    logs.configure("json", debug=False, stream=stream)
    logs.bind(task="train_model", job="j1")

    logging.getLogger("timbral.models.nmf_model").info("fitted in %.1f s", 1.5)
    structlog.get_logger("timbral.logic.rescue").warning("lost", user="ü1", version="v1")
    logs.unbind("job")
    logging.getLogger("timbral").debug("not at this level")
    logging.getLogger("timbral").error("last")

    first, second, third = lines(stream)
    assert first["event"] == "fitted in 1.5 s"
    assert (first["logger"], first["level"]) == ("timbral.models.nmf_model", "info")
    assert (first["task"], first["job"]) == (second["task"], second["job"]) == ("train_model", "j1")
    assert (second["user"], second["version"], second["logger"]) == ("ü1", "v1", "timbral.logic.rescue")
    assert "job" not in third
    assert str(first["timestamp"]).endswith("Z")


def test_a_traceback_is_part_of_its_json_line() -> None:
    stream = io.StringIO()
    logs.configure("json", debug=False, stream=stream)

    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("timbral").exception("failed")

    (line,) = lines(stream)
    assert "ValueError: broken" in str(line["exception"])


def test_a_person_gets_one_plain_line_an_event_and_debug_where_asked() -> None:
    stream = io.StringIO()
    logs.configure("console", debug=True, stream=stream)

    logging.getLogger("timbral").debug("looked at %d keys", 3)
    logging.getLogger("kombu.x").debug("chatter")

    assert "looked at 3 keys" in stream.getvalue()
    assert "chatter" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue(), "colours are for terminals"
