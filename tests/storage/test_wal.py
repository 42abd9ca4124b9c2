"""The record log of one group: what is written is read, whatever is cut off, flipped or added."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ringleader import kernels
from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import (
    BytesSource,
    HardState,
    Ready,
    Snapshot,
    SnapshotChunk,
)
from ringleader.errors import MisuseError, StorageError
from ringleader.hashing import crc32c
from ringleader.limits import SNAPSHOT_PAGE_BYTES
from ringleader.storage import layout, record
from ringleader.storage.files import Done
from ringleader.storage.memory import MemoryDisk, MemoryStorage
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupStorage

IDENTITY = LogIdentity("orchard", 1, group=7, incarnation=2)
MEMBERS = Membership([1, 2, 3], learners=[4])
FIRST = layout.log_name(1)

#: Everything that a recovery gives, in a form that can be compared.
State = tuple[object, ...]


def state(found: Recovered) -> State:
    log = found.log
    snapshot = found.snapshot
    return (
        found.hard_state,
        log.base,
        log.base_term,
        tuple(
            (log.term(i), log.is_control(i), bytes(log[i])) for i in range(log.first, log.last + 1)
        ),
        None
        if snapshot is None
        else (
            snapshot.index,
            snapshot.term,
            snapshot.membership,
            snapshot.checksum,
            snapshot.source.read(0, snapshot.source.total_bytes),
        ),
        found.partial,
        [bytes(block) for block in found.aside],
    )


def ready(
    hard_state: HardState | None = None,
    block: Block | None = None,
    chunks: list[SnapshotChunk] | None = None,
    snapshot: Snapshot | None = None,
    aside: list[Block] | None = None,
    clears_aside: bool = False,
) -> Ready:
    made = Ready(1)
    made.aside, made.clears_aside = aside, clears_aside
    made.hard_state, made.block, made.chunks, made.snapshot = hard_state, block, chunks, snapshot
    return made


def entries(first: int, term: int, *payloads: bytes) -> Ready:
    return ready(block=Block.pack(first, term, payloads))


def snapshot_of(index: int, term: int, data: bytes) -> Snapshot:
    return Snapshot(index, term, MEMBERS, BytesSource(data), crc32c(data))


def chunks_of(snapshot: Snapshot, *cuts: int) -> list[SnapshotChunk]:
    data = snapshot.source.read(0, snapshot.source.total_bytes)
    ends = [*cuts, len(data)]
    return [
        SnapshotChunk(
            snapshot.index, snapshot.term, len(data), snapshot.checksum, start, data[start:end]
        )
        for start, end in zip([0, *cuts], ends, strict=True)
    ]


def opened(disk: MemoryDisk, **settings: int) -> tuple[GroupStorage, Recovered]:
    storage = GroupStorage(disk, IDENTITY, **settings)  # type: ignore[arg-type]
    return storage, storage.load()


def written(*batches: Ready) -> tuple[MemoryDisk, list[tuple[int, State]]]:
    """A log of these batches, and its length and state before and after each."""
    disk = MemoryDisk()
    storage, found = opened(disk)
    steps = [(len(disk.contents[FIRST]), state(found))]
    for batch in batches:
        storage.write(batch, lambda _: None)
        again = opened(copy_of(disk))[1]
        steps.append((len(disk.contents[FIRST]), state(again)))
    return disk, steps


def copy_of(disk: MemoryDisk) -> MemoryDisk:
    return MemoryDisk({name: bytes(data) for name, data in disk.contents.items()})


def recovered(contents: dict[str, bytes]) -> State:
    return state(opened(MemoryDisk(contents))[1])


BATCHES = (
    ready(HardState(1, None, 0)),
    entries(1, 1, b"a", b"", b"ccc"),
    ready(HardState(2, 3, 1)),
    entries(3, 2, b"overwrites"),
    ready(HardState(2, 3, 2)),
    entries(4, 2, b"d" * 40, b"e"),
)


def test_everything_comes_back() -> None:
    disk = MemoryDisk()
    storage, found = opened(disk)
    assert state(found) == (HardState(), 0, 0, (), None, None, [])
    done: list[object] = []
    for batch in BATCHES:
        storage.write(batch, done.append)
    assert done == list(BATCHES)
    again = opened(disk)[1]
    assert again.hard_state == HardState(2, 3, 2)
    assert [bytes(again.log[i]) for i in range(1, 6)] == [b"a", b"", b"overwrites", b"d" * 40, b"e"]
    assert [again.log.term(i) for i in range(1, 6)] == [1, 1, 2, 2, 2]


def test_the_bytes_are_those_of_the_published_format() -> None:
    disk = MemoryDisk()
    storage = GroupStorage(disk, LogIdentity("c", 1))
    storage.load()
    storage.write(ready(HardState(1, 1, 0)), lambda _: None)
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = text[text.index("## Record log") :].split("\n## ")[0]
    (shown,) = re.findall(r"```text\n([0-9a-f\n]+)```", section)
    assert bytes(disk.contents[FIRST]).hex() == shown.replace("\n", "")


def test_control_entries_and_text_ids() -> None:
    disk = MemoryDisk()
    storage = GroupStorage(disk, LogIdentity("orchard", "berlin-1é"))
    storage.load()
    storage.write(
        ready(HardState(4, "berlin-1é", 0), Block.pack(1, [3, 4], [b"x", b"y"], True)),
        lambda _: None,
    )
    again = GroupStorage(disk, LogIdentity("orchard", "berlin-1é")).load()
    assert again.hard_state == HardState(4, "berlin-1é", 0)
    assert again.log.is_control(1)
    assert again.log.term(2) == 4


def test_the_commit_hint_never_points_past_the_log() -> None:
    disk, steps = written(ready(HardState(1, 1, 2), Block.pack(1, 1, [b"a", b"b"])))
    cut = bytes(disk.contents[FIRST])[: steps[1][0] - 1]
    found = opened(MemoryDisk({FIRST: cut}))[1]
    assert found.log.last == 0
    assert found.hard_state == HardState(1, 1, 0)


def test_recovery_at_every_byte() -> None:
    disk, steps = written(*BATCHES)
    whole = bytes(disk.contents[FIRST])
    for size in range(len(whole) + 1):
        expected = [found for end, found in steps if end <= max(size, steps[0][0])][-1]
        assert recovered({FIRST: whole[:size]}) == expected
        # Bytes that were never written may read as anything,
        assert recovered({FIRST: whole[:size] + b"\xa5" * 77}) == expected
        # and as zeros, which happen to be what a record ends with.
        padded = whole[:size] + bytes(64)
        there = [found for end, found in steps if padded.startswith(whole[:end])]
        expected = [steps[0][1], *there][-1]
        assert recovered({FIRST: padded}) == expected


def test_a_life_after_every_torn_byte() -> None:
    """What a crash tore is not continued, and may come back without harm."""
    disk, _steps = written(*BATCHES[:3])
    whole = bytes(disk.contents[FIRST])
    for size in range(0, len(whole) + 1, 5):
        torn = MemoryDisk({FIRST: whole[:size]})
        storage, found = opened(torn)
        first = found.log.last + 1
        storage.write(ready(HardState(9, 2, 0), Block.pack(first, 9, [b"new"])), lambda _: None)
        after = recovered({name: bytes(data) for name, data in torn.contents.items()})
        assert after[0] == HardState(9, 2, 0)
        assert after[3][-1] == (9, False, b"new")
        # The truncation had not happened after all.
        if len(torn.contents) > 1:
            torn.contents[FIRST] = bytearray(whole[:size])
            assert state(opened(torn)[1]) == after


def flips(data: bytes, start: int, end: int) -> list[bytes]:
    out = []
    for bit in range(start * 8, end * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        out.append(bytes(damaged))
    return out


def test_a_flipped_bit_in_the_last_record_is_a_torn_write() -> None:
    disk, steps = written(*BATCHES)
    whole = bytes(disk.contents[FIRST])
    (start, before), (end, _) = steps[-2:]
    for damaged in flips(whole, start, end):
        assert recovered({FIRST: damaged}) == before


def test_a_flipped_bit_in_a_record_with_a_witness_is_refused() -> None:
    disk, steps = written(*BATCHES)
    whole = bytes(disk.contents[FIRST])
    starts = [0, *(end for end, _ in steps[:-1])]
    for start, end in pairwise(starts):
        for damaged in flips(whole, start, end):
            with pytest.raises(StorageError, match=f"{FIRST}: .*damaged at byte {start}:"):
                recovered({FIRST: damaged})


def test_after_a_mark_the_last_record_has_a_witness() -> None:
    disk = MemoryDisk()
    storage, _ = opened(disk)
    ends = []
    for batch in BATCHES:
        storage.write(batch, lambda _: None)
        ends.append(len(disk.contents[FIRST]))
    storage.mark()
    whole = bytes(disk.contents[FIRST])
    assert len(whole) == ends[-1] + record.HEADER_BYTES
    for damaged in flips(whole, ends[-2], ends[-1]):
        with pytest.raises(StorageError, match=f"{FIRST}: .*damaged at byte {ends[-2]}:"):
            recovered({FIRST: damaged})
    # The mark itself says nothing that is needed.
    after = recovered({FIRST: whole})
    for damaged in flips(whole, ends[-1], len(whole)):
        assert recovered({FIRST: damaged}) == after
    # There is one mark for one quiet time.
    storage.mark()
    assert len(disk.contents[FIRST]) == len(whole)


def test_after_a_start_the_last_record_has_a_witness() -> None:
    disk, steps = written(*BATCHES)
    opened(disk)
    files = {name: bytes(data) for name, data in disk.contents.items()}
    assert len(files) == 2
    for damaged in flips(files[FIRST], steps[-2][0], steps[-1][0]):
        with pytest.raises(StorageError, match=f"{FIRST}: .*damaged at byte {steps[-2][0]}:"):
            recovered({**files, FIRST: damaged})


def test_damage_within_the_last_batch_cuts_it_there() -> None:
    """Nothing says that a batch was durable before the next one does: writes of one batch reach a
    disk in any order."""
    disk, steps = written(BATCHES[0], ready(HardState(2, 1, 0), Block.pack(1, 2, [b"x"])))
    whole = bytearray(disk.contents[FIRST])
    whole[steps[1][0] + 34] ^= 1
    assert recovered({FIRST: bytes(whole)}) == steps[1][1]


def test_old_bytes_are_no_records() -> None:
    """A recycled file may hold records of its earlier use, or of another log, behind the end."""
    disk, steps = written(*BATCHES)
    whole = bytes(disk.contents[FIRST])
    for start, end in pairwise([end for end, _ in steps]):
        assert recovered({FIRST: whole + whole[start:end]}) == steps[-1][1]
    last = 1
    at = 0
    view = memoryview(whole)
    while (found := record.parse(view, at)) is not None:
        at, last = found.end, found.sequence
    for tag, expected in ((IDENTITY.tag, 9), (IDENTITY.tag ^ 1, 2)):
        parts: list[bytes | bytearray | memoryview] = []
        state_9 = layout.pack_hard_state(HardState(9, None, 0))
        record.encode(parts, record.HARD_STATE, state_9, tag, last + 1, last)
        found_state = opened(MemoryDisk({FIRST: whole + b"".join(parts)}))[1].hard_state
        assert found_state.term == expected


@pytest.mark.parametrize(
    "other",
    [
        LogIdentity("vineyard", 1, 7, 2),
        LogIdentity("orchard", 2, 7, 2),
        LogIdentity("orchard", 1, 8, 2),
        LogIdentity("orchard", 1, 7, 3),
        LogIdentity("orchard", "1", 7, 2),
    ],
)
def test_the_log_of_another_is_refused(other: LogIdentity) -> None:
    disk, _ = written(*BATCHES)
    with pytest.raises(StorageError, match="belongs to"):
        GroupStorage(disk, other).load()


def resealed(data: bytes, at: int, patch: Callable[[bytearray], None]) -> bytes:
    """`data` with the record at `at` patched, under a right checksum."""
    changed = bytearray(data)
    found = record.parse(memoryview(data), at)
    assert found is not None
    patch(changed)
    changed[at : at + 4] = crc32c(bytes(changed[at + 4 : found.end])).to_bytes(4, "little")
    return bytes(changed)


def test_a_newer_version_is_refused() -> None:
    disk, _ = written(*BATCHES)

    def newer(data: bytearray) -> None:
        data[record.HEADER_BYTES] = 4

    with pytest.raises(StorageError, match=f"{FIRST}: .*version 4.*upgrade"):
        recovered({FIRST: resealed(bytes(disk.contents[FIRST]), 0, newer)})


def test_a_whole_record_that_contradicts_is_refused() -> None:
    disk, steps = written(*BATCHES)
    whole = bytes(disk.contents[FIRST])
    start = steps[2][0]

    def term_back(data: bytearray) -> None:
        data[start + record.HEADER_BYTES] = 0

    with pytest.raises(StorageError, match=f"byte {start} is whole but contradicts"):
        recovered({FIRST: resealed(whole, start, term_back)})


# --- segments and snapshots -----------------------------------------------------------------------


def grown(segment_bytes: int = 300) -> MemoryDisk:
    disk = MemoryDisk()
    storage, _ = opened(disk, segment_bytes=segment_bytes)
    storage.write(ready(HardState(1, 1, 0)), lambda _: None)
    for index in range(1, 31):
        storage.write(entries(index, 1, b"%d" % index * 10), lambda _: None)
    return disk


def test_segments_follow_each_other() -> None:
    disk = grown()
    assert len(disk.names()) > 5
    found = opened(disk)[1]
    assert found.log.last == 30
    assert found.hard_state == HardState(1, 1, 0)


def test_damage_in_any_segment_but_the_last_is_refused() -> None:
    files = {name: bytes(data) for name, data in grown().contents.items()}
    names = sorted(files)
    for name in names[:-1]:
        for size in range(0, len(files[name]), 13):
            with pytest.raises(StorageError, match=f"{name}: .*damaged at byte "):
                recovered({**files, name: files[name][:size]})
        with pytest.raises(StorageError, match="missing"):
            recovered({other: data for other, data in files.items() if other != names[-2]})


def test_a_segment_without_a_beginning_is_refused() -> None:
    """Whole damage leaves no witness; but only the very first segment may be torn at its start."""
    with pytest.raises(StorageError, match=f"{layout.log_name(5)}: .*damaged at byte 0"):
        recovered({layout.log_name(5): b"\xa5" * 500})
    assert recovered({FIRST: b"\xa5" * 500}) == recovered({})


def test_the_entry_before_those_kept_is_kept_for_its_term() -> None:
    """A conflict begins right behind a snapshot, and in a segment of its own."""
    disk = MemoryDisk()
    storage, _ = opened(disk, segment_bytes=1)
    storage.write(entries(1, 1, *(b"%d" % number for number in range(1, 11))), lambda _: None)
    storage.write(entries(8, 2, b"other"), lambda _: None)
    storage.save_snapshot(snapshot_of(7, 1, b"seven"), 8, lambda: None)
    storage.write(ready(HardState(2, 1, 0)), lambda _: None)
    storage.write(ready(HardState(3, 1, 0)), lambda _: None)
    found = opened(disk)[1]
    assert found.log.last == 8
    assert bytes(found.log[8]) == b"other"


def test_old_segments_stay_until_what_repeats_them_has_a_witness() -> None:
    disk = MemoryDisk()
    storage, _ = opened(disk, segment_bytes=1)
    storage.write(ready(HardState(4, 1, 0)), lambda _: None)
    coming = snapshot_of(9, 4, b"nine")
    storage.write(ready(chunks=chunks_of(coming), snapshot=coming), lambda _: None)
    logs = [name for name in disk.names() if name.endswith("log")]
    assert len(logs) > 1
    files = {name: bytes(data) for name, data in disk.contents.items()}
    for damaged in flips(files[logs[-1]], 0, len(files[logs[-1]])):
        found = recovered({**files, logs[-1]: damaged})
        assert found[0] == HardState(4, 1, 0)
    storage.write(ready(HardState(5, 1, 0)), lambda _: None)
    assert not {*logs[:-1]} & {*disk.names()}


def test_where_the_entries_are() -> None:
    live: list[tuple[int, int]] = []
    for segment, first in ((1, 1), (1, 4), (2, 9), (3, 6), (3, 12)):
        layout.live_after(live, segment, first)
    assert live == [(1, 1), (3, 6)]
    layout.live_from(live, 6)
    assert live == [(1, 1), (3, 6)]
    layout.live_from(live, 7)
    assert live == [(3, 6)]
    layout.live_after(live, 4, 2)
    assert live == [(4, 2)]


def test_a_snapshot_frees_the_segments_before_it() -> None:
    disk = grown()
    storage, _found = opened(disk, segment_bytes=300)
    before = len(disk.names())
    saved: list[str] = []
    data = b"state of 25" * 10_000
    storage.save_snapshot(snapshot_of(25, 1, data), 20, lambda: saved.append("saved"))
    assert saved == ["saved"]
    assert len(disk.names()) < before - 3
    assert storage.open_snapshot().read(0, 11) == b"state of 25"
    again = opened(disk)[1]
    assert 15 < again.log.base < 20
    assert again.log.last == 30
    assert again.snapshot is not None
    assert again.snapshot.source.read(0, len(data) + 5) == data
    assert again.snapshot.source.read(70_000, 9) == data[70_000:70_009]
    assert again.snapshot.membership == MEMBERS
    # A later one replaces it; an older one changes nothing.
    storage, _ = opened(disk)
    storage.save_snapshot(snapshot_of(30, 1, b"thirty"), 31, lambda: saved.append("30"))
    storage.save_snapshot(snapshot_of(28, 1, b"twenty-eight"), 20, lambda: saved.append("28"))
    assert saved == ["saved", "30", "28"]
    assert len([name for name in disk.names() if name.endswith("snapshot")]) == 1
    again = opened(disk)[1]
    assert (again.log.base, again.log.last) == (30, 30)
    assert again.snapshot is not None
    assert again.snapshot.index == 30


def test_a_damaged_snapshot_is_refused() -> None:
    disk = grown()
    storage, _ = opened(disk)
    storage.save_snapshot(snapshot_of(25, 1, bytes(range(256)) * 300), 20, lambda: None)
    files = {name: bytes(data) for name, data in disk.contents.items()}
    (name,) = (name for name in files if name.endswith(".snapshot"))
    size = len(files[name])
    assert size > SNAPSHOT_PAGE_BYTES
    for at in [0, SNAPSHOT_PAGE_BYTES - 1, SNAPSHOT_PAGE_BYTES, *range(size - 60, size)]:
        for damaged in flips(files[name], at, at + 1):
            with pytest.raises(StorageError, match=name):
                recovered({**files, name: damaged})
    with pytest.raises(StorageError, match=name):
        recovered({**files, name: files[name][:-1]})
    with pytest.raises(StorageError, match=name):
        recovered({other: data for other, data in files.items() if other != name})
    with pytest.raises(StorageError, match="the log is gone"):
        recovered({name: files[name]})


def test_a_snapshot_that_is_held_outlives_its_file() -> None:
    disk = grown()
    storage, _ = opened(disk)
    storage.save_snapshot(snapshot_of(10, 1, b"ten"), 5, lambda: None)
    held = storage.open_snapshot()
    storage.save_snapshot(snapshot_of(20, 1, b"twenty"), 15, lambda: None)
    assert held.read(0, 9) == b"ten"


def test_a_snapshot_arrives_in_pieces_and_is_installed() -> None:
    disk = grown()
    data = bytes(range(256)) * 1000
    coming = snapshot_of(100, 5, data)
    first, second, third = chunks_of(coming, 70_000, 140_001)
    storage, _ = opened(disk)
    storage.write(ready(chunks=[first]), lambda _: None)
    again, found = opened(copy_of(disk))
    assert found.partial == (100, 5, len(data), crc32c(data), 70_000, crc32c(data[:70_000]))
    assert found.log.last == 30
    # It goes on where it stopped, after a restart, too.
    storage = again
    disk = storage.disk  # type: ignore[assignment]
    storage.write(ready(chunks=[second]), lambda _: None)
    storage.write(
        ready(HardState(5, None, 100), Block.pack(101, 5, [b"z"]), [third], coming),
        lambda _: None,
    )
    assert storage.open_snapshot().read(0, len(data)) == data
    found = opened(copy_of(disk))[1]
    assert found.partial is None
    assert found.snapshot is not None
    assert found.snapshot.source.read(0, len(data)) == data
    assert (found.log.base, found.log.base_term, found.log.last) == (100, 5, 101)
    assert found.hard_state == HardState(5, None, 100)
    assert len(disk.names()) == 2


def test_another_snapshot_begins_anew() -> None:
    disk = grown()
    storage, _ = opened(disk)
    storage.write(ready(chunks=chunks_of(snapshot_of(50, 2, b"x" * 99), 50)[:1]), lambda _: None)
    newer = snapshot_of(60, 2, b"y" * 99)
    storage.write(ready(chunks=chunks_of(newer, 40)[:1]), lambda _: None)
    assert opened(copy_of(disk))[1].partial == (60, 2, 99, newer.checksum, 40, crc32c(b"y" * 40))
    assert len([name for name in disk.names() if name.endswith("part")]) == 1


def test_a_part_that_is_damaged_is_asked_for_again() -> None:
    disk = grown()
    storage, _ = opened(disk)
    storage.write(ready(chunks=chunks_of(snapshot_of(50, 2, b"x" * 99), 50)[:1]), lambda _: None)
    (name,) = (name for name in disk.names() if name.endswith("part"))
    disk.contents[name][7] ^= 1
    assert opened(disk)[1].partial is None
    assert name not in disk.names()


def test_a_snapshot_with_another_checksum_is_not_installed() -> None:
    disk = grown()
    storage, _ = opened(disk)
    good = snapshot_of(50, 2, b"x" * 99)
    bad = chunks_of(good)[0]
    bad.data = b"y" * 99
    storage.write(ready(chunks=[bad], snapshot=good), lambda _: None)
    assert storage.failed is not None
    assert "checksum" in str(storage.failed)
    assert opened(disk)[1].log.last == 30


# --- blocks set aside ---------------------------------------------------------------------------


def far(first: int, term: int, *payloads: bytes) -> Block:
    return Block.pack(first, term, payloads)


ASIDE_BATCHES = (
    ready(HardState(3, 1, 0), far(1, 1, b"a", b"b", b"c")),
    ready(HardState(4, 2, 0), aside=[far(9, 4, b"i", b"j"), far(6, 3, b"f")]),
    ready(block=far(4, 4, b"d"), aside=[]),
    ready(HardState(7, 1, 1), aside=[far(2, 7, b"B"), far(12, 7, b"l" * 300)]),
    # The gap is closed: what stood aside moves into the log, but for what is further on.
    ready(HardState(7, 1, 3), far(2, 7, b"B", b"C"), aside=[far(12, 7, b"l")], clears_aside=True),
    ready(HardState(8, 1, 3)),
    ready(aside=[far(20, 8, b"t")]),
    ready(aside=[], clears_aside=True),
    ready(aside=[], clears_aside=True),
    ready(HardState(9, 1, 3), aside=[far(7, 2, b"g"), far(7, 9, b"G")], clears_aside=True),
)


def spelled(batch: Ready, before: State) -> list[State]:
    """The states after each of a batch's records, as the order of a `Ready` has them."""
    hard_state, base, base_term, log, snapshot, partial, aside = before
    assert isinstance(log, tuple)
    assert isinstance(aside, list)
    standing = len(aside)
    steps = [before]

    def note() -> None:
        step = (hard_state, base, base_term, log, snapshot, partial, list(aside))
        if step != steps[-1]:
            steps.append(step)

    if batch.hard_state is not None:
        hard_state = batch.hard_state
        note()
    for block in batch.aside or ():
        aside = [*aside, bytes(block)]
        note()
    if (block := batch.block) is not None:
        rows = [(block.term(i), False, bytes(block[i])) for i in range(block.first, block.last + 1)]
        log = (*log[: block.first - 1], *rows)
        note()
    if batch.clears_aside:
        aside = aside[standing:]
        note()
    return steps


