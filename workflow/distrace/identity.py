"""The identity of a result: canonical JSON of everything that it depends on, and digests of it."""

import hashlib
import json

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> str:
    """Return a value as JSON: sorted keys, no spaces. Raises TypeError or ValueError for what JSON cannot hold."""
    return _ENCODER.encode(value)


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def short_id(*parts: object) -> str:
    """Return a 16-digit hexadecimal id that depends on `parts` alone."""
    # Each by itself: the encoder takes four times as long for a list, and a run has millions of ids.
    listed = ",".join(str(part) if type(part) is int else canonical_json(part) for part in parts)
    return hashlib.sha256(f"[{listed}]".encode()).hexdigest()[:16]
