"""Original ids ↔ the codes that a matrix counts in.

A million ids take two or three flat arrays and no Python object each, so that they lie in a model file, are mapped into
memory with it and are ready at once. A look-up is a binary search.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.errors import DataError, ParameterError

__all__ = ["IdIndex"]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
SEARCH_ONE_BY_ONE = 2_000
"""Up to this many strings are looked up by binary search; more are worth a hash table of the whole index."""

LOOKED_UP_AT_A_TIME = 1_000_000


class IdIndex:
    """Ids, all int (64-bit) or all str, in the order of their codes: the id of code ``c`` is the ``c``-th.

    ``IdIndex(ids)`` takes a sequence of distinct ids, a numpy int array or a pyarrow string array. Code order need not
    be sorted order; where it is (as ``load_csr`` makes it), the index needs no permutation beside the ids.

    1 and "1" are two ids: looking "1" up in an index of ints finds nothing.

    Raises:
        DataError: an id is neither int nor str, ints and strings are mixed, an int needs more than 64 bits, an id is
            there twice.
    """

    __slots__ = ("_bytes", "_ints", "_offsets", "_order")

    def __init__(self, ids: Sequence[int] | Sequence[str] | npt.NDArray[Any] | pa.Array) -> None:
        self._ints: npt.NDArray[np.int64] | None = None
        self._offsets: npt.NDArray[np.int64] | None = None
        self._bytes: npt.NDArray[np.uint8] | None = None
        array = _as_arrow(ids)
        if pa.types.is_int64(array.type):
            self._ints = array.to_numpy(zero_copy_only=False)
        else:
            self._offsets, self._bytes = _string_parts(array)
        order = pc.sort_indices(array).to_numpy(zero_copy_only=False).astype(np.int32)
        self._order: npt.NDArray[np.int32] | None = order
        in_order = bool((order[1:] > order[:-1]).all())
        if in_order:
            self._order = None
        ordered = array if in_order else array.take(pa.array(order))
        if len(array) > 1:
            twice = pc.equal(ordered.slice(1), ordered.slice(0, len(array) - 1)).to_numpy(zero_copy_only=False)
            if twice.any():
                raise DataError(f"the id {ordered[int(twice.argmax())].as_py()!r} is there twice")

    def __len__(self) -> int:
        if self._ints is not None:
            return len(self._ints)
        assert self._offsets is not None  # noqa: S101 - for the type checker
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[int | str]:
        step = 10_000
        for start in range(0, len(self), step):
            yield from self.ids(range(start, min(start + step, len(self))))

    def __contains__(self, original_id: object) -> bool:
        return self._code(original_id) >= 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdIndex):
            return NotImplemented
        return bool(self._array().equals(other._array()))

    __hash__ = None  # type: ignore[assignment]  # Python's way to say that it is not hashable

    def __repr__(self) -> str:
        return f"IdIndex({len(self)} ids, {'int' if self.is_int else 'str'})"

    @property
    def is_int(self) -> bool:
        """Whether the ids are ints; otherwise they are strings."""
        return self._ints is not None

    def codes(self, ids: Iterable[int | str] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Codes of ``ids``, int32 array of shape (len(ids),); -1 for an id that is not in the index."""
        if self._ints is not None:
            return self._codes_of_ints(ids)
        wanted = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        if len(wanted) <= SEARCH_ONE_BY_ONE:
            return np.fromiter((self._code(one) for one in wanted), dtype=np.int32, count=len(wanted))
        text = pa.array([_storable(one) for one in wanted], pa.large_string())
        found = pc.fill_null(pc.index_in(text, self._array(), skip_nulls=True), -1)
        codes: npt.NDArray[np.int32] = found.to_numpy(zero_copy_only=False)
        return codes

    def codes_of_distinct(self, ids: pa.Array) -> npt.NDArray[np.int32]:
        """``codes`` of ids that are distinct, an Arrow array of the index's own type. Memory follows ``ids``, not the
        index, which may be mapped and far larger."""
        if self._ints is not None:
            return self._codes_of_ints(ids.to_numpy(zero_copy_only=False))
        codes = np.full(len(ids), -1, dtype=np.int32)
        whole, wanted = self._array(), ids.cast(pa.large_string())
        for start in range(0, len(self), LOOKED_UP_AT_A_TIME):
            found = pc.fill_null(pc.index_in(whole.slice(start, LOOKED_UP_AT_A_TIME), wanted), -1)
            places = found.to_numpy(zero_copy_only=False)
            known = np.flatnonzero(places >= 0)
            codes[places[known]] = start + known
        return codes

    def codes_of(self, other: IdIndex) -> npt.NDArray[np.int32]:
        """``codes`` of the ids of ``other``: int32 array of shape (len(other),)."""
        if other.is_int != self.is_int:
            return np.full(len(other), -1, dtype=np.int32)
        return self.codes_of_distinct(other._array())

    def taken(self, codes: npt.NDArray[Any]) -> IdIndex:
        """The index of the ids of ``codes``, in their order."""
        return IdIndex(self._array().take(pa.array(codes)))

    def ids(self, codes: Iterable[int] | npt.NDArray[Any]) -> list[int | str]:
        """Original ids of ``codes``, as Python ints or strings.

        Raises:
            ParameterError: a code is not in [0, len(self)).
        """
        found: list[int | str]
        wanted = np.asarray(codes if isinstance(codes, np.ndarray | range) else list(codes))
        if wanted.size == 0:
            return []
        if wanted.dtype.kind not in "iu":
            raise ParameterError(f"codes must be whole numbers, got {wanted.dtype}")
        outside = (wanted < 0) | (wanted >= len(self))
        if outside.any():
            raise ParameterError(f"codes must be in range [0, {len(self)}), got {wanted[outside][0]}")
        if self._ints is not None:
            found = self._ints[wanted].tolist()
            return found
        found = self._array().take(pa.array(wanted)).to_pylist()
        return found

    def to_tensors(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """The index as flat arrays, for a model file.

        ``{prefix}.ints`` int64 (n,), or ``{prefix}.bytes`` uint8 and ``{prefix}.offsets`` int64 (n + 1,); beside them
        ``{prefix}.order`` int32 (n,), the codes in ascending order of their ids, unless that is 0, 1, 2, …
        """
        tensors: dict[str, npt.NDArray[Any]] = {}
        if self._ints is not None:
            tensors[f"{prefix}.ints"] = self._ints
        elif self._offsets is not None and self._bytes is not None:
            tensors[f"{prefix}.bytes"] = self._bytes
            tensors[f"{prefix}.offsets"] = self._offsets
        if self._order is not None:
            tensors[f"{prefix}.order"] = self._order
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str) -> IdIndex:
        """The index that ``to_tensors(prefix)`` gave; the arrays are used as they are, mapped ones stay mapped.

        Raises:
            DataError: an array is missing, has another dtype or shape, or contradicts the others.
        """
        index = cls.__new__(cls)
        index._ints = index._offsets = index._bytes = None
        if f"{prefix}.ints" in tensors:
            index._ints = _checked(tensors, f"{prefix}.ints", np.int64)
        else:
            index._bytes = _checked(tensors, f"{prefix}.bytes", np.uint8)
            offsets = index._offsets = _checked(tensors, f"{prefix}.offsets", np.int64)
            if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(index._bytes) or (np.diff(offsets) < 0).any():
                raise DataError(f"{prefix}.offsets does not fit {prefix}.bytes")
            try:
                index._array().validate(full=True)
            except pa.ArrowInvalid:
                raise DataError(f"{prefix}.bytes is not valid UTF-8") from None
        order = index._order = _checked(tensors, f"{prefix}.order", np.int32) if f"{prefix}.order" in tensors else None
        if order is not None and (
            len(order) != len(index) or (order < 0).any() or (np.bincount(order, minlength=len(index)) != 1).any()
        ):
            raise DataError(f"{prefix}.order is not a permutation of the ids")
        if index._ints is not None:
            ordered = index._ints if order is None else index._ints[order]
            if not (ordered[1:] > ordered[:-1]).all():
                raise DataError(f"{prefix}.ints is not in the order that it claims")
        return index

    def _codes_of_ints(self, ids: Iterable[int | str] | npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        assert self._ints is not None  # noqa: S101 - for the type checker
        if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
            fits = ids <= INT64_MAX
            keys = np.where(fits, ids, 0).astype(np.int64)
        else:
            listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
            numbers = [_storable_int(one) for one in listed]
            fits = np.array([number is not None for number in numbers], dtype=bool)
            keys = np.array([number or 0 for number in numbers], dtype=np.int64)
        if len(self) == 0:
            return np.full(len(keys), -1, dtype=np.int32)
        places = np.minimum(np.searchsorted(self._ints, keys, sorter=self._order), len(self) - 1)
        codes = places.astype(np.int32) if self._order is None else self._order[places]
        return np.where(fits & (self._ints[codes] == keys), codes, -1).astype(np.int32)

    def _code(self, original_id: object) -> int:
        if self._ints is not None:
            return int(self._codes_of_ints([original_id])[0])  # type: ignore[list-item]  # -1 where it is no int
        text = _storable(original_id)
        if text is None:
            return -1
        key = text.encode()
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes_at(middle) < key:
                low = middle + 1
            else:
                high = middle
        if low < len(self) and self._bytes_at(low) == key:
            return low if self._order is None else int(self._order[low])
        return -1

    def _bytes_at(self, place: int) -> bytes:
        """UTF-8 of the ``place``-th id in ascending order."""
        assert self._offsets is not None and self._bytes is not None  # noqa: S101, PT018 - for the type checker
        code = place if self._order is None else int(self._order[place])
        return self._bytes[self._offsets[code] : self._offsets[code + 1]].tobytes()

    def _array(self) -> pa.Array:
        if self._ints is not None:
            return pa.array(self._ints)
        assert self._offsets is not None and self._bytes is not None  # noqa: S101, PT018 - for the type checker
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._bytes)]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)


