"""``python -m timbral.cli``."""

import sys

from timbral.cli import main

sys.exit(main())
