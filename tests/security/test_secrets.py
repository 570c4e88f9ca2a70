"""No secret in a message, a log, an error or the handbook's promises without a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from timbral.errors import MessageError
from timbral.messages import TrainModel, read_message
from workers.watching.flower_text import readable_arguments

ROOT = Path(__file__).parents[2]
DEFINED = {
    name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
}


@pytest.mark.parametrize(
    "uri", ["s3://key:hunter2@plays/2026.csv", "s3://plays/2026.csv?secret_key=x&access_key=hunter2"]
)
def test_a_uri_with_a_password_in_it_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(MessageError, match="without keys and options") as refused:
        read_message(TrainModel, {"dataset": uri})
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in readable_arguments(str({"dataset": uri}))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))))
def test_every_test_that_the_threat_model_names_exists(name: str) -> None:
    assert name in DEFINED
