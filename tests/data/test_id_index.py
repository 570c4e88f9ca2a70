from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbral.data.id_index import IdIndex
from timbral.errors import DataError, ParameterError

INT_IDS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=40)
STR_IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), unique=True, max_size=40)


@given(INT_IDS | STR_IDS)
def test_ids_come_back_from_their_codes(ids: list[int] | list[str]) -> None:
    index = IdIndex(ids)

    assert len(index) == len(ids)
    assert index.codes(ids).tolist() == list(range(len(ids)))
    assert index.codes(ids).dtype == np.int32
    assert index.ids(range(len(ids))) == ids
    assert list(index) == ids


@given(INT_IDS | STR_IDS)
def test_an_index_survives_its_tensors(ids: list[int] | list[str]) -> None:
    tensors = IdIndex(ids).to_tensors("users")

    index = IdIndex.from_tensors(tensors, "users")

    assert index == IdIndex(ids)
    assert index.codes(ids).tolist() == list(range(len(ids)))


def test_a_sorted_index_needs_no_permutation() -> None:
    assert set(IdIndex([1, 2, 9]).to_tensors("u")) == {"u.ints"}
    assert set(IdIndex(["b", "a"]).to_tensors("u")) == {"u.bytes", "u.offsets", "u.order"}


def test_an_int_and_its_text_are_two_ids() -> None:
    ints, texts = IdIndex([0, 1]), IdIndex(["0", "1"])

    assert ints.codes([1, "1", 0]).tolist() == [1, -1, 0]
    assert texts.codes([1, "1", 0]).tolist() == [-1, 1, -1]
    assert 1 in ints
    assert "1" not in ints
    assert "1" in texts
    assert 1 not in texts
    assert ints != texts


def test_what_cannot_be_an_id_is_not_found() -> None:
    index = IdIndex([0, 1, 2**63 - 1])

    assert index.codes([True, 1.0, None, 2**70, np.int64(1)]).tolist() == [-1, -1, -1, -1, 1]
    assert index.codes(np.array([2**63, 2**63 - 1], dtype=np.uint64)).tolist() == [-1, 2]
    assert IdIndex(["a"]).codes([None, b"a", "\ud800"]).tolist() == [-1, -1, -1]


def test_an_empty_index_finds_nothing() -> None:
    assert IdIndex([]).codes([1, "x"]).tolist() == [-1, -1]
    assert IdIndex([]).ids([]) == []
    assert IdIndex(pa.array([], pa.string())).codes(["x"]).tolist() == [-1]


def test_many_strings_at_once_give_the_same_codes_as_one_by_one() -> None:
    ids = [f"artist-{number * 7919 % 10_007:05d}" for number in range(10_007)]
    index = IdIndex(ids)
    asked = [*ids[::-1], "nobody", 5, "\udc00"]

    codes = index.codes(asked).tolist()

    assert codes == [*range(len(ids) - 1, -1, -1), -1, -1, -1]
    assert [index.codes([one])[0] for one in asked[:50]] == codes[:50]


def test_an_index_takes_numpy_and_arrow_arrays_and_slices_of_them() -> None:
    assert IdIndex(np.array([5, 3], dtype=np.int32)).ids([0, 1]) == [5, 3]
    assert IdIndex(np.array(["b", "a"])).ids([0, 1]) == ["b", "a"]
    assert IdIndex(pa.array(["x", "b", "ä", "y"]).slice(1, 2)).ids([0, 1]) == ["b", "ä"]
    assert IdIndex(pa.chunked_array([["x"], ["a"]])).codes(["a"]).tolist() == [1]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1, "1"], "all int or all str"),
        ([1.0], "all int or all str"),
        ([True], "all int or all str"),
        ([2**63], "does not fit 64 bits"),
        (np.array([2**63], dtype=np.uint64), "does not fit 64 bits"),
        ([3, 1, 3], "the id 3 is there twice"),
        (["a", "b", "a"], "the id 'a' is there twice"),
        (["\ud800"], "surrogate"),
        (pa.array([1, None]), "null"),
    ],
)
def test_what_is_no_index_is_refused(ids: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        IdIndex(ids)


@pytest.mark.parametrize("codes", [[-1], [2], np.array([5])])
def test_a_code_out_of_range_is_refused(codes: object) -> None:
    with pytest.raises(ParameterError, match=r"range \[0, 2\)"):
        IdIndex([7, 8]).ids(codes)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"u.ints": np.array([1, 2], dtype=np.int32)},
        {"u.ints": np.array([[1, 2]], dtype=np.int64)},
        {"u.ints": np.array([2, 1], dtype=np.int64)},
        {"u.ints": np.array([1, 1], dtype=np.int64)},
        {"u.ints": np.array([1, 2], dtype=np.int64), "u.order": np.array([0, 0], dtype=np.int32)},
        {"u.ints": np.array([1, 2], dtype=np.int64), "u.order": np.array([0, 5], dtype=np.int32)},
        {"u.ints": np.array([1, 2], dtype=np.int64), "u.order": np.array([-1, 0], dtype=np.int32)},
        {"u.bytes": np.zeros(2, dtype=np.uint8)},
        {"u.bytes": np.zeros(2, dtype=np.uint8), "u.offsets": np.array([0, 9], dtype=np.int64)},
        {"u.bytes": np.zeros(2, dtype=np.uint8), "u.offsets": np.array([0, 3, 2], dtype=np.int64)},
        {"u.bytes": np.zeros(2, dtype=np.uint8), "u.offsets": np.array([], dtype=np.int64)},
        {"u.bytes": np.array([255], dtype=np.uint8), "u.offsets": np.array([0, 1], dtype=np.int64)},
    ],
)
def test_damaged_tensors_are_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="u"):
        IdIndex.from_tensors(tensors, "u")


def test_tensors_are_used_as_they_are() -> None:
    ints = np.arange(5, dtype=np.int64)

    assert np.shares_memory(IdIndex.from_tensors({"u.ints": ints}, "u").to_tensors("u")["u.ints"], ints)
