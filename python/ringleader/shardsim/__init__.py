"""The node's own shards under the simulator: `ringleader simulate --machine store`.

    mirror      what commands do, written down a second time, plainly
    scenario    `Shards`: a `sim.workload.Scenario` with a `node.shard.Shard` on every node
    clients     what clients ask for, and what is checked of the answers

`ringleader.sim` knows nothing of nodes, and `ringleader.node` nothing of the simulator; here the
two meet.  Nothing of a shard is copied or replaced: only its driver gives each batch a name before
it is proposed, which the machine takes off again, so that a batch which was applied twice, or
after it was refused, is seen.
"""
