"""What we rely on that is private to kombu, Celery and Flower: each name, and a test that says what for.
CONTRIBUTING.md has the table."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import kombu.transport
import pytest
import redis
from celery.app.task import Context
from celery.backends.redis import RedisBackend
from celery.concurrency import asynpool
from celery.concurrency.base import BasePool
from celery.worker.request import Request as CeleryRequest
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from timbral.queue import layout
from timbral.stack.embedded_server import EmbeddedServer
from workers.delivery import client, consumer, message, qos, request, results, transport
from workers.delivery.transport import install

ROOT = Path(__file__).resolve().parents[3]

OVERRIDDEN = [
    client.Client, consumer.Consumer, message.DeliveredMessage, qos.QoS, request.Request, request.Task,
    results.Backend, transport.Channel,
    transport.Transport,
]  # fmt: skip


def table() -> set[str]:
    """The names in the table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return set(re.findall(r"^\| `(?:\w+\.)*(_\w+)` \|", text, flags=re.MULTILINE))


def overridden(ours: type) -> set[str]:
    """Private names of foreign base classes that this class of ours has its own of, itself or through a base of
    ours."""
    foreign = {name for base in ours.__mro__[1:] if not base.__module__.startswith("workers") for name in vars(base)}
    own = {name for base in ours.__mro__ if base.__module__.startswith("workers") for name in vars(base)}
    return {name for name in own if name.startswith("_") and not name.startswith("__") and name in foreign}


def used(path: Path) -> set[str]:
    """Private attributes that a file reads of objects which are not its own."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    return {name for name in read - own if name.startswith("_") and not name.startswith("__")}


def test_the_table_has_each_private_name_that_is_used_and_no_other() -> None:
    found = set().union(*map(overridden, OVERRIDDEN))
    for path in (ROOT / "workers").rglob("*.py"):
        found |= used(path)
    # Of the standard library, and not of these libraries.
    found -= {"_asdict", "_exit", "_abc_impl", "_is_protocol"}

    assert found == table()


def test_get_client_gives_the_class_that_a_channel_makes_its_clients_of(redis_server: EmbeddedServer) -> None:
    """``Channel._get_client``: everything that a channel reads, it reads through what this returns."""
    install()
    with Connection(f"{redis_server.url}/0") as connection:
        channel = connection.channel()
        for made in (channel.client, channel.subclient, *(_acquired(channel) for _ in range(2))):
            assert isinstance(made, client.Client | redis.client.PubSub)
        assert isinstance(channel.client, client.Client)
        assert channel.client.pipeline().transaction is False
        assert type(channel.subclient).__module__ == client.__name__


def _acquired(channel: Any) -> Any:
    with channel.conn_or_acquire() as made:
        return made


def test_brpop_and_rpop_are_read_through_parse_response_and_rpop(redis_server: EmbeddedServer) -> None:
    """The public methods that ``Client`` has its own of are those that kombu calls."""
    source = inspect.getsource(kombu_redis.Channel)
    assert "self.client.parse_response(self.client.connection," in source
    assert "client.rpop(" in source
    assert "c.parse_response()" in source


def test_transport_cache_remembers_what_a_scheme_is() -> None:
    """``kombu.transport._transport_cache``: without forgetting, a scheme that was used before ours was installed keeps
    kombu's transport."""
    kombu.transport._transport_cache["redis"] = kombu_redis.Transport
    install()
    assert kombu.transport.get_transport_cls("redis") is transport.Transport


def test_a_request_says_whether_it_was_cancelled_or_revoked() -> None:
    """``Request._already_cancelled`` and ``_already_revoked``: what tells a process that we have ended from one that
    its task has."""
    assert CeleryRequest._already_cancelled is False
    assert CeleryRequest._already_revoked is False
    assert "self._already_cancelled = True" in inspect.getsource(CeleryRequest._announce_cancelled)
    assert "self._already_revoked = True" in inspect.getsource(CeleryRequest._announce_revoked)


def test_every_pool_has_what_is_behind_it_and_the_one_of_processes_its_pipes() -> None:
    """``BasePool._pool`` and ``AsynPool._all_inqueues``: where a task is written to its process at once."""
    assert BasePool._pool is None
    source = inspect.getsource(asynpool.AsynPool)
    assert "self._all_inqueues = set()" in source
    assert "self.outbound_buffer = deque()" in source
    assert "hub.consolidate_callback = schedule_writes" in source
    assert "if is_fair_strategy and ready_fd in busy_workers:" in source


def test_result_meta_is_what_is_stored() -> None:
    """``Backend._get_result_meta``: what it returns is stored, and has the arguments where results are extended."""
    from workers.app import app

    meta = RedisBackend._get_result_meta(
        app.backend, result=1, state="SUCCESS", traceback=None, request=Context(id="a", task="t", args=[1], kwargs={"b": 2})
    )  # fmt: skip
    assert {"args", "kwargs", "name"} <= meta.keys()
    ours = app.backend._get_result_meta(
        result=1, state="SUCCESS", traceback=None, request=Context(id="a", task="t", args=[1], kwargs={"b": 2})
    )
    assert "name" in ours
    assert not {"args", "kwargs"} & ours.keys()


def test_layout_is_kombus(redis_server: EmbeddedServer) -> None:
    install()
    with Connection(f"{redis_server.url}/0") as connection:
        channel = connection.channel()
        assert tuple(channel.priority_steps) == layout.PRIORITY_STEPS
        assert channel.sep == layout.PRIORITY_SEPARATOR
        assert (channel.unacked_key, channel.unacked_index_key) == (layout.UNACKED, layout.UNACKED_INDEX)
        assert channel.unacked_mutex_key == layout.UNACKED_MUTEX
        assert channel.keyprefix_queue == layout.BINDINGS
        for queue in layout.QUEUES:
            for priority in range(-1, 12):
                sent = {"properties": {"priority": priority}}
                step = channel._get_message_priority(sent, reverse=False)
                assert layout.queue_key(queue, layout.priority_of(sent)) == channel._q_for_pri(queue, step)
        for odd in ({}, {"properties": {}}, {"properties": {"priority": None}}, {"properties": {"priority": "x"}}):
            assert layout.priority_of(odd) == channel._get_message_priority(odd, reverse=False) == 0
        assert [layout.queue_of_key(key) for key in layout.queue_keys("batch")] == ["batch"] * 4


def test_layout_is_celerys() -> None:
    from workers.app import app

    assert app.backend.get_key_for_task("id").decode() == layout.result_key("id")
    for task in ("train_model", "compute_chunk", "compute_recommendations"):
        assert app.amqp.router.route({}, task)["queue"].name == layout.own_queue(task)


@pytest.mark.parametrize("name", ["ack", "append", "can_consume", "restore_unacked_once"])
def test_qos_methods_that_ours_goes_through_are_there(name: str) -> None:
    assert callable(getattr(virtual.QoS, name))
