"""Finished results of nodes that run a model, kept where Snakemake does not delete them, and shared between projects.

Snakemake decides by dates and parameters which jobs to run, and removes a job's outputs before it runs it again. So a
node that runs a model leaves hard links to what it wrote in a hidden folder beside it (`.NAME.kept`), named after the
fingerprint. A later job with the same fingerprint puts them back within a second: fingerprints decide, not dates. Hard
links take no room while the outputs are there; the folder may be deleted at any time.

Where the environment variable `DISTRACE_STORE` names a folder, what is kept is linked there, too, and looked for there,
so that projects use each other's results (docs/sharing.md). An entry of the store is a folder named after the
fingerprint, with the digests of its files: one that does not hold what was put there is not used.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from distrace.artifacts import Artifact, open_artifact, rejects_path
from distrace.errors import DistraceError
from distrace.identity import canonical_json
from distrace.kinds import Kind
from distrace.rows import file_digest

log = logging.getLogger(__name__)

STORE = "DISTRACE_STORE"
_DIGESTS = "digests.json"


def put_back(out: Path, fingerprint: str) -> bool:
    """Return whether a result with this fingerprint was kept, here or in the store, and is in its place again.

    Raises DistraceError if the store's folder is not given by an absolute path.
    """
    kept = _folder(out) / fingerprint
    if not kept.is_dir() and not _taken_from_store(out, kept):
        return False
    for file in kept.iterdir():
        _link(file, out.parent / file.name)
    log.info("%s was computed before: nothing has changed since", out)
    _share(out, kept)
    return True


def keep(out: Path, fingerprint: str, beside: Iterable[str] = ()) -> None:
    """Keep `out`, its rejects and the files or folders named `beside` it, in place of what was kept before."""
    kept = _folder(out) / fingerprint
    with _filled(kept) as unfinished:
        for path in (out, rejects_path(out), *(out.parent / name for name in beside)):
            if path.exists():
                _link(path, unfinished / path.name)
        shutil.rmtree(kept, ignore_errors=True)
    for older in set(_folder(out).iterdir()) - {kept}:
        shutil.rmtree(older)
    _share(out, kept)


def kept_artifacts(out: Path, kind: Kind) -> Iterator[Artifact]:
    """Yield what was kept of an artifact, under whatever fingerprint; what cannot be read is left out."""
    for path in sorted(_folder(out).glob(f"*/{out.name}")):
        try:
            yield open_artifact(path, kind)
        except DistraceError as error:
            log.warning("not taken up: %s", error)


def _folder(out: Path) -> Path:
    return out.parent / f".{out.name}.kept"


def _store() -> Path | None:
    if not (named := os.environ.get(STORE)):
        return None
    if not Path(named).is_absolute():
        raise DistraceError(f"{STORE}={named}: give an absolute path, which means the same folder in all projects")
    return Path(named)


def _share(out: Path, kept: Path) -> None:
    """Put what was kept into the store unless it is there; a store that cannot be written to fails no job."""
    store = _store()
    if store is None or (store / kept.name).is_dir():
        return
    try:
        with _filled(store / kept.name) as unfinished:
            for path in kept.iterdir():
                _link(path, unfinished / _names_in_store(out).get(path.name, path.name))
            (unfinished / _DIGESTS).write_text(canonical_json(_digests(unfinished)), encoding="utf-8")
    except OSError as error:
        if not (store / kept.name).is_dir():  # another job was not faster
            log.warning("%s is not shared: %s", out, error)


def _taken_from_store(out: Path, kept: Path) -> bool:
    """Return whether the store held the result whole, and it is now kept here."""
    store = _store()
    if store is None or not (entry := store / kept.name).is_dir():
        return False
    names = {stored: name for name, stored in _names_in_store(out).items()}
    try:
        if not _is_whole(entry):
            log.warning("%s does not hold what was put there: it is removed, and the result computed again", entry)
            _remove(entry)
            return False
        with _filled(kept) as unfinished:
            for path in entry.iterdir():
                if path.name != _DIGESTS:
                    _link(path, unfinished / names.get(path.name, path.name))
    except OSError as error:  # such as: another user's, or removed just now
        log.warning("%s is not taken from the store: %s", out, error)
        return False
    log.info("%s is taken from %s", out, entry)
    return True


def _names_in_store(out: Path) -> dict[str, str]:
    """Return the names in the store of an output and of its rejects, whose own names may differ between projects."""
    return {path.name: f"result{path.name.removeprefix(out.stem)}" for path in (out, rejects_path(out))}


def _is_whole(entry: Path) -> bool:
    try:
        return bool(json.loads((entry / _DIGESTS).read_text("utf-8")) == _digests(entry))
    except (FileNotFoundError, ValueError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """Return a digest of the content of each file in a folder, by its path in it, but for the list of digests."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / _DIGESTS]
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def _remove(entry: Path) -> None:
    """Remove an entry at once for all that look for it, as far as this user may."""
    aside = entry.with_name(f".{entry.name}.{uuid4().hex}")
    with suppress(OSError):
        entry.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes `folder` once the block has filled it, and is removed if it fails."""
    unfinished = folder.with_name(f".{folder.name}.{uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Put a hard link to a file, or to each file of a folder, in place of the target."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, copy_function=_link_file)
        return
    temporary = target.with_name(f".{target.name}.link")
    temporary.unlink(missing_ok=True)
    _link_file(source, temporary)
    os.replace(temporary, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or another one
        shutil.copy2(source, target)
