"""The contract between nodes: Arrow IPC files with a known schema, an identity, and rejects beside them.

An artifact is an Arrow IPC file, zstd, written to a temporary name in the same folder and moved into place. The same
input gives the same bytes. Its schema metadata carries the kind, the format version, the identity (all that the
result depends on) and the fingerprint, a digest of these. `docs/artifacts.md` lists the kinds for users.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from distrace.errors import DistraceError
from distrace.identity import canonical_json, digest

FORMAT_VERSION = 1

_TEXT = pa.large_string()
_INT = pa.int32()
_REAL = pa.float64()


def _list(of: pa.DataType) -> pa.DataType:
    return pa.large_list(of)


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


SCHEMAS = {
    "questions": _schema(question_id=_TEXT, question=_TEXT, answer=_TEXT, solution=_TEXT),
    "rollouts": _schema(
        rollout_id=_TEXT,
        question_id=_TEXT,
        sample=_INT,
        text=_TEXT,
        answer_start=_INT,
        token_ids=_list(_INT),
        logprobs=_list(pa.float32()),
        finish_reason=_TEXT,
    ),
    "grades": _schema(rollout_id=_TEXT, question_id=_TEXT, extracted=_TEXT, correct=pa.bool_(), reason=_TEXT),
    "sentences": _schema(rollout_id=_TEXT, sentence=_INT, start=_INT, end=_INT),
    "logprobs": _schema(
        rollout_id=_TEXT,
        token_ids=_list(_INT),
        starts=_list(_INT),
        ends=_list(_INT),
        logprobs=_list(pa.float32()),
        ranks=_list(pa.int16()),
    ),
    "provenance": _schema(
        rollout_id=_TEXT,
        sentence=_INT,
        start=_INT,
        end=_INT,
        p_teacher=_REAL,
        p_student=_REAL,
        p_distilled=_REAL,
        tokens_teacher=_INT,
        tokens_student=_INT,
        tokens_distilled=_INT,
        label=_TEXT,
    ),
    "precision": _schema(
        rollout_id=_TEXT,
        sentence=_INT,
        start=_INT,
        end=_INT,
        p_teacher=_REAL,
        p_student=_REAL,
        p_distilled=_REAL,
        label=_TEXT,
        p_teacher_float32=_REAL,
        p_student_float32=_REAL,
        p_distilled_float32=_REAL,
        label_float32=_TEXT,
    ),
    "positions": _schema(position=_INT, correct=pa.bool_(), label=_TEXT, sentences=_INT, responses=_INT),
    "truth": _schema(rollout_id=_TEXT, sentence=_INT, origin=_TEXT),
    "validation": _schema(alpha=_REAL, beta=_REAL, length=_INT, origin=_TEXT, label=_TEXT, sentences=_INT),
    "separation": _schema(rollout_id=_TEXT, sentence=_INT, origin=_TEXT, p_teacher=_REAL, p_student=_REAL),
    "attribution": _schema(
        rollout_id=_TEXT,
        question_id=_TEXT,
        role=_TEXT,
        teacher=_TEXT,
        other=_TEXT,
        lean=_REAL,
        sentences=_INT,
    ),
    "ranking": _schema(rollout_id=_TEXT, question_id=_TEXT, sample=_INT),
    "selection": _schema(rollout_id=_TEXT, question_id=_TEXT, rank=_INT, reason=_TEXT),
    "training": _schema(step=_INT, epoch=_REAL, loss=_REAL, learning_rate=_REAL),
    "rejects": _schema(source=_TEXT, row=_INT, reason=_TEXT),
}


@dataclass(frozen=True)
class Metadata:
    """What an artifact says of itself; `rows` counts its rows."""

    kind: str
    version: int
    fingerprint: str
    identity: dict
    rows: int


def fingerprint_of(kind: str, identity: Mapping) -> str:
    """Give the fingerprint of an artifact of this kind with this identity."""
    return digest({"kind": kind, "version": FORMAT_VERSION, "identity": identity})


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place if the block ends well, else is removed."""
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


def write(path: Path, kind: str, rows: pl.DataFrame | pa.Table | Iterable[Mapping], identity: Mapping) -> str:
    """Write an artifact and give its fingerprint.

    `rows` holds the columns of `SCHEMAS[kind]`, null where a row has none; a frame's further columns follow them.
    Raises DistraceError when a column is missing or does not fit its type.
    """
    table = _conform(rows, kind)
    fingerprint = fingerprint_of(kind, identity)
    about = {"kind": kind, "version": FORMAT_VERSION, "fingerprint": fingerprint, "identity": identity}
    table = table.replace_schema_metadata({"distrace": canonical_json(about)})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), table.schema, options=options) as sink:
        sink.write_table(table.combine_chunks())
    return fingerprint


