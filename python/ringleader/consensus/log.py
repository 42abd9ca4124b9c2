"""The replicated log: entries in three contiguous columns, and the blocks in which they travel.

Entries are 1-based and numbered without gaps.  An entry is a term and a payload; a *control* entry
(`CONTROL_BIT` in its word) is the consensus core's own, and no command for the state machine.

    index       ... base │ first = base + 1          ...           last │
                compacted│ terms    u64, bit 63: control entry          │
                         │ ends     u64, running end of each payload    │
                         │ payload  u8, one behind the other            │

The columns lie in an arena, and `terms`, `ends` and `payload` are NumPy views of it, without a
copy.  `ends` counts every payload byte since the log was made or restored, so that compaction
changes none of them: the payload of the entry in row i is

    payload[ends[i - 1] - ends_origin : ends[i] - ends_origin]      (from 0 for row 0)

Entries travel as a `Block`: header, terms, ends and payload in one run of bytes, encoded once, and
the same bytes on the wire, in the write-ahead log and in the follower's `try_append`.  What a
block guarantees is checked when its bytes enter, by `Block(data)` or `try_append(..., data)`; a
`Block` in hand is never checked again.

 1. It begins with "RLBK" and a version that this ringleader reads (`VersionError` for a newer one).
 2. It has no unknown flags.
 3. It holds 1 ... `limits.BLOCK_ENTRIES_MAX` entries.
 4. Its indices are consecutive and in 1 ... `limits.INDEX_MAX`.
 5. It has exactly the bytes that its header says, at most `limits.BLOCK_BYTES_MAX`.
 6. The CRC32C of everything else is the one in its header.
 7. Terms are in 1 ... `limits.TERM_MAX` and never go back.
 8. It is flagged to hold control entries if and only if it does.
 9. Ends never go back, and the last one is the payload's end.
10. No payload has more than `limits.PAYLOAD_BYTES_MAX` bytes.

What a log guarantees, whatever it is fed:

 1. A call that raises has changed nothing.
 2. Terms never go back from one entry to the next.
 3. Nothing up to `base` is ever changed.
 4. `try_append` drops an entry only for one of the same index and another term (or kind): a late
    or repeated message never shortens a log.
 5. A view -- a column, `log[index]`, `Entries` -- never changes while somebody holds it.  A log
    that would have to move or overwrite what is held goes on in fresh memory instead.

A log is used from one thread at a time; its views and its blocks are everybody's.

The layout of blocks is in docs/formats.md.  `AppendEntries` is from D. Ongaro and J. Ousterhout, In
Search of an Understandable Consensus Algorithm, USENIX ATC 2014, figure 2 and section 5.3.
"""

from __future__ import annotations

from ringleader.kernels import log as _log

__all__ = [
    "BLOCK_HEADER_BYTES",
    "BLOCK_VERSION",
    "CONTROL_BIT",
    "ENTRY_BYTES",
    "Block",
    "Entries",
    "Log",
]

#: What an entry takes in a log, and in a block, besides its payload: a term and an end.
ENTRY_BYTES = 16
BLOCK_HEADER_BYTES = _log.BLOCK_HEADER_BYTES
BLOCK_VERSION = _log.BLOCK_VERSION
CONTROL_BIT = _log.CONTROL_BIT
Block = _log.Block
Entries = _log.Entries
Log = _log.Log
