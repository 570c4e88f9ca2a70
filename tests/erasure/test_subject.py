"""What of a message is somebody's, and what is left of it without them."""

from __future__ import annotations

import pytest

from timbral.erasure.subject import Subject
from timbral.messages import MESSAGES, read_message

SUBJECT = Subject({"7": "ab12", "Björk": "cd34"})


def test_an_id_is_theirs_as_an_int_and_as_text_and_nothing_else_is() -> None:
    assert [SUBJECT.is_theirs(value) for value in (7, "7", "Björk")] == [True] * 3
    assert not any(SUBJECT.is_theirs(value) for value in (8, "07", 7.0, True, None, "björk", ["7"]))
    assert SUBJECT.ids == ["7", "Björk", 7]


def test_their_ids_become_pseudonyms_and_their_plays_go() -> None:
    body = [
        [],
        {"user_ids": [7, 8], "plays": [{"user_id": 8, "item_id": 7}, {"user_id": "7", "item_id": 1}], "top_k": 7},
        {"chain": [{"task": "a", "kwargs": {"user_id": "Björk"}}]},
    ]

    assert SUBJECT.redacted(body) == [
        [],
        {"user_ids": ["forgotten:ab12", 8], "plays": [{"user_id": 8, "item_id": 7}], "top_k": 7},
        {"chain": [{"task": "a", "kwargs": {"user_id": "forgotten:cd34"}}]},
    ]
    assert SUBJECT.theirs(body) == [{"user_id": 7}, {"user_id": "7", "item_id": 1}, {"user_id": "Björk"}]


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("refresh_embeddings", {"plays": [{"user_id": 7, "item_id": 1}, {"user_id": 7, "item_id": 2}]}),
        ("compute_recommendations", {"user_ids": [7]}),
        ("forget_users", {"user_ids": [7]}),
        ("export_user", {"user_id": 7}),
    ],
)
def test_a_message_that_names_nobody_else_is_still_one_that_a_worker_takes(
    task: str, arguments: dict[str, object]
) -> None:
    changed = SUBJECT.redacted(arguments)

    read_message(MESSAGES[task], changed)
    assert SUBJECT.theirs(changed) == []


def test_words_of_a_text_are_blotted_however_they_are_escaped_and_parts_of_words_are_not() -> None:
    assert SUBJECT.blotted("user 7 of 77, 'Björk', \"Bj\\u00f6rk\", Björks") == (
        "user forgotten:ab12 of 77, 'forgotten:cd34', \"forgotten:cd34\", Björks"
    )
    assert SUBJECT.mentioned_in("(7)")
    assert not SUBJECT.mentioned_in("17 71 _7")
