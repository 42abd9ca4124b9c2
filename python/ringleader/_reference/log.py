"""The replicated log and its blocks in plain Python: a list of (word, payload), and struct.

A word is an entry's term, with CONTROL_BIT when the entry is the consensus core's own.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.hashing import crc32c
from ringleader.errors import (
    BlockError,
    FormatTypeError,
    LimitError,
    LogError,
    LogIndexError,
    SettingError,
    SettingTypeError,
    VersionError,
)
from ringleader.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_ENTRIES_MAX,
    INDEX_MAX,
    PAYLOAD_BYTES_MAX,
    TERM_MAX,
)

BLOCK_HEADER_BYTES = 32
BLOCK_ENTRY_BYTES = 16
BLOCK_VERSION = 1
CONTROL_BIT = 1 << 63

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAGIC = b"RLBK"
HAS_CONTROL = 1
#: Magic, version, flags, first index, count; the CRC; payload bytes.
FRONT, CRC, BACK = struct.Struct("<4sHHQI"), struct.Struct("<I"), struct.Struct("<Q")

Entry = tuple[int, bytes]


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


# --- what may be passed -----------------------------------------------------------------------


def number_of(name: str, number: Any) -> int:
    if isinstance(number, bool):
        raise SettingTypeError(f"{name} is bool, but it is an int")
    try:
        return operator.index(number)
    except TypeError:
        raise SettingTypeError(f"{name} is {type(number).__name__}, but it is an int") from None


def index_of(name: str, number: Any) -> int:
    index = number_of(name, number)
    if not 0 <= index <= INDEX_MAX:
        raise LogIndexError(f"{name} is {number}, but an index is 0 ... 2**62-1")
    return index


def term_of(name: str, number: Any) -> int:
    term = number_of(name, number)
    if not 0 <= term <= TERM_MAX:
        raise LogError(f"{name} is {number}, but a term is 0 ... 2**62-1")
    return term


def bytes_max_of(number: Any) -> int:
    bytes_max = number_of("max_bytes", number)
    if not 0 <= bytes_max < 2**64 - 1:
        raise SettingError(f"max_bytes is {number}, but it is 0 ... 2**64-2")
    return bytes_max


def is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def payload_list(payloads: Any) -> list[Any]:
    if isinstance(payloads, str) or is_buffer(payloads) or not hasattr(payloads, "__iter__"):
        raise SettingTypeError(
            f"payloads is {type(payloads).__name__}, but it is a list of payloads"
        )
    return list(payloads)


def exact_payloads(payloads: list[Any]) -> list[bytes]:
    exact = []
    for position, payload in enumerate(payloads):
        if not is_buffer(payload):
            raise SettingTypeError(
                f"payload at position {position} is {type(payload).__name__}, but a payload "
                "is bytes or another buffer"
            )
        exact.append(bytes(memoryview(payload)))
    for position, payload in enumerate(exact):
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise LimitError(
                f"payload at position {position} has more than {PAYLOAD_BYTES_MAX} bytes "
                "(limits.PAYLOAD_BYTES_MAX)"
            )
    return exact


# --- entries ----------------------------------------------------------------------------------


def frozen(values: Sequence[int], dtype: type[np.uint64] | type[np.uint8]) -> NDArray[Any]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


class Run:
    """Consecutive entries, the first of which has the index `first`."""

    def __init__(self, first: int, entries: Sequence[Entry], origin: int) -> None:
        self._first = first
        self._entries = tuple(entries)
        self._origin = origin

    @property
    def first(self) -> int:
        return self._first

    @property
    def last(self) -> int:
        return self._first + len(self._entries) - 1

    @property
    def terms(self) -> NDArray[np.uint64]:
        return frozen([word for word, _ in self._entries], np.uint64)

    @property
    def ends(self) -> NDArray[np.uint64]:
        sizes = [len(payload) for _, payload in self._entries]
        return frozen(list(accumulate(sizes, initial=self._origin))[1:], np.uint64)

    @property
    def ends_origin(self) -> int:
        return self._origin

    @property
    def payload(self) -> NDArray[np.uint8]:
        return frozen(list(b"".join(payload for _, payload in self._entries)), np.uint8)

    @property
    def payload_bytes(self) -> int:
        return sum(len(payload) for _, payload in self._entries)

    def _entry(self, index: Any) -> Entry:
        at = index_of("index", index) - self._first
        if not self._entries:
            raise LogIndexError(f"there is no entry {index}: there are none")
        if not 0 <= at < len(self._entries):
            raise LogIndexError(
                f"there is no entry {index}: there are {self.first} ... {self.last}"
            )
        return self._entries[at]

    def term(self, index: int) -> int:
        return self._entry(index)[0] & ~CONTROL_BIT

    def is_control(self, index: int) -> bool:
        return self._entry(index)[0] & CONTROL_BIT != 0

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> memoryview:
        return memoryview(self._entry(index)[1])

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for index, (word, payload) in enumerate(self._entries, self._first):
            if not word & CONTROL_BIT:
                yield index, payload


@final
class Entries(Run):
    """A view of consecutive entries of a log; it never changes while it is held."""

    def __repr__(self) -> str:
        if not self._entries:
            return f"<Entries: none, before {self.first}>"
        return f"<Entries {self.first} ... {self.last}>"


# --- blocks -----------------------------------------------------------------------------------


def packed(first: int, entries: Sequence[Entry]) -> bytes:
    words = [word for word, _ in entries]
    ends = list(accumulate(len(payload) for _, payload in entries))
    flags = HAS_CONTROL if any(word & CONTROL_BIT for word in words) else 0
    front = FRONT.pack(MAGIC, BLOCK_VERSION, flags, first, len(entries))
    rest = BACK.pack(ends[-1]) + struct.pack(f"<{2 * len(entries)}Q", *words, *ends)
    rest += b"".join(payload for _, payload in entries)
    return front + CRC.pack(crc32c(front + rest)) + rest


def refuse(what: str) -> NoReturn:
    raise BlockError(f"not a block: {what}")


def unpacked(data: bytes) -> tuple[int, list[Entry]]:
    """First index and entries; every guarantee is checked, in the order of docs/formats.md."""
    if len(data) < BLOCK_HEADER_BYTES:
        refuse(f"{len(data)} bytes are fewer than a block's header")
    magic, version, flags, first, count = FRONT.unpack_from(data)
    (crc,) = CRC.unpack_from(data, 20)
    (payload_bytes,) = BACK.unpack_from(data, 24)
    if magic != MAGIC:
        refuse("it does not begin with 'RLBK'")
    if version > BLOCK_VERSION:
        raise VersionError(
            f"the block has format version {version}, and this ringleader reads up to "
            f"{BLOCK_VERSION}; upgrade it"
        )
    if version != BLOCK_VERSION:
        refuse("there is no format version 0")
    if flags & ~HAS_CONTROL:
        refuse("it has unknown flags")
    if not 1 <= count <= BLOCK_ENTRIES_MAX:
        refuse(f"it has no entries, or more than {BLOCK_ENTRIES_MAX}")
    if not 1 <= first <= first + count - 1 <= INDEX_MAX:
        refuse("its indices are not all in 1 ... 2**62-1")
    wanted = BLOCK_HEADER_BYTES + BLOCK_ENTRY_BYTES * count + payload_bytes
    if len(data) != wanted or wanted > BLOCK_BYTES_MAX:
        refuse(f"its {len(data)} bytes are not what its header says, or too many")
    if crc != crc32c(data[:20] + data[24:]):
        refuse("its checksum is another")
    columns = struct.unpack_from(f"<{2 * count}Q", data, BLOCK_HEADER_BYTES)
    words, ends = columns[:count], columns[count:]
    terms = [word & ~CONTROL_BIT for word in words]
    if min(terms) < 1 or max(terms) > TERM_MAX or terms != sorted(terms):
        refuse("its terms are not all in 1 ... 2**62-1, or go back")
    if flags != (HAS_CONTROL if any(word & CONTROL_BIT for word in words) else 0):
        refuse("its flags and its terms differ about control entries")
    starts = (0, *ends[:-1])
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    if min(sizes) < 0:
        refuse("its payloads' ends go back, or not up to the end")
    if max(sizes) > PAYLOAD_BYTES_MAX:
        refuse(f"a payload has more than {PAYLOAD_BYTES_MAX} bytes")
    if ends[-1] != payload_bytes:
        refuse("its payloads' ends go back, or not up to the end")
    payload = data[BLOCK_HEADER_BYTES + BLOCK_ENTRY_BYTES * count :]
    payloads = [payload[start:end] for start, end in zip(starts, ends, strict=True)]
    return first, list(zip(words, payloads, strict=True))


@final
class Block(Run):
    """Consecutive entries as one immutable run of bytes: the form in which they travel."""

    def __init__(self, data: Buffer) -> None:
        if not is_buffer(data):
            raise FormatTypeError(f"a block is bytes, not {type(data).__name__}")
        if hasattr(self, "_data"):
            raise TypeError("a block never changes")
        self._data = bytes(memoryview(data))
        super().__init__(*unpacked(self._data), 0)

    @staticmethod
    def pack(
        first: int,
        terms: int | Sequence[int],
        payloads: Iterable[Buffer],
        control: bool = False,
    ) -> Block:
        at = index_of("first", first)
        if at == 0:
            raise LogIndexError("first is 0, but a first index is 1 ... 2**62-1")
        exact = exact_payloads(payload_list(payloads))
        words = [terms] * len(exact) if isinstance(terms, int | np.integer) else list(terms)
        if len(words) != len(exact):
            raise SettingError(f"there are {len(words)} terms for {len(exact)} payloads")
        if not exact:
            raise SettingError("a block holds at least one entry")
        if len(exact) > BLOCK_ENTRIES_MAX:
            raise LimitError(
                f"{len(exact)} entries are more than a block holds (limits.BLOCK_ENTRIES_MAX)"
            )
        if at + len(exact) - 1 > INDEX_MAX:
            raise LogIndexError("the last index is not in 1 ... 2**62-1")
        entries = []
        before = 1
        for position, word in enumerate(words):
            number = number_of("a term", word)
            term = number & ~CONTROL_BIT
            if not 1 <= term <= TERM_MAX:
                raise LogError(f"a term is {word}, but it is 1 ... 2**62-1")
            if term < before:
                raise LogError(f"the term at position {position} goes back")
            before = term
            entries.append((number | (CONTROL_BIT if control else 0), exact[position]))
        size = BLOCK_HEADER_BYTES + sum(BLOCK_ENTRY_BYTES + len(payload) for payload in exact)
        if size > BLOCK_BYTES_MAX:
            raise LimitError(f"{size} bytes are too many for a block (limits.BLOCK_BYTES_MAX)")
        return Block(packed(at, entries))

    @property
    def last_term(self) -> int:
        return self.term(self.last)

    @property
    def has_control(self) -> bool:
        return any(word & CONTROL_BIT for word, _ in self._entries)

    @property
    def nbytes(self) -> int:
        return len(self._data)

    @property
    def crc(self) -> int:
        return int.from_bytes(self._data[20:24], "little")

    def __bytes__(self) -> bytes:
        return self._data

    def __buffer__(self, flags: int, /) -> memoryview:
        return memoryview(self._data)

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Block) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"<Block of entries {self.first} ... {self.last}, {self.nbytes} bytes>"

    def __reduce__(self) -> tuple[type[Block], tuple[bytes]]:
        return Block, (self._data,)


# --- the log ----------------------------------------------------------------------------------


@final
class Log:
    """The entries base + 1 ... last of one replicated log."""

    def __init__(self, index: int = 0, term: int = 0) -> None:
        self.restore(index, term)

    def restore(self, index: int, term: int) -> None:
        at, of_term = index_of("index", index), term_of("term", term)
        if (at == 0) != (of_term == 0):
            raise LogError(f"a snapshot at index {at} of term {of_term} is impossible")
        self._base, self._base_term = at, of_term
        self._entries: list[Entry] = []
        self._origin = 0
        self._written_from = at + 1

    @property
    def first(self) -> int:
        return self._base + 1

    @property
    def last(self) -> int:
        return self._base + len(self._entries)

    @property
    def last_term(self) -> int:
        return self.term(self.last)

    @property
    def base(self) -> int:
        return self._base

    @property
    def base_term(self) -> int:
        return self._base_term

    @property
    def written_from(self) -> int:
        return self._written_from

    @property
    def nbytes(self) -> int:
        return self.payload_bytes + BLOCK_ENTRY_BYTES * len(self)

    def _run(self) -> Entries:
        return Entries(self.first, self._entries, self._origin)

    @property
    def payload_bytes(self) -> int:
        return self._run().payload_bytes

    def payload_size(self, lo: int, hi: int) -> int:
        low, high = index_of("lo", lo), number_of("hi", hi)
        return sum(
            len(payload)
            for index, (_, payload) in enumerate(self._entries, self.first)
            if low <= index < high
        )

    @property
    def terms(self) -> NDArray[np.uint64]:
        return self._run().terms

    @property
    def ends(self) -> NDArray[np.uint64]:
        return self._run().ends

    @property
    def ends_origin(self) -> int:
        return self._origin

    @property
    def payload(self) -> NDArray[np.uint8]:
        return self._run().payload

    def _entry(self, index: Any) -> Entry:
        at = index_of("index", index)
        if 0 < at <= self._base:
            raise LogIndexError(f"entry {index} was compacted: the log begins after {self._base}")
        if at == 0 or at > self.last:
            raise LogIndexError(f"there is no entry {index}: the last one is {self.last}")
        return self._entries[at - self.first]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> memoryview:
        return memoryview(self._entry(index)[1])

    def __repr__(self) -> str:
        if not self._entries:
            return f"<Log: no entries after {self._base}>"
        return f"<Log of entries {self.first} ... {self.last}>"

    # --- writing --------------------------------------------------------------------------------

    def append(self, term: int, payloads: Iterable[Buffer], control: bool = False) -> int:
        number = term_of("term", term)
        listed = payload_list(payloads)
        self._refuse_term(number)
        first = self.last + 1
        if first + len(listed) - 1 > INDEX_MAX:
            raise LimitError("the log's indices would leave 1 ... 2**62-1 (limits.INDEX_MAX)")
        exact = exact_payloads(listed)
        word = number | (CONTROL_BIT if control else 0)
        self._entries += [(word, payload) for payload in exact]
        self._written_from = first
        return first

    def _refuse_term(self, term: int) -> None:
        if term == 0:
            raise LogError("an entry's term is 1 ... 2**62-1, not 0")
        if term < self.last_term:
            raise LogError(f"term {term} goes back: the last entry has {self.last_term}")

    def append_block(self, block: Block | Buffer) -> int:
        opened = block if isinstance(block, Block) else Block(block)
        if opened.first != self.last + 1:
            raise LogError(f"a block from {opened.first} on does not follow entry {self.last}")
        self._refuse_term(opened.term(opened.first))
        self._written_from = opened.first
        self._entries += opened._entries
        return self.last

    def try_append(
        self, prev_index: int, prev_term: int, block: Block | Buffer | None
    ) -> int | tuple[int, int]:
        """Ongaro & Ousterhout 2014, figure 2, AppendEntries, receiver: steps 2 to 4."""
        index, term = index_of("prev_index", prev_index), term_of("prev_term", prev_term)
        arrived: tuple[Entry, ...] = ()
        if block is not None:
            opened = block if isinstance(block, Block) else Block(block)
            if opened.first != index + 1:
                raise LogError(f"a block from {opened.first} on does not follow index {index}")
            if opened.term(opened.first) < term:
                raise LogError(f"the block's first term goes back before prev_term {term}")
            arrived = opened._entries
        known = index + len(arrived)
        if index >= self._base and not self.match(index, term):
            self._written_from = self.last + 1
            return self.last_not_after(index, term)
        if index < self._base < known:
            at_base = arrived[self._base - index - 1][0] & ~CONTROL_BIT
            if at_base != self._base_term:
                raise LogError(
                    f"the block contradicts the snapshot: entry {self._base} has term "
                    f"{self._base_term}"
                )
        self._written_from = self.last + 1
        for at, entry in enumerate(arrived, index + 1):
            if at <= self._base:
                continue
            if at <= self.last and self._entries[at - self.first][0] == entry[0]:
                continue
            del self._entries[at - self.first :]
            self._entries += arrived[at - index - 1 :]
            self._written_from = at
            break
        return known

    def truncate(self, index: int) -> None:
        at = index_of("index", index)
        if at <= self._base:
            raise LogError(f"entry {index} cannot be dropped: the log begins after {self._base}")
        del self._entries[at - self.first :]

    def compact(self, index: int) -> None:
        at = index_of("index", index)
        if at > self.last:
            raise LogError(f"cannot compact up to {index}: the last entry is {self.last}")
        if at > self._base:
            dropped = self._entries[: at - self._base]
            self._base_term = self.term(at)
            self._origin += sum(len(payload) for _, payload in dropped)
            del self._entries[: at - self._base]
            self._base = at

    # --- reading --------------------------------------------------------------------------------

    def match(self, prev_index: int, prev_term: int) -> bool:
        index, term = index_of("prev_index", prev_index), term_of("prev_term", prev_term)
        return self._base <= index <= self.last and self.term(index) == term

    def term(self, index: int) -> int:
        at = index_of("index", index)
        return self._base_term if at == self._base else self._entry(index)[0] & ~CONTROL_BIT

    def is_control(self, index: int) -> bool:
        return self._entry(index)[0] & CONTROL_BIT != 0

    def find_control(self, lo: int) -> int:
        start = index_of("lo", lo)
        found = (at for at in range(self.first, self.last + 1) if at >= start)
        return next((at for at in found if self.is_control(at)), 0)

    def last_not_after(self, index: int, term: int) -> tuple[int, int]:
        at, of_term = index_of("index", index), term_of("term", term)
        for candidate in range(min(at, self.last), self._base, -1):
            if self.term(candidate) <= of_term:
                return candidate, self.term(candidate)
        return self._base, self._base_term

    def _fitting(self, lo: Any, hi: Any, max_bytes: Any, bare: bool, empty: bool) -> list[Entry]:
        """Entries [lo, hi), or as many as a block of max_bytes holds: at least one."""
        low, high = index_of("lo", lo), number_of("hi", hi)
        if not (self._base < low <= high <= self.last + 1) or (low == high and not empty):
            raise LogIndexError(
                f"[{lo}, {hi}) is not within the entries {self.first} ... {self.last}"
            )
        bytes_max = min(bytes_max_of(max_bytes), BLOCK_BYTES_MAX)
        chosen: list[Entry] = []
        size = BLOCK_HEADER_BYTES
        for word, payload in self._entries[low - self.first : high - self.first]:
            kept = payload if word & CONTROL_BIT or not bare else b""
            size += BLOCK_ENTRY_BYTES + len(kept)
            if chosen and (size > bytes_max or len(chosen) == BLOCK_ENTRIES_MAX):
                break
            chosen.append((word, kept))
        return chosen

    def block(
        self, lo: int, hi: int, max_bytes: int = BLOCK_BYTES_MAX, bare: bool = False
    ) -> Block:
        return Block(packed(index_of("lo", lo), self._fitting(lo, hi, max_bytes, bare, False)))

    def entries(self, lo: int, hi: int, max_bytes: int = BLOCK_BYTES_MAX) -> Entries:
        chosen = self._fitting(lo, hi, max_bytes, False, True)
        before = self._entries[: index_of("lo", lo) - self.first]
        origin = self._origin + sum(len(payload) for _, payload in before)
        return Entries(index_of("lo", lo), chosen, origin)
