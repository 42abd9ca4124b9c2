"""The worlds a simulated cluster lives in: named latency profiles, and named sets of faults.

Every number has its unit in its name.  `_rate` is a probability for each message, sync or crash;
`_every_us` the mean time between two faults of a kind in the whole cluster, 0 for never; `_us`
after a fault's name how long it lasts, from and to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise

from ringleader.errors import SettingError

MS = 1_000
SECOND = 1_000_000

#: Entries of the table that a latency is drawn from: one draw of 12 bits.
LATENCY_TABLE_BITS = 12
_TABLE = 1 << LATENCY_TABLE_BITS


@dataclass(frozen=True)
class Latency:
    """A distribution, given as people measure it: by its percentiles.  In between it is linear."""

    min_us: int
    p50_us: int
    p90_us: int
    p99_us: int
    p999_us: int
    max_us: int

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if values != sorted(values) or values[0] < 0:
            raise SettingError(f"percentiles that go back, or a negative latency: {self}")

    def plus(self, more_us: int) -> Latency:
        """The same jitter on top of a longer way."""
        return Latency(*(getattr(self, field.name) + more_us for field in fields(self)))

    def table(self) -> list[int]:
        """`2**LATENCY_TABLE_BITS` equally likely latencies, ascending; in whole numbers, so that
        they are the same on every machine."""
        points = (
            (0, self.min_us),
            (_TABLE * 500 // 1000, self.p50_us),
            (_TABLE * 900 // 1000, self.p90_us),
            (_TABLE * 990 // 1000, self.p99_us),
            (_TABLE * 999 // 1000, self.p999_us),
            (_TABLE - 1, self.max_us),
        )
        table: list[int] = []
        for (at, low_us), (until, high_us) in pairwise(points):
            table += [
                low_us + (high_us - low_us) * (i - at) // (until - at) for i in range(at, until)
            ]
        return [*table, self.max_us]


#: What every way adds to its base: queues, interrupts, a late process.
JITTER_LAN = Latency(0, 20, 60, 300, 2 * MS, 10 * MS)
JITTER_WAN = Latency(0, 500, 2 * MS, 8 * MS, 40 * MS, 250 * MS)
#: A sync of an NVMe disk with power-loss protection.
SYNC_NVME = Latency(60, 120, 250, 1 * MS, 8 * MS, 50 * MS)


@dataclass(frozen=True)
class Profile:
    """Where the nodes stand and how far apart.

    nodes           the datacenter of each node; node ids are 1, 2, ... in this order.
    rtt_us          {(dc, dc): round trip}, one of the two orders; within a datacenter it is
                    `rtt_local_us`.
    tick_us         a tick of the core; election and heartbeat are counted in these.
    sync, disk_bytes_per_s      the disks; see `ringleader.sim.disk`.
    """

    name: str
    nodes: tuple[str, ...]
    rtt_us: dict[tuple[str, str], int]
    rtt_local_us: int = 200
    jitter_local: Latency = JITTER_LAN
    jitter_remote: Latency = JITTER_WAN
    sync: Latency = SYNC_NVME
    disk_bytes_per_s: int = 1_000_000_000
    tick_us: int = 10 * MS
    election_ticks: int = 10
    heartbeat_ticks: int = 2

    def one_way(self, source: str, target: str) -> Latency:
        """The latency of a message from one datacenter to another, or within one."""
        if source == target:
            return self.jitter_local.plus(self.rtt_local_us // 2)
        rtt_us = self.rtt_us.get((source, target)) or self.rtt_us.get((target, source))
        if rtt_us is None:
            raise SettingError(f"profile {self.name!r} has no way between {source} and {target}")
        return self.jitter_remote.plus(rtt_us // 2)

    @property
    def rtt_max_us(self) -> int:
        return max([self.rtt_local_us, *self.rtt_us.values()])


_RTT_US = {
    ("eu", "us"): 80 * MS,
    ("us", "ap"): 150 * MS,
    ("eu", "ap"): 220 * MS,
    ("eu", "us-west"): 140 * MS,
    ("us", "us-west"): 65 * MS,
    ("us-west", "ap"): 105 * MS,
    ("eu", "sa"): 200 * MS,
    ("us", "sa"): 115 * MS,
    ("us-west", "sa"): 175 * MS,
    ("ap", "sa"): 310 * MS,
}

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("lan-3", ("a", "a", "a"), {}),
        Profile("lan-5", ("a",) * 5, {}),
        # Two of three in the datacenter that should lead; any one datacenter may be lost.
        Profile(
            "wan-3dc",
            ("eu", "eu", "us", "us", "ap"),
            _RTT_US,
            tick_us=50 * MS,
            election_ticks=20,
            heartbeat_ticks=3,
        ),
        Profile(
            "wan-5dc",
            ("eu", "us", "us-west", "ap", "sa"),
            _RTT_US,
            tick_us=50 * MS,
            election_ticks=24,
            heartbeat_ticks=3,
        ),
    )
}


def profile(name: str) -> Profile:
    """The latency profile of this name.

    Raises:
        SettingError: there is none.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise SettingError(f"profile {name!r} is not one of {', '.join(PROFILES)}") from None


