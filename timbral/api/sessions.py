"""Sessions of people with a browser: a signed cookie that no script can read, and a CSRF token for what it changes.

Nothing is stored: every process of the API, and every host, reads a cookie that another one made. Who changes a token
ends the sessions that were begun with it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Literal, NamedTuple, get_args

from timbral.config.settings import Settings

__all__ = ["COOKIE", "LIFE_S", "Role", "Session", "Sessions"]

COOKIE = "timbral_session"
LIFE_S = 12 * 3600
Role = Literal["anyone", "reader", "writer"]


class Session(NamedTuple):
    """Who somebody is, until when (seconds since 1970), and the cookie's value."""

    role: Role
    value: str

    @property
    def csrf_token(self) -> str:
        """What a form of this session sends along; a page of another site can neither read nor make it."""
        return hmac.new(self.value.encode(), b"csrf", hashlib.sha256).hexdigest()


class Sessions:
    """Begins sessions and reads them again.

    Args:
        settings: without API_TOKEN anyone may write, without API_READ_TOKEN anyone may read.
    """

    def __init__(self, settings: Settings) -> None:
        secret = {"writer": settings.API_TOKEN, "reader": settings.API_READ_TOKEN}
        self._tokens = {role: token.get_secret_value() for role, token in secret.items() if token is not None}
        self._tokens = {role: token for role, token in self._tokens.items() if token}

    def role_of(self, token: str) -> Role | None:
        """What a token makes of who has it; None for one that is wrong."""
        given = _digest(token)
        right = [role for role, one in self._tokens.items() if hmac.compare_digest(given, _digest(one))]
        return right[0] if right else None  # type: ignore[return-value]  # the names are those of Role

    def begin(self, role: Role) -> Session:
        """A session from now on, for LIFE_S."""
        payload = f"{role}.{int(time.time()) + LIFE_S}.{secrets.token_urlsafe(18)}"
        return Session(role, f"{payload}.{self._signature(role, payload)}")

    def read(self, value: str) -> Session | None:
        """The session that a cookie is of; None where it has ended, or was not begun here."""
        payload, _, signature = value.rpartition(".")
        role, _, rest = payload.partition(".")
        expires = rest.partition(".")[0]
        if role not in get_args(Role) or not (expires.isdigit() and len(expires) < 12) or int(expires) < time.time():
            return None
        if role != "anyone" and role not in self._tokens:
            return None
        expected = self._signature(role, payload)
        if not hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode()):
            return None
        return Session(role, value)  # type: ignore[arg-type]  # it is one of Role, see above

    @property
    def wants_token(self) -> bool:
        """Whether there is anything to log in for."""
        return bool(self._tokens)

    def may_write(self, session: Session | None) -> bool:
        """Whether whoever has this session may change things."""
        return "writer" not in self._tokens or (session is not None and session.role == "writer")

    def may_read(self, session: Session | None) -> bool:
        """Whether whoever has this session may look."""
        return "reader" not in self._tokens or (session is not None and session.role in ("reader", "writer"))

    def _signature(self, role: str, payload: str) -> str:
        key = hashlib.sha256(b"timbral session " + self._tokens.get(role, "").encode()).digest()
        return hmac.new(key, payload.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
