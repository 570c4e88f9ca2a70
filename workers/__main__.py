"""``python -P -m workers worker …``: as ``celery -A workers.app worker …``, which would look for ``workers`` in the
working folder first."""

from __future__ import annotations

import sys

from workers.app import app

if __name__ == "__main__":
    sys.exit(app.start(sys.argv[1:]))
