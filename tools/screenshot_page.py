"""Pictures of the page at ``/`` for the docs: ``python -m tools.screenshot_page [folder]``; needs a chromium on the
PATH."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timbral.stack.embedded_server import EmbeddedServer
from tools.chromium import Chromium, missing
from tools.example_users import seed

IMAGES = Path(__file__).parent.parent / "docs" / "images"
LISTENER = 17
SHOWN = "return document.getElementById('results').getAttribute('aria-busy') === 'false'"
OPENED = (
    "return document.querySelectorAll('#gets .reason').length && document.querySelectorAll('#gets .chips li').length"
)


@contextmanager
def api() -> Iterator[str]:
    """Address of an API before a server with users of our own making."""
    with EmbeddedServer(append_only=False) as server, tempfile.TemporaryDirectory() as directory:
        with server.client() as client:
            seed(client, Path(directory) / "models", n_users=3_000, n_items=1_500)
        environment = os.environ | {
            "REDIS_URL": server.url,
            "MODEL_DIR": f"{directory}/models",
            "API_HOST": "127.0.0.1",
            "API_PORT": "0",
            "API_WORKERS": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "timbral.api.serve"],
            cwd=directory,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            line = process.stderr.readline() if process.stderr is not None else ""
            yield line.split()[3]
        finally:
            process.terminate()
            process.wait(20)


def take(url: str, folder: Path) -> None:
    """Take all the pictures."""
    with Chromium(1120, 900) as browser:
        browser.open(f"{url}/?user={LISTENER}")
        browser.wait_for(SHOWN)
        browser.click("#gets .line")
        browser.wait_for(OPENED)
        browser.run("document.activeElement.blur()")
        browser.picture(folder / "page.png")
        browser.open(f"{url}/?user=somebody-new")
        browser.wait_for(SHOWN)
        browser.picture(folder / "page-unknown.png")
    with Chromium(390, 844, dark=True, scale=2) as phone:
        phone.open(f"{url}/?user={LISTENER}")
        phone.wait_for(SHOWN)
        phone.run("document.activeElement.blur()")
        phone.picture(folder / "page-phone-dark.png", whole_page=False)


def main() -> int:
    """The command."""
    if (lacking := missing()) is not None:
        print(lacking, file=sys.stderr)
        return 1
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with api() as url:
        take(url, folder)
    for picture in sorted(folder.glob("page*.png")):
        print(f"{picture} ({picture.stat().st_size // 1024} KB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
