"""Keys that an adversary chooses: a secret seed keeps them from piling onto one node.

Whoever knows the hash and the ring can pick keys that all live on one node.  With siphash13 and a
secret, the same keys are spread like any others, and nobody can find better ones by computing.
"""

import secrets
from collections import Counter

from ringleader import HashRing

nodes = [f"node-{number}" for number in range(8)]

# The attacker runs the public hash at home and keeps the keys that hit node-3.
public = HashRing(nodes)
attack = [key for key in (f"key:{number}" for number in range(80_000)) if public[key] == "node-3"]
print(f"{len(attack):,} chosen keys, all on {set(map(public.get_node, attack))}")

secret = secrets.randbits(128)  # keep it where passwords are kept; every reader needs the same
keyed = HashRing(nodes, hash="siphash13", seed=secret)
counts = Counter(map(keyed.get_node, attack))
for name in nodes:
    print(f"{name} gets {counts[name] / len(attack):.1%}")
assert max(counts.values()) < 0.3 * len(attack)

# The secret does not show up in logs.
assert str(secret) not in repr(keyed)
