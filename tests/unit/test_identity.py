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


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in place of distrace's: `node` imports `helper`, which imports `engines.fast`; `other` is apart."""
    monkeypatch.setattr(identity, "_PACKAGE", tmp_path)
    (tmp_path / "engines").mkdir()
    for name, code in {
        "node.py": '"""Doc."""\nfrom distrace import helper\n\ndef run():\n    """Doc."""\n    return helper.one()\n',
        "helper.py": "from distrace.engines.fast import two\n\ndef one():\n    return two()\n",
        "engines/__init__.py": "",
        "engines/fast.py": "import os\n\ndef two():\n    return 2\n",
        "other.py": "x = 1\n",
    }.items():
        (tmp_path / name).write_text(code)

    def digest_after(name: str, code: str) -> str:
        (tmp_path / name).write_text(code)
        identity.source_digest.cache_clear()
        identity._tree.cache_clear()
        return identity.source_digest("node")

    yield digest_after
    identity.source_digest.cache_clear()
    identity._tree.cache_clear()


def test_a_source_digest_follows_the_code_of_all_that_is_imported(package):
    before = identity.source_digest("node")
    assert package("engines/fast.py", "import os\n\ndef two():\n    return 3\n") != before


def test_a_source_digest_leaves_out_comments_docstrings_layout_and_other_modules(package):
    before = identity.source_digest("node")
    assert package("other.py", "x = 2\n") == before
    code = '"""Doc."""\nimport os\n# why\ndef two():\n    "Doc."\n\n    return (2)\n'
    assert package("engines/fast.py", code) == before


def test_every_node_of_the_rules_has_a_digest_or_a_number():
    for module in ("grades", "provenance", "positions", "report"):
        assert len(identity.source_digest(module)) == 16
        assert module not in identity.NODE_VERSIONS
