"""Making a consensus core's state durable.

`files` is the disk as storage sees it, `record` the framing of its records, `wal` the log of one
group, `memory` the storage that forgets.
"""
