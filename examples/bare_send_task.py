"""Any Celery app can send the tasks: no code of timbral's, only its broker and the tasks' names.

    python examples/bare_send_task.py redis://127.0.0.1:6379/0 1042

The visibility timeout has to be the fleet's (VISIBILITY_TIMEOUT_S, 300 s where not set): the shortest one of all who
open the
queue wins, and would have long tasks run twice. No queue is named: the fleet finds the right one by itself.
"""

from __future__ import annotations

import json
import sys
import time

import redis
from celery import Celery


def main(url: str, user_id: int) -> int:
    app = Celery(broker=url)
    app.conf.broker_transport_options = {"visibility_timeout": 300}

    # Fire and forget: an app with a result backend would hold a subscription for every task that it sends.
    sent = app.send_task("compute_recommendations", kwargs={"user_ids": [user_id], "top_k": 5})
    print(f"sent {sent.id}")

    # The list is a key with JSON in it, and so is the task's result.
    with redis.Redis.from_url(url, decode_responses=True) as cache:
        result = None
        for _ in range(300):
            result = cache.get(f"celery-task-meta-{sent.id}")
            if result and json.loads(result)["status"] in ("SUCCESS", "FAILURE"):
                break
            time.sleep(0.1)
        print(f"result {json.loads(result)['status'] if result else 'none yet'}")
        print(cache.get(f"recommendations:user:{user_id}"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
