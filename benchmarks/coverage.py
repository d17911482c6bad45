"""How often 95 % intervals of the difference of two equally good strategies hold 0, on made-up answers.

    python benchmarks/coverage.py [--questions 300] [--trials 2000]

Seeds cross questions, so the variance of a mean can be put together in several ways; docs/evaluation.md has the table.
"""

import argparse

import numpy as np

WAYS = ("questions alone", "questions and seeds, added", "product of weights")
SEEDS, SPREADS = (1, 2, 3, 5), (0.0, 0.02, 0.05)
Z = 1.96


def main() -> None:
    """Print a line for each number of seeds and each spread of their accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--trials", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print("seeds", "spread", *WAYS, sep="\t")
    for seeds in SEEDS:
        for spread in SPREADS:
            held = [holds(differences(seeds, options.questions, spread, rng)) for _ in range(options.trials)]
            print(seeds, spread, *(f"{share:.3f}" for share in np.mean(held, axis=0)), sep="\t")


def differences(seeds: int, questions: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Return differences of right answers [seeds, questions]: `spread` is that of the accuracies of seeds."""
    hard = rng.uniform(0.1, 0.7, questions)
    luck = rng.normal(0, spread, (2, seeds, 1))
    apart = np.stack([rng.normal(0, 0.05, questions), np.zeros(questions)])[:, None, :]
    right = rng.random((2, seeds, questions)) < np.clip(hard + luck, 0, 1) + apart
    return right[0].astype(float) - right[1]


def holds(found: np.ndarray) -> list[bool]:
    """Return for each of `WAYS` whether the interval with its variance holds 0."""
    seeds, questions = found.shape
    mean, by_question, by_seed = found.mean(), found.mean(axis=0), found.mean(axis=1)
    of_questions, of_seeds, of_answers = by_question.var() / questions, 0.0, 0.0
    if seeds > 1:
        of_seeds = by_seed.var(ddof=1) / seeds
        rest = found - by_question - by_seed[:, None] + mean
        of_answers = (rest**2).sum() / ((seeds - 1) * (questions - 1)) / found.size
    variances = (of_questions, of_questions + of_seeds, of_questions + of_seeds + of_answers)
    return [bool(abs(mean) <= Z * variance**0.5) for variance in variances]


if __name__ == "__main__":
    main()
