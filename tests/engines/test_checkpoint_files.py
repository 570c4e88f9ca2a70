"""A fit that is cut off goes on where it was, and ends with the bits of one that never was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from timbral.engines.checkpoint_files import CheckpointFiles, JobCheckpoints, remove_orphans
from timbral.models.fitting import fitting
from timbral.models.nmf_model import NMFModel

PLAYS = sparse.random(300, 200, 0.1, "csr", np.float32, np.random.default_rng(0))


class CutOffError(Exception):
    """As a killed process would, but for the process."""


def fit(
    checkpoints: CheckpointFiles | None, cut_off_in: int | None = None, **options: Any
) -> tuple[NMFModel, list[int]]:
    """The fitted model and the sweeps that this call did."""
    sweeps: list[int] = []

    def callback(iteration: int, max_iter: int, loss: float) -> None:
        sweeps.append(iteration)
        if iteration == cut_off_in:
            raise CutOffError

    model = NMFModel(8, 0, 30, 0.0, n_threads=1, **options)
    try:
        model.fit(PLAYS, callback, checkpoints=checkpoints)
    except CutOffError:
        assert cut_off_in is not None
    return model, sweeps


def of_job(folder: Path, job: str = "job", every_s: float = 0.0, **asked: Any) -> CheckpointFiles:
    return JobCheckpoints(folder, job, every_s).of_fit(asked, [PLAYS.indptr, PLAYS.indices, PLAYS.data])


@pytest.fixture(scope="module")
def uncut() -> NMFModel:
    return fit(None)[0]


@pytest.mark.parametrize("sweep", [2, 13])
def test_goes_on_at_the_next_sweep_to_the_same_bits(
    sweep: int, tmp_path: Path, uncut: NMFModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    fit(of_job(tmp_path), cut_off_in=sweep)

    # when: what was chosen by the data is not tried again
    monkeypatch.setattr(fitting, "choose", None)
    model, sweeps = fit(of_job(tmp_path))

    # then: the sweep that was cut off had written nothing yet
    assert sweeps[0] == sweep
    np.testing.assert_array_equal(model._users(), uncut._users())
    np.testing.assert_array_equal(model._items(), uncut._items())
    assert model.training_history == uncut.training_history
    assert model.chosen_ == uncut.chosen_
    assert len(list(tmp_path.iterdir())) == 1, "the newest alone is kept"

    # and a fit that had come to its end does nothing more
    assert fit(of_job(tmp_path))[1] == []


def test_one_of_another_job_other_data_or_other_arguments_is_not_looked_at(tmp_path: Path) -> None:
    fit(of_job(tmp_path), cut_off_in=5)
    other_data = JobCheckpoints(tmp_path, "job", 0).of_fit({}, [PLAYS.indptr, PLAYS.indices, PLAYS.data * 2])

    assert of_job(tmp_path).load() is not None
    for other in (of_job(tmp_path, "another"), of_job(tmp_path, tol=0.1), other_data):
        assert other.load() is None


def test_a_damaged_one_or_one_under_a_wrong_name_starts_the_fit_anew(tmp_path: Path, uncut: NMFModel) -> None:
    fit(of_job(tmp_path), cut_off_in=5)
    (path,) = tmp_path.iterdir()
    other = of_job(tmp_path, "another")
    path.with_name(path.name.replace(path.name.partition(".")[0], other._key)).write_bytes(path.read_bytes())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    assert other.load() is None
    model, sweeps = fit(of_job(tmp_path))

    assert sweeps[0] == 1
    np.testing.assert_array_equal(model._users(), uncut._users())


def test_a_short_fit_writes_none_and_a_folder_that_is_none_stops_no_fit(tmp_path: Path, uncut: NMFModel) -> None:
    fit(of_job(tmp_path, every_s=3600.0))
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_text("")
    model, _ = fit(of_job(tmp_path / "file"))
    np.testing.assert_array_equal(model._users(), uncut._users())


def test_a_job_that_ends_takes_its_own_along_and_orphans_go_by_their_age(tmp_path: Path) -> None:
    for job in ("job", "another"):
        fit(of_job(tmp_path, job), cut_off_in=3)

    JobCheckpoints(tmp_path, "job", 0).clear()

    assert of_job(tmp_path).load() is None
    assert of_job(tmp_path, "another").load() is not None
    (left,) = tmp_path.iterdir()
    assert remove_orphans(tmp_path, 100) == 0
    os.utime(left, (0, 0))
    assert remove_orphans(tmp_path, 100) == 1
    assert list(tmp_path.iterdir()) == []
    assert remove_orphans(tmp_path / "missing", 100) == 0
