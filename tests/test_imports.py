"""Imports point one way, and what an app imports is thin."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from timbral.stack.embedded_server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "numpy",
    "pandas",
    "scipy",
    "pyarrow",
    "sklearn",
    "numba",
    "safetensors",
    "fastapi",
    "jinja2",
    "uvicorn",
    "flower",
    "prometheus_client",
    "optuna",
)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of a package or a module."""
    base = ROOT / package.replace(".", "/")
    for path in sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def reached(path: Path, forbidden: tuple[str, ...]) -> set[str]:
    return {name for name in imports(path) if name.startswith(tuple(f"{f}." for f in forbidden)) or name in forbidden}


FLEET = ("celery", "kombu", "workers", "producers")
TOP = ("timbral.api", "timbral.cli", "timbral.console", "timbral.demo", "timbral.stack")
MIDDLE = ("timbral.logic", "timbral.versions", "timbral.queue", "timbral.tuning")
MODEL = ("timbral.models", "timbral.judging", "timbral.data", "timbral.utils")
MAY_NOT: dict[str, tuple[str, ...]] = {
    "producers": (
        "workers",
        *TOP,
        "timbral.logic",
        "timbral.versions",
        "timbral.tuning",
        "timbral.queue.dead_letters",
        "timbral.queue.envelope",
        "timbral.queue.held_messages",
        "timbral.queue.patience",
        "timbral.models",
        "timbral.judging",
        "timbral.data",
        "timbral.utils.data_loader",
    ),
    "timbral.judging": ("redis", *FLEET, *TOP, *MIDDLE, "timbral.models", "timbral.keys"),
    "timbral.data": ("redis", *FLEET, *TOP, *MIDDLE, "timbral.models", "timbral.judging", "timbral.keys"),
    "timbral.models": ("redis", *FLEET, *TOP, *MIDDLE, "timbral.data", "timbral.utils"),
    "timbral.engines": (
        "redis",
        *FLEET,
        *TOP,
        "timbral.logic",
        "timbral.tuning",
        "timbral.queue",
        "timbral.spark_data",
    ),
    "timbral.spark_data": ("redis", *FLEET, *TOP, "timbral.logic", "timbral.tuning", "timbral.queue"),
    "timbral.utils": (*FLEET, *TOP, *MIDDLE, "timbral.models"),
    "timbral.utils.data_loader": ("redis", "timbral.keys"),
    "timbral.utils.evaluation": ("redis", "timbral.keys"),
    "timbral.redis_server": (*FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral.lists": (*FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral.queue": (*FLEET, *TOP, *MODEL, "timbral.logic", "timbral.versions"),
    "timbral.versions": (*FLEET, *TOP, "timbral.logic", "timbral.queue", "timbral.tuning"),
    "timbral.logic": (*FLEET, *TOP, "timbral.tuning"),
    "timbral.tuning": (*FLEET, *TOP),
    "timbral.config": ("redis", *FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral.errors": ("timbral", "redis", *FLEET),
    "timbral.messages": ("redis", *FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral.data_message": ("redis", *FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral.keys": ("redis", *FLEET, *TOP, *MIDDLE, *MODEL),
    "timbral": ("workers",),
    "workers": ("producers", "timbral.cli", "timbral.api", "timbral.console"),
}


@pytest.mark.parametrize("package", MAY_NOT)
def test_imports_point_one_way(package: str) -> None:
    wrong = {name: found for name, path in modules(package) if (found := reached(path, MAY_NOT[package]))}
    assert wrong == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    every = [one for package in ("timbral", "workers", "producers") for one in modules(package)]
    paths = {name: path for name, path in every if path.name != "__init__.py"}  # a package is named with its modules
    needs = {
        name: {found for found in imports(path) if found in paths and found != name} for name, path in paths.items()
    }

    TopologicalSorter(needs).prepare()  # a CycleError names the circle


def test_only_what_an_app_or_a_person_runs_imports_producers() -> None:
    users = {name for name, path in modules("timbral") if reached(path, ("producers",))}
    allowed = ("timbral.cli", "timbral.api", "timbral.console", "timbral.demo")
    assert {name for name in users if not name.startswith(allowed)} == set()


THIN = ("timbral", "timbral.lists.served_list", "timbral.utils.redis_connector", "producers", "timbral.cli.application")


@pytest.mark.parametrize("name", THIN)
def test_what_an_app_imports_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print([m for m in {(*HEAVY, 'workers')} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_thin_install_enqueues_follows_and_reads(redis_server: EmbeddedServer) -> None:
    # As where numpy and the rest are not installed: every import of them is an ImportError.
    code = f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None
import json, redis, producers
from timbral.cli import main
from timbral.utils.redis_connector import RedisConnector
url = {redis_server.url!r}
producers.connect(url)
job = producers.enqueue_train_model("plays.csv")
client = redis.Redis.from_url(url)
client.set("celery-task-meta-" + job.id, json.dumps({{"status": "SUCCESS", "result": {{"model_version": "v1"}}}}))
assert job.wait(1) == {{"model_version": "v1"}}
with RedisConnector(url) as cache:
    assert cache.set_recommendations(7, [{{"item_id": 1, "score": 0.5}}])
    assert cache.set_embeddings("a", {{"vector": [1.0, 2.0]}})
    assert cache.get_embeddings("a") == {{"vector": [1.0, 2.0]}}
assert producers.get_recommendations(7) == [{{"item_id": 1, "score": 0.5}}]
producers.block_items(7, [1])
assert producers.get_recommendations(7) == []
for command in (["show", "7"], ["health"], ["job", "status", job.id], ["dead-letters", "list"]):
    assert main(command) == (1 if command == ["health"] else 0), command  # no worker, no model
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