@pytest.mark.parametrize("segment_bytes", [1, 400, 10**6])
def test_what_stands_aside_at_every_byte(segment_bytes: int) -> None:
    """A crash between any two bytes leaves what is before them, in the order of the `Ready`; what
    a new segment repeats is neither lost nor there twice."""
    disk = MemoryDisk()
    storage, found = opened(disk, segment_bytes=segment_bytes)
    before = state(found)
    files = {name: bytes(data) for name, data in disk.contents.items()}
    for batch in ASIDE_BATCHES:
        storage.write(batch, lambda _: None)
        name = disk.names()[-1]
        whole = bytes(disk.contents[name])
        seen: list[State] = []
        # Records end at multiples of 8.
        step = 1 if not kernels.PURE else 8
        for size in range(len(files.get(name, b"")), len(whole) + 1, step):
            for rest in (b"", b"\xa5" * 77):
                cut = recovered({**files, name: whole[:size] + rest})
                if not seen or cut != seen[-1]:
                    seen.append(cut)
        assert seen == spelled(batch, before)
        before = seen[-1]
        files = {name: bytes(data) for name, data in disk.contents.items()}
        assert recovered(files) == before


def test_what_stands_aside_lasts_through_lives_and_segments() -> None:
    disk = MemoryDisk()
    blocks = [far(100 + number, number, b"%d" % number) for number in range(1, 6)]
    for number, block in enumerate(blocks):
        storage, found = opened(disk, segment_bytes=200)
        assert [bytes(it) for it in found.aside] == [bytes(it) for it in blocks[:number]]
        storage.write(ready(aside=[block]), lambda _: None)
        for index in range(6):
            storage.write(entries(6 * number + index + 1, 1, b"x" * 50), lambda _: None)
    storage, found = opened(disk, segment_bytes=200)
    assert [it.first for it in found.aside] == [101, 102, 103, 104, 105]
    before = len(disk.names())
    # The entries' segments go; what stands aside is not among what they take with them.
    storage.save_snapshot(snapshot_of(30, 1, b"thirty"), 31, lambda: None)
    for term in range(2, 6):
        storage.write(ready(HardState(term, None, 0)), lambda _: None)
    assert len(disk.names()) < before / 2
    assert [it.first for it in opened(disk)[1].aside] == [101, 102, 103, 104, 105]
    storage, _ = opened(disk)
    storage.write(ready(aside=[blocks[1]], clears_aside=True), lambda _: None)
    assert [it.first for it in opened(disk)[1].aside] == [102]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_snapshot_covers_what_stands_aside(in_memory: bool) -> None:
    disk = MemoryDisk()
    storage = MemoryStorage() if in_memory else GroupStorage(disk, IDENTITY)
    storage.load()

    def standing() -> list[int]:
        found = storage.load() if in_memory else opened(copy_of(disk))[1]
        return [block.first for block in found.aside]

    storage.write(entries(1, 1, *(b"%d" % number for number in range(1, 11))), lambda _: None)
    aside = [far(3, 2, b"c", b"d"), far(4, 3, b"d", b"e"), far(12, 3, b"l"), far(19, 3, b"s")]
    storage.write(ready(aside=aside), lambda _: None)
    assert standing() == [3, 4, 12, 19]
    storage.save_snapshot(snapshot_of(4, 1, b"four"), 3, lambda: None)
    storage.write(ready(aside=[far(1, 3, b"late")]), lambda _: None)
    assert standing() == [4, 12, 19]
    coming = snapshot_of(15, 3, b"fifteen")
    aside = [far(11, 2, b"k"), far(16, 9, b"p")]
    storage.write(ready(chunks=chunks_of(coming), snapshot=coming, aside=aside), lambda _: None)
    assert standing() == [19, 16]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_ready_that_only_forgets_is_a_write(in_memory: bool) -> None:
    disk = MemoryDisk()
    storage = MemoryStorage() if in_memory else GroupStorage(disk, IDENTITY)
    storage.load()
    done: list[Ready] = []
    batches = [ready(aside=[far(5, 1, b"e")]), ready(aside=[], clears_aside=True)] * 2
    for batch, count in zip(batches, (1, 0, 1, 0), strict=True):
        assert batch.writes
        storage.write(batch, done.append)
        found = storage.load() if in_memory else opened(copy_of(disk))[1]
        assert len(found.aside) == count
    assert done == batches


