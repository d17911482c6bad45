import math
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace import identity

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_the_order_of_keys_does_not_count(value):
    reversed_keys = dict(reversed(value.items()))
    assert identity.digest(value) == identity.digest(reversed_keys)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_digests_are_equal_just_where_the_json_is(one, other):
    same = identity.canonical_json(one) == identity.canonical_json(other)
    assert (identity.digest(one) == identity.digest(other)) == same


def test_a_digest_is_the_sha256_of_the_shortest_json_with_sorted_keys():
    assert identity.digest({"b": [1, None], "a": "é"}) == sha256(rb'{"a":"\u00e9","b":[1,null]}').hexdigest()
    assert identity.short_id("question", 3) == sha256(b'["question",3]').hexdigest()[:16]


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object()])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        identity.digest({"value": value})


def test_a_lone_surrogate_has_a_digest():
    assert identity.digest("\ud800") != identity.digest("\ud801")


def test_short_ids_tell_their_parts_apart():
    ids = {identity.short_id(*parts) for parts in (("ab",), ("a", "b"), ("b", "a"), (["a", "b"],), ("a", "b", None))}
    assert len(ids) == 5
    assert all(len(i) == 16 and int(i, 16) >= 0 for i in ids)
