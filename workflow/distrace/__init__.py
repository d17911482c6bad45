"""Sentence-level provenance of distilled reasoning models, and the selection of data to distil from.

What a notebook needs is here by its name (`distrace.score`, `distrace.label`, ...; docs/library.md). It is imported
when it is first used, so that `import distrace` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distrace.library import label as label
    from distrace.library import model as model
    from distrace.library import rank as rank
    from distrace.library import read as read
    from distrace.library import read_responses as read_responses
    from distrace.library import rejected_rows as rejected_rows
    from distrace.library import responses as responses
    from distrace.library import score as score
    from distrace.library import sentences as sentences
    from distrace.library import show as show

__version__ = "0.2.0"

_IN_LIBRARY = [
    *("label", "model", "rank", "read", "read_responses"),
    *("rejected_rows", "responses", "score", "sentences", "show"),
]


def __getattr__(name: str) -> Any:
    if name not in _IN_LIBRARY:
        raise AttributeError(f"module 'distrace' has no attribute {name!r}")
    return getattr(import_module("distrace.library"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_IN_LIBRARY])
