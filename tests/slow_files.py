"""The files that take longest, so that a run in several processes begins with them and none is left alone at its end.

Those that wait for most of their time and those that compute come in turn: together they would wait, or starve one
another.
"""

from __future__ import annotations

from itertools import chain, zip_longest

__all__ = ["COMPUTING", "FIRST", "WAITING"]

WAITING = (  # the longest first
    "faults/test_error_replies.py",
    "faults/test_work_under_faults.py",
    "faults/test_what_counts.py",
    "faults/test_redis_outages.py",
    "faults/test_plays_under_faults.py",
    "faults/test_sentinel.py",
    "faults/test_ways_to_stop.py",
    "faults/test_garbage.py",
    "workers/test_foreign_environment.py",
    "workers/test_flags.py",
    "erasure/test_forget_user.py",
    "workers/test_tasks_once.py",
    "faults/test_killed_processes.py",
    "faults/test_cluster.py",
    "security/test_tls.py",
    "workers/test_tasks_lost.py",
    "workers/test_key_prefix.py",
    "faults/test_soft_shutdown.py",
    "workers/test_scheduler.py",
    "workers/test_task_ids.py",
    "faults/test_trainings_cut_off.py",
    "faults/test_long_tasks.py",
    "faults/test_fuzzed_messages.py",
)
COMPUTING = (  # the same
    "api/test_openapi.py",
    "console/test_console_in_browser.py",
    "data/test_data_memory.py",
    "packaging/test_wheel.py",
    "demo/test_demo.py",
    "cli/test_exit_codes.py",
    "models/search/test_top_k.py",
    "deploy/test_s3_training.py",
    "models/kernels/test_kernel.py",
    "stack/test_up.py",
    "stack/test_own_fleet.py",
    "examples/test_examples.py",
    "api/test_page_in_browser.py",
    "test_imports.py",
    "engines/test_engine_contract.py",
    "logic/test_rescue_cost.py",
    "spark_data/test_reading.py",
    "models/test_recommendation_quality.py",
    "api/test_health.py",
    "api/test_auth.py",
    "workers/watching/test_flower.py",
    "docs/test_readme.py",
)
FIRST = [file for file in chain.from_iterable(zip_longest(WAITING, COMPUTING)) if file is not None]
