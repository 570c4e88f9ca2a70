"""Puts what ``make demo`` prints into the README: ``python -m tools.readme_demo``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def main() -> None:
    """Run the demo and replace the README's block by its output."""
    run = subprocess.run([sys.executable, "-m", "timbral.cli", "demo"], capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in run.stdout.splitlines()]
    shown = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    block = f"<!-- demo -->\n```\n{shown}\n```\n<!-- /demo -->"
    text = README.read_text(encoding="utf-8")
    README.write_text(
        re.sub(r"<!-- demo -->.*<!-- /demo -->", lambda _: block, text, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
