"""How available a placement is, exactly, and which one would be better."""

from ringleader import availability

FLEET = {"node": 0.999, "dc": 0.9995}  # how often a node, and a datacenter as a whole, is up

model = availability.Model("eu=2,us=2,ap=1", **FLEET)
for quorum in ("majority", "one", "all", "local_quorum:eu", "each_quorum", "majorities:2"):
    print(f"{quorum:15}  {model.availability(quorum)}")

# Some quorum is live far more often than one that was picked without looking.
print(f"\na majority picked blindly: {model.blind(3)}")
print(f"with one node of five down it is all live in {availability.avoids(5, 3, failed=1):.0%}")

# The exact answer beside states drawn at random.
estimate = model.estimate("each_quorum", 200_000, seed=1)
assert estimate.agrees_with(model.availability("each_quorum"))

# The same five replicas, placed in every other way; a fourth datacenter may be used.
fleet = {"node": 0.999, "dc": {"eu": 0.9995, "us": 0.9995, "ap": 0.99, "sa": 0.999}}
print("\nbetter placements of five replicas:")
for choice in availability.better("eu=2,us=2,ap=1", **fleet, datacenters=fleet["dc"])[:4]:
    survives = choice.write_quorum.survives(choice.counts)
    print(f"{choice.policy:24}  down {choice.write.downtime:>12} a year; survives any {survives}")
