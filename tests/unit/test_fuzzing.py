"""Each target of the fuzzer holds on a few inputs; `python tests/helpers/fuzzing.py --minutes 60` tries many."""

import random

import pytest

import fuzzing


@pytest.mark.parametrize("name", fuzzing.BY_NAME)
def test_a_few_random_and_damaged_inputs_do_no_harm(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fuzzing.one_round(name, random.SystemRandom().randrange(2**32), 10)


def test_a_finding_is_told_with_its_seed(monkeypatch):
    monkeypatch.setattr(fuzzing, "__file__", "/nonexistent.py")
    assert fuzzing._in_process("arrow", 7, 1).startswith("arrow, seed 7: status 2\n")
