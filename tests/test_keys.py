from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbral import keys


def test_the_fixed_keys_are_the_documented_ones() -> None:
    assert keys.recommendations_user(7) == "recommendations:user:7"
    assert keys.recommendations_user("mbid-1") == "recommendations:user:mbid-1"
    assert keys.embeddings(keys.USER_EMBEDDINGS) == "embeddings:user_embeddings"
    assert keys.embeddings(keys.ITEM_EMBEDDINGS) == "embeddings:item_embeddings"
    assert keys.embeddings(keys.user_embedding_name(7)) == "embeddings:user:7"
    assert keys.model_metadata("v1") == "model:v1:metadata"
    assert keys.MODEL_CURRENT == "model:current"


@given(st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_an_id_comes_back_from_its_member_as_it_was(original: int | str) -> None:
    back = keys.decode_id(keys.encode_id(original))

    assert back == original
    assert type(back) is type(original)


@pytest.mark.parametrize("key", keys.KEYS, ids=lambda key: key.name)
def test_every_key_says_its_type_content_and_life(key: keys.Key) -> None:
    assert key.type in {"string", "hash", "set", "zset", "list", "stream"}
    assert key.content
    assert key.ttl