@dataclass(frozen=True)
class NetworkFaults:
    """The rates hit each message; the others are events for whoever drives the faults."""

    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    #: The message leaves the order of its link, and takes up to `reorder_us` more.
    reorder_rate: float = 0.0
    reorder_us: int = 0
    partition_every_us: int = 0
    partition_us: tuple[int, int] = (0, 0)
    #: Of the partitions, how many cut one direction only.
    asymmetric_rate: float = 0.0
    clog_every_us: int = 0
    clog_us: tuple[int, int] = (0, 0)
    slow_every_us: int = 0
    slow_us: tuple[int, int] = (0, 0)
    #: What a slow node adds to every message from and to it.
    slow_delay_us: int = 0


@dataclass(frozen=True)
class CrashFaults:
    every_us: int = 0
    down_us: tuple[int, int] = (0, 0)
    #: Of the crashes, how many take every node at once.
    all_rate: float = 0.0
    #: Of the crashes, how many lose what was not synced (power), not the process alone.
    power_rate: float = 1.0


@dataclass(frozen=True)
class DiskFaults:
    """At a crash: `torn_rate`: of the unsynced bytes a part survives, cut anywhere (else all or
    none); `fill_rate`: what was torn off reads as zeros or as garbage; `flip_unsynced_rate`: a bit
    flips in what survived unsynced; `flip_synced_rate`: a bit flips in what a sync before the last
    one made durable, which recovery must detect, so that the node is lost and must be wiped.
    """

    torn_rate: float = 0.0
    fill_rate: float = 0.0
    flip_unsynced_rate: float = 0.0
    flip_synced_rate: float = 0.0
    stall_rate: float = 0.0
    stall_us: tuple[int, int] = (0, 0)
    #: For each sync: it fails, and nobody knows what is durable.
    sync_error_rate: float = 0.0
    full_every_us: int = 0
    full_us: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ClockFaults:
    """Rates lie within ±`drift_ppm_max`.  Jumps go beyond every bound, so leases are not safe with
    them: none of the named sets has both."""

    drift_ppm_max: int = 0
    redraw_every_us: int = 0
    jump_every_us: int = 0
    jump_us: tuple[int, int] = (0, 0)
    #: For each tick: the node's loop is late.
    late_rate: float = 0.0
    late_us: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class MembershipFaults:
    """Not faults, but what operators do, at the worst of times."""

    change_every_us: int = 0
    transfer_every_us: int = 0
    snapshot_every_us: int = 0


@dataclass(frozen=True)
class Faults:
    name: str = "none"
    network: NetworkFaults = NetworkFaults()
    crash: CrashFaults = CrashFaults()
    disk: DiskFaults = DiskFaults()
    clock: ClockFaults = ClockFaults()
    membership: MembershipFaults = MembershipFaults()

    @property
    def parts(self) -> Iterator[str]:
        """The names of the parts that are not empty."""
        for field in fields(self):
            part = getattr(self, field.name)
            if field.name != "name" and part != type(part)():
                yield field.name


_NETWORK = NetworkFaults(
    loss_rate=0.02,
    duplicate_rate=0.02,
    reorder_rate=0.05,
    reorder_us=200 * MS,
    partition_every_us=5 * SECOND,
    partition_us=(200 * MS, 6 * SECOND),
    asymmetric_rate=0.4,
    clog_every_us=6 * SECOND,
    clog_us=(100 * MS, 4 * SECOND),
    slow_every_us=15 * SECOND,
    slow_us=(500 * MS, 5 * SECOND),
    slow_delay_us=100 * MS,
)
_CRASH = CrashFaults(
    every_us=4 * SECOND,
    down_us=(10 * MS, 4 * SECOND),
    all_rate=0.05,
    power_rate=0.7,
)
_DISK = DiskFaults(
    torn_rate=0.6,
    fill_rate=0.3,
    flip_unsynced_rate=0.1,
    flip_synced_rate=0.01,
    stall_rate=0.002,
    stall_us=(50 * MS, 2 * SECOND),
    sync_error_rate=0.0002,
    full_every_us=120 * SECOND,
    full_us=(1 * SECOND, 5 * SECOND),
)
_CLOCK = ClockFaults(
    drift_ppm_max=50_000,
    redraw_every_us=20 * SECOND,
    late_rate=0.002,
    late_us=(10 * MS, 500 * MS),
)
_MEMBERSHIP = MembershipFaults(
    change_every_us=4 * SECOND,
    transfer_every_us=5 * SECOND,
    snapshot_every_us=1 * SECOND,
)
#: Disk faults show at crashes, so whatever has disks has them too.
FAULTS: dict[str, Faults] = {
    faults.name: faults
    for faults in (
        Faults(),
        Faults("network", network=_NETWORK),
        Faults("crash", crash=_CRASH),
        Faults("disk", crash=_CRASH, disk=_DISK),
        Faults("clock", clock=_CLOCK),
        Faults("membership", membership=_MEMBERSHIP),
        Faults(
            "all",
            network=_NETWORK,
            crash=_CRASH,
            disk=_DISK,
            clock=_CLOCK,
            membership=_MEMBERSHIP,
        ),
    )
}


def faults(names: str) -> Faults:
    """The set of faults of this name, or the union of several: `"network,crash"`.

    Raises:
        SettingError: there is none of this name.
    """
    union = Faults(names)
    for name in names.split(","):
        chosen = FAULTS.get(name.strip())
        if chosen is None:
            raise SettingError(f"faults {name!r}: not one of {', '.join(FAULTS)}")
        union = replace(union, **{part: getattr(chosen, part) for part in chosen.parts})
    return union
