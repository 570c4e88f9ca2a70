from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import celery.backends.redis
import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten
from kombu.transport.redis import Channel

import celeryconfig
from timbral.config.fleet_celery import celery_settings
from timbral.config.settings import read_settings
from workers.delivery.results import Backend
from workers.delivery.transport import Transport

SETTINGS = {
    name: value
    for name, value in vars(celeryconfig).items()
    if not name.startswith("_") and not isinstance(value, ModuleType) and name not in ("Queue", "settings")
}
READ_BY_THE_EVENT_LOOP = {"unacked_restore_interval", "health_check_interval"}


def test_every_setting_is_one_that_celery_knows() -> None:
    known = dict(flatten(NAMESPACES))
    read_by_the_backend = inspect.getsource(celery.backends.redis)

    assert [name for name in SETTINGS if name not in known and f"'{name}'" not in read_by_the_backend] == []
    assert not any(inspect.isclass(value) for value in SETTINGS.values())


def test_every_transport_option_is_one_that_kombu_reads() -> None:
    known = {*Channel.from_transport_options, *READ_BY_THE_EVENT_LOOP}

    assert [name for name in celeryconfig.broker_transport_options if name not in known] == []


def test_no_message_reaches_two_queues() -> None:
    routing_keys = [queue.routing_key for queue in celeryconfig.task_queues]

    assert routing_keys == [queue.name for queue in celeryconfig.task_queues]
    assert {route["queue"] for route in celeryconfig.task_routes.values()} < set(routing_keys)
    assert celeryconfig.task_default_queue in routing_keys


def test_the_application_loads_the_settings_and_uses_our_transport() -> None:
    from workers.app import app

    named = {
        **SETTINGS,
        "task_queues": [queue.name for queue in SETTINGS["task_queues"]],
    }  # Celery binds the queues themselves
    found = {name: app.conf[name] for name in SETTINGS}
    assert {**found, "task_queues": [queue.name for queue in found["task_queues"]]} == named
    with app.connection() as connection:
        assert connection.transport_cls == "redis"
        assert isinstance(connection.transport, Transport)


def test_an_apps_own_celeryconfig_in_the_working_folder_does_not_replace_ours(tmp_path: Path) -> None:
    (tmp_path / "celeryconfig.py").write_text("task_acks_late = False\ntask_default_queue = 'theirs'\n")
    code = "from workers.app import app; print(app.conf.task_acks_late, app.conf.task_default_queue)"

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == ["True", "celery"], done.stderr


def test_a_result_outlives_every_key_of_the_cache() -> None:
    settings = celeryconfig.settings

    assert max(settings.RECOMMENDATIONS_TTL_S, settings.EMBEDDINGS_TTL_S) <= celeryconfig.result_expires


@pytest.mark.parametrize(("url", "db"), [("redis://h/1", 1), ("rediss://h/2", 2), ("unix:///run/redis.sock?db=3", 3)])
def test_results_have_a_connection_for_every_kind_of_url(url: str, db: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbral.config.settings.settings", read_settings(REDIS_URL=url))
    app = Celery("results", set_as_current=False)
    app.config_from_object(celery_settings())

    made = Backend(app=app, url=app.conf.result_backend.removeprefix("redis+"))  # as Celery asks for it

    assert made.client.connection_pool.make_connection().db == db
