import pytest

from distrace.errors import DistraceError
from distrace.models import Card, read_card, replacing_folder, write_card


def test_a_card_whose_weights_are_gone_is_refused(tmp_path):
    write_card(tmp_path / "model.json", Card("student", str(tmp_path / "gone"), None, "f"))
    with pytest.raises(DistraceError, match=r"gone are gone; delete .*model\.json and run again"):
        read_card(tmp_path / "model.json")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "weights"
    for name in ("old", "new"):
        with replacing_folder(folder) as unfinished:
            (unfinished / name).touch()
    with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as unfinished:
        (unfinished / "half").touch()
        raise KeyboardInterrupt
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["weights", "weights/new"]
