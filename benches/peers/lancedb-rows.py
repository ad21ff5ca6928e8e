"""Single-row appends and full scans of LanceDB: `lancedb-rows.py DIR APPENDS SCAN_ROWS SCANS`; prints one line of JSON.

The rows are those that `meshagent bench dataset` writes: an id, a text, a time and a vector of 16.
"""

import json
import shutil
import sys
import time
from datetime import datetime, timedelta, timezone

import lancedb
import pyarrow as pa

folder, appends, scan_rows, scans = sys.argv[1], *map(int, sys.argv[2:])
DIMENSIONS = 16
BATCH = 50_000
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("vector", pa.list_(pa.float32(), DIMENSIONS)),
    ]
)


def rows(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    flat = pa.array((float(n % 97) for n in numbers for _ in range(DIMENSIONS)), pa.float32())
    return pa.record_batch(
        [
            pa.array(numbers, pa.int64()),
            pa.array(f"message number {n} of a thread" for n in numbers),
            pa.array((START + timedelta(seconds=n) for n in numbers), pa.timestamp("us", tz="UTC")),
            pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS),
        ],
        schema=SCHEMA,
    )


database = lancedb.connect(folder)
single = database.create_table("single", schema=SCHEMA)
append_us = []
for n in range(appends):
    row = pa.Table.from_batches([rows(n, 1)])
    begun = time.perf_counter()
    single.add(row)
    append_us.append((time.perf_counter() - begun) * 1e6)

big = database.create_table("big", schema=SCHEMA)
for first in range(0, scan_rows, BATCH):
    big.add(pa.Table.from_batches([rows(first, min(BATCH, scan_rows - first))]))
scan_s = []
for _ in range(scans):
    begun = time.perf_counter()
    table = big.to_arrow()
    scan_s.append(time.perf_counter() - begun)
    assert table.num_rows == scan_rows
print(json.dumps({"version": lancedb.__version__, "append_us": append_us, "scan_s": scan_s}))
shutil.rmtree(folder, ignore_errors=True)
