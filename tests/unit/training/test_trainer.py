"""Training on a file of examples; what nodes/test_finetune.py holds of the whole node is not repeated here."""

import pyarrow as pa
import pytest

from distrace.models import folder_card
from distrace.settings import ModelSettings, Training
from distrace.training.examples import SCHEMA
from distrace.training.trainer import train
from tiny import tiny_tokenizer, write_author


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 3), (0.5, 2), (2.0, 6)])
def test_an_epoch_has_as_many_steps_as_it_takes_to_see_each_example_once(tmp_path, epochs, steps):
    write_author(tmp_path / "base")
    examples = tmp_path / "examples.arrow"
    row = {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}
    with pa.ipc.new_stream(str(examples), SCHEMA) as sink:
        for _ in range(2):  # files have many batches of rows
            sink.write_batch(pa.RecordBatch.from_pylist([row] * 5, schema=SCHEMA))
    training = Training(epochs=epochs, batch_size=4, micro_batch_size=2)
    card = folder_card("base", str(tmp_path / "base"))
    rows = train(card, ModelSettings(), training, tiny_tokenizer(), examples, tmp_path, "f")
    assert rows[-1]["step"] == steps
    assert (tmp_path / "weights/model.safetensors").is_file()
    assert not list(tmp_path.glob(".*"))
