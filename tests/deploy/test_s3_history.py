"""The history in a bucket: written, read and deleted from as on disk."""

from __future__ import annotations

import subprocess
import sys

import pytest
from s3_server import S3

CODE = """
from timbral.history.interactions import TrainedRows
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.table import STREAM, HistoryTable

history = HistoryTable("s3://plays/history")
for number in range(3):
    rows = [RecordedPlay(user, number, 1.0, 1_764_000_000_000_000, 1_764_000_000_000_000) for user in (1, 2, "secret-7f3a")]
    assert history.append(as_rows(rows), STREAM, number + 1, after=number)
assert not history.append(as_rows(rows), STREAM, 3, after=0)
assert history.watermark() == "0-3"
assert TrainedRows.of(history).read().matrix.nnz == 6
assert history.plays_of("secret-7f3a").num_rows == 3
assert history.delete_user("secret-7f3a") == 3
assert history.stats().rows == 6
"""


@pytest.mark.integration
def test_a_history_in_a_bucket_is_written_once_read_and_deleted_from(s3: S3) -> None:
    environment = s3.environment | {"AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "PATH": "/usr/bin"}

    ran = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=100)

    assert ran.returncode == 0, ran.stderr[-3000:]
    bodies = [s3.client.get_object(Bucket="plays", Key=name)["Body"].read() for name in s3.names("plays")]
    assert len(bodies) > 3
    assert not any(b"secret-7f3a" in body for body in bodies)
