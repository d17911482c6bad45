"""The contract between nodes: Arrow IPC files of known columns, with an identity, and their rejects beside them.

An artifact is compressed with zstd, written under a temporary name in the same folder and moved into place. The same
input gives the same bytes. Spans of tokens are stored packed (`distrace.spans`). The schema metadata holds the kind,
the format version, the identity (everything that the result depends on) and the fingerprint, a digest of these.
`docs/artifacts.md` lists the kinds for users.

A node opens each of its inputs once, and says which input must have been made from which:

    written = open_artifact(rollouts, kinds.ROLLOUTS)
    cut = open_artifact(sentences, kinds.SENTENCES, made_from=written)
    cut.read("rollout_id", "start", "end")

What is cut into parts is read through their list (`parts.py`).
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa

from distrace import kinds, spans
from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest
from distrace.kinds import Kind
from distrace.rejects import Reject

Rows: TypeAlias = "pl.DataFrame | pa.Table | Iterable[Mapping[str, Any]]"

FORMAT_VERSION = 1
_ABOUT = {"kind", "version", "fingerprint", "identity"}
COMPRESSION_LEVEL = 6  # of zstd; docs/disk.md says what other levels give


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its metadata and its number of `rows`; columns are read on request."""

    path: Path
    kind: str
    fingerprint: str
    identity: dict[str, Any]
    rows: int

    def read(self, *columns: str) -> pl.DataFrame:
        """Return the named columns, or all; raise DistraceError if the file is broken inside."""
        try:
            return spans.read_frame(self.path, columns)
        # Polars stops at some damages with a panic of Rust, which is no Exception of Python.
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise DistraceError(f"{self.path}: broken inside ({error}); delete it and run again") from error

    def require_made_from(self, other: "Artifact") -> None:
        """Raise DistraceError unless this artifact was computed from exactly `other`."""
        found = self.identity.get(other.kind)
        if found != other.fingerprint:
            raise DistraceError(
                f"{self.path} was computed from {other.kind} {found}, but {other.path} is {other.fingerprint}; "
                f"delete {self.path} and run again"
            )

    def require_same(self, kind: Kind, other: "Artifact") -> None:
        """Raise DistraceError unless both artifacts were computed from the same artifact of this kind."""
        found, wanted = (artifact.identity.get(kind.name) for artifact in (self, other))
        if found is None or found != wanted:
            raise DistraceError(
                f"{self.path} was computed from {kind.name} {found}, {other.path} from {wanted}; "
                "delete the older one and run again"
            )


def open_artifact(path: str | Path, kind: Kind | None = None, made_from: Artifact | None = None) -> Artifact:
    """Return the artifact at `path` without reading its columns.

    Raises DistraceError if the file is missing, broken or not an artifact, of another kind or format, or not computed
    from exactly the artifact `made_from`.
    """
    about, rows = _metadata(Path(path))
    expected = kind.name if kind else about["kind"]
    if about["version"] != FORMAT_VERSION or about["kind"] != expected:
        raise DistraceError(
            f"{path}: holds {about['kind']!r} in format {about['version']}; "
            f"expected {expected!r} in format {FORMAT_VERSION}; delete it and run again"
        )
    found = Artifact(Path(path), about["kind"], about["fingerprint"], about["identity"], rows)
    if made_from is not None:
        found.require_made_from(made_from)
    return found


def fingerprint_of(kind: Kind, identity: Mapping[str, Any]) -> str:
    """Return the fingerprint of an artifact of this kind with this identity."""
    return digest({"kind": kind.name, "version": FORMAT_VERSION, "identity": identity})


def is_written(path: Path, kind: Kind, identity: Mapping[str, Any], with_rejects: bool = False) -> bool:
    """Return whether the artifact with this identity is at `path` already, beside it its rejects if it has any."""
    fingerprint = fingerprint_of(kind, identity)
    try:
        of = open_artifact(rejects_path(path), kinds.REJECTS).identity.get("of") if with_rejects else fingerprint
        return open_artifact(path, kind).fingerprint == of == fingerprint
    except DistraceError:
        return False


def write(
    path: Path,
    kind: Kind,
    rows: Rows,
    identity: Mapping[str, Any],
    level: int = COMPRESSION_LEVEL,
) -> str:
    """Write an artifact, compressed by zstd at a `level`, and return its fingerprint.

    Each row holds all columns of the kind, null for a missing value. A frame or table may have more, which follow.
    Raises DistraceError if a column is missing or does not fit its type.
    """
    table = spans.packed(_conform(rows, kind))
    fingerprint = fingerprint_of(kind, identity)
    about = {"kind": kind.name, "version": FORMAT_VERSION, "fingerprint": fingerprint, "identity": identity}
    table = table.replace_schema_metadata({"distrace": canonical_json(about)})
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", level))
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), table.schema, options=options) as sink:
        sink.write_table(table.combine_chunks())
    return fingerprint