def _conform(rows: pl.DataFrame | pa.Table | Iterable[Mapping], kind: str) -> pa.Table:
    try:
        if not isinstance(rows, pl.DataFrame | pa.Table):
            return _table(list(rows), kind)
        table = rows.to_arrow() if isinstance(rows, pl.DataFrame) else rows
        _require_columns(kind, table.column_names)
        extra = [field for field in table.schema if field.name not in SCHEMAS[kind].names]
        schema = pa.schema([*SCHEMAS[kind], *extra])
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise DistraceError(f"a column does not fit an artifact of kind {kind!r}: {error}") from error


def _table(rows: list[Mapping], kind: str) -> pa.Table:
    # pyarrow would fill a column that a row lacks with null, and drop one that the schema lacks.
    for number, row in enumerate(rows):
        _require_columns(kind, row, f" in row {number}")
        if unknown := sorted(row.keys() - set(SCHEMAS[kind].names)):
            raise DistraceError(f"an artifact of kind {kind!r} has no columns {unknown} (row {number}); give a frame")
    return pa.Table.from_pylist(rows, schema=SCHEMAS[kind])


def _require_columns(kind: str, found: Iterable[str], where: str = "") -> None:
    found = list(found)
    if missing := [name for name in SCHEMAS[kind].names if name not in found]:
        raise DistraceError(f"an artifact of kind {kind!r} needs the columns {missing}{where}; it has {found}")


def metadata(path: Path, kind: str | None = None) -> Metadata:
    """Read an artifact's metadata; raise DistraceError if the file is broken, foreign, or of another kind."""
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
    if about["version"] != FORMAT_VERSION or (kind is not None and about["kind"] != kind):
        raise DistraceError(
            f"{path}: holds {about['kind']!r} in format {about['version']}; "
            f"expected {kind or about['kind']!r} in format {FORMAT_VERSION}; delete it and run again"
        )
    return Metadata(about["kind"], about["version"], about["fingerprint"], about["identity"], rows)


def read(path: Path, kind: str, columns: list[str] | None = None) -> pl.DataFrame:
    """Read an artifact, all columns or those named; raises as `metadata` does."""
    metadata(path, kind)
    try:
        return pl.read_ipc(path, columns=columns)
    except pl.exceptions.ComputeError as error:
        raise DistraceError(f"{path}: broken inside ({error}); delete it and run again") from error


def require_made_from(path: Path, source: str, expected: Path) -> None:
    """Raise DistraceError unless the artifact at `path` was computed from the very artifact at `expected`.

    `source` is the name under which the identity of `path` holds the fingerprint of its input.
    """
    found, wanted = metadata(path).identity.get(source), metadata(expected).fingerprint
    if found != wanted:
        raise DistraceError(
            f"{path} was computed from {source} {found}, but {expected} is {wanted}; delete {path} and run again"
        )


def require_same(source: str, path: Path, other: Path) -> None:
    """Raise DistraceError unless two artifacts were computed from the same one; `source` is as above."""
    found, wanted = (metadata(p).identity.get(source) for p in (path, other))
    if found is None or found != wanted:
        raise DistraceError(
            f"{path} was computed from {source} {found}, {other} from {wanted}; delete the older one and run again"
        )


def rejects_path(path: Path) -> Path:
    """Give the path of the rejects beside an artifact."""
    return Path(path).with_suffix(".rejects.arrow")


def write_with_rejects(
    path: Path,
    kind: str,
    rows: pl.DataFrame | Iterable[Mapping],
    rejects: list[Mapping],
    identity: Mapping,
    rows_in: int,
) -> None:
    """Write an artifact and, beside it, the rows it drops; raise AssertionError if a row went missing on the way.

    `rejects` are rows of `source` (a name or id), `row` (its number in the source) and `reason`.
    """
    rows = rows if isinstance(rows, pl.DataFrame) else list(rows)
    assert len(rows) + len(rejects) == rows_in, (
        f"{path}: {rows_in} rows came in, {len(rows)} go out and {len(rejects)} are rejected"
    )
    write(rejects_path(path), "rejects", rejects, {"of": fingerprint_of(kind, identity)})
    write(path, kind, rows, identity)


def concatenated(paths: Iterable[Path], kind: str) -> pl.DataFrame:
    """Read the parts of one artifact, in order, as one frame."""
    return pl.concat([read(path, kind) for path in paths])
