"""Celery's settings, each with its reason. Workers, producers, the scheduler and Flower all load this module.

The visibility timeout belongs to each consumer and the shortest one wins, so every program that opens the queue has to
use these same options: start Flower as ``celery -A workers.app flower``, never bare.
"""

from kombu import Queue

from timbral.config.settings import settings
from timbral.queue import layout

# Where the queue and the results are.
broker_url = result_backend = settings.queue.celery_url
if settings.queue.tls:
    broker_use_ssl = settings.queue.tls  # Celery reads this from the URL; Flower's queue page only from here

# Queues: a foreign send_task without a queue lands in Celery's own default, "celery"; users wait there for an answer,
# so what takes long has queues of its own. A misspelt queue is an error at the sender, not a queue that nobody reads.
task_default_queue = layout.DEFAULT_QUEUE
task_queues = [Queue(name, routing_key=name) for name in layout.QUEUES]  # the default key is one for all
task_routes = {task: {"queue": layout.own_queue(task)} for task in layout.ROUTED_TASKS}
task_create_missing_queues = False

# Events and control commands are this fleet's alone: another Celery app in the database hears none of them, and is not
# heard.
event_exchange = event_queue_prefix = layout.name("celeryev")
control_exchange = layout.name("celery")

# Only JSON crosses the queue: a pickle would run its sender's code.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"

# Delivery: a message is acknowledged once its effect is there, and comes back when its worker dies.
task_acks_late = True
task_reject_on_worker_lost = True
task_retry_on_worker_lost = (
    False  # it waits three minutes and counts apart; a lost process is a delivery like any other
)
task_acks_on_failure = True
task_acks_on_timeout = True
worker_prefetch_multiplier = 1  # what a worker reserves, no other one can do
worker_disable_prefetch = True  # nor after a reconnect, when Celery forgets that its processes are busy
worker_cancel_long_running_tasks_on_connection_loss = False  # True acknowledges and loses them
worker_deduplicate_successful_tasks = True  # a message that came back after its task's success is acknowledged
worker_consumer = "workers.delivery.consumer:Consumer"  # counts deliveries, parks what cannot be worked on
broker_transport_options = {
    "visibility_timeout": settings.VISIBILITY_TIMEOUT_S,  # short: the heartbeat renews what a living worker holds
    "unacked_restore_interval": settings.RESTORE_INTERVAL_S,
    "unacked_key": layout.UNACKED,
    "unacked_index_key": layout.UNACKED_INDEX,
    "unacked_mutex_key": layout.UNACKED_MUTEX,
    "priority_steps": list(layout.PRIORITY_STEPS),
    "sep": layout.PRIORITY_SEPARATOR,
    "unacked_restore_throttle": 1,  # every look acts; kombu's default acts at every tenth
    "socket_timeout": 30,  # kombu's default lets a publish hang for ever
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    **settings.queue.celery_options,
}

# Outages: wait for Redis, however long it takes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # the default gives up after 100
broker_pool_acquire_timeout = 30  # the default blocks for ever
task_publish_retry_policy = {"max_retries": 8, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 3}

# Stopping: SIGTERM gives running tasks this long, then hands their messages over.
worker_soft_shutdown_timeout = settings.SOFT_SHUTDOWN_S

# A hung task is ended; training has a limit of its own.
task_time_limit = settings.TASK_TIME_LIMIT_S

# Results outlive the cache, so that under volatile-ttl the cache is evicted first.
result_expires = settings.RESULT_EXPIRES_S
result_extended = True  # the task's name, for whoever has only its id
result_backend_always_retry = True
result_backend_transport_options = {
    "retry_policy": {"max_retries": 60},
    "global_keyprefix": settings.KEY_PREFIX,
    **settings.queue.celery_options,
}
redis_socket_timeout = 30
redis_socket_connect_timeout = 5
redis_socket_keepalive = settings.queue.scheme != "unix"  # redis-py has no such option for a Unix socket
redis_backend_health_check_interval = broker_transport_options["health_check_interval"]

# Seeing it: Flower and the producers' progress need the events and the started state.
worker_send_task_events = True
task_send_sent_event = True
task_track_started = True
worker_hijack_root_logger = False  # logs are structlog's

# The schedule is the settings', and its state is in Redis: two schedulers do no harm.
beat_scheduler = "workers.scheduler:RedisScheduler"
beat_max_loop_interval = 5

timezone = "UTC"
