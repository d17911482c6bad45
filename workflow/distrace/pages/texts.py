"""How the report writes numbers and names, in its sentences and its tables."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from distrace.measures.labels import LABELS

EXPLORER = "explorer.html"  # beside the report
# For the colour-blind, too (Okabe and Ito); a label has the same one in every figure and text.
COLOURS = dict(zip(LABELS, ("#D55E00", "#0072B2", "#8A8A8A", "#CC79A7"), strict=True))
LETTERS = dict(zip(LABELS, "TS=+", strict=True))  # beside a label's colour, for who cannot tell colours apart


def interval_text(interval: dict[str, Any] | None) -> str:
    """Return "62.0 % (55.1-68.7)" for a share, a dash where there is none."""
    if interval is None or interval["mean"] is None:
        return "-"
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f}-{high:.1f})"


def signed_text(interval: dict[str, Any] | None, digits: int = 3) -> str:
    """Return "+0.912 (+0.895 to +0.930)" for a difference, a dash where there is none."""
    if interval is None:
        return "-"
    # Adding 0 makes of -0.0 a 0.0.
    mean, low, high = (f"{round(interval[key], digits) + 0.0:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def points_text(interval: dict[str, Any]) -> str:
    """Return "+3.1 (+0.2 to +6.0)", in points, for a difference of shares."""
    return signed_text({key: 100 * interval[key] for key in ("mean", "low", "high")}, digits=1)


def percent(share: float) -> str:
    """Return "12.3 %"."""
    return f"{100 * share:.1f} %"


def counted(number: int, thing: str) -> str:
    """Return "1 sentence" or "1,200 sentences"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def duration(seconds: float) -> str:
    """Return "40 s", "12 min" or "1,200.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def listed(names: Iterable[Any]) -> Markup:
    """Return "a, b and c", each of them escaped unless it is markup."""
    *most, last = [Markup("{}").format(name) for name in names] or [Markup("none")]
    return Markup(" and ").join([Markup(", ").join(most), last]) if most else last


def explorer_link(**state: object) -> str:
    """Return a link to the explorer in this state (`docs/explorer.md`); a key whose value is None is left out.

    Values are percent-encoded, spaces as %20, so that `URLSearchParams` reads them as they are.
    """
    held = {key: str(value) for key, value in state.items() if value is not None}
    return f"{EXPLORER}#{urlencode(held, quote_via=quote, safe='/')}"


def linked(text: str, **state: object) -> Markup:
    """Return text as a link to the explorer in this state."""
    return Markup('<a href="{}">{}</a>').format(explorer_link(**state), text)


def file_name(kind: str, place: str) -> str:
    """Return the name of a figure's files without its suffix: its kind and what it is of, such as a trace's folder.

    No two places have the same, since of the names in a folder only that of a trained model has dots.
    """
    return ".".join([kind, *PurePosixPath(place).parts])
