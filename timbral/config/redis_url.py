"""A Redis URL, read once: checked whole at the start, so that it means the same to every client.

Knows the forms ``redis://``, ``rediss://``, ``unix://`` and ``sentinel://host:26379;host:26379/name``, and opens
nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = ["CLUSTER", "RedisUrl", "parsed_url"]

SCHEMES: Final = ("redis", "rediss", "unix", "sentinel")
CLUSTER: Final = "+cluster"
"""Behind the scheme of the one spelling of a cluster's URL, in which the path is the tag of the slot."""
SENTINEL_PORT: Final = 26379
SENTINEL_TIMEOUT_S: Final = 1.0
EXAMPLES: Final = (
    "must look like redis://host:6379/0, rediss://host:6379/0, unix:///path or sentinel://host:26379;host:26379/name"
)
CLUSTER_EXAMPLE: Final = "redis://host:6379;host:6379"

Host = tuple[str, int | None]


@dataclass(frozen=True)
class RedisUrl:
    """Where a Redis is and how to reach it.

    Attributes:
        scheme: "redis", "rediss", "unix" or "sentinel".
        hosts: one host and port, or those of the sentinels or of a cluster's nodes; none for a socket. A port of None
            is the usual one.
        cluster_tag: what all keys begin with, in braces, in a cluster; empty where it is none.
        path: of the Unix socket.
        primary: the name by which the sentinels know the server.
        db: database number.
        health_check_interval_s: seconds of rest after which a connection is tried before it is used; each client's own
            where None.
        ca_certs, certfile, keyfile: of TLS; the system's CAs, and no certificate of the client's, where empty.
        sentinel_password: of the sentinels, where they ask for one.
    """

    scheme: str
    hosts: tuple[Host, ...] = ()
    username: str = field(default="", repr=False)
    password: str | None = field(default=None, repr=False)
    path: str = ""
    primary: str = ""
    cluster_tag: str = ""
    db: int = 0
    health_check_interval_s: int | None = None
    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password: str | None = None,
        db: int = 0,
        ca_certs: Path | None = None,
        sentinel_password: str | None = None,
        cluster_tag: str = "",
    ) -> Self:
        """Read ``url``; the other arguments stand in for what it does not say.

        Raises:
            ValueError: what is wrong, without the URL, which may hold a password.
        """
        parts = urlsplit(url)
        scheme = parts.scheme.removesuffix(CLUSTER)
        if scheme not in SCHEMES:
            raise ValueError(EXAMPLES)
        if scheme != parts.scheme:
            cluster_tag, parts = unquote(parts.path).strip("/"), parts._replace(scheme=scheme, path="")
        if cluster_tag and scheme not in ("redis", "rediss"):
            raise ValueError(
                f"is {scheme}://; a cluster is redis:// or rediss://, with one node or several: {CLUSTER_EXAMPLE}"
            )
        if parts.fragment:
            raise ValueError("has a # in it; in a password it is written %23")
        login, _, place = parts.netloc.rpartition("@")
        username, _, own_password = login.partition(":")
        options = _options(parts.scheme, parts.query)
        given: dict[str, Any] = {
            "scheme": parts.scheme,
            "username": unquote(username),
            "password": unquote(own_password) if ":" in login else password,
            "health_check_interval_s": options.get("health_check_interval"),
        }
        if parts.scheme == "unix":
            if not parts.path.strip("/"):
                raise ValueError(EXAMPLES)
            given["path"] = unquote(parts.path)
        else:
            given["hosts"] = _hosts(parts.scheme, place, is_cluster=bool(cluster_tag))
        path = unquote(parts.path).strip("/")
        if parts.scheme == "sentinel":
            if not path:
                raise ValueError("needs the name of the primary: sentinel://host:26379;host:26379/name")
            given["primary"] = path
            given["sentinel_password"] = options.get("sentinel_password", sentinel_password)
        elif parts.scheme != "unix" and path:
            if "db" in options:
                raise ValueError("names the database twice: in the path and as ?db=")
            db = _whole_number("the database, the path,", path)
        given |= {"db": options.get("db", db), "cluster_tag": cluster_tag}
        if cluster_tag and given["db"]:
            raise ValueError(f"names the database {given['db']}; a cluster has no other than 0")
        if parts.scheme == "rediss":
            given |= _tls_files(options, ca_certs)
        return cls(**given)

    def __str__(self) -> str:
        """The URL in its one spelling; holds the password."""
        query: dict[str, object] = {}
        scheme = self.scheme + (CLUSTER if self.cluster_tag else "")
        path = {"unix": quote(self.path), "sentinel": f"/{quote(self.primary, safe='')}"}.get(
            self.scheme, f"/{quote(self.cluster_tag, safe='') or self.db}"
        )
        if self.scheme == "unix" or (self.scheme == "sentinel" and self.db):
            query["db"] = self.db
        query |= self.tls
        if self.sentinel_password is not None:
            query["sentinel_password"] = self.sentinel_password
        if self.health_check_interval_s is not None:
            query["health_check_interval"] = self.health_check_interval_s
        return f"{scheme}://{self._login}{';'.join(map(_place, self.hosts))}{path}{_query(query)}"

    @property
    def tls(self) -> dict[str, str]:
        """redis-py's options of TLS; empty without TLS. The certificate is always checked."""
        if self.scheme != "rediss":
            return {}
        files = {"ssl_ca_certs": self.ca_certs, "ssl_certfile": self.certfile, "ssl_keyfile": self.keyfile}
        return {"ssl_cert_reqs": "required", **{name: file for name, file in files.items() if file}}

    @property
    def celery_url(self) -> str:
        """The same as Celery and kombu spell it."""
        if self.scheme == "unix":
            return f"redis+socket://{self._login}{quote(self.path)}?virtual_host={self.db}"
        one_each = (f"{self.scheme}://{self._login}{_place(host)}/{self.db}" for host in self.hosts)
        return ";".join(one_each) + _query(dict(self.tls))

    @property
    def celery_options(self) -> dict[str, Any]:
        """What Celery wants in its transport options instead of the URL; holds the sentinels' password."""
        options: dict[str, Any] = {}
        if self.health_check_interval_s is not None:
            options["health_check_interval"] = self.health_check_interval_s
        if self.scheme == "sentinel":
            options["master_name"] = self.primary
            options["sentinel_kwargs"] = self.sentinel_options
        return options

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """redis-py's options of a connection to a sentinel: one that is gone must not hold up the question to the
        next."""
        return {
            "password": self.sentinel_password,
            "socket_timeout": SENTINEL_TIMEOUT_S,
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        }

    @property
    def _login(self) -> str:
        if self.password is None:
            return f"{quote(self.username, safe='')}@" if self.username else ""
        return f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@"


