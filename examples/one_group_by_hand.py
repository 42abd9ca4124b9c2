"""A Raft group without a driver: tick, step, propose; then persist, send, apply; then advance."""

from ringleader.consensus import Raft

nodes = {number: Raft(number, (1, 2, 3), seed=number) for number in (1, 2, 3)}
disks = {number: [] for number in nodes}  # what must survive a crash, in the order of writing
under_way = []


def work(node: Raft) -> None:
    """Do what the node has ready."""
    while node.has_ready:
        ready = node.ready()
        disks[node.id] += [part for part in (ready.hard_state, ready.block) if part is not None]
        under_way.extend(ready.messages)  # only now: they speak of what was just persisted
        for index, command in ready.committed or ():
            print(f"node {node.id} applies entry {index}: {command.decode()}")
        node.advance(ready)


def run(ticks: int) -> None:
    for _ in range(ticks):
        for node in nodes.values():
            node.tick()
            work(node)
        while under_way:
            message = under_way.pop(0)
            nodes[message.to].step(message)
            work(nodes[message.to])


run(ticks=30)
leader = next(node for node in nodes.values() if node.role == "leader")
print(f"node {leader.id} leads term {leader.term}")
first = leader.propose([b"set x 1", b"set y 2"])  # one block, whatever their number
run(ticks=1)
assert all(node.last_applied >= first + 1 for node in nodes.values())
print(f"node 1 persisted {disks[1]}")
