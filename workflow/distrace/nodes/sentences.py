"""The sentences node: where each sentence of each response begins and ends.

Run by the workflow as `python -m distrace.nodes.sentences --rollouts PARTS --splitter sentences --out PARTS`.
"""

from pathlib import Path

from distrace import command, kinds
from distrace.artifacts import is_written, open_artifact, write
from distrace.text.splitting import sentences_of
from distrace.versions import NODE_VERSIONS


def write_sentences(rollouts: Path, splitter: str, out: Path) -> None:
    """Write the sentences of a part of rollouts; an empty response has none."""
    written = open_artifact(rollouts, kinds.ROLLOUTS)
    identity = {
        "version": NODE_VERSIONS["sentences"],
        "rollouts": written.fingerprint,
        "splitter": splitter,
    }
    if is_written(out, kinds.SENTENCES, identity):
        return
    rows = sentences_of(written.read("rollout_id", "text", "answer_start"), splitter)
    write(out, kinds.SENTENCES, rows, identity)


if __name__ == "__main__":
    command.run_each_part(write_sentences)
