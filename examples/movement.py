"""Movement: what moves when a node joins and another leaves, and in which steps to do it."""

from ringleader import HashRing, Node
from ringleader.placement import Replicas

old = HashRing(
    [Node(f"{dc}-{i}", dc=dc, zone=f"{dc}-{'ab'[i % 2]}") for dc in ("eu", "us") for i in range(4)]
)
new = old.copy()
new.add_node(Node("eu-4", dc="eu", zone="eu-a"))
new.remove_node("us-3")

movement = old.diff(new, Replicas({"eu": 2, "us": 2}, spread="zone"))
print(f"{movement.share:.1%} of the key space is copied; {movement.needed_share:.1%} had to be")
for (source, target), length in movement.datacenters.items():
    print(f"from {source} to {target}: {length / 2**64:.1%}")

# Which of these keys are concerned?
keys = [f"user:{number}" for number in range(100_000)]
of = movement.of(keys)
print(f"{of.count:,} of {len(of):,} keys get another replica")

# 2 TB in each copy, 100 MB/s for each node, two transfers at a time: in which order, how long?
plan = movement.plan(max_concurrent_per_node=2, bytes_per_share=2 * 10**12, max_bytes_per_s=100e6)
assert plan.seconds is not None
assert plan.bound_s is not None
for number, step in enumerate(plan.steps, start=1):
    print(f"step {number}: {len(step.transfers)} transfers, {(step.seconds or 0) / 3600:.1f} h")
    for transfer in step.transfers:
        print(f"    {transfer.source} -> {transfer.target}: {(transfer.bytes or 0) / 1e9:.0f} GB")
print(f"{plan.seconds / 3600:.1f} h in all; no order takes less than {plan.bound_s / 3600:.1f} h")
