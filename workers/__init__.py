"""The fleet: the Celery application, its tasks, and what delivers their messages."""

import os
import signal
import sys

from timbral.errors import ParameterError
from timbral.extras import require

if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    # The kernel ends the first process of a container by no signal that it has no handler for. Celery sets its own
    # seconds later; a container that is stopped before would be waited for, and killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

try:
    require("celery -A workers.app", "worker")
except ParameterError as error:
    sys.exit(f"timbral: {error}")  # Celery would make a page of tracebacks of it
