"""Who may do what: bearer tokens, and an API without a token that answers to this machine's own names alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import unquote

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from timbral.api.refusals import Refused
from timbral.api.sessions import COOKIE as SESSION_COOKIE
from timbral.api.sessions import Sessions
from timbral.config.settings import Settings
from timbral.errors import SettingsError

__all__ = ["Auth", "check_not_open_to_the_world", "is_console", "is_loopback"]

READING = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/health", "/ready", "/openapi.json", "/docs", "/favicon.ico"})
COOKIE = "timbral_token"
"""Where a page keeps the token that cannot send a header with its request: an EventSource, an image. It reads and never
writes."""
CHALLENGE = {"www-authenticate": 'Bearer realm="timbral"'}


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, without port) can only be reached from this machine."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_not_open_to_the_world(settings: Settings) -> None:
    """Refuse an API that anybody on the network could write through.

    Raises:
        SettingsError: API_HOST is not loopback and API_TOKEN is not set.
    """
    if not is_loopback(settings.API_HOST) and not _text(settings.API_TOKEN):
        raise SettingsError(
            [
                f"API_TOKEN: must be set where API_HOST is not loopback (it is {settings.API_HOST}); or "
                f"API_HOST=127.0.0.1"
            ]
        )


class Auth:
    """ASGI middleware: writing needs API_TOKEN, and so does a user's export; reading needs API_READ_TOKEN or API_TOKEN
    where API_READ_TOKEN is set.

    It goes by the method and not by the route, so that no new route can be forgotten. Liveness, the console's files and
    the OpenAPI description are open: they tell nothing about a user. The console's session reads, and never writes
    here.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        write, read = _text(settings.API_TOKEN), _text(settings.API_READ_TOKEN)
        self._writers = [_digest(write)] if write else []
        self._readers = [_digest(read), *self._writers] if read else []
        self._local_names_only = not write
        self._sessions = Sessions(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._check(scope) if scope["type"] == "http" else None
        await (self.app if refused is None else refused.response())(scope, receive, send)

    def _check(self, scope: Scope) -> Refused | None:
        path: str = scope["path"]
        if path in OPEN_PATHS or path.startswith("/static/"):
            return None
        if self._local_names_only:
            # A page of another site can point its own name at 127.0.0.1 (DNS rebinding); the Host header gives it away.
            host = _header(scope, b"host") or ""
            if not is_loopback(host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host):
                return Refused(421, "Without API_TOKEN the API answers to names of this machine alone")
        if is_console(path):
            return None  # its screens ask for themselves, and send whoever may not to the login
        allowed = self._readers if scope["method"] in READING else self._writers
        if path.startswith("/users/") and path.rstrip("/").endswith("/export"):
            allowed = self._writers or self._readers  # all that is stored of a person is not for every reader
        if not allowed:
            return None
        scheme, _, token = (_header(scope, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and _is_one_of(token.strip(), allowed):
            return None
        if scope["method"] in READING and _is_one_of(_cookie(scope, COOKIE), allowed):
            return None
        if scope["method"] in READING:
            session = self._sessions.read(_cookie(scope, SESSION_COOKIE))
            may = self._sessions.may_write if allowed is self._writers else self._sessions.may_read
            if session is not None and may(session):
                return None
        return Refused(401, "This needs an Authorization header with the right bearer token", headers=CHALLENGE)


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _is_one_of(token: str, allowed: Iterable[bytes]) -> bool:
    # Digests are equally long, so not even a token's length can be timed; no early end over the list.
    given = _digest(token)
    return bool(sum(hmac.compare_digest(given, one) for one in allowed))


def is_console(path: str) -> bool:
    """Whether a path is one of the console's screens."""
    return path == "/" or path == "/console" or path.startswith("/console/")


def _cookie(scope: Scope, wanted: str) -> str:
    for pair in (_header(scope, b"cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return unquote(value)
    return ""


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("utf-8", "surrogateescape"))
    return None
