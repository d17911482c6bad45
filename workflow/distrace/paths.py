"""Paths to values inside a row: `messages[role=assistant].content`, `response.body.choices[*].message.content`.

A path is the name of a column and steps into it. `.name` takes a field, `[0]` and `[-1]` an item of a list. `[*]` takes
all items and `[name=value]` those with such a field: what follows is taken from each, and the path leads to a list. Of
`one | other`, the first path that leads anywhere counts. A column whose name is the whole path comes before its steps.
Text that holds JSON is read where a step goes into it.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from distrace.errors import BadRow, DistraceError

_STEP = re.compile(
    r"\.(?P<name>[^.\[\]|]+)|\[(?P<item>-?\d+)\]|\[(?P<all>\*)\]|\[(?P<key>[^=\[\]]+)=(?P<value>[^\]]*)\]"
)

Step = tuple[str, str, str]  # what it is (a group of _STEP), its name, and a wanted value


def path_reader(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function from a row to what the path leads to.

    The function raises BadRow if that is not there, and DistraceError if `path` is neither a column nor a path.
    """
    paths = list(map(str.strip, path.split("|")))

    def read(row: Mapping[str, Any]) -> Any:
        if path in row:
            return row[path]
        reasons = []
        for one in paths:
            try:
                return row[one] if one in row else _follow(row, _steps(one), "the row")
            except BadRow as error:
                reasons.append(str(error))
        raise BadRow("; ".join(reasons))

    return read


def one_of(value: Any, path: str) -> Any:
    """Return a value, or the only one in a list that a path with `[*]` or `[name=value]` leads to."""
    if not (isinstance(value, list) and leads_to_list(path)):
        return value
    if len(value) != 1:
        raise BadRow(f"{path!r} leads to {len(value)} values, not to one")
    return value[0]


def leads_to_list(path: str) -> bool:
    """Return whether a path takes several items of a list."""
    return "[*]" in path or "=" in path


@cache
def _steps(path: str) -> tuple[Step, ...]:
    found: list[Step] = []
    rest = f".{path}"
    while rest:
        match = _STEP.match(rest)
        if match is None:
            raise DistraceError(f"{path!r} is no path to a column: it cannot be read from {rest!r} on")
        kind = "where" if match["key"] else str(match.lastgroup)
        found.append((kind, match["key"] or match[kind], match["value"] or ""))
        rest = rest[match.end() :]
    return tuple(found)


def _follow(value: Any, steps: tuple[Step, ...], where: str) -> Any:
    for number, (kind, name, wanted) in enumerate(steps):
        value = _opened(value)
        if kind == "name":
            if not isinstance(value, Mapping) or name not in value:
                raise BadRow(f"{where} has no {name!r}, but {_about(value)}")
            value, where = value[name], repr(name)
            continue
        if not isinstance(value, list):
            raise BadRow(f"{where} is no list, but {_about(value)}")
        if kind != "item":
            items = [item for item in value if kind == "all" or _has(item, name, wanted)]
            return [_follow(item, steps[number + 1 :], f"an item of {where}") for item in items]
        if not -len(value) <= int(name) < len(value):
            raise BadRow(f"{where} has no item {name}, but {len(value)}")
        value, where = value[int(name)], f"item {name} of {where}"
    return value


def _has(item: Any, name: str, wanted: str) -> bool:
    return isinstance(item, Mapping) and str(item.get(name)) == wanted


def _opened(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _about(value: Any) -> str:
    return str(sorted(value)) if isinstance(value, Mapping) else repr(value)[:40]
