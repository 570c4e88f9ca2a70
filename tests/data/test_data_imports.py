from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import timbral.utils.data_loader, timbral.utils.evaluation, timbral.data.dataset_path, timbral.demo.synthetic
print(sorted({name.split(".")[0] for name in sys.modules} & {"redis", "celery", "kombu", "workers", "producers"}))
"""


def test_reading_and_measuring_know_no_redis_and_no_celery() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
