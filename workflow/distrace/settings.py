"""The settings of the nodes, as frozen dataclasses; `workflow/distrace/config.schema.yaml` describes each for users.

Settings enter fingerprints, so none of them may name a path, a device or a number of threads. What changes only the
speed is in `Execution` with its `Server`, and in `TrainingExecution`, which enter no fingerprint.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LATER = {"later": True}  # a setting that came after others had entered fingerprints


@dataclass(frozen=True)
class ModelSettings:
    """How a model is run and prompted: what changes its log-probs and samples, but not where the model lies."""

    engine: str = "transformers"
    dtype: str = "float32"
    format: str = "chat"
    instruction: str = "{{ question }}"
    attention: str = "sdpa"
    context_length: int | None = None  # tokens of prompt and response together; None: what the model's config says
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Execution:
    """What changes the speed and the memory of a model's job, but not its result (beyond rounding)."""

    token_budget: int | None = None  # tokens in one batch, padding counted; None: found from the free memory
    gpus: int = 0
    faster_on_cpu: bool = True  # oneDNN and smaller tensors on a CPU (docs/engines.md)
    server: dict[str, Any] | None = None  # the fields of `Server`, for a model that a server runs


@dataclass(frozen=True)
class Server:
    """Where a server is and how requests are sent to it; the name `model` also enters the fingerprint of the card."""

    url: str
    model: str
    api_key_variable: str | None = None  # the environment variable that holds the key; the key is never written down
    concurrency: int = 16
    timeout: float = 1800.0  # seconds for one reply
    retries: int = 6


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn: `samples` per question, each with its own seed, which follows from `seed`."""

    samples: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    max_tokens: int = 1024
    seed: int = 0


@dataclass(frozen=True)
class Grader:
    """How responses are graded; the answer is the first group in the last match of the regular expression `pattern`."""

    method: str = "math"
    pattern: str | None = None


@dataclass(frozen=True)
class Training:
    """Supervised fine-tuning on prompt and response, loss on the response only."""

    method: str = "full"  # or "lora"
    epochs: float = 1.0
    max_steps: int = -1  # -1: as many as the epochs need
    batch_size: int = 8  # responses (or packs) in one optimiser step, over all accumulation steps and processes
    micro_batch_size: int = 8
    learning_rate: float = 1e-5
    schedule: str = "cosine"
    schedule_options: dict[str, Any] | None = None
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    max_length: int = 4096  # tokens; longer examples are rejected
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    lora_rank: int = 16
    lora_alpha: int = 32
    seed: int = 0
    packing: bool = field(default=False, metadata=_LATER)
    held_out: float = field(default=0, metadata=_LATER)  # questions: a share below 1, or a number


@dataclass(frozen=True)
class TrainingExecution:
    """Where a training runs, who is told of it and what it leaves beside the model, but not which model it gives."""

    accelerate: dict[str, Any] | None = None  # what the file says that the config names
    report_to: list[str] | None = None
    keep_checkpoints: int = 0
    gpus: int = 0


IN_ONE_PROCESS = TrainingExecution()


def as_identity(settings: "DataclassInstance") -> dict[str, Any]:
    """Return what settings add to a fingerprint: those that came later only where they differ from their default.

    So results that were computed before a setting existed keep their fingerprints.
    """
    values = asdict(settings)
    unused = {f.name for f in fields(settings) if f.metadata.get("later") and values[f.name] == f.default}
    return {name: value for name, value in values.items() if name not in unused}
