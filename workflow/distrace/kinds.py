"""The kinds of artifacts: the columns that every file of a kind has, in order; `docs/artifacts.md` says what they hold.

Nodes refer to each kind by its constant, so that a new kind changes no other node's digest.
"""

from dataclasses import dataclass

import pyarrow as pa

_TEXT = pa.large_string()
_INT = pa.int32()
_REAL = pa.float64()
_FLAG = pa.bool_()


@dataclass(frozen=True)
class Kind:
    """A kind of artifact; a file may hold further columns after those of `schema`.

    Beside one that has rejects lies always a file with them, if only an empty one.
    """

    name: str
    schema: pa.Schema
    has_rejects: bool


def _kind(name: str, has_rejects: bool = False, **columns: pa.DataType) -> Kind:
    return Kind(name, pa.schema(list(columns.items())), has_rejects)


def _list(of: pa.DataType) -> pa.DataType:
    return pa.large_list(of)


QUESTIONS = _kind("questions", has_rejects=True, question_id=_TEXT, question=_TEXT, answer=_TEXT, solution=_TEXT)
ROLLOUTS = _kind(
    "rollouts",
    has_rejects=True,
    rollout_id=_TEXT,
    question_id=_TEXT,
    sample=_INT,
    text=_TEXT,
    answer_start=_INT,
    token_ids=_list(_INT),
    logprobs=_list(pa.float32()),
    finish_reason=_TEXT,
)
GRADES = _kind("grades", rollout_id=_TEXT, question_id=_TEXT, extracted=_TEXT, correct=_FLAG, reason=_TEXT)
SENTENCES = _kind("sentences", rollout_id=_TEXT, sentence=_INT, start=_INT, end=_INT)
LOGPROBS = _kind(
    "logprobs",
    has_rejects=True,
    rollout_id=_TEXT,
    token_ids=_list(_INT),
    starts=_list(_INT),
    ends=_list(_INT),
    logprobs=_list(pa.float32()),
    ranks=_list(pa.int16()),
)
PROVENANCE = _kind(
    "provenance",
    has_rejects=True,
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
)
FLOAT32_CHECK = _kind(
    "float32_check",
    has_rejects=True,
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
)
_EVIDENCE = {
    "words": _INT,
    "stretch_start": _INT,
    "stretch_end": _INT,
    "whole": _FLAG,
    "verbatim": _FLAG,
    "responses": _INT,
    "source_rollout_id": _TEXT,
    "source_question_id": _TEXT,
    "source_sentence": _INT,
    "source_start": _INT,
    "source_end": _INT,
    "similarity": _REAL,
    "similar_rollout_id": _TEXT,
    "similar_question_id": _TEXT,
    "similar_sentence": _INT,
    "similar_start": _INT,
    "similar_end": _INT,
    "similar_text": _TEXT,
    "searched_responses": _INT,
    "searched_words": pa.int64(),
}
EVIDENCE = _kind(
    "evidence",
    rollout_id=_TEXT,
    sentence=_INT,
    start=_INT,
    end=_INT,
    sentence_words=_INT,
    **_EVIDENCE,
    **{f"control_{name}": of for name, of in _EVIDENCE.items()},
)
POSITIONS = _kind("positions", position=_INT, correct=_FLAG, label=_TEXT, sentences=_INT, responses=_INT)
# Lists over the positions of `scale` from the first on.
POSITIONS_BY_QUESTION = _kind(
    "positions_by_question",
    question_id=_TEXT,
    correct=_FLAG,
    section=_TEXT,
    scale=_TEXT,
    responses=_list(_INT),
    Teacher=_list(_INT),
    Student=_list(_INT),
    Shared=_list(_INT),
    Boosted=_list(_INT),
)
SENSITIVITY = _kind(
    "sensitivity",
    splitter=_TEXT,
    alpha=_REAL,
    beta=_REAL,
    question_id=_TEXT,
    Teacher=_INT,
    Student=_INT,
    Shared=_INT,
    Boosted=_INT,
    unlabelled=_INT,
)
TRUTH = _kind("truth", rollout_id=_TEXT, sentence=_INT, origin=_TEXT)
VALIDATION = _kind("validation", alpha=_REAL, beta=_REAL, length=_INT, origin=_TEXT, label=_TEXT, sentences=_INT)
ORACLE = _kind(
    "oracle",
    rollout_id=_TEXT,
    sentence=_INT,
    form=_TEXT,
    origin=_TEXT,
    follows=_FLAG,
    exact_teacher=_REAL,
    exact_student=_REAL,
    p_teacher=_REAL,
    p_student=_REAL,
    label=_TEXT,
)
SEPARATION = _kind(
    "separation", has_rejects=True, rollout_id=_TEXT, sentence=_INT, origin=_TEXT, p_teacher=_REAL, p_student=_REAL
)
ATTRIBUTION = _kind(
    "attribution",
    has_rejects=True,
    rollout_id=_TEXT,
    question_id=_TEXT,
    role=_TEXT,
    teacher=_TEXT,
    other=_TEXT,
    lean=_REAL,
    sentences=_INT,
    author=_TEXT,
    p_teacher=_REAL,
    p_other=_REAL,
)
DISTILLDETECT = _kind(
    "distilldetect",
    has_rejects=True,
    rollout_id=_TEXT,
    question_id=_TEXT,
    teacher=_TEXT,
    loss_distilled=_REAL,
    loss_student=_REAL,
)
RANKING = _kind("ranking", has_rejects=True, rollout_id=_TEXT, question_id=_TEXT, sample=_INT)
SELECTION = _kind("selection", has_rejects=True, rollout_id=_TEXT, question_id=_TEXT, rank=_INT, reason=_TEXT)
TRAINING = _kind("training", has_rejects=True, step=_INT, epoch=_REAL, loss=_REAL, learning_rate=_REAL)
PARTS = _kind("parts", part=_TEXT, fingerprint=_TEXT, rows=_INT, rejects=_TEXT)
REJECTS = _kind("rejects", source=_TEXT, row=_INT, reason=_TEXT)

KINDS = {kind.name: kind for kind in list(globals().values()) if isinstance(kind, Kind)}
