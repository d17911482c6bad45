from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest

from distrace.errors import DistraceError
from distrace.models import Card, folder_card, load_tokenizer, read_card, rename_card, replacing_folder, write_card
from tiny import tiny_tokenizer, write_author


def test_a_card_whose_weights_are_gone_is_refused(tmp_path):
    write_card(tmp_path / "model.json", Card("student", str(tmp_path / "gone"), None, "f"))
    with pytest.raises(DistraceError, match=r"gone are gone; delete .*model\.json and run again"):
        read_card(tmp_path / "model.json")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "weights"
    for name in ("old", "new"):
        with replacing_folder(folder) as unfinished:
            (unfinished / name).touch()
    with suppress(KeyboardInterrupt), replacing_folder(folder) as unfinished:
        (unfinished / "half").touch()
        raise KeyboardInterrupt
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["weights", "weights/new"]


def test_a_tokenizer_whose_files_say_to_cut_and_pad_does_neither_in_many_threads_at_once(tmp_path):
    write_author(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=8)
    tokenizer.save_pretrained(tmp_path)
    text, together = "4 and 3 make 7. " * 5000, Barrier(4, timeout=10)

    def tokens(_: int) -> list[int]:
        together.wait()
        return loaded(text, add_special_tokens=False).input_ids

    for _ in range(3):
        loaded = load_tokenizer(folder_card("cutting", str(tmp_path)), trust_remote_code=False)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(tokens, range(4))) == [tiny_tokenizer()(text, add_special_tokens=False).input_ids] * 4


def test_a_card_takes_another_name_and_folder_and_stays_the_same_model(tmp_path):
    path, card = tmp_path / "model.json", Card("student", "theirs", None, "f")
    write_card(path, card)
    rename_card(path, "tuned", str(tmp_path))
    assert read_card(path) == Card("tuned", str(tmp_path), None, "f")