def write_with_rejects(
    path: Path,
    kind: Kind,
    rows: Rows,
    rejects: list[Reject],
    identity: Mapping[str, Any],
    rows_in: int,
    level: int = COMPRESSION_LEVEL,
) -> None:
    """Write an artifact and, beside it, its rejects; raise DistraceError unless both add up to `rows_in`."""
    rows = rows if isinstance(rows, pl.DataFrame | pa.Table) else list(rows)
    if len(rows) + len(rejects) != rows_in:
        raise DistraceError(
            f"{path}: {rows_in} rows came in, {len(rows)} go out and {len(rejects)} are rejected; "
            "this is a fault of distrace, please report it"
        )
    write_rejects(path, rejects, {"of": fingerprint_of(kind, identity)})
    write(path, kind, rows, identity, level)


def write_rejects(path: Path, rejects: list[Reject], identity: Mapping[str, Any]) -> None:
    """Write the rejects of the artifact at `path`, beside it."""
    write(rejects_path(path), kinds.REJECTS, [asdict(reject) for reject in rejects], identity)


def rejects_path(path: Path) -> Path:
    """Return the path of the rejects beside an artifact."""
    return Path(path).with_suffix(".rejects.arrow")


def read_rejects(path: Path, *columns: str) -> pl.DataFrame:
    """Return the columns named, or all, of the rejects of the artifact at `path`; no row if its kind has no rejects.

    Raises DistraceError if its kind has rejects and they are gone.
    """
    rejects = rejects_path(path)
    if rejects.is_file():
        return open_artifact(rejects, kinds.REJECTS).read(*columns)
    kind = kinds.KINDS.get(open_artifact(path).kind)
    if kind and kind.has_rejects:
        raise DistraceError(f"{rejects}: gone, so that nobody can count them; delete {path} and run again")
    return pl.DataFrame(kinds.REJECTS.schema.empty_table()).select(columns or pl.all())


def reasons_of(path: Path) -> dict[str, int]:
    """Return how often each reason is given in the rejects of the artifact at `path`; raises as `read_rejects` does."""
    rejects = rejects_path(path)
    if rejects.is_file() and not open_artifact(rejects, kinds.REJECTS).rows:
        return {}  # as of most artifacts: nothing is read
    return dict(Counter(read_rejects(path, "reason")["reason"]))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block succeeds, and is removed if it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _metadata(path: Path) -> tuple[dict[str, Any], int]:
    """Return an artifact's metadata and its number of rows."""
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            about = json.loads((reader.schema.metadata or {}).get(b"distrace", b"null"))
            rows = reader.count_rows()
    except FileNotFoundError as error:
        raise DistraceError(f"{path}: no such file") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DistraceError(f"{path}: not a whole Arrow file ({error}); delete it and run again") from error
    if about is None:
        raise DistraceError(f"{path}: an Arrow file, but not one of distrace's: it carries no fingerprint")
    if not isinstance(about, dict) or not about.keys() >= _ABOUT or not isinstance(about["identity"], dict):
        raise DistraceError(f"{path}: broken in its metadata; delete it and run again")
    return about, rows


def _conform(rows: Rows, kind: Kind) -> pa.Table:
    try:
        if not isinstance(rows, pl.DataFrame | pa.Table):
            return _table(list(rows), kind)
        table = rows if isinstance(rows, pa.Table) else rows.to_arrow()
        _require_columns(kind, table.column_names)
        extra = [field for field in table.schema if field.name not in kind.schema.names]
        schema = pa.schema([*kind.schema, *extra])
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise DistraceError(f"a column does not fit an artifact of kind {kind.name!r}: {error}") from error


def _table(rows: list[Mapping[str, Any]], kind: Kind) -> pa.Table:
    # pyarrow alone would fill a missing column with null, and drop one that is not in the schema.
    for number, row in enumerate(rows):
        _require_columns(kind, row, f" in row {number}")
        if unknown := sorted(row.keys() - set(kind.schema.names)):
            raise DistraceError(
                f"an artifact of kind {kind.name!r} has no columns {unknown} (row {number}); give a frame"
            )
    return pa.Table.from_pylist(rows, schema=kind.schema)


def _require_columns(kind: Kind, found: Iterable[str], where: str = "") -> None:
    found = list(found)
    if missing := [name for name in kind.schema.names if name not in found]:
        raise DistraceError(f"an artifact of kind {kind.name!r} needs the columns {missing}{where}; it has {found}")
