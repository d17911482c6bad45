"""Write a model folder with random weights in the shape of a large model, to measure speed and memory where none is.

    python benchmarks/random_model.py --tokenizer FOLDER --out FOLDER [--shape qwen2.5-7b] [--gpu]

Speed and memory follow from the shape. What such a model writes means nothing, and neither do its log-probs.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

# hidden size, feed-forward size, layers, heads, heads of keys and values, vocabulary (the models' own config.json)
SHAPES = {
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, 151936),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936),
    "qwen2.5-7b": (3584, 18944, 28, 28, 4, 152064),
}


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokenizer", required=True, help="a folder with a tokenizer of no more tokens than the shape")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shape", choices=list(SHAPES), default="qwen2.5-7b")
    parser.add_argument("--gpu", action="store_true", help="draw the weights on the first GPU")
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.device("cuda" if options.gpu else "cpu"):
        model = AutoModelForCausalLM.from_config(config_of(*SHAPES[options.shape]), dtype=torch.bfloat16)
    model.save_pretrained(options.out, max_shard_size="4GB")
    AutoTokenizer.from_pretrained(options.tokenizer).save_pretrained(options.out)


def config_of(hidden: int, feed_forward: int, layers: int, heads: int, key_heads: int, vocabulary: int) -> Qwen2Config:
    """Return the config of a Qwen2 of this shape, with a context of 32,768 tokens."""
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=32768,
        tie_word_embeddings=hidden < 3000,
        bos_token_id=None,
        eos_token_id=None,
    )


if __name__ == "__main__":
    main()
