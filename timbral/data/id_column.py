"""A column of ids as it is read batch by batch: checked, and turned into codes."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.config.settings import Constants
from timbral.data.id_index import IdIndex
from timbral.errors import DataError

__all__ = ["MAX_ID_LENGTH", "IdColumn"]

MAX_ID_LENGTH: Final = 512
"""Characters; what messages allow too (timbral.messages.Id)."""

AUDIO_ENDINGS: Final = "|".join(ending.removeprefix(".") for ending in Constants.SUPPORTED_AUDIO_FORMATS)
DECIMAL: Final = r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$"


class IdColumn:
    """Collects one column's ids. ``add`` each batch; ``take_codes`` now and then; ``index`` at the end.

    Ids become dense int32 codes in order of appearance. What is kept are the distinct ids and the codes not yet taken.

    Args:
        column, filepath: for error messages.
        from_text: the file has no types (csv): the ids are ints if every one of them is an int written in the plain way
            ("7", "-7"), so that it can be written back; if one is not ("007", "x7"), all are strings.
        strip_audio_suffix: take one of Constants.SUPPORTED_AUDIO_FORMATS off the end of an id, in any case.
    """

    def __init__(
        self, column: str, filepath: str, *, from_text: bool = False, strip_audio_suffix: bool = False
    ) -> None:
        self.column = column
        self.filepath = filepath
        self._may_be_int = from_text and not strip_audio_suffix
        self._from_text = from_text
        self._strip_audio_suffix = strip_audio_suffix
        self._distinct: pa.Array | None = None
        self._pending: list[pa.DictionaryArray] = []
        self._used = np.zeros(0, dtype=bool)
        self._first_string: tuple[str, int] | None = None

    def __len__(self) -> int:
        """How many ids were seen in the codes taken so far."""
        return 0 if self._distinct is None else len(self._distinct)

    def add(self, array: pa.Array, first_row: int) -> None:
        """Take a batch: ints, strings or a dictionary of either; ``first_row`` is the data row of its first value.

        Raises:
            DataError: an id is null, empty, longer than MAX_ID_LENGTH, not valid UTF-8, beyond 64 bits, or no int or string.
        """
        if not len(array):
            return
        encoded = self._encoded(array, first_row)
        distinct = self._checked(encoded, first_row)
        if pa.types.is_large_string(distinct.type) and self._from_text:
            distinct = self._as_ints_while_they_are(encoded, distinct, first_row)
        indices = encoded.indices.cast(pa.int32())
        if self._strip_audio_suffix and pa.types.is_large_string(distinct.type):
            # Two names may become one id, and a dictionary must not have it twice.
            merged = pc.replace_substring_regex(distinct, rf"(?i)(.)\.({AUDIO_ENDINGS})$", r"\1").dictionary_encode()
            indices, distinct = merged.indices.take(indices), merged.dictionary
        self._pending.append(pa.DictionaryArray.from_arrays(indices, distinct))

    def take_codes(self) -> npt.NDArray[np.int32]:
        """Codes of the rows added since the last call, int32 (n_rows,)."""
        if not self._pending:
            return np.empty(0, dtype=np.int32)
        distinct = self._pending[0].dictionary.slice(0, 0) if self._distinct is None else self._distinct
        # What is known comes first, so that it keeps its codes.
        known = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), distinct)
        chunks = pa.chunked_array([known, *self._pending]).unify_dictionaries()
        self._pending = []
        self._distinct = chunks.chunk(0).dictionary
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks.chunks[1:]])
        used = np.zeros(len(self._distinct), dtype=bool)
        used[: len(self._used)] = self._used
        used[codes] = True
        self._used = used
        return codes

    def index(self) -> tuple[IdIndex, npt.NDArray[np.int32]]:
        """The ids in ascending order, and the final code of each code taken so far.

        Raises:
            DataError: the ids of a csv file are floats.
        """
        assert self._distinct is not None and not self._pending  # noqa: S101, PT018 - the caller's order of calls
        self._refuse_floats()
        # A dictionary may hold ids that no row has (pandas' unused categories).
        used = np.flatnonzero(self._used)
        ids = self._distinct.take(pa.array(used))
        order = pc.sort_indices(ids)
        final = np.full(len(self._distinct), -1, dtype=np.int32)
        final[used[order.to_numpy()]] = np.arange(len(used), dtype=np.int32)
        return IdIndex(ids.take(order)), final

    def _encoded(self, array: pa.Array, first_row: int) -> pa.DictionaryArray:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if array.null_count:
            row = first_row + pc.index(array.is_null(), True).as_py()
            raise self._error(row, "an id is missing")
        if pa.types.is_dictionary(array.type):
            if not array.dictionary.null_count:
                return array
            return self._encoded(array.dictionary_decode(), first_row)
        kind = array.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            raise self._error(first_row, f"ids must be ints or strings, got the float {array[0].as_py()}")
        if not (pa.types.is_integer(kind) or _is_text(kind) or _is_bytes(kind)):
            raise self._error(first_row, f"ids must be ints or strings, got {array[0].as_py()!r} ({kind})")
        return array.dictionary_encode()

    def _checked(self, encoded: pa.DictionaryArray, first_row: int) -> pa.Array:
        """The dictionary of ``encoded`` as int64 or large_string."""
        distinct = encoded.dictionary
        kind = distinct.type
        if pa.types.is_uint64(kind):
            self._refuse(
                encoded,
                pc.greater(distinct, pa.scalar(2**63 - 1, pa.uint64())),
                first_row,
                "does not fit 64 bits with a sign",
            )
            return pc.cast(distinct, pa.int64(), safe=False)
        if pa.types.is_integer(kind):
            return distinct.cast(pa.int64())
        if not _is_text(kind) and not _is_bytes(kind):
            raise self._error(first_row, f"ids must be ints or strings, got {encoded[0].as_py()!r} ({kind})")
        try:
            text = distinct.cast(pa.large_string())
            text.validate(full=True)  # parquet's strings are not checked on reading
        except pa.ArrowInvalid:
            raise self._error(first_row, "an id is not valid UTF-8 (in this row or one of the next)") from None
        lengths = pc.utf8_length(text)
        self._refuse(encoded, pc.equal(lengths, 0), first_row, "is empty")
        too_long = pc.greater(lengths, MAX_ID_LENGTH)
        self._refuse(encoded, too_long, first_row, f"is longer than {MAX_ID_LENGTH} characters")
        return text

    def _refuse(self, encoded: pa.DictionaryArray, bad: pa.Array, first_row: int, problem: str) -> None:
        """Raise for the first row whose id is ``bad``, a mask over the dictionary."""
        if not pc.any(bad).as_py():
            return
        at = pc.index(bad.take(encoded.indices), True).as_py()
        if at >= 0:
            shown = repr(encoded[at].as_py())
            shown = shown if len(shown) <= 60 else shown[:59] + "…"
            raise self._error(first_row + at, f"the id {shown} {problem}")

    def _as_ints_while_they_are(self, encoded: pa.DictionaryArray, distinct: pa.Array, first_row: int) -> pa.Array:
        if not self._may_be_int:
            return distinct
        ints = _plain_ints(distinct)
        if ints is not None:
            return ints
        self._may_be_int = False
        odd = pa.array([not _is_plain_int(text) for text in distinct.to_pylist()])
        at = pc.index(odd.take(encoded.indices), True).as_py()
        self._first_string = (encoded[at].as_py(), first_row + at)
        # What was taken for ints goes back to exactly the text that it was.
        if self._distinct is not None:
            self._distinct = self._distinct.cast(pa.large_string())
        self._pending = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.large_string()))
            for chunk in self._pending
        ]
        return distinct

    def _refuse_floats(self) -> None:
        if self._first_string is None:
            return
        text, row = self._first_string
        if (
            "." in text
            and re.match(DECIMAL, text)
            and pc.all(pc.match_substring_regex(self._distinct, DECIMAL)).as_py()
        ):
            raise self._error(row, f"ids must be ints or strings, got the float {text}")

    def _error(self, row: int, problem: str) -> DataError:
        return DataError(f"column {self.column!r}, data row {row}: {problem}", self.filepath)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_plain_int(text: str) -> bool:
    try:
        return str(int(text)) == text and -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _plain_ints(texts: Any) -> pa.Array | None:
    """``texts`` as int64, where each is an int written in the plain way; else None."""
    try:
        ints = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return ints if ints.cast(texts.type).equals(texts) else None
