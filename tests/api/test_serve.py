"""``timbral serve``: its settings, and the limits that are the server's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from timbral.api.app import create_app
from timbral.api.middleware import protocol
from timbral.api.middleware.limits import Limits
from timbral.config.settings import read_settings


def test_a_port_that_is_taken_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "timbral.api.serve"],
            cwd=tmp_path,
            env=os.environ | {"API_HOST": "127.0.0.1", "API_PORT": port},
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_shown_with_debug_alone(debug: bool) -> None:
    app = create_app(read_settings(API_HOST="127.0.0.1", DEBUG=debug))

    @app.get("/breaks")
    async def breaks() -> None:
        raise ZeroDivisionError("a secret detail")

    answer = _ask(app, "GET", "/breaks")

    assert answer.status_code == 500
    assert ("a secret detail" in answer.text) is debug
    assert ("traceback" in answer.json()) is debug
    assert (answer.json()["error"] == "InternalServerError") is not debug


def test_a_body_that_trickles_and_an_answer_that_hangs_are_ended() -> None:
    import asyncio

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
        else:
            await asyncio.sleep(60)
        await PlainTextResponse("done")(scope, receive, send)

    app = Limits(hanging, timeout_s=0.1)

    async def trickling() -> Any:
        yield b"a"
        await asyncio.sleep(60)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.post("/", content=trickling()), await client.get("/")]

    trickled, hung = asyncio.run(ask())
    assert (trickled.status_code, trickled.json()["error"]) == (408, "RequestTimeout")
    assert (hung.status_code, hung.json()["error"]) == (503, "ServiceUnavailable")


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Address of a server with BoundedHead, whose head may take 0.3 s."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await PlainTextResponse("done")(scope, receive, send)

    config = uvicorn.Config(app, port=0, http=protocol.BoundedHead, lifespan="off", log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(10)


def _closed(sock: socket.socket) -> bytes:
    sock.settimeout(5)
    received = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not more:
            return received
        received += more


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(bounded: Any, start: bytes) -> None:
    with socket.create_connection(bounded) as sock:
        sock.sendall(start)

        assert _closed(sock) == b""


def test_a_head_without_end_is_refused(bounded: Any) -> None:
    with socket.create_connection(bounded) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-long: " + b"a" * (protocol.MAX_HEAD_BYTES + 1))

        assert _closed(sock).startswith(b"HTTP/1.1 400 ")


def test_bodies_and_further_requests_of_a_connection_are_not_counted_as_head(bounded: Any) -> None:
    body = b"b" * (4 * protocol.MAX_HEAD_BYTES)
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(bounded) as sock:
        sock.settimeout(5)
        for _ in range(3):
            sock.sendall(request)
            answer = b""
            while not answer.endswith(b"done"):  # head and body may come one after the other
                answer += (part := sock.recv(65536))
                assert part, answer
            assert answer.startswith(b"HTTP/1.1 200 ")
            time.sleep(0.2)  # an idle connection between requests has the keep-alive's time, not the head's


def _ask(app: Any, method: str, path: str) -> httpx.Response:
    import asyncio

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path)

    return asyncio.run(ask())
