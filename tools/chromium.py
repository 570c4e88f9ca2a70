"""A headless Chromium for tests and pictures, driven through chromedriver's own protocol (W3C WebDriver): no library
needed."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

__all__ = ["Chromium", "missing"]

PATIENCE = 3
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]


def missing() -> str | None:
    """What is not there, or None: a machine may have no browser."""
    if not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        return "no chromium on the PATH (Debian: apt-get install chromium chromium-driver)"
    if not shutil.which("chromedriver"):
        return "no chromedriver on the PATH (Debian: apt-get install chromium-driver)"
    return None


class Chromium:
    """One browser window; a context manager that leaves no process and no profile behind.

    Args:
        width, height: of the window's inside, in CSS pixels.
        dark: what the page is told of the user's colour scheme.
        scale: device pixels a CSS pixel.
    """

    def __init__(self, width: int = 1200, height: int = 900, *, dark: bool = False, scale: float = 1.0) -> None:
        self.width, self.height, self.dark, self.scale = width, height, dark, scale

    def __enter__(self) -> Self:
        self._profile = tempfile.mkdtemp(prefix="timbral-chromium-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        deadline = time.monotonic() + PATIENCE * 20
        while True:
            try:
                self._http.get("/status")
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*ARGUMENTS, f"--user-data-dir={self._profile}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        answer = self._http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        self._session = f"/session/{answer['sessionId']}"
        self.resize(self.width, self.height)
        features = [{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_session"):
            with contextlib.suppress(httpx.TransportError):
                self._http.delete(self._session)
        self._http.close()
        self._driver.terminate()
        self._driver.wait(10)
        shutil.rmtree(self._profile, ignore_errors=True)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in CSS pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=self.scale, mobile=False,
        )  # fmt: skip

    def devtools(self, command: str, **parameters: Any) -> Any:
        """One command of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url: str) -> None:
        """Go to ``url`` and wait until it is loaded."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script (the body of a function) returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *arguments: Any, timeout_s: float = 15.0) -> Any:
        """The script's first answer that is not false. ``timeout_s`` is ample on a quiet machine; a busy one gets
        ``PATIENCE`` times that."""
        return _until(lambda: self.run(script, *arguments), timeout_s, script)

    def text(self, selector: str) -> str:
        """The text that a person sees in the first element of ``selector``."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, selector: str) -> None:
        """Click on the first element of ``selector``, as the mouse would."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace a field's text by typing; ``\\ue007`` is Enter."""
        found = self._find(selector)
        self._ask("POST", f"/element/{found}/clear", {})
        self._ask("POST", f"/element/{found}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press and release a key, wherever the focus is: ``\\ue004`` is Tab, ``\\ue007`` Enter."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def log(self) -> list[str]:
        """What the browser's console says, since the last time."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, path: Path, *, whole_page: bool = True) -> None:
        """Write a PNG of the window, or of the whole page."""
        taken = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole_page)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _find(self, selector: str) -> str:
        return str(self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT])

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.request(method, self._session + path, json=body)
        value = answer.json()["value"]
        if answer.is_error:
            raise RuntimeError(f"chromium, {path}: {value.get('error')}: {value.get('message', '')[:300]}")
        return value


def _until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    deadline = time.monotonic() + PATIENCE * timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE * timeout_s} s: {what}")
        time.sleep(0.03)
    return answer
