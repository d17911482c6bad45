"""What an attention mask costs a training step, for rows that are padded on the right anyway.

    python benchmarks/padding.py [--gpu --hidden 2048 --layers 8 --heads 16 --rows 8 --tokens 4096 --dtype bfloat16]

One model, of random weights, takes the loss and its gradients on the same rows with the batches of `collator_for` and
with those of TRL, which have a mask; which of them comes first alternates. Rows have from half of `--tokens` to all of
them. The JSON line comes last: `ratio` is the median over pairs of the mask's time to that without, above 1 where the
mask costs time; `difference` is the largest of a gradient, as a share of the largest gradient.
"""

import argparse
import json
import statistics
import time
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from distrace.training.collators import collator_for

VOCABULARY = 400


def main() -> None:
    """Measure and print, the JSON line last."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = "cuda" if options.gpu else "cpu"
    model = model_of(options).to(device)
    rows = rows_of(options.rows, options.tokens)
    tokenizer: Any = argparse.Namespace(pad_token_id=0)
    batches = {
        "mask": DataCollatorForLanguageModeling(pad_token_id=0)(rows),
        "none": collator_for(model, tokenizer, packed=False)(rows),
    }
    batches = {name: {key: values.to(device) for key, values in batch.items()} for name, batch in batches.items()}
    gradients = {}
    for name, batch in batches.items():
        seconds_of_step(model, batch, options)  # warms up, too
        gradients[name] = first_gradients(model)
    ratios = []
    for number in range(options.pairs):
        order = sorted(batches, reverse=bool(number % 2))
        seconds = {name: seconds_of_step(model, batches[name], options) for name in order}
        ratios.append(seconds["mask"] / seconds["none"])
        print(f"with a mask {seconds['mask']:.3f} s, without {seconds['none']:.3f} s, ratio {ratios[-1]:.2f}")
    largest = gradients["mask"].abs().max()
    difference = float((gradients["mask"] - gradients["none"]).abs().max() / largest)
    print(json.dumps({"ratio": statistics.median(ratios), "ratios": ratios, "difference": difference}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch")
    parser.add_argument("--tokens", type=int, default=200, help="of the longest row")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the computation")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpu", action="store_true", help="on the first GPU instead of the CPU")
    return parser.parse_args()


def model_of(options: argparse.Namespace) -> LlamaForCausalLM:
    """Return a model of random weights, which computes attention as a training does by default."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden,
        intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        max_position_embeddings=options.tokens,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def rows_of(count: int, tokens: int) -> list[dict[str, list[int]]]:
    """Return rows of unlike length, all of whose tokens are learnt; the first one is the longest."""
    generator = torch.Generator().manual_seed(0)
    lengths = [tokens, *torch.randint(tokens // 2, tokens + 1, (count - 1,), generator=generator).tolist()]
    rows = [torch.randint(1, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    return [{"input_ids": row, "labels": row} for row in rows]


def seconds_of_step(model: LlamaForCausalLM, batch: dict[str, Any], options: argparse.Namespace) -> float:
    """Return the seconds that loss and gradients take, and leave the gradients in the model."""
    model.zero_grad()
    began = time.perf_counter()
    with torch.autocast("cuda" if options.gpu else "cpu", torch.bfloat16, enabled=options.dtype == "bfloat16"):
        loss = model(**batch, use_cache=False).loss
    loss.backward()
    if options.gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def first_gradients(model: LlamaForCausalLM) -> torch.Tensor:
    """Return the gradients of the first layer, flat."""
    gradients = [weights.grad for weights in model.model.layers[0].parameters() if weights.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients])


if __name__ == "__main__":
    main()