def test_a_snapshot_that_is_installed_leaves_what_stands_aside() -> None:
    """However far the records came, what stood aside or is set aside with it is there."""
    disk = MemoryDisk()
    storage, _ = opened(disk)
    storage.write(ready(aside=[far(40, 2, b"x")]), lambda _: None)
    files = {name: bytes(data) for name, data in disk.contents.items()}
    coming = snapshot_of(30, 5, b"thirty")
    storage.write(
        ready(HardState(5, 1, 0), far(31, 5, b"y"), chunks_of(coming), coming, [far(50, 5, b"z")]),
        lambda _: None,
    )
    (snapshot,) = (name for name in disk.names() if name.endswith("snapshot"))
    log = max(name for name in disk.names() if name.endswith("log"))
    whole = bytes(disk.contents[log])
    seen = []
    for size in range(len(files[log]), len(whole) + 1):
        torn = {**files, snapshot: bytes(disk.contents[snapshot]), log: whole[:size]}
        found = opened(MemoryDisk(torn))[1]
        got = (
            found.hard_state.term,
            found.snapshot is not None,
            found.log.last,
            [block.first for block in found.aside],
        )
        if not seen or got != seen[-1]:
            seen.append(got)
    assert seen == [
        (0, False, 0, [40]),
        (5, False, 0, [40]),
        (5, False, 0, [40, 50]),
        (5, True, 30, [40, 50]),
        (5, True, 31, [40, 50]),
    ]


