"""Finished results of nodes that run a model, kept where Snakemake does not delete them.

Snakemake decides by dates and parameters which jobs to run, and removes a job's outputs before it runs it again. So a
node that runs a model leaves hard links to what it wrote in a hidden folder beside it (`.NAME.kept`), named after the
fingerprint. A later job with the same fingerprint puts them back within a second: fingerprints decide, not dates. Hard
links take no room while the outputs are there; the folder may be deleted at any time.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from distrace.artifacts import Artifact, open_artifact, rejects_path
from distrace.errors import DistraceError
from distrace.kinds import Kind

log = logging.getLogger(__name__)


def put_back(out: Path, fingerprint: str) -> bool:
    """Return whether a result with this fingerprint was kept, and is in its place again."""
    kept = _folder(out) / fingerprint
    if not kept.is_dir():
        return False
    for file in kept.iterdir():
        _link(file, out.parent / file.name)
    log.info("%s was computed before: nothing has changed since", out)
    return True


def keep(out: Path, fingerprint: str, beside: Iterable[str] = ()) -> None:
    """Keep `out`, its rejects and the files or folders named `beside` it, in place of what was kept before."""
    kept = _folder(out) / fingerprint
    unfinished = kept.with_name(f".{fingerprint}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for path in (out, rejects_path(out), *(out.parent / name for name in beside)):
        if path.exists():
            _link(path, unfinished / path.name)
    shutil.rmtree(kept, ignore_errors=True)
    unfinished.rename(kept)
    for older in set(_folder(out).iterdir()) - {kept}:
        shutil.rmtree(older)


def kept_artifacts(out: Path, kind: Kind) -> Iterator[Artifact]:
    """Yield what was kept of an artifact, under whatever fingerprint; what cannot be read is left out."""
    for path in sorted(_folder(out).glob(f"*/{out.name}")):
        try:
            yield open_artifact(path, kind)
        except DistraceError as error:
            log.warning("not taken up: %s", error)


def _folder(out: Path) -> Path:
    return out.parent / f".{out.name}.kept"


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
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
