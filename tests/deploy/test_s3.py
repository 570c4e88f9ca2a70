"""Data sets and models on S3: an S3 server of the test's own, and workers that share no folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fleet_fixtures import Fleet, WorkerProcess
from s3_server import S3

from timbral.data.dataset_path import resolve_dataset
from timbral.errors import ModelFileError, ModelNotFoundError, ModelStoreError
from timbral.versions.model_archive import ModelArchive

PLAYS = "user_id,item_id\n" + "".join(f"{u},{(u * 7 + i) % 20}\n" for u in range(30) for i in range(6))


@pytest.mark.integration
def test_a_fleet_whose_hosts_share_nothing_trains_from_s3_and_recommends_with_the_model_from_s3(
    s3: S3, fleet: Fleet
) -> None:
    # Given a data set on S3, a trainer and a worker with folders of their own
    s3.client.put_object(Bucket="plays", Key="2026/november.csv", Body=PLAYS.encode())
    settings = {
        **s3.environment,
        "DATASET_URI_PREFIXES": '["s3://plays/2026"]',
        "MODEL_ARCHIVE_URI": "s3://models/production",
    }
    folders = {name: fleet.directory / name for name in ("trainer", "worker")}
    for name, queues in (("trainer", "training"), ("worker", "celery,batch")):
        worker = WorkerProcess(fleet.server, folders[name], name=name, queues=queues, environment=settings)
        folders[name].mkdir()
        fleet.workers.append(worker.spawn())

    # When
    code = """
import producers
print(producers.enqueue_train_model("s3://plays/2026/november.csv", n_components=4).wait(100)["model_version"])
print(producers.enqueue_compute_recommendations().wait(100)["users_done"])
print(len(producers.get_recommendations(7)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**settings, "REDIS_URL": fleet.server.url},
        capture_output=True,
        text=True,
        timeout=100,
    )

    # Then
    assert done.returncode == 0, done.stderr + "".join(worker.log[-2000:] for worker in fleet.workers)
    version, users, items = done.stdout.split()
    assert (users, items) == ("30", "10")
    assert s3.names("models") == [f"production/{version}.safetensors"]
    files = [list((folder / "models").glob("*.safetensors")) for folder in folders.values()]
    assert [[path.name for path in found] for found in files] == [[f"{version}.safetensors"]] * 2
    assert files[0][0].read_bytes() == files[1][0].read_bytes()


def test_a_message_reaches_the_allowed_prefix_and_nothing_beside_it(s3: S3, tmp_path: Path) -> None:
    s3.client.put_object(Bucket="plays", Key="2026/a.csv", Body=PLAYS.encode())
    with resolve_dataset("s3://plays/2026/a.csv", tmp_path, ["s3://plays/2026"]).open() as file:
        assert file.read() == PLAYS.encode()
    with pytest.raises(ValueError, match="allowed prefix"):
        resolve_dataset("s3://models/2026/a.csv", tmp_path, ["s3://plays/2026"])


@pytest.mark.parametrize("place", ["s3", "folder"])
def test_an_archive_gives_back_what_was_put_there_once_and_forgets_what_was_deleted(
    place: str, s3: S3, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    archive = ModelArchive("s3://models/x" if place == "s3" else (tmp_path / "shared").as_uri())
    model = tmp_path / "here" / "20260101T000000-1.safetensors"
    model.parent.mkdir()
    model.write_bytes(bytes(range(256)) * 1000)

    archive.put(model)
    there = tmp_path / "there" / model.name
    archive.fetch(there)
    assert there.read_bytes() == model.read_bytes()
    assert [path.suffix for path in there.parent.iterdir() if not path.name.endswith(".lock")] == [".safetensors"]

    archive.delete(model.name)
    archive.delete(model.name)
    archive.fetch(there)  # it is here already
    there.unlink()
    with pytest.raises(ModelNotFoundError, match="20260101T000000-1"):
        archive.fetch(there)


def test_an_archive_that_cannot_be_reached_is_an_error_that_keeps_the_old_model_served(s3: S3, tmp_path: Path) -> None:
    archive = ModelArchive("s3://no-such-bucket/x")
    model = tmp_path / "20260101T000000-1.safetensors"
    model.write_bytes(b"x")
    with pytest.raises(ModelStoreError, match="no-such-bucket/x/20260101T000000-1"):
        archive.put(model)
    with pytest.raises((ModelFileError, ModelNotFoundError), match="no-such-bucket"):
        archive.fetch(tmp_path / "20260101T000000-2.safetensors")
    with pytest.raises(ModelStoreError, match="nonsense"):
        ModelArchive("nonsense://x")