def _hosts(scheme: str, place: str, *, is_cluster: bool) -> tuple[Host, ...]:
    hosts = tuple(_host(each) for each in place.split(";"))
    if is_cluster:
        return hosts
    if scheme != "sentinel":
        if len(hosts) > 1:
            raise ValueError(
                "names several hosts; only sentinel://host:26379;host:26379/name does, and REDIS_URL with CACHE_CLUSTER"
            )
        return hosts
    return tuple((host, port or SENTINEL_PORT) for host, port in hosts)


def _host(place: str) -> Host:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError(EXAMPLES)
    try:
        return parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"has no port where one should be: {error}") from None


def _place(host: Host) -> str:
    name = f"[{host[0]}]" if ":" in host[0] else host[0]
    return name if host[1] is None else f"{name}:{host[1]}"


def _query(options: dict[str, object]) -> str:
    return f"?{urlencode(options, safe='/')}" if options else ""


def _whole_number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} must be a whole number, got {text!r:.40}")
    return int(text)


def _cert_reqs(name: str, text: str) -> str:
    # Celery writes CERT_REQUIRED, redis-py required.
    if text.lower().removeprefix("cert_") != "required":
        raise ValueError(
            f"{name} must be required: the server's certificate is always checked; for one of a private CA set "
            f"REDIS_CA_CERTS to that CA's file (got {text!r:.40})"
        )
    return "required"


def _only(value: str, why: str) -> Callable[[str, str], str]:
    def check(name: str, text: str) -> str:
        if text.lower() not in value.split("|"):
            raise ValueError(f"{name}={text:.40}: {why}")
        return text

    return check


READ: Final[dict[str, Callable[[str, str], Any]]] = {
    "db": _whole_number,
    "health_check_interval": _whole_number,
    "protocol": _only("3", "every client of timbral speaks protocol 3; leave it out"),
    "decode_responses": _only("false|no|0", "timbral reads bytes; leave it out"),
    "ssl_cert_reqs": _cert_reqs,
    "ssl_check_hostname": _only("true|yes|1", "the certificate's host name is always checked; leave it out"),
    "ssl_ca_certs": lambda _, text: text,
    "ssl_certfile": lambda _, text: text,
    "ssl_keyfile": lambda _, text: text,
    "sentinel_password": lambda _, text: text,
}
"""What may stand behind the question mark, and what it may be."""


def _options(scheme: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in READ:
            # The name alone: the value may be a password.
            raise ValueError(f"?{name:.40}= is none of what may stand there: {', '.join(READ)}")
        if name in found:
            raise ValueError(f"names {name} twice")
        if name.startswith("ssl_") and scheme != "rediss":
            raise ValueError(f"{name} is of no use without TLS: write rediss://")
        if name == "sentinel_password" and scheme != "sentinel":
            raise ValueError("sentinel_password is of no use without sentinel://")
        found[name] = READ[name](name, text)
    return found


def _tls_files(options: dict[str, Any], ca_certs: Path | None) -> dict[str, str]:
    """The files of TLS; tried here, because a client would say so only when it connects."""
    own = options.get("ssl_ca_certs", "")
    if own and ca_certs is not None and Path(own) != ca_certs:
        raise ValueError(f"ssl_ca_certs={own} is another file than REDIS_CA_CERTS={ca_certs}; name one of them")
    files = {
        "ca_certs": own or ("" if ca_certs is None else str(ca_certs)),
        "certfile": options.get("ssl_certfile", ""),
        "keyfile": options.get("ssl_keyfile", ""),
    }
    if files["ca_certs"]:
        try:
            ssl.create_default_context(cafile=files["ca_certs"])
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"the CA file {files['ca_certs']} cannot be read: {error}") from None
    for name in ("certfile", "keyfile"):
        if files[name] and not Path(files[name]).is_file():
            raise ValueError(f"ssl_{name}={files[name]}: no such file")
    return files


parsed_url: Final = lru_cache(maxsize=16)(RedisUrl.parse)
"""Kept, because every call of a producer asks, and a CA file is read to see whether it can be."""
