"""Place columns of Polars, PyArrow and NumPy, in place: no copy, no Python object for a key.

Needs: pip install "ringleader[arrow]" polars
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ringleader import HashRing

ring = HashRing([f"shard-{number}" for number in range(8)])

# A Polars column in, a column of shard names out.
frame = pl.DataFrame({"user": [f"user:{number}" for number in range(200_000)]})
names = pl.Series(ring.names)
frame = frame.with_columns(shard=names[ring.lookup(frame["user"], threads=2)])
print(frame.group_by("shard").len().sort("shard"))

# A Parquet file, batch by batch; each batch is read where Arrow has it.
sink = pa.BufferOutputStream()
pq.write_table(pa.table({"id": np.arange(500_000)}), sink)
counts = np.zeros(len(ring), np.int64)
for batch in pq.ParquetFile(pa.BufferReader(sink.getvalue())).iter_batches(columns=["id"]):
    counts += np.bincount(ring.lookup(batch.column("id")), minlength=len(ring))
for name, count in zip(ring.names, counts, strict=True):
    print(f"{name} {count:,}")

# An integer is one key whatever holds it.
assert ring[7] == ring.names[ring.lookup(np.array([7], np.uint8))[0]]
