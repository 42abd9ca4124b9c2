"""ringleader: where does a key live (placement), and what do all replicas agree on (consensus).

    >>> from ringleader import HashRing
    >>> ring = HashRing(["cache-1", "cache-2", "cache-3"])
    >>> ring["user:42"]
    'cache-3'

`ringleader.placement` holds the ring and its nodes, `ringleader.keys` says what a key is,
`ringleader.hashing` has the hash functions, `ringleader.errors` every error raised on purpose.

    >>> from ringleader.consensus import Driver, Log, Raft

`ringleader.consensus` holds Raft, its log and its quorums, `ringleader.storage` makes them durable,
`ringleader.sim` tests them.  They are imported when they are asked for, not with the ring.
"""

from ringleader.placement import HashRing, Node, Replicas

__all__ = ["HashRing", "Node", "Replicas", "__version__"]

__version__ = "0.1.0"
