"""A Redis URL is read once, checked at the start, and means the same to every client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import trustme

from timbral.config.redis_url import RedisUrl
from timbral.config.settings import read_settings
from timbral.errors import SettingsError
from timbral.redis_server.client import connect
from timbral.stack.embedded_server import EmbeddedServer


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("redis://h/0/", "redis://h/0"),
        ("redis://h/", "redis://h/0"),
        ("redis://h?db=4", "redis://h/4"),
        ("redis://h/2?health_check_interval=7", "redis://h/2?health_check_interval=7"),
        ("redis://h?protocol=3&decode_responses=false", "redis://h/0"),
        ("redis://[::1]:6380/1", "redis://[::1]:6380/1"),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://h?ssl_cert_reqs=required&ssl_check_hostname=true", "rediss://h/0?ssl_cert_reqs=required"),
        ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("sentinel://a:1;b/mymaster", "sentinel://a:1;b:26379/mymaster"),
        ("sentinel://me:p%40ss@a;b/mymaster?db=2", "sentinel://me:p%40ss@a:26379;b:26379/mymaster?db=2"),
        ("sentinel://a/m?sentinel_password=x%26y", "sentinel://a:26379/m?sentinel_password=x%26y"),
    ],
)
def test_a_url_has_one_spelling_which_reads_the_same(url: str, canonical: str) -> None:
    assert str(RedisUrl.parse(url)) == canonical
    assert RedisUrl.parse(canonical) == RedisUrl.parse(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h?protocol=2", "protocol=2: every client of timbral speaks protocol 3"),
        ("redis://h?decode_responses=true", "decode_responses=true: timbral reads bytes"),
        ("redis://h?decode_response=true", r"\?decode_response= is none of what may stand there: db, "),
        ("redis://h?password=hunter2", r"\?password= is none of"),
        ("redis://h/cache", "the database, the path, must be a whole number, got 'cache'"),
        ("redis://h/1?db=2", "names the database twice"),
        ("redis://h?health_check_interval=soon", "health_check_interval must be a whole number"),
        ("redis://:pass#word@h", "a # in it; in a password it is written %23"),
        ("redis://h:port", "no port where one should be"),
        ("redis://a:1;b:2/0", "names several hosts; only sentinel://"),
        ("redis://h?ssl_cert_reqs=required", "of no use without TLS: write rediss://"),
        ("rediss://h?ssl_cert_reqs=none", "must be required: .* REDIS_CA_CERTS"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "must be required"),
        ("rediss://h?ssl_cert_reqs=optional", "must be required"),
        ("rediss://h?ssl_check_hostname=false", "host name is always checked"),
        ("rediss://h?ssl_ca_certs=/nowhere/ca.pem", "the CA file /nowhere/ca.pem cannot be read"),
        ("rediss://h?ssl_certfile=/nowhere/cert.pem", "ssl_certfile=/nowhere/cert.pem: no such file"),
        ("sentinel://a:26379;b:26379", "needs the name of the primary"),
        ("redis://h?sentinel_password=x", "of no use without sentinel://"),
    ],
)
def test_what_no_client_could_keep_is_refused_at_the_start(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=f"REDIS_URL: .*{problem}") as caught:
        read_settings(REDIS_URL=url)
    assert "hunter2" not in str(caught.value)
    assert "pass#word" not in str(caught.value)


def test_the_ca_file_is_kept_whatever_else_the_url_says(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)

    made = read_settings(REDIS_URL="rediss://h?ssl_cert_reqs=CERT_REQUIRED", REDIS_CA_CERTS=str(ca))

    assert made.redis_url == f"rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs={ca}"
    assert made.queue.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": str(ca)}


def test_a_ca_file_that_is_none_or_a_second_one_stops_the_start(tmp_path: Path) -> None:
    ca, other, broken = (tmp_path / f"{name}.pem" for name in ("ca", "other", "broken"))
    for file in (ca, other):
        trustme.CA().cert_pem.write_to_path(file)
    broken.write_text("no certificate")

    with pytest.raises(SettingsError, match=r"broken.pem cannot be read"):
        read_settings(REDIS_URL="rediss://h", REDIS_CA_CERTS=str(broken))
    with pytest.raises(SettingsError, match="is another file than REDIS_CA_CERTS"):
        read_settings(REDIS_URL=f"rediss://h?ssl_ca_certs={other}", REDIS_CA_CERTS=str(ca))


def test_celery_gets_the_url_in_its_own_words() -> None:
    made = read_settings(REDIS_URL="sentinel://a:1;b:2/mymaster?health_check_interval=9", REDIS_PASSWORD="x/y")

    assert made.queue.celery_url == "sentinel://:x%2Fy@a:1/0;sentinel://:x%2Fy@b:2/0"
    assert made.queue.celery_options["master_name"] == "mymaster"
    assert made.queue.celery_options["health_check_interval"] == 9


def test_every_client_takes_a_url_with_options(redis_server: EmbeddedServer, client: redis.Redis) -> None:
    environment = {**os.environ, "REDIS_URL": f"{redis_server.url}/0/?health_check_interval=10&protocol=3"}
    code = """
import asyncio, celeryconfig, producers
from timbral.api.context import make_context
from timbral.config.settings import settings
from timbral.utils.redis_connector import RedisConnector
from workers.app import app
print(RedisConnector().health_check()["status"])
print(producers.enqueue_refresh_embeddings(user_ids=[7]).task)
async def ask():
    context = make_context(settings)
    print(await context.redis.llen("celery"))
    await context.close()
asyncio.run(ask())
with app.connection_for_read() as connection:
    print(connection.default_channel.client.llen("celery"), connection.default_channel.health_check_interval)
app.backend.store_result("abc", 7, "SUCCESS")
print(app.backend.connparams["health_check_interval"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stdout.split() == ["healthy", "refresh_embeddings", "1", "1", "10", "10"]
    assert client.exists("celery-task-meta-abc")
    assert connect(f"{redis_server.url}/0/?db=0".replace("/0/?", "?"), timeout_s=1, connect_timeout_s=1).ping()
