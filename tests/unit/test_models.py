import pytest

from distrace.errors import DistraceError
from distrace.models import Card, read_card, write_card


def test_a_card_whose_weights_are_gone_is_refused(tmp_path):
    write_card(tmp_path / "model.json", Card("student", str(tmp_path / "gone"), None, "f"))
    with pytest.raises(DistraceError, match=r"gone are gone; delete .*model\.json and run again"):
        read_card(tmp_path / "model.json")
