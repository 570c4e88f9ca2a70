"""EngineName: who does the sweeps of a training, or the lists of everybody, and where that is."""

from __future__ import annotations

from typing import Literal

__all__ = ["EngineName", "ListEngineName", "url_problem"]

EngineName = Literal["local", "fleet", "ray", "spark"]
"""The process that has the job, the fleet's queue of chunks, a Ray cluster, Spark by Spark Connect."""


ListEngineName = Literal["fleet", "ray", "spark"]
"""Of these, who makes lists."""


def url_problem(engine: str, url: str | None) -> str | None:
    """What is wrong with ``TRAIN_ENGINE_URL`` for ``engine``, and what would be right; None where it fits."""
    if engine == "spark" and url is None:
        return "TRAIN_ENGINE_URL must say where Spark Connect is, as sc://host:15002"
    if engine == "spark" and url is not None and not url.startswith("sc://"):
        return (
            f"TRAIN_ENGINE_URL={url!r} must be a Spark Connect server's, as sc://host:15002: "
            "start-connect-server.sh --master spark://host:7077 runs one beside a master"
        )
    if engine == "ray" and url is not None and url.startswith(("sc://", "spark://")):
        return f"TRAIN_ENGINE_URL={url!r} must be a Ray cluster's, as ray://host:10001"
    return None
