"""``rediss://``: the connector, the producers, a worker and Flower's queue page reach Redis by TLS, and trust no other
server.

The server is one that was built with TLS where the machine has one, and else the private one with TLS in front of it.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme
from fleet_fixtures import WorkerProcess
from guarded_server import GuardedServer, tls_binary
from redis.backoff import NoBackoff
from redis.retry import Retry
from tls_front import tls_front

from timbral.config.settings import read_settings
from timbral.stack.doctor import examine

ASK = """
import producers
from timbral.errors import TimbralError
from timbral.utils.redis_connector import RedisConnector
connector = RedisConnector()
print(connector.health_check()["status"])
try:
    print(producers.enqueue_refresh_embeddings(user_ids=[7]).task)
except TimbralError as error:
    print(type(error).__name__, error)
"""


@dataclass
class TlsServer:
    """Where it is, and the files that vouch for it."""

    port: int
    ca: Path
    other_ca: Path
    server: GuardedServer

    def environment(self, ca: Path | None) -> dict[str, str]:
        """What an app or a worker has in its environment."""
        given = {"REDIS_URL": f"rediss://worker@127.0.0.1:{self.port}", "REDIS_PASSWORD": "worker/pass@word:with%signs"}
        return {**given, **({"REDIS_CA_CERTS": str(ca)} if ca else {})}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    for name, authority in (("ca.pem", ca), ("other.pem", other)):
        authority.cert_pem.write_to_path(folder / name)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    files = {"tls-cert-file": "cert.pem", "tls-key-file": "key.pem", "tls-ca-cert-file": "ca.pem"}
    options = {name: str(folder / file) for name, file in files.items()} | {"tls-auth-clients": "no"}
    native = tls_binary()
    server = GuardedServer(folder, binary=native, tls=options if native else None).start()
    try:
        if native:
            yield TlsServer(server.port, folder / "ca.pem", folder / "other.pem", server)
        else:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(context)
            with tls_front(context, server.port) as port:
                yield TlsServer(port, folder / "ca.pem", folder / "other.pem", server)
    finally:
        server.stop()


def ask(environment: dict[str, str], code: str = ASK) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_connector_and_the_producers_speak_tls_to_a_server_of_our_ca(tls: TlsServer) -> None:
    assert ask(tls.environment(tls.ca)) == ["healthy", "refresh_embeddings"]


@pytest.mark.parametrize("trusted", ["other_ca", None])
def test_a_server_whose_certificate_nobody_vouches_for_gets_no_password(tls: TlsServer, trusted: str | None) -> None:
    status, error = ask(tls.environment(getattr(tls, trusted) if trusted else None))
    assert status == "unhealthy"
    assert error.startswith("RedisUnavailableError")
    assert "certificate" in error.lower()
    assert error.endswith("; REDIS_CA_CERTS names the file of the CA that signs its certificate")


@pytest.mark.parametrize(("scheme", "does"), [("rediss", "REDIS_CA_CERTS names the file"), ("redis", "rediss://")])
def test_the_doctor_says_what_keeps_a_client_from_connecting(tls: TlsServer, scheme: str, does: str) -> None:
    examined = examine(read_settings(REDIS_URL=f"{scheme}://127.0.0.1:{tls.port}"))

    found = next(check for check in examined if check.what == "Redis")
    assert does in found.do, found


def test_a_certificate_for_another_host_is_refused(tls: TlsServer) -> None:
    environment = tls.environment(tls.ca)
    environment["REDIS_URL"] = environment["REDIS_URL"].replace("127.0.0.1", "localhost")
    assert ask(environment)[0] == "unhealthy"


def test_a_client_without_tls_gets_nothing(tls: TlsServer) -> None:
    with (
        redis.Redis(port=tls.port, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as plain,
        pytest.raises(redis.ConnectionError),
    ):
        plain.ping()


@pytest.mark.integration
def test_a_worker_takes_and_answers_tasks_by_tls(tls: TlsServer, tmp_path: Path) -> None:
    worker = WorkerProcess(tls.server, tmp_path, environment=tls.environment(tls.ca))
    worker.spawn()
    code = """
import producers
from timbral.errors import JobTimeoutError, TimbralError
try:
    producers.enqueue_train_model("missing.csv").wait(100)
except JobTimeoutError:
    print("nobody did it")
except TimbralError as error:
    print("answered")
"""
    try:
        assert ask(tls.environment(tls.ca), code) == ["answered"], worker.log[-2000:]
    finally:
        worker.stop()


def test_flower_counts_the_queues_by_tls(tls: TlsServer) -> None:
    code = """
import asyncio, celeryconfig
from flower.utils.broker import Broker
broker = Broker(celeryconfig.broker_url, broker_options=celeryconfig.broker_transport_options, broker_use_ssl=celeryconfig.broker_use_ssl)
print(asyncio.run(broker.queues(["training"])))
"""
    (counted,) = ask(tls.environment(tls.ca), code)
    assert counted.startswith("[{'name': 'training', 'messages': ")
