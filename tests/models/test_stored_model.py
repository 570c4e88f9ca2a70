"""A model in a file answers as the one that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from play_matrices import N_ITEMS, plays
from scipy import sparse

from timbral.errors import (
    ModelFileError,
    ModelNotFoundError,
)
from timbral.models.nmf_model import NMFModel


def test_a_loaded_model_answers_as_the_saved_one(model: NMFModel, matrix: sparse.csr_matrix, tmp_path: Path) -> None:
    path = tmp_path / "models" / "new" / "production_model.pkl"
    model.save(path)

    loaded = NMFModel().load(str(path))

    assert loaded.is_fitted
    assert loaded.parameters() == model.parameters()
    assert (loaded.training_history, loaded.converged) == (model.training_history, model.converged)
    np.testing.assert_array_equal(loaded.user_factors, model.user_factors)
    np.testing.assert_array_equal(loaded.get_top_recommendations(3)[0], model.get_top_recommendations(3)[0])
    np.testing.assert_array_equal(loaded.fold_in(matrix), model.fold_in(matrix))
    np.testing.assert_array_equal(loaded.fold_in_items(matrix.T), model.fold_in_items(matrix.T))
    np.testing.assert_array_equal(loaded.explain(3, 5)[1], model.explain(3, 5)[1])
    np.testing.assert_array_equal(loaded.similar_items(3)[1], model.similar_items(3)[1])


def test_a_loaded_models_arrays_are_shared_pages(model: NMFModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")

    loaded = NMFModel().load(tmp_path / "m")

    assert loaded.user_factors is not None
    assert not loaded.user_factors.flags.writeable
    assert not loaded.user_factors.flags.owndata


def test_a_loaded_model_can_be_saved_and_fitted_again(model: NMFModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    loaded = NMFModel().load(tmp_path / "m")

    loaded.save(tmp_path / "m")
    refitted = NMFModel().load(tmp_path / "m").fit(plays())

    np.testing.assert_array_equal(refitted.user_factors, model.user_factors)


def test_no_file_a_foreign_file_and_a_damaged_one_are_told_apart(model: NMFModel, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        NMFModel().load(tmp_path / "none.pkl")
    assert isinstance(missing.value, FileNotFoundError)

    (tmp_path / "foreign.pkl").write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(ModelFileError, match=r"foreign\.pkl"):
        NMFModel().load(tmp_path / "foreign.pkl")


def _refuses(tmp_path: Path, arrays: dict[str, Any], texts: dict[str, str], problem: str) -> None:
    from timbral.models.file import model_file

    model_file.write(tmp_path / "other.bin", arrays, texts)
    fitted = NMFModel(2).fit(np.ones((2, 2)))
    with pytest.raises(ModelFileError, match=rf"other\.bin: .*{problem}"):
        fitted.load(tmp_path / "other.bin")
    assert fitted.n_users == 2


def test_a_file_whose_arrays_do_not_fit_is_refused(tmp_path: Path) -> None:
    arrays, texts = NMFModel(6, 3, 20, regularization=0.3, neighbor_weight=0.5).fit(plays()).tensors()

    _refuses(tmp_path, arrays, {**texts, "kind": "als"}, "its kind is 'als'")
    _refuses(tmp_path, arrays, {**texts, "model": "{"}, "not one of a model")
    _refuses(tmp_path, arrays, {**texts, "model": "[" * 100_000}, "not one of a model")
    _refuses(tmp_path, arrays, {**texts, "model": "[]"}, "not one of a model")
    for name in arrays:
        if name not in ("item_gram", "item_pull", "training_history"):
            without = {other: array for other, array in arrays.items() if other != name}
            _refuses(tmp_path, without, texts, f"no {name}")
            short = {**arrays, name: arrays[name][:-1]}
            _refuses(tmp_path, short, texts, "its ")
    _refuses(tmp_path, {**arrays, "user_factors": arrays["user_factors"].astype(np.float64)}, texts, "float64")
    falling = arrays["seen_indptr"].copy()
    falling[1] = 10_000
    _refuses(tmp_path, {**arrays, "seen_indptr": falling}, texts, "does not rise")
    strange = arrays["neighbor_items"].copy()
    strange[0] = N_ITEMS
    _refuses(tmp_path, {**arrays, "neighbor_items": strange}, texts, "neighbor_items are not all in")


def test_tensors_make_the_same_model(model: NMFModel) -> None:
    other = NMFModel.from_tensors(*model.tensors())

    np.testing.assert_array_equal(other.recommend().item_indices, model.recommend().item_indices)
