"""Your own state machine on three nodes: a bank, whose accounts survive the loss of a node.

All three live in this process: a list of messages stands for the network, memory for the disks.
"""

import json

from ringleader.consensus import Driver, Entries, Outcome, Raft
from ringleader.consensus.raft import Message
from ringleader.consensus.ready import SnapshotSource
from ringleader.storage.memory import MemoryStorage


class Bank:
    """Accounts, and the transfers that were made: one that is repeated moves no money."""

    def __init__(self) -> None:
        self.accounts = {"ann": 100, "bob": 100, "eve": 100}
        self.made: set[int] = set()

    def apply(self, entries: Entries) -> list[str]:
        return [self.transfer(*json.loads(command)) for _, command in entries]

    def transfer(self, number: int, source: str, target: str, amount: int) -> str:
        if number in self.made or self.accounts[source] < amount:
            return "made before" if number in self.made else "refused"
        self.made.add(number)
        self.accounts[source] -= amount
        self.accounts[target] += amount
        return "made"

    def snapshot(self) -> bytes:
        return json.dumps([self.accounts, sorted(self.made)], sort_keys=True).encode()

    def restore(self, source: SnapshotSource) -> None:
        self.accounts, made = json.loads(source.read(0, source.total_bytes))
        self.made = set(made)


class Network(dict[int, Driver]):
    """The nodes that are up, and the messages between them."""

    def __init__(self) -> None:
        self.under_way: list[Message] = []

    def send(self, messages: list[Message]) -> None:  # all that a driver asks of a transport
        self.under_way += messages

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            for node in self.values():
                node.tick()
            while self.under_way:
                message = self.under_way.pop(0)
                if message.to in self:
                    self[message.to].receive(message)

    def leader(self) -> Driver:
        return next(node for node in self.values() if node.core.leader == node.core.id)


if __name__ == "__main__":
    network, banks = Network(), {number: Bank() for number in (1, 2, 3)}
    for number, bank in banks.items():
        core = Raft(number, (1, 2, 3), seed=number)
        network[number] = Driver(core, MemoryStorage(), network, bank)
    network.run(30)  # longer than any election timeout

    def show(outcome: Outcome) -> None:
        print(f"  transfers {outcome.kind}: {list(outcome.results)}")

    print(f"node {network.leader().core.id} leads")
    transfers = [[1, "ann", "bob", 30], [2, "eve", "ann", 500], [1, "ann", "bob", 30]]
    network.leader().propose([json.dumps(transfer).encode() for transfer in transfers], show)
    network.run(1)
    assert banks[1].snapshot() == banks[2].snapshot() == banks[3].snapshot()

    del network[network.leader().core.id]
    network.run(60)
    print(f"it fails, and node {(id := network.leader().core.id)} leads")
    network[id].propose([json.dumps([3, "bob", "eve", 130]).encode()], show)
    network[id].read(lambda outcome: print(f"  read {outcome.kind}: {banks[id].accounts}"))
    network.run(1)
