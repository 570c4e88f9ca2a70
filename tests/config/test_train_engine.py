"""An engine's URL fits the engine, or the start says what would."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from timbral.config.settings import Settings


@pytest.mark.parametrize(
    ("engine", "url", "said"),
    [
        ("spark", None, "must say where Spark Connect is, as sc://host:15002"),
        ("spark", "spark://host:7077", r"start-connect-server\.sh --master spark://host:7077"),
        ("ray", "sc://host:15002", "must be a Ray cluster's, as ray://host:10001"),
        ("dask", None, "'local', 'fleet', 'ray' or 'spark'"),
    ],
)
def test_a_url_that_does_not_fit_its_engine_is_refused(engine: str, url: str | None, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(TRAIN_ENGINE=engine, TRAIN_ENGINE_URL=url)


@pytest.mark.parametrize(
    ("engine", "url"), [("spark", "sc://host:15002"), ("ray", "ray://host:10001"), ("ray", None), ("fleet", None)]
)
def test_one_that_fits_is_taken(engine: str, url: str | None) -> None:
    assert url == Settings(TRAIN_ENGINE=engine, TRAIN_ENGINE_URL=url).TRAIN_ENGINE_URL
