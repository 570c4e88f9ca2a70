"""The Celery application of the fleet: ``celery -A workers.app worker``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

from celery import Celery, signals

from timbral import logs
from timbral.config.celery_variables import CELERY_VARIABLES, foreign_variables
from timbral.config.fleet_celery import celery_settings
from timbral.config.settings import settings
from workers import cores, flags
from workers.delivery import beginning, orphans, pool_size, transport
from workers.delivery.heartbeat import Heartbeat
from workers.delivery.liveness import Liveness
from workers.delivery.pool_watch import PoolWatch
from workers.delivery.shutdown import SoftShutdown
from workers.watching import metrics
from workers.watching.redis_check import RedisCheck

transport.install()
pool_size.install()

# `celery -A workers.app flower` finds the fleet's settings, and asks for a password, whatever folder it is started in.
os.environ.setdefault("FLOWER_CONF", str(Path(__file__).with_name("watching") / "flowerconfig.py"))

# Celery would prefer these to celeryconfig.py; the command itself puts BROKER_URL, without its password, into one of
# them.
FOREIGN: Final = foreign_variables(settings)
for _name in CELERY_VARIABLES:
    os.environ.pop(_name, None)
for _sentence in FOREIGN:
    logs.configure()
    logging.getLogger(__name__).warning("%s", _sentence)

app = Celery("timbral", task_cls="workers.delivery.request:Task", include=["workers.tasks"])
app.config_from_object(celery_settings())
app.loader.override_backends = {
    **dict.fromkeys(("redis", "rediss"), "workers.delivery.results:Backend"),
    "sentinel": "workers.delivery.results:SentinelBackend",
}
app.steps["worker"].update(
    {Heartbeat, PoolWatch, RedisCheck, Liveness, SoftShutdown, metrics.Server, "workers.delivery.rescuer:Rescuer"}
)


@signals.setup_logging.connect
def _set_up_logs(loglevel: int, logfile: str | None, **_: Any) -> None:
    logs.configure(level=flags.log_level(loglevel), path=logfile)


@signals.celeryd_init.connect
def _check_flags(options: dict[str, Any], **_: Any) -> None:
    problems = flags.refusals(options)
    if problems:
        sys.exit("\n".join(problems))


@signals.worker_init.connect
def _warn_of_the_pool(sender: Any, **_: Any) -> None:
    flags.warn(sender.pool_cls)


@signals.worker_init.connect
def _share_cores(sender: Any, **_: Any) -> None:
    cores.share(sender.concurrency)


@signals.worker_init.connect
def _warm_up(**_: Any) -> None:
    # Imported here: Flower and the scheduler load this module too, and need no model.
    from workers.warm_up import warm_up

    warm_up()


@signals.worker_process_init.connect
def _limit_libraries(**_: Any) -> None:
    cores.limit_libraries()


@signals.celeryd_after_setup.connect
def _keep_to_these_queues(instance: Any, **_: Any) -> None:
    # Queues that are learnt of later, because a successor goes there, are for sending only.
    queues = instance.app.amqp.queues
    queues.select(list(queues.consume_from))


@signals.worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    orphans.end_with_the_parent()


@signals.task_prerun.connect
def _bind_task(task_id: str, task: Any, **_: Any) -> None:
    logs.bind(task=task.name, job=task_id)
    beginning.note(task)


@signals.task_revoked.connect
def _end_what_it_is_part_of(request: Any, expired: bool = False, **_: Any) -> None:
    beginning.revoked(request, expired=expired)


@signals.task_postrun.connect
def _unbind_task(**_: Any) -> None:
    beginning.ended()
    logs.unbind()
