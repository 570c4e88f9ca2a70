"""What stands in a column of ids where there is none: NULL, N/A, a dash; and ints that are not written as ints."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_decimal", "is_missing", "is_odd", "is_plain_int", "plain_ints"]

SPACE: Final = r"[\s\x{00a0}\x{2000}-\x{200b}\x{3000}\x{feff}]"
MARKERS: Final = (
    r"null|\(null\)|<null>|na|n/a|n\.a\.|#n/a|<na>|nan|none|nil|nat|undefined|unknown|missing|\\n|[-–—_]+|\?+|\.+|#+"
)
MISSING: Final = rf"(?i)^{SPACE}*({MARKERS}|(\"\"|''))?{SPACE}*$"
PADDED_INT: Final = rf"^({SPACE}+-?[0-9]+{SPACE}*|-?[0-9]+{SPACE}+|{SPACE}*[\"'][+-]?[0-9]+[\"']{SPACE}*)$"
PLAIN_INT: Final = r"^(0|-?[1-9][0-9]{0,18})$"
DECIMAL: Final = r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$"


def is_missing(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts are empty or a word for "there is none"; null is one too."""
    return _mask(pc.match_substring_regex(texts, MISSING), null=True)


def is_odd(texts: pa.Array, column: str) -> npt.NDArray[np.bool_]:
    """Which texts cannot be ids where the others are ints: missing, an int within spaces or quotes, the header
    again."""
    padded = _mask(pc.match_substring_regex(texts, PADDED_INT))
    return is_missing(texts) | padded | _mask(pc.equal(texts, pa.scalar(column, texts.type)))


def is_plain_int(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts are 64-bit ints in the way that Python writes them."""
    plain = _mask(pc.match_substring_regex(texts, PLAIN_INT))
    if plain.any() and plain_ints(texts.filter(pa.array(plain))) is None:
        plain &= np.array([_fits(text) for text in texts.to_pylist()])
    return plain


def is_decimal(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts are numbers, ints or not."""
    return _mask(pc.match_substring_regex(texts, DECIMAL))


def plain_ints(texts: pa.Array) -> pa.Array | None:
    """``texts`` as int64, where each is an int written in the plain way; else None."""
    try:
        ints = texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return ints if ints.cast(texts.type).equals(texts) else None


def _fits(text: str) -> bool:
    return len(text) <= 20 and text.lstrip("-").isdigit() and -(2**63) <= int(text) < 2**63


def _mask(matches: pa.Array, *, null: bool = False) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.fill_null(matches, null).to_numpy(zero_copy_only=False)
    return mask
