"""The fleet: the Celery application, its tasks, and what delivers their messages."""

import sys

from timbral.errors import ParameterError
from timbral.extras import require

try:
    require("celery -A workers.app", "worker")
except ParameterError as error:
    sys.exit(f"timbral: {error}")  # Celery would make a page of tracebacks of it
