"""A config that asks for some of everything, and changes to it, for the tests of config and plan."""

import copy

import yaml

CONFIG = yaml.safe_load("""
questions:
  gsm: {source: {file: train.jsonl}, solution: answer, parts: 12}
  test: {source: {file: test.jsonl}}
models:
  big: {source: {hub: owner/big, revision: abc}}
  other: {source: {hub: owner/other, revision: abc}}
  small: {source: {folder: small}, dtype: bfloat16, format: plain, token_budget: 64}
  tuned: {source: {finetune: {base: small, questions: gsm, training: short}}}
  ready: {source: {folder: ready}}
sampling:
  explore: {samples: 4, temperature: 0.6}
  answer: {}
training:
  short: {max_steps: 3}
scores: {}
strategies: {}
runs:
  main:
    teachers: [big, other]
    student: small
    candidates: {questions: gsm, sampling: explore}
    strategies: [teacher_count, random]
    training: short
    seeds: [0, 5]
    test: {questions: [gsm, test], sampling: answer}
  given:
    teachers: [big, other]
    student: small
    distilled: ready
    test: {questions: [test], sampling: answer}
""")


SERVER = {"url": "http://gpu-node:8000/v1", "model": "owner/big@abc"}


def config_with(path: str, value: object) -> dict:
    """Return the config with one value put at a path of keys; a `...` takes the key out."""
    config = copy.deepcopy(CONFIG)
    *way, last = path.split("/")
    place = config
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config
