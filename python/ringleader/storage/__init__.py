"""Making a consensus core's state durable.

`files` is the disk as storage sees it, `directory` a real one; `record` is the framing of records,
`wal` the log that the groups of a node share, `recovery` what is read of it after a start, `memory`
the storage that forgets; `examine` looks at a log without touching it.
"""
