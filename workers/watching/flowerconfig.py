"""Flower's settings for this fleet. workers.app names this file, so ``celery -A workers.app flower`` reads it from any
folder.

Each of them can be set by an environment variable (``FLOWER_PORT``) or an option (``--port=5556``), which both win over
this file. Flower runs it by itself, not as a module of the package.
"""

from __future__ import annotations

import os
import sys

from timbral.config.settings import SECRETS_DIR
from workers.watching import flower_events
from workers.watching.flower_text import readable


def _given(name: str, default: str) -> str:
    # Flower reads the environment before this file, which would overwrite it.
    variable = f"FLOWER_{name.upper()}"
    secret = SECRETS_DIR / variable
    return os.environ.get(variable) or (secret.read_text().strip() if secret.is_file() else default)


port = int(_given("port", "5555"))

# Scaling down leaves rows of workers that are gone; this many seconds after their last heartbeat they go too.
purge_offline_workers = int(_given("purge_offline_workers", "300"))
# In memory, the oldest out first. A renewal of everyone is a few hundred tasks.
max_tasks = int(_given("max_tasks", "10000"))

# What was seen survives a restart where FLOWER_DB names a file; in the compose stack that lies on a volume.
db = _given("db", "")
persistent = bool(db)
state_save_interval = 60_000  # milliseconds

# What was asked and how far it is, before the ids.
tasks_columns = _given("tasks_columns", "name,state,kwargs,result,runtime,worker,received,uuid")
format_task = readable

# The health check reads this file too, and has no Flower to fold anything for.
if "flower.app" in sys.modules:
    flower_events.install()

# Nobody gets in without a password: Flower shows arguments and results, and can end workers.
basic_auth = [pair for pair in _given("basic_auth", "").split(",") if pair]
if any(not all(pair.partition(":")[::2]) for pair in basic_auth):
    # Flower would start, and let nobody in. The value may be a password, and is not repeated.
    sys.exit("FLOWER_BASIC_AUTH: must be user:password, or several of them with commas; one has no colon in it.")
_guarded = basic_auth or _given("auth", "") or any(word.startswith(("--basic", "--auth")) for word in sys.argv)
if not _guarded and _given("open", "") != "yes":
    sys.exit(
        "Flower would be open to whoever reaches its port. Set FLOWER_BASIC_AUTH=user:password, "
        "or FLOWER_OPEN=yes if something in front of it asks for a password."
    )