def _as_arrow(ids: Sequence[int] | Sequence[str] | npt.NDArray[Any] | pa.Array) -> pa.Array:
    """``ids`` as an int64 or large_string array without nulls."""
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        array = ids
    elif isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        if ids.size and int(ids.max()) > INT64_MAX:
            raise DataError(f"the id {int(ids.max())} does not fit 64 bits with a sign")
        array = pa.array(ids.astype(np.int64))
    else:
        listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        listed = [int(one) if isinstance(one, np.integer) else one for one in listed]
        kinds = {int: pa.int64(), str: pa.large_string()}
        wanted = type(listed[0]) if listed else int
        for one in listed:
            if type(one) is not wanted or wanted not in kinds:
                raise DataError(f"ids must be all int or all str, got {one!r} ({type(one).__name__})")
            if isinstance(one, int) and not INT64_MIN <= one <= INT64_MAX:
                raise DataError(f"the id {one} does not fit 64 bits with a sign")
        try:
            array = pa.array(listed, kinds[wanted])
        except UnicodeEncodeError:
            raise DataError("an id has a half of a surrogate pair, which is not a character") from None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    array = array if pa.types.is_int64(array.type) else array.cast(pa.large_string())
    if array.null_count:
        raise DataError("an id is null")
    return array


def _string_parts(array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets from 0 and bytes of a large_string array, which may be a slice of another."""
    _, offsets_buffer, bytes_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    if not len(offsets):
        offsets = np.zeros(1, dtype=np.int64)
    whole = np.frombuffer(bytes_buffer, dtype=np.uint8) if bytes_buffer is not None else np.empty(0, dtype=np.uint8)
    return offsets - offsets[0], whole[offsets[0] : offsets[-1]]


def _checked(tensors: Mapping[str, npt.NDArray[Any]], name: str, dtype: Any) -> npt.NDArray[Any]:
    if name not in tensors:
        raise DataError(f"{name} is missing")
    tensor = tensors[name]
    if tensor.dtype != dtype or tensor.ndim != 1:
        raise DataError(f"{name} must be one row of {np.dtype(dtype)}, got {tensor.dtype} {tensor.shape}")
    return tensor


def _storable(one: object) -> str | None:
    """``one`` where it may be an id in an index of strings, else None."""
    if not isinstance(one, str):
        return None
    return None if any("\ud800" <= character <= "\udfff" for character in one) else str(one)


def _storable_int(one: object) -> int | None:
    """``one`` where it may be an id in an index of ints, else None. A bool or a float is no id, though it may equal
    one."""
    if isinstance(one, bool | np.bool_) or not isinstance(one, int | np.integer):
        return None
    return int(one) if INT64_MIN <= one <= INT64_MAX else None
