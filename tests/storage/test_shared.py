"""The log that several groups share: group commit, whose records are whose, what keeps segments."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader import kernels
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot, SnapshotChunk
from ringleader.errors import (
    FormatError,
    LimitError,
    LogDamagedError,
    MisuseError,
    SettingError,
    StorageError,
)
from ringleader.hashing import crc32c
from ringleader.limits import SNAPSHOTS_SAVED_MAX, WAL_GROUP_MAX
from ringleader.storage import layout, record
from ringleader.storage.files import Bytes, Done
from ringleader.storage.memory import MemoryDisk
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupStorage, Wal

IDENTITY = LogIdentity("orchard", "eu-1", incarnation=1, layout="raft, 4 shards")
MEMBERS = Membership([1, 2, 3])


class SlowDisk(MemoryDisk):
    """Syncs are done when `go_on` is called."""

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        super().__init__(contents)
        self.waiting: list[Done] = []
        self.appends: list[str] = []

    def append(self, name: str, data: Bytes) -> None:
        super().append(name, data)
        self.appends.append(name)

    def sync(self, name: str, done: Done) -> None:
        self._file(name)
        self.waiting.append(done)

    def sync_names(self, done: Done) -> None:
        self.waiting.append(done)

    def go_on(self, error: StorageError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(error)


def opened(disk: MemoryDisk, **settings: object) -> Wal:
    wal = Wal(disk, IDENTITY, **settings)  # type: ignore[arg-type]
    wal.load()
    return wal


def entries(first: int, *payloads: bytes, term: int = 1) -> Ready:
    ready = Ready(1)
    ready.block = Block.pack(first, term, payloads)
    return ready


def voted(term: int) -> Ready:
    ready = Ready(1)
    ready.hard_state = HardState(term, 1, 0)
    return ready


def snapshot_of(index: int, data: bytes, term: int = 1) -> Snapshot:
    return Snapshot(index, term, MEMBERS, BytesSource(data), crc32c(data))


def copy_of(disk: MemoryDisk) -> MemoryDisk:
    return MemoryDisk({name: bytes(data) for name, data in disk.contents.items()})


def test_what_waits_is_one_batch() -> None:
    disk = SlowDisk()
    wal = opened(disk, manual=True)
    disk.appends.clear()
    done: list[tuple[int, int]] = []

    def write(group: int, first: int) -> None:
        wal.group(group).write(entries(first, b"x"), lambda _: done.append((group, first)))

    for group in (3, 0, 70_000):
        write(group, 1)
    write(3, 2)
    assert disk.waiting == []
    assert not wal.idle
    wal.flush()
    assert len(disk.waiting) == 1
    for group in (0, 3):
        write(group, 3 if group else 2)
    wal.flush()
    wal.flush()
    assert len(disk.waiting) == 1
    disk.go_on()
    # What waited meanwhile goes without being asked for.
    assert done == [(3, 1), (3, 2), (0, 1), (70_000, 1)]
    assert len(disk.waiting) == 1
    disk.go_on()
    assert done[4:] == [(0, 2), (3, 3)]
    assert wal.idle
    assert wal.batch_count == 2
    again = opened(copy_of(disk))
    assert again.groups == [0, 3, 70_000]
    assert [again.group(number).load().log.last for number in again.groups] == [2, 3, 1]


def test_a_group_that_waits_for_a_file_holds_up_no_other() -> None:
    disk = SlowDisk()
    wal = opened(disk)
    done: list[str] = []
    coming = snapshot_of(9, b"nine")
    ready = Ready(1)
    ready.chunks = [SnapshotChunk(9, 1, 4, coming.checksum, 0, b"nine")]
    ready.snapshot = coming
    wal.group(1).write(ready, lambda _: done.append("installed"))
    wal.group(1).write(entries(10, b"x"), lambda _: done.append("after"))
    assert not wal.group(1).idle
    for index in (1, 2):
        wal.group(2).write(entries(index, b"y"), lambda _: done.append("other"))
    disk.go_on()
    assert done == ["other"]
    for _ in range(6):
        disk.go_on()
    assert done == ["other", "other", "installed", "after"]
    assert wal.group(1).idle
    found = opened(copy_of(disk)).group(1).load()
    assert (found.log.base, found.log.last) == (9, 10)
    assert found.snapshot is not None


def test_what_writes_nothing_is_done_when_its_group_has_nothing_before_it() -> None:
    disk = SlowDisk()
    wal = opened(disk)
    done: list[int] = []
    wal.group(1).write(entries(1, b"x"), lambda _: done.append(1))
    wal.group(1).write(Ready(1), lambda _: done.append(2))
    wal.group(2).write(Ready(1), lambda _: done.append(3))
    assert done == [3]
    disk.go_on()
    assert done == [3, 1, 2]


def test_a_callback_that_raises_takes_nothing_from_other_groups() -> None:
    disk = SlowDisk()
    wal = opened(disk, manual=True)
    done: list[int] = []

    def raises(_: Ready) -> None:
        raise ValueError("of group 1")

    wal.group(1).write(entries(1, b"x"), raises)
    wal.group(2).write(entries(1, b"x"), lambda _: done.append(2))
    wal.flush()
    with pytest.raises(ValueError, match="of group 1"):
        disk.go_on()
    assert done == [2]
    wal.group(2).write(entries(2, b"x"), lambda _: done.append(3))
    wal.flush()
    disk.go_on()
    assert done == [2, 3]


def test_a_failure_is_all_groups() -> None:
    disk = SlowDisk()
    failures: list[StorageError] = []
    wal = opened(disk, on_failure=failures.append)
    done: list[object] = []
    for group in (1, 2):
        wal.group(group).write(entries(1, b"x"), done.append)
    disk.go_on(StorageError("I/O error"))
    for group in (1, 2, 3):
        assert wal.group(group).failed is wal.failed is not None
        wal.group(group).write(entries(1, b"x"), done.append)
        wal.group(group).save_snapshot(snapshot_of(1, b""), 1, lambda: done.append("saved"))
    wal.mark()
    wal.flush()
    assert done == []
    assert failures == [wal.failed]
    assert disk.waiting == []


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(11, "try again"), AssertionError("impossible")], ids=repr
)
def test_an_exception_of_any_kind_ends_the_log(error: Exception) -> None:
    """What is half written cannot be taken back; and nobody waits for ever."""

    class Raising(SlowDisk):
        raises: Exception | None = None

        def append(self, name: str, data: Bytes) -> None:
            if self.raises is not None:
                raise self.raises
            super().append(name, data)

    disk = Raising()
    failures: list[StorageError] = []
    wal = opened(disk, on_failure=failures.append)
    done: list[object] = []
    disk.raises = error
    with pytest.raises(type(error)):
        wal.group(1).write(entries(1, b"x"), done.append)
    disk.raises = None
    assert failures == [wal.failed]
    assert repr(error) in str(wal.failed)
    for index in range(2, 50):
        wal.group(1).write(entries(index, b"x"), done.append)
    assert done == []
    assert not wal.group(1)._queue


def test_an_exception_when_a_batch_is_done_ends_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk()
    wal = opened(disk)
    done: list[object] = []

    def fails(_: int) -> None:
        raise MemoryError

    wal.group(1).write(entries(1, b"x"), done.append)
    monkeypatch.setattr(wal, "_tidy", fails)
    with pytest.raises(MemoryError):
        disk.go_on()
    assert wal.failed is not None
    assert done == []


def test_what_a_callback_raises_comes_when_all_is_done() -> None:
    """Also on a disk that calls back at once, within the writing of the batch."""
    disk = MemoryDisk()
    wal = opened(disk, manual=True)
    done: list[int] = []

    def raises(_: Ready) -> None:
        wal.group(2).write(entries(2, b"y"), lambda _: done.append(2))
        raise ValueError("of group 1")

    wal.group(1).write(entries(1, b"x"), raises)
    wal.group(2).write(entries(1, b"x"), lambda _: done.append(1))
    with pytest.raises(ValueError, match="of group 1"):
        wal.flush()
    assert wal.failed is None
    assert done == [1, 2]
    assert wal.idle


# --- segments ---------------------------------------------------------------------------------


def test_a_quiet_group_is_asked_for_a_snapshot_that_frees_its_segments() -> None:
    disk = MemoryDisk()
    asked: list[int] = []
    wal = opened(disk, segment_bytes=500, segments_max=4, on_pressure=asked.append)
    wal.group(1).write(entries(1, b"q", b"u", b"i", b"e", b"t"), lambda _: None)
    wal.group(9).write(voted(3), lambda _: None)  # it has no entries

    def busy(first: int, count: int) -> None:
        for index in range(first, first + count):
            wal.group(2).write(entries(index, b"x" * 100), lambda _: None)
            if index % 3 == 0:
                snapshot = snapshot_of(index, b"busy")
                wal.group(2).save_snapshot(snapshot, index - 1, lambda: None)

    busy(1, 60)
    assert set(asked) == {1}
    assert wal.segment_count > 10
    # The entries behind a snapshot would stay for followers; the segments are worth more.
    wal.group(1).save_snapshot(snapshot_of(4, b"quiet"), 1, lambda: None)
    busy(61, 20)
    assert wal.segment_count > 10  # one entry is not covered
    wal.group(1).save_snapshot(snapshot_of(5, b"quiet"), 1, lambda: None)
    asked.clear()
    busy(81, 40)
    assert asked == []
    assert wal.segment_count <= 6
    again = opened(copy_of(disk))
    found = again.group(1).load()
    assert (found.log.base, found.log.last) == (5, 5)
    assert found.snapshot is not None
    assert found.snapshot.source.read(0, 9) == b"quiet"
    assert again.group(2).load().log.last == 120
    assert again.group(9).load().hard_state == HardState(3, 1, 0)
    # It goes on.
    again.group(1).write(entries(6, b"more", term=2), lambda _: None)
    found = opened(copy_of(again.disk)).group(1).load()  # type: ignore[arg-type]
    assert (found.log.last, found.log.last_term) == (6, 2)


def test_a_quiet_group_whose_snapshot_covers_its_entries_holds_nothing() -> None:
    """What it kept behind its snapshot for others is forgotten then, and nobody is asked."""
    disk = MemoryDisk()
    asked: list[int] = []
    wal = opened(disk, segment_bytes=500, segments_max=4, on_pressure=asked.append)
    quiet = wal.group(1)
    for index in range(1, 8):
        quiet.write(entries(index, b"q" * 100), lambda _: None)
    quiet.save_snapshot(snapshot_of(7, b"quiet"), 3, lambda: None)
    assert len(quiet._live) > 1
    third = wal.group(3)
    for index in range(1, 8):
        third.write(entries(index, b"q" * 100), lambda _: None)
    third.save_snapshot(snapshot_of(6, b"third"), 3, lambda: None)
    for index in range(1, 61):
        wal.group(2).write(entries(index, b"x" * 100), lambda _: None)
        wal.group(2).save_snapshot(snapshot_of(index, b"busy"), index, lambda: None)
    assert set(asked) == {3}  # one entry is not covered
    assert quiet._live == []
    assert third._live[0][1] >= 5
    third.save_snapshot(snapshot_of(7, b"third"), 3, lambda: None)
    for index in range(61, 81):
        wal.group(2).write(entries(index, b"x" * 100), lambda _: None)
        wal.group(2).save_snapshot(snapshot_of(index, b"busy"), index, lambda: None)
    assert wal.segment_count <= 6
    again = opened(copy_of(disk))
    for number, data in ((1, b"quiet"), (3, b"third")):
        found = again.group(number).load()
        assert (found.log.base, found.log.last) == (7, 7)
        assert found.snapshot is not None
        assert found.snapshot.source.read(0, 9) == data
    again.group(1).write(entries(8, b"more"), lambda _: None)
    found = opened(copy_of(again.disk)).group(1).load()  # type: ignore[arg-type]
    assert found.log.last == 8


def test_a_few_groups_at_a_time_are_asked_the_oldest_first() -> None:
    disk = SlowDisk()
    asked: list[int] = []
    saved: list[int] = []

    def on_pressure(number: int) -> None:
        asked.append(number)
        wal.group(number).save_snapshot(
            snapshot_of(1, b"%d" % number), 1, lambda: saved.append(number)
        )
        assert len(wal._unsaved) == 0

    wal = opened(disk, segment_bytes=500, segments_max=2, on_pressure=on_pressure)

    def write(number: int, index: int) -> None:
        wal.group(number).write(entries(index, b"x" * 100), lambda _: None)
        disk.go_on()

    order = [7, 3, 9, 1, 5, 4]
    for number in order:
        write(number, 1)
        write(20, order.index(number) + 1)
    index = len(order)
    while not asked:
        index += 1
        write(20, index)
    while not set(order) <= set(saved):
        before = len(asked)
        index += 1
        write(20, index)
        assert len(asked) - before <= SNAPSHOTS_SAVED_MAX
    assert [number for number in asked if number in order][: len(order)] == order
    assert wal.failed is None


def test_an_exception_of_who_is_asked_is_not_the_logs() -> None:
    def on_pressure(number: int) -> None:
        raise ValueError(f"group {number} cannot")

    disk = MemoryDisk()
    wal = opened(disk, segment_bytes=500, segments_max=2, on_pressure=on_pressure)
    wal.group(1).write(entries(1, b"x"), lambda _: None)
    raised = 0
    for index in range(1, 61):
        try:
            wal.group(2).write(entries(index, b"x" * 100), lambda _: None)
        except ValueError:
            raised += 1
    assert raised
    assert wal.failed is None
    assert opened(copy_of(disk)).group(2).load().log.last == 60


def test_snapshots_are_written_a_few_at_a_time() -> None:
    disk = SlowDisk()
    wal = opened(disk)
    saved: list[int] = []
    for group in range(6):
        wal.group(group).write(entries(1, b"x"), lambda _: None)
    disk.go_on()
    disk.go_on()
    for group in range(6):
        wal.group(group).save_snapshot(
            snapshot_of(1, b"%d" % group), 1, lambda it=group: saved.append(it)
        )
        assert len(disk.waiting) <= SNAPSHOTS_SAVED_MAX
        assert wal.group(9).takes_snapshots == (group + 1 < SNAPSHOTS_SAVED_MAX)
    while disk.waiting:
        disk.go_on()
    assert saved == [*range(6)]
    assert wal.group(9).takes_snapshots
    again = opened(copy_of(disk))
    for group in range(6):
        source = again.group(group).open_snapshot()
        assert source.read(0, 9) == b"%d" % group


def test_every_cut_leaves_a_prefix_of_what_was_written() -> None:
    """Of the log, and so of each group."""
    random = Random(5)
    disk = MemoryDisk()
    wal = opened(disk)
    first = layout.log_name(1)
    last = dict.fromkeys(range(3), 0)
    steps = [(len(disk.contents[first]), dict(last))]
    for _ in range(12):
        group = random.randrange(3)
        last[group] += 1
        wal.group(group).write(entries(last[group], b"x" * random.randint(0, 30)), lambda _: None)
        steps.append((len(disk.contents[first]), dict(last)))
    whole = bytes(disk.contents[first])
    for size in range(0, len(whole) + 1, 1 if not kernels.PURE else 8):
        for rest in (b"", b"\xa5" * 77, bytes(5000)):
            data = whole[:size] + rest
            # Zeros may be just what a record ends with.
            expected = [state for end, state in steps if data.startswith(whole[:end])]
            again = opened(MemoryDisk({first: data}))
            got = {group: again.group(group).load().log.last for group in range(3)}
            assert got == [steps[0][1], *expected][-1]


def test_what_a_group_says_wrongly_names_it() -> None:
    disk = MemoryDisk()
    wal = opened(disk)
    wal.group(3).write(voted(2), lambda _: None)
    name = layout.log_name(1)
    whole = bytes(disk.contents[name])
    found = record.parse(memoryview(whole), 0)
    assert found is not None
    sequence = wal._sequence + 1
    for kind, payload, why in (
        (record.HARD_STATE, layout.pack_hard_state(HardState(1, None, 0)), "goes back"),
        (record.GROUP, layout.pack_group(5, 1), "was begun after entry 5"),
        (record.SEGMENT, b"", "in the middle"),
        (record.GROUP, b"short", "wrong length"),
    ):
        parts: list[Bytes] = []
        record.encode(parts, kind, payload, IDENTITY.tag, sequence, sequence - 1, 3)
        with pytest.raises(StorageError, match=rf"{name}: .*{why}"):
            opened(MemoryDisk({name: whole + b"".join(parts)}))


# --- whose it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        LogIdentity("vineyard", "eu-1", incarnation=1, layout="raft, 4 shards"),
        LogIdentity("orchard", "eu-2", incarnation=1, layout="raft, 4 shards"),
        LogIdentity("orchard", "eu-1", incarnation=2, layout="raft, 4 shards"),
        LogIdentity("orchard", "eu-1", incarnation=1, layout="paxos, 4 shards"),
        LogIdentity("orchard", "eu-1", incarnation=1, layout="raft, 8 shards"),
        LogIdentity("orchard", "eu-1", incarnation=1),
    ],
)
def test_the_log_of_another_is_refused(other: LogIdentity) -> None:
    disk = MemoryDisk()
    opened(disk)
    with pytest.raises(StorageError, match=r"belongs to .*raft, 4 shards"):
        Wal(disk, other).load()


@pytest.mark.parametrize("loss", ["no file", "zeros", "an empty file"])
def test_a_log_that_has_begun_is_never_taken_for_a_new_one(loss: str) -> None:
    disk = MemoryDisk()
    opened(disk, has_begun=False).group(1).write(voted(7), lambda _: None)
    assert opened(copy_of(disk), has_begun=True).group(1).load().hard_state.term == 7
    name = layout.log_name(1)
    lost = {} if loss == "no file" else {name: bytes(5000) if loss == "zeros" else b""}
    opened(MemoryDisk(lost))
    disk = MemoryDisk(lost)
    with pytest.raises(LogDamagedError, match=r"is gone|first record is not whole"):
        opened(disk, has_begun=True)
    assert disk.contents == lost, "nothing is changed"


def test_damage_is_told_from_what_is_none() -> None:
    """What is advised depends on it: a whole log need not be given up."""
    disk = MemoryDisk()
    wal = opened(disk)
    for index in range(1, 6):
        wal.group(1).write(entries(index, b"x" * 50), lambda _: None)
    wal.group(1).save_snapshot(snapshot_of(5, b"state" * 9), 5, lambda: None)
    name = layout.log_name(1)
    spoiled = copy_of(disk)
    spoiled.contents[name][300:308] = b"spoiled!"
    without = copy_of(disk)
    (snapshot,) = [each for each in without.contents if each.endswith(".snapshot")]
    del without.contents[snapshot]
    changed = copy_of(disk)
    changed.contents[snapshot][2] ^= 1
    for damaged in (spoiled, without, changed):
        with pytest.raises(LogDamagedError):
            opened(damaged)
    newer = copy_of(disk)
    parts: list[Bytes] = []
    head = layout.SegmentRecord(1, 0, 0, IDENTITY, layout.FORMAT_VERSION + 1)
    record.encode(parts, record.SEGMENT, head.to_bytes(), IDENTITY.tag, 1, 0, 0)
    newer.contents = {name: bytearray(b"".join(parts))}
    with pytest.raises(StorageError, match="upgrade") as raised:
        opened(newer)
    assert not isinstance(raised.value, LogDamagedError)
    with pytest.raises(StorageError, match="belongs to") as raised:
        Wal(copy_of(disk), LogIdentity("another", 1)).load()
    assert not isinstance(raised.value, LogDamagedError)


def test_one_groups_log_is_no_shared_one() -> None:
    identity = LogIdentity("orchard", 1)
    disk = MemoryDisk()
    GroupStorage(disk, identity).load()
    with pytest.raises(StorageError, match="one of one group"):
        Wal(disk, identity).load()
    disk = MemoryDisk()
    Wal(disk, identity).load()
    with pytest.raises(StorageError, match="one of several groups"):
        GroupStorage(disk, identity).load()
    with pytest.raises(MisuseError, match="no group"):
        Wal(disk, LogIdentity("orchard", 1, group=3))


def test_identities_with_a_layout() -> None:
    for identity in (IDENTITY, LogIdentity("ä", 2**62, 5, 6, "ö" * 2000), LogIdentity("", "x")):
        assert LogIdentity.from_bytes(identity.to_bytes()) == identity
    assert "layout='raft, 4 shards'" in repr(IDENTITY)
    with pytest.raises(SettingError, match="NUL"):
        LogIdentity("a\0b", 1)
    with pytest.raises(SettingError, match="layout"):
        LogIdentity("a", 1, layout="x" * 5000)
    with pytest.raises(FormatError):
        LogIdentity.from_bytes(IDENTITY.to_bytes() + b"\xff")


def test_misuse_is_told() -> None:
    wal = Wal(MemoryDisk(), IDENTITY)
    for call in (wal.flush, wal.mark, lambda: wal.group(0)):
        with pytest.raises(MisuseError, match="load"):
            call()
    wal.load()
    with pytest.raises(MisuseError, match="new life"):
        wal.load()
    assert wal.group(5) is wal.group(5)
    wal.group(WAL_GROUP_MAX)
    for number in (-1, WAL_GROUP_MAX + 1):
        with pytest.raises(LimitError, match="group"):
            wal.group(number)
    wal.group(5).load()
    with pytest.raises(MisuseError, match="new life"):
        wal.group(5).load()


# --- any bytes --------------------------------------------------------------------------------

SMALL = st.integers(0, 6)
IDS = st.sampled_from((None, 1, "a"))
PAYLOADS = {
    record.HARD_STATE: st.builds(
        lambda term, vote, commit: layout.pack_hard_state(HardState(term, vote, commit)),
        *(SMALL, IDS, SMALL),
    ),
    record.BLOCK: st.builds(
        lambda first, term, count: bytes(Block.pack(first, term, [b"x"] * count)),
        *(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4)),
    ),
    record.SNAPSHOT: st.builds(
        lambda index, term, keep_from, installed: layout.SnapshotRecord(
            index, term, 4, 5, 1, min(keep_from, index + 1), installed, MEMBERS
        ).to_bytes(),
        *(st.integers(1, 6), st.integers(1, 3), st.integers(1, 7), st.booleans()),
    ),
    record.CHUNK: st.builds(
        lambda index, received: layout.ChunkRecord(index, 1, 6, 5, 1, received, 0).to_bytes(),
        *(SMALL, SMALL),
    ),
    record.MARK: st.just(b""),
    record.ASIDE: st.builds(
        lambda number, first: layout.pack_aside(number, Block.pack(first, 1, [b"y"])),
        *(SMALL, st.integers(1, 6)),
    ),
    record.FORGET: st.builds(layout.pack_number, SMALL),
    record.GROUP: st.builds(layout.pack_group, SMALL, SMALL),
    record.SEGMENT: st.just(b""),
}
RECORDS = st.sampled_from(sorted(PAYLOADS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.integers(0, 2), PAYLOADS[kind] | PAYLOADS[kind], st.binary(max_size=3)
    )
)


@given(st.lists(RECORDS, max_size=12), st.booleans())
def test_whole_records_of_any_words_are_refused_or_read(
    rows: list[tuple[int, int, bytes, bytes]], is_damaged: bool
) -> None:
    """Whatever records say, under right checksums: `StorageError`, or a log that can go on."""
    disk = MemoryDisk()
    opened(disk)
    name = layout.log_name(1)
    data = bytearray(disk.contents[name])
    sequence = 1
    for kind, group, payload, junk in rows:
        sequence += 1
        parts: list[Bytes] = []
        # Some are cut short, or have bytes changed.
        if is_damaged:
            payload = payload[: len(payload) - len(junk)] + junk[1:]
        record.encode(parts, kind, payload, IDENTITY.tag, sequence, sequence - 1, group)
        data += b"".join(parts)
    found = MemoryDisk({name: bytes(data)})
    try:
        wal = opened(found)
    except StorageError:
        return
    for number in range(3):
        group_log = wal.group(number)
        last = group_log.load().log.last
        covered = group_log._snapshot.of_index if group_log._snapshot is not None else 0
        group_log.write(entries(max(last, covered) + 1, b"more", term=9), lambda _: None)
    assert wal.failed is None
    opened(copy_of(found))
