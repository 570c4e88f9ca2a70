"""From the bytes of a csv file to its text, in the encoding that was said."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

__all__ = ["decoder_of"]

OF_WINDOWS: Final = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}
"""What stands in Windows' code page where Latin-1 has control characters that no text has; five places are empty."""
WINDOWS: Final = {code: text for code, text in OF_WINDOWS.items() if text != "\ufffd"}


def decoder_of(encoding: str) -> Callable[[bytes, bool], str]:
    """A function of the next bytes, and whether they are the last; what is cut off waits for the next.

    Latin-1 is read as browsers read it: with the quotes, dashes and the euro sign of Windows' code page 1252, which is
    what most files that are called Latin-1 are in.
    """
    decode: Callable[[bytes, bool], str] = codecs.getincrementaldecoder(encoding)().decode
    if codecs.lookup(encoding).name != "iso8859-1":
        return decode
    return lambda data, is_last: decode(data, is_last).translate(WINDOWS)
