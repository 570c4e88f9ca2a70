"""The work of a fan-out in one process, without Celery: ``python -m benchmarks.fleet_single CHUNK_SIZE``; prints its
seconds."""

from __future__ import annotations

import sys
import time

import redis

from timbral.config.settings import settings
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.versions.model_store import ModelStore


def main() -> None:
    chunk_size = int(sys.argv[1])
    client = redis.Redis.from_url(settings.redis_url)
    served = ModelStore(client, settings.MODEL_DIR).current()
    batch = BatchRecommendation(client, served, top_k=10)
    batch.for_codes(0, 200)  # load the kernels
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(served.user_ids), chunk_size):
        batch.for_codes(start, start + chunk_size)
    print(time.perf_counter() - started, time.process_time() - cpu)


if __name__ == "__main__":
    main()
