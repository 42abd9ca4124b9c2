"""The record log on a disk that crashes at any moment.

What was acknowledged is there afterwards; what was not is there in order, or not at all; and
spoiled bytes are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from ringleader import kernels
from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot, SnapshotChunk
from ringleader.errors import StorageError
from ringleader.hashing import crc32c
from ringleader.sim.clock import Clock
from ringleader.sim.disk import SimDisk
from ringleader.sim.profiles import FAULTS, SYNC_NVME, DiskFaults
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupLog, GroupStorage, Wal

IDENTITY = LogIdentity("crash", 1)
SHARED = LogIdentity("crash", "n1", layout="raft, 4 groups")
MEMBERS = Membership([1, 2, 3])
HARSH = replace(FAULTS["disk"].disk, torn_rate=0.8, flip_unsynced_rate=0.3, flip_synced_rate=0.0)

#: More than a page of a snapshot file, where the checksums are fast.
LONG = 70_000 if not kernels.PURE else 700

Entry = tuple[int, bytes]


class Model:
    """What the log should hold after each record that was handed over, oldest first.

    A state is (hard state, index of the last snapshot installed, last index, entries by index,
    blocks that stand aside); entries that a snapshot covers may or may not be there.
    """

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: dict[int, Entry] = {}
        self.base = 0
        self.last = 0
        self.last_term = 0
        self.snapshots: dict[int, Snapshot] = {}
        self.aside: list[Block] = []
        self.states: list[tuple[HardState, int, int, dict[int, Entry], list[Block]]] = []
        self.acknowledged = 0
        self.acknowledged_snapshot = 0
        self.note()

    def note(self) -> None:
        self.states.append(
            (self.hard_state, self.base, self.last, dict(self.entries), list(self.aside))
        )

    def check(self, found: Recovered) -> None:
        log = found.log
        got = {i: (log.term(i), bytes(log[i])) for i in range(log.first, log.last + 1)}
        covered = 0
        if found.snapshot is not None:
            covered = found.snapshot.index
            source = found.snapshot.source
            sent = self.snapshots[covered]
            assert source.read(0, source.total_bytes) == sent.source.read(0, 2**30)
            assert found.snapshot.term == sent.term
        assert covered >= self.acknowledged_snapshot
        assert log.base <= covered
        aside = [bytes(block) for block in found.aside]
        for number, state in reversed([*enumerate(self.states)]):
            hard_state, base, last, entries, standing = state
            if (
                number >= self.acknowledged
                and (hard_state.term, hard_state.vote)
                == (found.hard_state.term, found.hard_state.vote)
                and last == log.last
                and base <= covered
                and all(entries.get(i) == entry for i, entry in got.items() if i > base)
                and all(i in got for i in entries if i > covered)
                and aside == [bytes(block) for block in standing if block.last > covered]
            ):
                self.resume(number, found)
                return
        raise AssertionError(f"{found.hard_state}, {log} is no state that was written")

    def resume(self, number: int, found: Recovered) -> None:
        """From here on, this is what is durable."""
        self.hard_state, self.base, self.last, self.entries, _ = self.states[number]
        self.aside = list(found.aside)
        self.hard_state = found.hard_state
        self.entries = dict(self.entries)
        self.last_term = found.log.last_term
        self.states = []
        self.acknowledged = 0
        self.acknowledged_snapshot = found.snapshot.index if found.snapshot is not None else 0
        self.note()


class Life:
    """One life of a group's storage that does random things."""

    def __init__(self, random: Random, storage: GroupLog, model: Model) -> None:
        self.random = random
        self.model = model
        self.storage = storage
        found = self.storage.load()
        model.check(found)
        self.partial = found.partial
        self.incoming: Snapshot | None = None
        self.received = 0
        if found.partial is not None:
            snapshot = model.snapshots[found.partial[0]]
            if snapshot.checksum == found.partial[3] and snapshot.index > model.last:
                self.incoming, self.received = snapshot, found.partial[4]

    def step(self) -> None:
        action = self.random.choices(
            (self.append, self.vote, self.save, self.receive, self.set_aside, self.storage.mark),
            (10, 4, 1, 2, 4, 1),
        )[0]
        action()

    def write(self, ready: Ready) -> None:
        model = self.model
        number = len(model.states) - 1

        def done(it: Ready) -> None:
            assert it is ready
            assert model.acknowledged <= number
            model.acknowledged = number
            if ready.snapshot is not None:
                model.acknowledged_snapshot = max(model.acknowledged_snapshot, ready.snapshot.index)

        self.storage.write(ready, done)

    def block(self) -> Block:
        model, random = self.model, self.random
        covered = max([model.base, *(i for i in model.snapshots if i <= model.last)])
        first = model.last + 1
        if random.random() < 0.2 and model.last > covered:
            first = random.randint(covered + 1, model.last)  # a conflict
            self.model.hard_state = HardState(model.hard_state.term + 1, 1, 0)
        term = max(model.last_term, model.hard_state.term, 1)
        count = random.randint(1, 4)
        payloads = [random.randbytes(random.choice((0, 3, 50))) for _ in range(count)]
        for index in range(first, model.last + 1):
            model.entries.pop(index, None)
        for index, payload in enumerate(payloads, first):
            model.entries[index] = (term, payload)
        model.last, model.last_term = first + len(payloads) - 1, term
        return Block.pack(first, term, payloads)

    def append(self) -> None:
        before = self.model.hard_state
        ready = Ready(1)
        last = self.model.last
        entries = dict(self.model.entries)
        ready.block = self.block()
        if self.model.hard_state != before:
            ready.hard_state = self.model.hard_state
            self.model.states.append(
                (ready.hard_state, self.model.base, last, entries, list(self.model.aside))
            )
        self.model.note()
        self.write(ready)

    def vote(self) -> None:
        model = self.model
        model.hard_state = HardState(model.hard_state.term + 1, self.random.choice((None, 1, 2)), 0)
        model.note()
        ready = Ready(1)
        ready.hard_state = model.hard_state
        self.write(ready)

    def standing(self) -> list[Block]:
        """Blocks of any terms, before, amid and after the log; the model takes them one by one."""
        model, random = self.model, self.random
        blocks = []
        for _ in range(random.choice((0, 1, 1, 3))):
            payloads = [random.randbytes(random.choice((0, 3, 50))) for _ in range(3)]
            first = random.randint(max(1, model.last - 9), model.last + 5)
            blocks.append(Block.pack(first, random.randint(1, 9), payloads))
            model.aside.append(blocks[-1])
            model.note()
        return blocks

    def set_aside(self) -> None:
        """Some blocks; others are forgotten once what follows is in the log."""
        model, random = self.model, self.random
        before = len(model.aside)
        ready = Ready(1)
        ready.clears_aside = random.random() < 0.4
        ready.aside = self.standing()
        if random.random() < 0.4:
            ready.block = self.block_after()
            model.note()
        if ready.clears_aside:
            del model.aside[:before]
            model.note()
        self.write(ready)

    def save(self) -> None:
        """Of the own state, as of an entry that is acknowledged."""
        model = self.model
        _, base, last, _, _ = model.states[model.acknowledged]
        newest = max([base, *model.snapshots])
        last = min(last, model.last, *(state[2] for state in model.states[model.acknowledged :]))
        if last <= newest or last not in model.entries:
            return
        index = self.random.randint(newest + 1, last)
        if index not in model.entries:
            return
        for _, _, state_last, entries, _ in model.states[model.acknowledged :]:
            if state_last < index or entries.get(index) != model.entries[index]:
                return  # not decided yet
        data = self.random.randbytes(self.random.choice((0, 100, LONG)))
        term = model.entries[index][0]
        snapshot = Snapshot(index, term, MEMBERS, BytesSource(data), crc32c(data))
        model.snapshots[index] = snapshot

        def saved() -> None:
            model.acknowledged_snapshot = max(model.acknowledged_snapshot, index)

        self.storage.save_snapshot(
            snapshot, self.random.randint(max(1, index - 5), index + 1), saved
        )

    def receive(self) -> None:
        """A piece of a snapshot from a leader; with the last one it is installed."""
        model, random = self.model, self.random
        if self.incoming is None or self.incoming.index <= model.last:
            data = random.randbytes(random.choice((1, 1000, 2 * LONG)))
            index = max([model.last, *model.snapshots]) + random.randint(1, 5)
            term = max(model.last_term, model.hard_state.term, 1)
            self.incoming = Snapshot(index, term, MEMBERS, BytesSource(data), crc32c(data))
            self.received = 0
            model.snapshots[index] = self.incoming
        snapshot = self.incoming
        total = snapshot.source.total_bytes
        piece = snapshot.source.read(self.received, random.choice((total, total // 3 + 1)))
        ready = Ready(1)
        ready.chunks = [
            SnapshotChunk(
                snapshot.index, snapshot.term, total, snapshot.checksum, self.received, piece
            )
        ]
        self.received += len(piece)
        if self.received == total:
            ready.snapshot = snapshot
            ready.aside = self.standing()
            self.incoming = None
            model.base = model.last = snapshot.index
            model.last_term = snapshot.term
            model.entries = {}
            model.note()
            if random.random() < 0.5:
                ready.block = self.block_after()
                model.note()
        self.write(ready)

    def block_after(self) -> Block:
        model = self.model
        model.last += 1
        model.last_term = max(model.last_term, 1)
        model.entries[model.last] = (model.last_term, b"after")
        return Block.pack(model.last, model.last_term, [b"after"])


def opened(random: Random, disk: SimDisk) -> GroupStorage:
    return GroupStorage(disk, IDENTITY, segment_bytes=random.choice((200, 600, 10**6)))


def lives(seed: int, faults: DiskFaults, count: int = 6) -> tuple[SimDisk, Model]:
    random = Random(seed)
    clock = Clock()
    disk = SimDisk(clock, Random(seed + 1), sync=SYNC_NVME, faults=faults)
    model = Model()
    for _ in range(count):
        life = Life(random, opened(random, disk), model)
        for _ in range(random.randint(0, 60)):
            if life.storage.failed is not None:
                break
            life.step()
            clock.run(clock.now_us + random.choice((0, 0, 50, 500)))
        disk.crash(power=random.random() < 0.8)
        clock.run(clock.now_us + random.choice((0, 10**6)))
    return disk, model


class Lives:
    """Lives of a log that several groups share."""

    GROUPS = (0, 3, 4, 70_000)

    def __init__(self, seed: int, faults: DiskFaults) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.disk = SimDisk(self.clock, Random(seed + 1), sync=SYNC_NVME, faults=faults)
        self.models = {number: Model() for number in self.GROUPS}
        #: Segments at most, and whether one group asks for more of them than may stay.
        self.longest = 0
        self.pressed = 0

    def open(self) -> Wal:
        wal = Wal(
            self.disk,
            SHARED,
            segment_bytes=self.random.choice((500, 1500, 10**6)),
            segments_max=3,
            manual=self.random.random() < 0.5,
        )
        wal.load()
        return wal

    def run(self, count: int = 6) -> None:
        for _ in range(count):
            self.live()
            self.disk.crash(power=self.random.random() < 0.8)
            self.clock.run(self.clock.now_us + self.random.choice((0, 0, 10**6)))

    def live(self) -> None:
        random, clock = self.random, self.clock
        wal = self.open()
        lives = {
            number: Life(random, wal.group(number), model) for number, model in self.models.items()
        }
        wanted: list[int] = []
        wal.on_pressure = wanted.append
        busy = random.sample(self.GROUPS, random.randint(1, len(self.GROUPS)))
        for _ in range(random.randint(0, 100)):
            if wal.failed is not None:
                return
            for _ in range(random.choice((0, 1, 1, 2, 8))):
                lives[random.choice(busy)].step()
            wal.flush()
            for number in wanted:
                lives[number].save()
            self.pressed += len(wanted)
            wanted.clear()
            clock.run(clock.now_us + random.choice((0, 0, 50, 500)))

    def check(self) -> None:
        wal = Wal(self.disk, SHARED)
        wal.load()
        for number, model in self.models.items():
            model.check(wal.group(number).load())


@pytest.mark.parametrize("seed", range(200 if not kernels.PURE else 3))
def test_what_any_group_was_acknowledged_survives_every_crash(seed: int) -> None:
    lives = Lives(seed, HARSH)
    lives.run()
    lives.check()


@pytest.mark.parametrize("seed", range(40 if not kernels.PURE else 2))
def test_what_failed_is_never_acknowledged_to_any_group(seed: int) -> None:
    lives = Lives(seed, replace(HARSH, sync_error_rate=0.02))
    lives.run(10)
    lives.check()


def test_spoiled_bytes_of_a_shared_log_are_refused_or_harmless() -> None:
    refused = 0
    for seed in range(seeds := 40 if not kernels.PURE else 3):
        lives = Lives(seed, HARSH)
        lives.run(4)
        lives.check()
        if not lives.disk.flip_synced():
            continue
        try:
            lives.check()
        except StorageError:
            refused += 1
    assert refused > seeds // 3


@pytest.mark.parametrize("seed", range(300 if not kernels.PURE else 3))
def test_what_was_acknowledged_survives_every_crash(seed: int) -> None:
    disk, model = lives(seed, HARSH)
    model.check(GroupStorage(disk, IDENTITY).load())


@pytest.mark.parametrize("seed", range(40 if not kernels.PURE else 2))
def test_what_failed_is_never_acknowledged(seed: int) -> None:
    disk, model = lives(seed, replace(HARSH, sync_error_rate=0.02), 10)
    model.check(GroupStorage(disk, IDENTITY).load())


def test_spoiled_bytes_are_refused_or_harmless() -> None:
    """A bit flips in what was durable: recovery refuses, or gives what it gives without."""
    refused = 0
    for seed in range(seeds := 150 if not kernels.PURE else 3):
        disk, model = lives(seed, HARSH, 4)
        GroupStorage(disk, IDENTITY).load()
        if not disk.flip_synced():
            continue
        try:
            found = GroupStorage(disk, IDENTITY).load()
        except StorageError:
            refused += 1
        else:
            model.check(found)
    assert refused > seeds // 3


def test_the_model_itself_sees_a_lost_entry() -> None:
    """A storage that acknowledges before the sync does not pass."""

    class Early(GroupStorage):
        def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
            done(ready)
            super().write(ready, lambda _: None)

    caught = 0
    for seed in range(20):
        random = Random(seed)
        clock = Clock()
        disk = SimDisk(clock, Random(seed), sync=SYNC_NVME, faults=HARSH)
        model = Model()
        life = Life(random, opened(random, disk), model)
        life.storage = Early(disk, IDENTITY)
        life.storage.load()
        for _ in range(20):
            life.append()
            clock.run(clock.now_us + 50)
        disk.crash()
        try:
            model.check(GroupStorage(disk, IDENTITY).load())
        except AssertionError:
            caught += 1
    assert caught > 10
