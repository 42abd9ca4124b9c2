"""A node of the replicated store: shards of consensus groups, spoken to by any Redis client.

`replies`, `commands` and `store` are the replicated state machine; `session` and `server` speak to
clients, `codec` and `peers` to other nodes; `shard`, `router` and `node` put them together.
"""
