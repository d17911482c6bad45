"""Rows come out of a spool in the parts that they went to, in the order in which they came."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from distrace.spool import Spool, pieces_of

SCHEMA = pa.schema({"number": pa.int32(), "text": pa.large_string(), "list": pa.large_list(pa.int32())})
ROWS = st.lists(
    st.tuples(st.integers(-1, 4), st.text(max_size=5), st.none() | st.lists(st.integers(0, 9), max_size=3)), max_size=12
)


@settings(deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_each_part_gets_its_rows_in_their_order_and_those_of_none_are_left_out(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("spool") / "spool"
    wanted: dict[int, list[dict]] = {part: [] for part in range(6)}
    with Spool(path, SCHEMA) as spool:
        for batch in batches:
            rows = [{"number": number, "text": t, "list": held} for number, (_, t, held) in enumerate(batch)]
            parts = [part for part, _, _ in batch]
            for part, row in zip(parts, rows, strict=True):
                if part >= 0:
                    wanted[part].append(row)
            spool.append(pieces_of(pa.Table.from_pylist(rows, SCHEMA), parts))
        found = {part: spool.take(part) for part in wanted}
    assert {part: table.to_pylist() for part, table in found.items()} == wanted
    assert all(table.schema == SCHEMA and table["text"].num_chunks <= 1 for table in found.values())