def test_what_a_segment_repeats_does_not_fill_it() -> None:
    disk = MemoryDisk()
    storage, _ = opened(disk, segment_bytes=300)
    storage.write(ready(aside=[far(100, 1, b"x" * 10_000)]), lambda _: None)
    before = sum(map(len, disk.contents.values()))
    for index in range(1, 101):
        storage.write(entries(index, 1, b"y" * 50), lambda _: None)
    grown_by = sum(map(len, disk.contents.values())) - before
    assert 100 * 50 < grown_by < 4 * 10_000


def test_an_older_reader_refuses_what_stands_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no such records: only the version of their segment can tell it that they are
    there.  A log that never had any stays as it was."""
    disk = MemoryDisk()
    storage, _ = opened(disk)
    storage.write(ready(HardState(3, 1, 0), far(1, 1, b"a", b"b")), lambda _: None)
    plain = copy_of(disk)
    storage.write(ready(aside=[far(9, 3, b"i")]), lambda _: None)
    newest = disk.names()[-1]
    assert newest != FIRST
    assert len(plain.contents[FIRST]) == len(disk.contents[FIRST])
    storage.write(ready(aside=[], clears_aside=True), lambda _: None)
    files = {name: bytes(data) for name, data in disk.contents.items()}
    monkeypatch.setattr(layout, "FORMAT_VERSION", 1)
    monkeypatch.setattr(record, "_KINDS", frozenset(range(1, 7)))
    with pytest.raises(StorageError, match=f"{newest}: .*version 2.*upgrade"):
        recovered(files)
    assert opened(plain)[1].log.last == 2


def test_records_of_what_stands_aside_that_contradict() -> None:
    disk = MemoryDisk()
    storage, _ = opened(disk)
    storage.write(entries(1, 1, b"a", b"b"), lambda _: None)
    storage.write(ready(aside=[far(9, 3, b"i")]), lambda _: None)
    name = disk.names()[-1]
    whole = bytes(disk.contents[name])
    view = memoryview(whole)
    at, kinds = 0, []
    while (found := record.parse(view, at)) is not None:
        kinds.append(found.kind)
        start, at, last = at, found.end, found
    assert kinds == [record.SEGMENT, record.ASIDE]
    assert last.kind == record.ASIDE
    assert start > 0

    def contradicts(kind: int, payload: bytes, files: dict[str, bytes] | None = None) -> None:
        files = files or {other: bytes(data) for other, data in disk.contents.items()}
        newest = max(files)
        data, end, sequence = memoryview(files[newest]), 0, 0
        while (there := record.parse(data, end)) is not None:
            end, sequence = there.end, there.sequence
        parts: list[bytes | bytearray | memoryview] = []
        record.encode(parts, kind, payload, IDENTITY.tag, sequence + 1, sequence)
        with pytest.raises(StorageError, match=f"byte {end} is whole but contradicts"):
            recovered({**files, newest: bytes(data) + b"".join(parts)})

    good = bytes(last.payload)
    block = bytes(far(9, 3, b"j"))
    one, two = layout.pack_number(1), layout.pack_number(2)
    contradicts(record.ASIDE, one + block)  # another one under the number of the first
    contradicts(record.ASIDE, layout.pack_number(0) + block)  # no number that was ever given
    contradicts(record.ASIDE, b"")
    contradicts(record.ASIDE, two)
    contradicts(record.ASIDE, two + block[:-1])
    for at in range(len(block)):
        damaged = bytearray(block)
        damaged[at] ^= 0x41
        contradicts(record.ASIDE, two + damaged)
    contradicts(record.FORGET, b"")
    contradicts(record.FORGET, two + b"\0")
    plain = MemoryDisk()
    opened(plain)[0].write(entries(1, 1, b"a"), lambda _: None)
    for kind, payload in ((record.ASIDE, good), (record.FORGET, two)):
        contradicts(kind, payload, {FIRST: bytes(plain.contents[FIRST])})
    storage.save_snapshot(snapshot_of(2, 1, b"two"), 3, lambda: None)
    contradicts(record.ASIDE, two + bytes(far(1, 3, b"covered", b"too")))


# --- order, failure, misuse -----------------------------------------------------------------------


class SlowDisk(MemoryDisk):
    """Syncs wait until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Done] = []
        self.appends = 0
        self.full = False

    def append(self, name: str, data: bytes | bytearray | memoryview) -> None:
        if self.full:
            raise StorageError("no room")
        self.appends += 1
        super().append(name, data)

    def sync(self, name: str, done: Done) -> None:
        self.waiting.append(done)

    def sync_names(self, done: Done) -> None:
        self.waiting.append(done)

    def go_on(self, error: StorageError | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(error)


def test_what_waits_shares_one_sync() -> None:
    disk = SlowDisk()
    storage, _ = opened(disk)
    done: list[int] = []
    for index in range(1, 11):
        storage.write(entries(index, 1, b"x"), lambda it: done.append(it.block.first))
    assert disk.appends == 2  # at the start, and the first batch
    assert done == []
    disk.go_on()
    assert done == [1]
    assert disk.appends == 3
    assert len(disk.waiting) == 1
    nothing = Ready(99)
    storage.write(nothing, lambda it: done.append(it.number))
    disk.go_on()
    assert done == [*range(1, 11), 99]
    assert storage.idle
    storage.write(nothing, lambda it: done.append(100))
    assert done[-1] == 100


def test_what_a_callback_hands_over_comes_after_the_rest() -> None:
    disk = SlowDisk()
    storage, _ = opened(disk)
    done: list[int] = []

    def more(it: Ready) -> None:
        assert it.block is not None
        done.append(it.block.first)
        if it.block.first == 2:
            storage.write(Ready(50), lambda _: done.append(50))

    for index in range(1, 5):
        storage.write(entries(index, 1, b"x"), more)
    disk.go_on()
    disk.go_on()
    assert done == [1, 2, 3, 4, 50]


def test_after_a_failed_sync_nothing_is_acknowledged() -> None:
    disk = SlowDisk()
    failures: list[StorageError] = []
    storage = GroupStorage(disk, IDENTITY, on_failure=failures.append)
    storage.load()
    done: list[object] = []
    storage.write(entries(1, 1, b"x"), done.append)
    storage.write(entries(2, 1, b"x"), done.append)
    storage.save_snapshot(snapshot_of(1, 1, b"one"), 1, lambda: done.append("saved"))
    disk.go_on(StorageError("I/O error"))
    disk.go_on()
    assert storage.failed is not None
    assert failures == [storage.failed]
    storage.write(entries(3, 1, b"x"), done.append)
    storage.write(Ready(7), done.append)
    storage.save_snapshot(snapshot_of(1, 1, b"one"), 1, lambda: done.append("saved"))
    storage.mark()
    disk.go_on()
    assert done == []
    assert disk.waiting == []


def test_a_full_disk_stops_it() -> None:
    disk = SlowDisk()
    storage, _ = opened(disk)
    done: list[object] = []
    storage.write(entries(1, 1, b"x"), done.append)
    disk.full = True
    storage.write(entries(2, 1, b"x"), done.append)
    disk.go_on()
    assert len(done) == 1
    assert storage.failed is not None
    disk.full = False
    assert state(opened(disk)[1])[3] == ((1, False, b"x"),)


def test_misuse_is_told() -> None:
    disk = MemoryDisk()
    storage = GroupStorage(disk, IDENTITY)
    with pytest.raises(MisuseError, match="load"):
        storage.write(Ready(1), lambda _: None)
    storage.load()
    with pytest.raises(MisuseError, match="new life"):
        storage.load()
    with pytest.raises(StorageError, match="no snapshot"):
        storage.open_snapshot()
    with pytest.raises(MisuseError, match="keep_from"):
        storage.save_snapshot(snapshot_of(3, 1, b""), 5, lambda: None)
    with pytest.raises(MisuseError, match="the log ends with 0"):
        storage.write(entries(2, 1, b"x"), lambda _: None)
    assert storage.failed is not None


def test_terms_do_not_go_back() -> None:
    storage, _ = opened(MemoryDisk())
    storage.write(ready(HardState(3, None, 0)), lambda _: None)
    with pytest.raises(MisuseError, match="goes back"):
        storage.write(ready(HardState(2, None, 0)), lambda _: None)
