"""``timbral``: train, recommend, refresh, read and operate from the command line.

Exit codes: 0 done; 1 the task failed, or something went wrong; 2 bad input (arguments, settings, a data set);
3 Redis is unreachable; 130 Ctrl-C. What went wrong is one line on stderr; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main", "one_line"]

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the command line without the program's name; ``sys.argv``'s where None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Here, because the settings are read at import, and one that is wrong is the user's to know and not a
        # traceback.
        from timbral.cli.application import run
    except ValueError as error:
        if "--debug" in given:
            raise
        print(one_line(error), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return run(given)


def one_line(error: object) -> str:
    """An error as a line for stderr."""
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    rest = "; ".join(others)
    text = f"{first}{' ' if first.endswith(':') else '; '}{rest}" if rest else first
    return text if text.startswith("timbral ") else f"timbral: {text}"
