"""Subject: the users of one erasure, and what of a message or a record is theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

from timbral.lists.forgotten import pseudonym
from timbral.messages import Id

__all__ = ["Subject"]

USER_FIELDS: Final = ("user_id", "user_ids")
PLAYS_FIELD: Final = "plays"


class Subject:
    """Users by their ids as text; 1 and "1" share their keys in Redis, and so they are one here.

    Args:
        digests: the salted hash of each user, by the id as text; what stands where an id stood.
    """

    def __init__(self, digests: Mapping[str, str]) -> None:
        self.digests = dict(digests)

    @property
    def ids(self) -> list[Id]:
        """Each id as text and, where it may be one, as an int."""
        return [*self.digests, *(int(text) for text in self.digests if _INT.fullmatch(text))]

    def is_theirs(self, value: object) -> bool:
        """Whether ``value`` is one of their ids."""
        return type(value) in (int, str) and str(value) in self.digests

    def redacted(self, value: Any) -> Any:
        """``value``, JSON of a message or a record, with pseudonyms in place of their ids and without their plays.

        A list of plays that would become empty keeps one play, of nobody: a message stays one that a worker takes, and
        whoever waits for it gets an answer.
        """
        if isinstance(value, list | tuple):
            return [self.redacted(one) for one in value]
        if not isinstance(value, dict):
            return value
        made = {}
        for name, one in value.items():
            if name in USER_FIELDS:
                made[name] = self._renamed(one)
            elif name == PLAYS_FIELD and isinstance(one, list):
                others = [play for play in one if not self._is_their_play(play)]
                made[name] = [self.redacted(play) for play in others or one[:1]]
            else:
                made[name] = self.redacted(one)
        return made

    def theirs(self, value: Any) -> list[Any]:
        """The parts of ``value`` that name them: their plays, and the lists of users without the others."""
        if isinstance(value, list | tuple):
            return [part for one in value for part in self.theirs(one)]
        if not isinstance(value, dict):
            return []
        found: list[Any] = []
        for name, one in value.items():
            if name in USER_FIELDS:
                listed = one if isinstance(one, list) else [one]
                found += [{"user_id": user_id} for user_id in listed if self.is_theirs(user_id)]
            elif name == PLAYS_FIELD and isinstance(one, list):
                found += [play for play in one if self._is_their_play(play)]
            else:
                found += self.theirs(one)
        return found

    def mentioned_in(self, text: str) -> bool:
        """Whether a text that nobody can take apart has one of their ids in it, as a word of its own."""
        return bool(self._words.search(text))

    def blotted(self, text: str) -> str:
        """The text with a pseudonym in place of each of their ids."""
        return self._words.sub(lambda found: self._written[found.group(0)], text)

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._renamed(one) for one in value]
        return pseudonym(self.digests[str(value)]) if self.is_theirs(value) else value

    def _is_their_play(self, play: Any) -> bool:
        return isinstance(play, dict) and self.is_theirs(play.get("user_id"))

    @cached_property
    def _written(self) -> dict[str, str]:
        """Pseudonyms by the forms in which an id is written: as it is, and as JSON and Python escape it."""
        return {
            form: pseudonym(digest)
            for text, digest in self.digests.items()
            for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1])
        }

    @cached_property
    def _words(self) -> re.Pattern[str]:
        return _words_of(self._written)


def _words_of(forms: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


_INT = re.compile(r"0|-?[1-9][0-9]{0,18}")
