"""Cores on disks that write in their own time, and that die between any two records.

A `Ready` is persisted as `ringleader.consensus.ready` says: hard state, chunks, what stands aside,
snapshot, block; what stood aside before is forgotten last.  Here every write waits for its turn,
and a crash keeps some of the first one that waits, cut between two of these, and nothing of those
behind it.  (The simulator does the same with the real log on a simulated disk, whose records are
larger.)  Messages are lost, repeated and overtaken.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from ringleader.consensus.membership import ConfChange
from ringleader.consensus.ready import BytesSource, Ready, Snapshot
from ringleader.errors import RingleaderError
from ringleader.kernels import hashing
from ringleader.storage.memory import MemoryStorage


class Node:
    def __init__(self, id: int) -> None:
        self.id = id
        self.storage = MemoryStorage()
        self.core: Any = None
        self.queued: deque[Ready] = deque()
        self.applied = 0


class World:
    """Five nodes, three of which are the first voters."""

    #: The core, and the settings of which a world takes one.
    core: Any
    configs: tuple[Any, ...]
    transitions = ("auto", "joint", "explicit")

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.config = self.configs[seed % len(self.configs)]
        self.nodes = {id: Node(id) for id in range(1, 6)}
        self.network: list[Any] = []
        self.lives = 0
        #: What was handed to any state machine: index -> (term if that stays, control, payload).
        self.truth: dict[int, tuple[int, bool, bytes]] = {}
        self.leaders: dict[int, int] = {}
        self.reads: dict[bytes, int] = {}
        self.answered = 0
        self.number = 0
        for node in self.nodes.values():
            self.start(node)

    def start(self, node: Node) -> None:
        self.lives += 1
        found = node.storage.load()
        node.queued.clear()
        node.core = self.core(
            node.id,
            (1, 2, 3) if node.id <= 3 else (),
            log=found.log,
            config=self.config,
            seed=self.lives,
            hard_state=found.hard_state,
            snapshot=found.snapshot,
            partial=found.partial,
            **({} if self.core.terms_stay else {"aside": found.aside}),
        )
        node.applied = node.core.last_applied

    def crash(self, node: Node) -> None:
        """Keep of the first write that waits what the disk had done of it."""
        if node.queued:
            first = node.queued[0]
            done = self.random.randrange(7)
            kept = Ready(0)
            kept.hard_state = first.hard_state if done > 0 else None
            kept.chunks = first.chunks if done > 1 else None
            kept.aside = first.aside if done > 2 else None
            kept.snapshot = first.snapshot if done > 3 else None
            kept.block = first.block if done > 4 else None
            kept.clears_aside = first.clears_aside if done > 5 else False
            node.storage.write(kept, lambda ready: None)
        node.core = None

    def persist(self, node: Node) -> None:
        ready = node.queued.popleft()
        core = node.core
        node.storage.write(ready, lambda ready: None)
        if ready.snapshot is not None:
            ready.snapshot.source = node.storage.open_snapshot()
        core.persisted(ready)
        if ready.snapshot is not None:
            node.applied = max(node.applied, ready.snapshot.index)
        self.network += ready.messages[ready.early :]

    def work(self, node: Node) -> None:
        core = node.core
        while core.has_ready:
            ready = core.ready()
            self.network += ready.messages[: ready.early]
            if (entries := ready.committed) is not None:
                assert entries.first == node.applied + 1, "entries are skipped or repeated"
                for index in range(entries.first, entries.last + 1):
                    entry = (
                        entries.term(index) if core.terms_stay else 0,
                        entries.is_control(index),
                        bytes(entries[index]),
                    )
                    assert self.truth.setdefault(index, entry) == entry, (
                        f"node {node.id} applies {entry} at {index}, another {self.truth[index]}"
                    )
                node.applied = entries.last
                core.applied(entries.last)
            for read in ready.reads or ():
                asked = self.reads.pop(read.context, None)
                if asked is not None and read.index:
                    self.answered += 1
                    assert read.index >= asked, "a read does not see what was committed before"
            if ready.writes or node.queued:
                node.queued.append(ready)
            else:
                core.persisted(ready)
                self.network += ready.messages[ready.early :]
        if core.role == "leader":
            assert self.leaders.setdefault(core.term, node.id) == node.id, "two leaders in a term"

    def up(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.core is not None]

    def step(self) -> None:
        """Something happens somewhere."""
        random = self.random
        what = random.random()
        if what < 0.55 and self.network:
            # Mostly in order; sometimes not, not at all, or twice.
            at = 0 if random.random() < 0.7 else random.randrange(len(self.network))
            luck = random.random()
            message = self.network[at] if luck < 0.03 else self.network.pop(at)
            node = self.nodes[message.to]
            if node.core is not None and luck < 0.97:
                node.core.step(message)
                self.work(node)
            return
        node = random.choice(list(self.nodes.values()))
        core = node.core
        if core is None:
            if random.random() < 0.3:
                self.start(node)
                self.work(node)
        elif what < 0.80:
            if node.queued:
                self.persist(node)
                self.work(node)
        elif what < 0.88:
            core.tick(random.randrange(1, 4))
            self.work(node)
        elif what < 0.89:
            self.crash(node)
        else:
            self.ask(node, core)
            self.work(node)

    def ask(self, node: Node, core: Any) -> None:
        random = self.random
        self.number += 1
        try:
            what = random.randrange(20)
            if what < 10:
                core.propose([b"%d.%d" % (self.number, at) for at in range(random.randrange(1, 5))])
            elif what < 13:
                context = b"%d" % self.number
                self.reads[context] = max(other.core.commit for other in self.up() if other.core)
                core.read_index(context)
            elif what < 15:
                self.snapshot(node, core)
            elif what < 16:
                core.transfer(random.randrange(1, 6))
            elif what < 17:
                core.campaign()
            elif what < 18:
                core.forward([b"f%d" % self.number])
            elif core.membership.joint:
                core.change_config(ConfChange.leave_joint())
            else:
                ids = random.sample(range(1, 6), random.randrange(1, 3))
                kind = random.choice(["voters", "remove", "learners"])
                how = random.choice(self.transitions)
                core.change_config(ConfChange(**{kind: ids}, transition=how))
        except RingleaderError:
            pass

    def snapshot(self, node: Node, core: Any) -> None:
        index = core.last_applied
        if index <= max(core.log.base, core.snapshot.index if core.snapshot else 0):
            return
        membership = core.membership_at(index)
        if not membership.voters:
            return
        data = b"state at %d" % index
        snapshot = Snapshot(
            index,
            core.log.term(index),
            membership,
            BytesSource(data),
            hashing.crc32c(data),
        )
        if any(ready.snapshot is not None for ready in node.queued):
            return
        keep_from = max(core.log.base + 1, index + 1 - self.random.choice([0, 2]))
        node.storage.save_snapshot(snapshot, keep_from, lambda: None)
        core.compact(snapshot, keep_from)

    def heal(self) -> None:
        """All work, nothing is lost: a leader, everything committed, and all alike."""
        for node in self.nodes.values():
            if node.core is None:
                self.start(node)
        for _ in range(400):
            for node in self.nodes.values():
                node.core.tick()
                self.work(node)
            for _ in range(100):
                for node in self.nodes.values():
                    while node.queued:
                        self.persist(node)
                        self.work(node)
                if not self.network:
                    break
                batch, self.network = self.network, []
                for message in batch:
                    core = self.nodes[message.to].core
                    core.step(message)
                    self.work(self.nodes[message.to])
            leader = max(
                (node.core for node in self.nodes.values() if node.core.role == "leader"),
                key=lambda core: core.term,
                default=None,
            )
            if leader is None:
                continue
            if leader.membership.joint and not leader.membership.auto_leave:
                try:
                    leader.change_config(ConfChange.leave_joint())
                except RingleaderError:
                    continue
                continue
            members = [self.nodes[id].core for id in leader.membership.members]
            if {core.last_applied for core in members} == {leader.log.last}:
                return
        raise AssertionError(f"no peace after healing: {[n.core for n in self.nodes.values()]}")
