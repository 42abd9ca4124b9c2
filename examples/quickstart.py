"""A ring over cache servers: find a key's server, add a server, see what moved."""

from ringleader import HashRing

ring = HashRing(["cache-1", "cache-2", "cache-3"])
print("user:42 lives on", ring["user:42"])

# Many keys at once give positions in ring.names, as a NumPy array.
keys = [f"user:{number}" for number in range(100_000)]
owners = ring.lookup(keys)
for position, name in enumerate(ring.names):
    print(f"{name} has {(owners == position).sum():,} of {len(keys):,} keys")

before = {key: ring[key] for key in keys}
ring.add_node("cache-4")
moved = [key for key in keys if ring[key] != before[key]]
print(f"cache-4 joined: {len(moved) / len(keys):.1%} of the keys moved, its fair share is 25%")

# Only to the server that joined: no key moves between the others.
assert all(ring[key] == "cache-4" for key in moved)

# The ring is the same in every process, on every platform.
assert HashRing.from_bytes(ring.to_bytes()) == ring
