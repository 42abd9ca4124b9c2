"""Replicas: the first n distinct nodes of a key, and who takes over when a node dies."""

from collections import Counter

from ringleader import HashRing

ring = HashRing([f"db-{number}" for number in range(1, 7)])
replicas = ring.get_nodes("order:1001", 3)
print("order:1001 is on", ", ".join(replicas))

# The owner fails: the next replica, which has the data, is the owner now.
survivors = ring.copy()
survivors.remove_node(replicas[0])
assert survivors.get_nodes("order:1001", 2) == replicas[1:]
print(f"without {replicas[0]}, {survivors['order:1001']} takes over")

# The load of a dead node is spread over all others, not pushed onto one neighbour.
keys = [f"order:{number}" for number in range(60_000)]
orphans = [key for key in keys if ring[key] == replicas[0]]
heirs = Counter(survivors[key] for key in orphans)
for name, count in sorted(heirs.items()):
    print(f"{name} inherits {count / len(orphans):.0%}")

# For a whole column: one row for each key, one column for each replica.
table = ring.lookup_replicas(keys, 3)
assert [ring.names[position] for position in table[1001]] == replicas
