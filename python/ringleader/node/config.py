"""The cluster file: one TOML file that all nodes of a cluster share.

    name = "orders"                     # of the cluster
    consensus = "raft"                  # or "paxos"
    shards = 24
    replicas = { eu = 2, us = 2, ap = 1 }    # or a number: spread evenly over the datacenters
    leaders = ["eu", "us"]              # where leaders should stand, most preferred first
    data_dir = "data"                   # each node's is data_dir/NAME
    password_file = "password"          # or password_env = "NAME"

    [timing]                            # each "auto" (the default) or milliseconds
    [round_trips]                       # what to expect between datacenters: eu.us = 80
    [wan]                               # the same, but made artificially by the transport
    [tls]                               # cert, key, ca; clients, peers
    [limits]                            # see `Limits`
    [log]                               # level, format

    [[nodes]]
    name = "eu-1"
    dc = "eu"
    zone = "eu-a"
    host = "10.0.1.1"
    port = 6379

Everything is checked before anything is started: unknown keys, types, ranges, what contradicts
something else, files that are not there.  Paths are relative to the file.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ringleader import limits
from ringleader.errors import ClusterFileError, RingleaderError
from ringleader.node.identity import Identity
from ringleader.node.layout import Layout
from ringleader.node.slots import SLOTS
from ringleader.node.tables import Faults, Table, kind_of, listed, nearest, toml
from ringleader.placement import Node

CONSENSUS = ("raft", "paxos")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "json", "console")
AUTO = "auto"

#: What ports are, next to `port`, where the file does not say.
PEER_PORT_OFFSET = 10_000
HTTP_PORT_OFFSET = 20_000

TICK_MS = 10
HEARTBEAT_MS = 50
ELECTION_MS = 150
#: Where several datacenters are apart by nobody knows how much.
FAR_HEARTBEAT_MS = 100
FAR_ELECTION_MS = 500
#: An election timeout takes so many round trips of a quorum, and so much more.
ELECTION_ROUND_TRIPS = 2
ELECTION_SLACK_MS = 100
#: Round trips vary: a timeout that is short by less needs no warning.
TIMING_TOLERANCE = 0.8
#: What the cores assume of clocks: `CoreConfig.clock_drift`.
CLOCK_DRIFT = 0.1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node lets others do to it.  0 means without a limit where it says so.

    Attributes:
        clients_max: connections of clients; more are told so and closed.
        clients_bytes_max: what all clients together make the node hold; above it those that hold
            most are not read from, or closed.
        client_output_bytes_max: replies that wait for a slow client; then it is closed.
        client_idle_s_max: a client that says nothing for so long is closed; 0: never.
        client_pending_max: commands of one connection that may wait for an answer; no more are
            read from it until some are answered.
        command_bytes_max: one command with all its arguments.
        command_args_max: arguments of one command.
        value_bytes_max: one value, or another argument of a command.
        patience_ms: how long a node tries to have a command done.
        uncommitted_bytes_max: commands of one shard that wait to be committed; more are refused.
        peer_queue_bytes_max: what waits for a slow peer; then messages to it are dropped.
        memory_bytes_max: of the data of all shards; writes that add are refused above it; 0:
            without a limit.
    """

    clients_max: int = 10_000
    clients_bytes_max: int = 2**30
    client_output_bytes_max: int = 64 * 2**20
    client_idle_s_max: int = 0
    client_pending_max: int = 1_000
    command_bytes_max: int = 64 * 2**20
    command_args_max: int = 2**20
    value_bytes_max: int = 16 * 2**20
    patience_ms: int = 5_000
    uncommitted_bytes_max: int = 256 * 2**20
    peer_queue_bytes_max: int = 256 * 2**20
    memory_bytes_max: int = 0


#: What waits for a leader is tried again at each tick.
_PATIENCE_TICKS_MIN = 5
#: What each limit may be.
_LIMIT_RANGES: dict[str, tuple[int, int]] = {
    "clients_max": (1, 10**6),
    "clients_bytes_max": (2**20, 2**50),
    "client_output_bytes_max": (2**16, 2**40),
    "client_idle_s_max": (0, 10**9),
    "client_pending_max": (1, 10**7),
    "command_bytes_max": (2**10, limits.COMMAND_BYTES_MAX),
    "command_args_max": (16, limits.COMMAND_ARGS_MAX),
    "value_bytes_max": (1, limits.STORE_VALUE_BYTES_MAX),
    "patience_ms": (100, 10**6),
    "uncommitted_bytes_max": (2**20, 2**40),
    "peer_queue_bytes_max": (2**20, 2**40),
    "memory_bytes_max": (0, 2**50),
}


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of one cluster.

    Attributes:
        cert, key: this node's certificate chain and private key, as PEM files.
        ca: whose certificates are trusted; peers need it.
        clients: clients speak TLS on the node's port, and nothing else.
        peers: nodes speak TLS with each other, and both sides show a certificate of `ca`.
    """

    cert: str = ""
    key: str = ""
    ca: str = ""
    clients: bool = False
    peers: bool = False


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node of the cluster.

    Attributes:
        host: where others reach it.
        bind: what it listens on; "" is `host`.
        port, peer_port, http_port: of clients, of other nodes, of metrics and health.
        weight: its share of shards relative to others; 0: it holds none.
    """

    name: str
    dc: str
    zone: str
    host: str
    port: int
    peer_port: int
    http_port: int
    weight: float = 1.0
    bind: str = ""

    @property
    def listen(self) -> str:
        """The address to listen on."""
        return self.bind or self.host

    @property
    def placed(self) -> Node:
        """As placement sees it."""
        return Node(self.name, self.weight, self.dc, self.zone, f"{self.host}:{self.port}")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """A cluster file that was found to be right.

    Attributes:
        name: of the cluster.
        consensus: "raft" or "paxos".
        shards: how many.
        replicas: of each shard: altogether, or by datacenter.
        leaders: datacenters in which leaders should stand, most preferred first.
        nodes: in the order of the file.
        tick_ms, heartbeat_ms, election_ms: in milliseconds; "auto" is worked out already.
        readonly_bound_ms: how old READONLY reads may be unless a connection says otherwise.
        settle_ms: how long a node that should rather lead has to be up to date before it takes
            over: so that one that comes and goes does not take leaderships along.
        wan: round trips in ms that the transport makes between datacenters, for a try on one
            machine.
        round_trips: round trips in ms that are expected between datacenters.
        password: of clients; "" is none.
        data_dir: absolute.
        auto: which of the timings were "auto".
        path: of the file, for messages.
    """

    name: str
    shards: int
    replicas: int | Mapping[str, int]
    nodes: tuple[NodeConfig, ...]
    consensus: str = "raft"
    leaders: tuple[str, ...] = ()
    tick_ms: int = TICK_MS
    heartbeat_ms: int = HEARTBEAT_MS
    election_ms: int = ELECTION_MS
    readonly_bound_ms: int = 5_000
    settle_ms: int = 2_000
    wan: Mapping[frozenset[str], float] = field(default_factory=lambda: MappingProxyType({}))
    round_trips: Mapping[frozenset[str], float] = field(
        default_factory=lambda: MappingProxyType({})
    )
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)
    password: str = field(default="", repr=False)
    password_file: str = ""
    password_env: str = ""
    data_dir: str = "data"
    log_level: str = "info"
    log_format: str = "auto"
    auto: frozenset[str] = frozenset()
    path: str = "cluster.toml"

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, secrets: bool = True) -> ClusterConfig:
        """Read and check a cluster file.

        Args:
            secrets: read the password and look for the TLS files as well, which only a node needs.

        Raises:
            ClusterFileError: it is not there, no TOML, or not a usable cluster; says all that is
                wrong with it.
        """
        where = os.fspath(path)
        try:
            with open(where, "rb") as file:
                content = file.read(limits.CLUSTER_FILE_BYTES_MAX + 1)
        except OSError as error:
            raise ClusterFileError(f"{where}: {error.strerror}") from error
        if len(content) > limits.CLUSTER_FILE_BYTES_MAX:
            raise ClusterFileError(
                f"{where}: larger than {limits.CLUSTER_FILE_BYTES_MAX} bytes: no cluster file"
            )
        try:
            given = tomllib.loads(content.decode())
        except UnicodeDecodeError as error:
            raise ClusterFileError(f"{where}: byte {error.start} is no UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise ClusterFileError(f"{where}: no TOML: {error}") from None
        except RecursionError:
            raise ClusterFileError(f"{where}: nested too deep: no cluster file") from None
        return cls.parse(given, path=where, secrets=secrets)

    @classmethod
    def parse(
        cls, given: Mapping[str, Any], *, path: str = "cluster.toml", secrets: bool = True
    ) -> ClusterConfig:
        """Check what a cluster file says.

        Raises:
            ClusterFileError: as `load`.
        """
        faults = Faults(path)
        made = _parsed(given, faults, path, secrets)
        faults.raise_if_any()
        assert made is not None
        return made

    # --- nodes ----------------------------------------------------------------------------------

    def node(self, name: str) -> NodeConfig:
        """The node of this name.

        Raises:
            ClusterFileError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        names = [node.name for node in self.nodes]
        raise ClusterFileError(
            f"{self.path}: there is no node {name!r}{nearest(name, names)}: the nodes are "
            f"{listed(names)}"
        )

    @cached_property
    def dcs(self) -> tuple[str, ...]:
        """The datacenters, in the order of their first nodes."""
        return tuple(dict.fromkeys(node.dc for node in self.nodes))

    @cached_property
    def layout(self) -> Layout:
        """Which nodes hold which shards."""
        placed = [node.placed for node in self.nodes]
        return Layout.of_nodes(placed, self.shards, self.replicas, self.leaders)

    def directory(self, name: str) -> Path:
        """Where a node keeps its data."""
        return Path(self.data_dir) / name

    def identity(self) -> Identity:
        """What must never change under existing data."""
        return self._identity

    @cached_property
    def _identity(self) -> Identity:
        return Identity(
            cluster=self.name,
            consensus=self.consensus,
            shards=self.shards,
            sets=tuple(tuple(names) for names in self.layout.sets()),
        )

    def check_identity(self, directory: str | os.PathLike[str], name: str) -> None:
        """Make sure that this directory is the node's, or make it so when it is empty.

        Raises:
            IdentityError: as `Identity.claim`.
        """
        self.identity().claim(directory, self.node(name).name)

    # --- timing ---------------------------------------------------------------------------------

    @property
    def election_ticks(self) -> int:
        """`election_ms` as the cores take it."""
        return self.election_ms // self.tick_ms

    @property
    def heartbeat_ticks(self) -> int:
        """`heartbeat_ms` as the cores take it."""
        return self.heartbeat_ms // self.tick_ms

    @property
    def priority_ticks(self) -> int:
        """`settle_ms` as the cores take it."""
        return self.settle_ms // self.tick_ms

    @property
    def patience_ticks(self) -> int:
        """`limits.patience_ms` as drivers take it."""
        return max(1, self.limits.patience_ms // self.tick_ms)

    @property
    def lease_ms(self) -> int:
        """How long a leader may read locally after it has sent a round that a quorum answered."""
        return _lease_ms(self.election_ms, self.tick_ms)

    def quorum_round_trip_ms(self, node: str, round_trips: Mapping[str, float]) -> float:
        """The longest that `node`, as a leader of any of its shards, waits for a quorum.

        Args:
            round_trips: from `node` to others by name, in ms; others are left out of account.
        """
        longest = 0.0
        for shard in self.layout.of(node):
            known = sorted(
                round_trips[name] for name in shard.replicas if name != node and name in round_trips
            )
            needed = len(shard.replicas) // 2  # besides itself
            if known and needed:
                longest = max(longest, known[min(needed, len(known)) - 1])
        return longest

    def advisable_election_ms(self, node: str, round_trips: Mapping[str, float]) -> int:
        """The least election timeout that suits these measured round trips (see
        `quorum_round_trip_ms`), in ms: without the floor, and with less to spare, than a file that
        leaves it "auto" gets."""
        return self._needed_election_ms(self.quorum_round_trip_ms(node, round_trips))

    def _needed_election_ms(self, quorum_round_trip_ms: float) -> int:
        asked = ELECTION_ROUND_TRIPS * quorum_round_trip_ms + self.heartbeat_ms
        return _in_ticks(asked, self.tick_ms)

    def timing_warning(self, node: str, round_trips: Mapping[str, float]) -> str | None:
        """What is wrong with the election timeout, given measured round trips, or None."""
        longest = self.quorum_round_trip_ms(node, round_trips)
        return self._timing_warning(longest, f"{node} measures")

    def _timing_warning(self, longest: float, who: str) -> str | None:
        is_short = self.election_ms < self._needed_election_ms(longest) * TIMING_TOLERANCE
        has_lease = self.lease_ms > longest + self.heartbeat_ms
        if has_lease and not is_short:
            return None
        heartbeat_ms = None if "heartbeat_ms" in self.auto else self.heartbeat_ms
        advisable = advisable_election_ms(longest, self.tick_ms, heartbeat_ms)
        if not has_lease:
            effect = (
                "leaders cannot hold a lease, so that every read waits for a quorum, and may step "
                "down without cause"
            )
        else:
            effect = "a message that is late a little can cost a leader its office"
        return (
            f"timing.election_ms is {self.election_ms}, but {who} {longest:.0f} ms for a round "
            f"trip to a quorum: {effect}; set it to {advisable} or more"
        )

    # --- advice ---------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """What is possible, but probably not what was meant."""
        found: list[str] = []
        replicas = self.replicas if isinstance(self.replicas, int) else sum(self.replicas.values())
        if replicas == 1:
            found.append("replicas: 1: what a node that is down holds cannot be read or written")
        elif replicas % 2 == 0:
            found.append(
                f"replicas: {replicas} survive no more failures than {replicas - 1} would, and "
                "every write waits for one more"
            )
        if len(self.dcs) > 1:
            found += self._lost_places("datacenter", lambda node: node.dc)
        elif len({node.zone for node in self.nodes}) > 1:
            found += self._lost_places("zone", lambda node: node.zone)
        for dc in self.leaders:
            if not any(self._dc_of(name) == dc for s in self.layout.shards for name in s.replicas):
                found.append(f"leaders: no shard has a replica in {dc!r}")
        idle = [node.name for node in self.nodes if not self.layout.of(node.name)]
        if idle:
            found.append(f"nodes: {listed(idle)} hold no shard, and only pass commands on")
        expected = self.round_trips or self.wan
        if expected and (warning := self._timing_warning(self._expected_ms(), "there are")):
            found.append(warning)
        open_hosts = [n.name for n in self.nodes if not _is_loopback(n.listen)]
        if open_hosts and not self.password:
            found.append(
                "password: none: whoever reaches a node's port can read and write everything; set "
                "password_file"
            )
        if open_hosts and not self.tls.peers:
            found.append(
                "tls.peers: off: nodes trust whoever reaches their peer ports; keep these ports "
                "in a private network, or turn it on"
            )
        if open_hosts and self.wan:
            found.append(
                "wan: delays what nodes say to each other, to try things out on one machine; "
                "between machines say [round_trips]"
            )
        for key, name in (("password_file", self.password_file), ("tls.key", self.tls.key)):
            if name and _others_may_read(path := Path(self.path).absolute().parent / name):
                found.append(f"{key}: others than its owner may read {path}: chmod 600")
        return found

    def _dc_of(self, name: str) -> str:
        return self.node(name).dc

    def _expected_ms(self) -> float:
        """The longest wait for a quorum that the file's own round trips let expect."""
        return _expected_ms(self.nodes, self.layout, self.round_trips or self.wan)

    def _lost_places(self, kind: str, place_of: Callable[[NodeConfig], str]) -> list[str]:
        """The datacenters, or zones, whose loss stops writes."""
        place = {node.name: place_of(node) for node in self.nodes}
        places = sorted(set(place.values()))
        found = []
        for lost in places:
            stopped = 0
            for shard in self.layout.shards:
                left = sum(place[name] != lost for name in shard.replicas)
                stopped += 2 * left <= len(shard.replicas)
            if stopped:
                some = "all shards" if stopped == self.shards else f"{stopped} of the shards"
                why = f"it holds too many replicas of {some} for the others to be a majority"
                found.append(f"the loss of {kind} {lost!r} stops writes: {why}")
        if found and len(places) == 2:
            found.append(
                f"two {kind}s cannot survive the loss of either: a third one, with a single "
                "replica of each shard, would do"
            )
        return found

    # --- as a file ------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """A cluster file that says the same; a password itself is never written."""
        lines = [
            f"name = {toml(self.name)}",
            f"consensus = {toml(self.consensus)}",
            f"shards = {self.shards}",
            f"replicas = {toml(self.replicas)}",
            f"leaders = {toml(list(self.leaders))}",
            f"data_dir = {toml(self.data_dir)}",
        ]
        for key in ("password_file", "password_env"):
            if value := getattr(self, key):
                lines.append(f"{key} = {toml(value)}")
        lines += ["", "[timing]"]
        for key in ("tick_ms", "heartbeat_ms", "election_ms"):
            lines.append(f"{key} = {toml(AUTO if key in self.auto else getattr(self, key))}")
        lines += [f"{key} = {getattr(self, key)}" for key in ("readonly_bound_ms", "settle_ms")]
        for title, pairs in (("round_trips", self.round_trips), ("wan", self.wan)):
            if pairs:
                lines += ["", f"[{title}]"]
                lines += [
                    f"{'.'.join(sorted(pair))} = {toml(pairs[pair])}"
                    for pair in sorted(pairs, key=sorted)
                ]
        for title, table in (("limits", self.limits), ("tls", self.tls)):
            if table != type(table)():
                lines += ["", f"[{title}]"]
                lines += [
                    f"{each.name} = {toml(getattr(table, each.name))}"
                    for each in fields(table)
                    if getattr(table, each.name) != each.default
                ]
        lines += ["", "[log]", f"level = {toml(self.log_level)}"]
        lines.append(f"format = {toml(self.log_format)}")
        for node in self.nodes:
            lines += ["", "[[nodes]]"]
            lines += [
                f"{each.name} = {toml(getattr(node, each.name))}"
                for each in fields(node)
                if getattr(node, each.name) != each.default
            ]
        return "\n".join(lines) + "\n"


def advisable_election_ms(
    quorum_round_trip_ms: float, tick_ms: int = TICK_MS, heartbeat_ms: int | None = None
) -> int:
    """The least election timeout for a leader that waits so long for its quorum.

    Two round trips, which an election takes, and a heartbeat or a little; and so much that a lease,
    which is shorter, outlasts a round trip and a heartbeat.

    Args:
        heartbeat_ms: None: "auto".
    """
    slack_ms = max(ELECTION_SLACK_MS, heartbeat_ms or 0)
    asked = max(ELECTION_MS, ELECTION_ROUND_TRIPS * quorum_round_trip_ms + slack_ms)
    return _with_lease_ms(asked, quorum_round_trip_ms, heartbeat_ms, tick_ms)


def _with_lease_ms(
    election_ms: float, quorum_round_trip_ms: float, heartbeat_ms: int | None, tick_ms: int
) -> int:
    """The least election timeout from this one on with which leaders can hold a lease."""
    election = _in_ticks(election_ms, tick_ms)
    while True:
        heartbeat = heartbeat_ms or _auto_heartbeat_ms(election, tick_ms)
        if _lease_ms(election, tick_ms) > quorum_round_trip_ms + heartbeat:
            return election
        election += tick_ms


def _auto_heartbeat_ms(election_ms: int, tick_ms: int) -> int:
    return _in_ticks(FAR_HEARTBEAT_MS if election_ms > 3 * ELECTION_MS else HEARTBEAT_MS, tick_ms)


# --- reading ------------------------------------------------------------------------------------


def _parsed(
    given: Mapping[str, Any], faults: Faults, path: str, secrets: bool
) -> ClusterConfig | None:
    folder = Path(path).absolute().parent
    top = Table(given, "", faults)
    name = top.text(
        "name", "", needed='name the cluster, such as name = "orders"', pattern=_NAME, of=_NAMES
    )
    consensus = top.text("consensus", "raft", among=CONSENSUS)
    shards = top.number(
        "shards", 1, 1, min(limits.SHARDS_MAX, SLOTS),
        needed="say how many, such as 24: it cannot be changed under existing data",
    )  # fmt: skip
    nodes = _nodes(top.take("nodes", needed="add a [[nodes]] table for each node"), faults)
    dcs = list(dict.fromkeys(node.dc for node in nodes))
    replicas = _replicas(top, dcs)
    leaders = _leaders(top, dcs)
    data_dir = str(folder / top.text("data_dir", "data"))
    password_file = top.text("password_file")
    password_env = top.text(
        "password_env", pattern=_ENV, of="it names a variable of the environment"
    )
    if "password" in given:
        top.take("password")
        top.fault("password", "stands in no cluster file: use password_file or password_env")
    timing = Table(top.take("timing", {}), "timing", faults)
    round_trips = _pairs(top.take("round_trips", {}), "round_trips", dcs, faults)
    wan = _pairs(top.take("wan", {}), "wan", dcs, faults)
    if wan and round_trips:
        faults.add("wan", "makes round trips, so that [round_trips] cannot say others: leave one")
    tls = _tls(Table(top.take("tls", {}), "tls", faults), folder, secrets)
    bounds = _limits(Table(top.take("limits", {}), "limits", faults))
    log = Table(top.take("log", {}), "log", faults)
    log_level = log.text("level", "info", among=LOG_LEVELS)
    log_format = log.text("format", "auto", among=LOG_FORMATS)
    log.done()
    password = _password(top, folder, password_file, password_env) if secrets else ""
    times, auto = _timing(timing)
    top.done()
    layout = _layout(nodes, shards, replicas, leaders, faults)
    if layout is None:
        return None
    tick, heartbeat, election = _settled(times, nodes, layout, round_trips or wan, faults)
    if bounds.patience_ms < _PATIENCE_TICKS_MIN * tick:
        faults.add(
            "limits.patience_ms",
            f"{bounds.patience_ms} is less than {_PATIENCE_TICKS_MIN} ticks of {tick} ms: "
            "raise it, or lower timing.tick_ms",
        )
    return ClusterConfig(
        name=name, consensus=consensus, shards=shards, replicas=replicas, leaders=leaders,
        nodes=nodes, tick_ms=tick, heartbeat_ms=heartbeat, election_ms=election,
        readonly_bound_ms=times["readonly_bound_ms"], wan=wan, round_trips=round_trips,
        limits=bounds, tls=tls, password=password, password_file=password_file,
        password_env=password_env, data_dir=data_dir, log_level=log_level,
        log_format=log_format, auto=auto, path=path,
    )  # fmt: skip


_NAMES = "up to 64 letters, digits, '_', '-' and '.', with a letter or digit first"
_DC_NAMES = "up to 64 letters, digits, '_' and '-', with a letter or digit first"


def _nodes(given: Any, faults: Faults) -> tuple[NodeConfig, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not given:
        faults.add("nodes", "must be [[nodes]] tables, one for each node")
        return ()
    if len(given) > limits.CLUSTER_NODES_MAX:
        faults.add("nodes", f"{len(given)} are too many: at most {limits.CLUSTER_NODES_MAX}")
        return ()
    nodes = []
    for number, each in enumerate(given):
        called = each.get("name") if isinstance(each, Mapping) else None
        where = f"nodes[{called if isinstance(called, str) and called else number}]"
        table = Table(each, where, faults)
        port = table.number("port", 6379, 1, 65_535)
        peer_port = table.number("peer_port", port + PEER_PORT_OFFSET, 1, 65_535)
        http_port = table.number("http_port", port + HTTP_PORT_OFFSET, 1, 65_535)
        for key, value in (("peer_port", peer_port), ("http_port", http_port)):
            if value > 65_535:
                table.fault(key, f"would be {value}, which is no port: give one")
        nodes.append(
            NodeConfig(
                name=table.text("name", "", needed="name the node", pattern=_NAME, of=_NAMES),
                dc=table.text("dc", "", pattern=_DC, of=_DC_NAMES),
                zone=table.text("zone", "", pattern=_NAME, of=_NAMES),
                host=table.text(
                    "host", "", needed="say where others reach it", pattern=_HOST,
                    of="it is a host's name or address, without a port",
                ),
                port=port,
                peer_port=peer_port,
                http_port=http_port,
                weight=table.real("weight", 1.0, 0.0, 10**6),
                bind=table.text("bind", "", pattern=_HOST, of="it is an address to listen on"),
            )
        )  # fmt: skip
        for key in ("host", "bind"):
            if not _is_host(host := getattr(nodes[-1], key)):
                table.fault(
                    key, f"{host!r} is no host's name: between points are 1 to 63 characters"
                )
        table.done()
    _check_distinct(nodes, faults)
    return tuple(nodes)


def _is_host(name: str) -> bool:
    """Whether it can be looked up at all."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


def _check_distinct(nodes: Iterable[NodeConfig], faults: Faults) -> None:
    names: set[str] = set()
    folded: dict[str, str] = {}
    ports: dict[tuple[str, int], str] = {}
    for node in nodes:
        if node.name and node.name in names:
            faults.add("nodes", f"two are called {node.name!r}: names are unique")
        elif folded.setdefault(node.name.casefold(), node.name) != node.name:
            faults.add(
                "nodes", f"{node.name!r} and {folded[node.name.casefold()]!r} differ only in case, "
                "which directories may not",
            )  # fmt: skip
        names.add(node.name)
        for kind in ("port", "peer_port", "http_port"):
            mine = f"{node.name}'s {kind}"
            other = ports.setdefault((node.host, getattr(node, kind)), mine)
            if other is not mine and node.host:
                faults.add(
                    f"nodes[{node.name}].{kind}",
                    f"{node.host}:{getattr(node, kind)} is {other} already",
                )


def _replicas(top: Table, dcs: list[str]) -> int | Mapping[str, int]:
    value = top.take("replicas", needed="say how many, such as 3, or { eu = 2, us = 2, ap = 1 }")
    if value is None:
        return 1
    if isinstance(value, Mapping):
        if not value:
            top.fault("replicas", "names no datacenter: give a number for each")
            return 1
        table = Table(value, "replicas", top.faults)
        counts = {}
        for dc in list(value):
            counts[dc] = table.number(dc, 1, 1, limits.VOTERS_MAX)
            if dcs and dc not in dcs:
                top.fault(f"replicas.{dc}", f"no node is there{nearest(dc, dcs)}: {_there(dcs)}")
        if sum(counts.values()) > limits.VOTERS_MAX:
            top.fault("replicas", f"are more than {limits.VOTERS_MAX} together")
        return MappingProxyType(counts)
    if isinstance(value, bool) or not isinstance(value, int):
        top.fault("replicas", f"must be a number or a table, not {kind_of(value)}")
        return 1
    if not 1 <= value <= limits.VOTERS_MAX:
        top.fault("replicas", f"{value} is not in 1 ... {limits.VOTERS_MAX}")
        return 1
    return value


def _leaders(top: Table, dcs: list[str]) -> tuple[str, ...]:
    value = top.take("leaders", [])
    if not isinstance(value, list) or not all(isinstance(dc, str) for dc in value):
        top.fault("leaders", 'must be a list of datacenters, such as ["eu", "us"]')
        return ()
    for at, dc in enumerate(value):
        if dcs and dc not in dcs:
            top.fault("leaders", f"{dc!r} has no node{nearest(dc, dcs)}: {_there(dcs)}")
        if dc in value[:at]:
            top.fault("leaders", f"{dc!r} stands twice")
    return tuple(value)


def _pairs(
    given: Any, where: str, dcs: list[str], faults: Faults
) -> Mapping[frozenset[str], float]:
    """`eu.us = 80` as {frozenset({"eu", "us"}): 80.0}: each pair of datacenters once."""
    table = Table(given, where, faults)
    pairs: dict[frozenset[str], float] = {}
    for one in list(given) if isinstance(given, Mapping) else []:
        inner = Table(table.take(one), f"{where}.{one}", faults)
        others = given[one]
        for other in list(others) if isinstance(others, Mapping) else []:
            value = inner.real(other, 0.0, 0.0, 60_000.0)
            key = f"{where}.{one}.{other}"
            unknown = [dc for dc in (one, other) if dcs and dc not in dcs]
            pair = frozenset((one, other))
            if unknown:
                dc = unknown[0]
                faults.add(key, f"{dc!r} has no node{nearest(dc, dcs)}: {_there(dcs)}")
            elif len(pair) == 1:
                faults.add(key, "is within one datacenter, where nothing is far")
            elif pairs.setdefault(pair, value) != value:
                faults.add(key, f"contradicts the {pairs[pair]:g} of the other direction")
    if pairs:
        for one, other in combinations(dcs, 2):
            if frozenset((one, other)) not in pairs:
                faults.add(
                    f"{where}.{one}.{other}", "is missing: give each pair a round trip in ms"
                )
    return MappingProxyType(pairs)


def _tls(table: Table, folder: Path, secrets: bool) -> Tls:
    files = {key: table.text(key) for key in ("cert", "key", "ca")}
    clients = table.flag("clients", False)
    peers = table.flag("peers", False)
    table.done()
    for key, value in files.items():
        if value:
            files[key] = str(folder / value)
            if secrets:
                _check_readable(table, key, files[key])
        elif (clients or peers) and key != "ca":
            table.fault(key, "is missing: name the PEM file")
        elif peers:
            table.fault(key, "is missing: nodes check each other's certificates against it")
    if any(files.values()) and not (clients or peers):
        table.fault("", "files are named, but neither clients nor peers is true")
    return Tls(**files, clients=clients, peers=peers)


def _check_readable(table: Table, key: str, path: str) -> bytes:
    """The first bytes of a small file, or a fault."""
    try:
        with open(path, "rb") as file:
            return file.read(limits.CLUSTER_FILE_BYTES_MAX)
    except OSError as error:
        table.fault(key, f"{path}: {error.strerror}")
        return b""


def _limits(table: Table) -> Limits:
    default = Limits()
    made = Limits(
        **{
            key: table.number(key, getattr(default, key), low, high)
            for key, (low, high) in _LIMIT_RANGES.items()
        }
    )
    table.done()
    needed = made.value_bytes_max + limits.STORE_KEY_BYTES_MAX
    if needed > made.command_bytes_max:
        table.fault(
            "command_bytes_max",
            f"{made.command_bytes_max} is less than a key and a value may have together, "
            f"{needed}: raise it, or lower value_bytes_max",
        )
    if made.clients_bytes_max < 2 * made.command_bytes_max:
        table.fault(
            "clients_bytes_max",
            f"{made.clients_bytes_max} is less than two commands of command_bytes_max: raise it, "
            f"or lower command_bytes_max, which is {made.command_bytes_max}",
        )
    return made


def _password(top: Table, folder: Path, file: str, env: str) -> str:
    if file and env:
        top.fault("password_env", "there is a password_file as well: leave one")
    elif env:
        if env not in os.environ:
            top.fault("password_env", f"{env} is not set in the environment")
        return _checked_password(top, "password_env", os.environ.get(env, ""))
    elif file:
        found = _check_readable(top, "password_file", str(folder / file))
        if not top.faults:
            try:
                return _checked_password(top, "password_file", found.decode().rstrip("\r\n"))
            except UnicodeDecodeError:
                top.fault("password_file", "is no UTF-8")
    return ""


def _checked_password(top: Table, key: str, password: str) -> str:
    if not top.faults and not password:
        top.fault(key, "the password is empty")
    if len(password.encode(errors="surrogateescape")) > limits.PASSWORD_BYTES_MAX:
        top.fault(key, f"the password is longer than {limits.PASSWORD_BYTES_MAX} bytes")
    if "\n" in password or "\0" in password:
        top.fault(key, "the password has several lines, or a NUL")
    return password


def _layout(
    nodes: tuple[NodeConfig, ...],
    shards: int,
    replicas: int | Mapping[str, int],
    leaders: tuple[str, ...],
    faults: Faults,
) -> Layout | None:
    if faults:
        return None
    try:
        return Layout.of_nodes([node.placed for node in nodes], shards, replicas, leaders)
    except RingleaderError as error:
        faults.add("replicas", str(error))
        return None


# --- timing -------------------------------------------------------------------------------------


def _timing(table: Table) -> tuple[dict[str, int], frozenset[str]]:
    """The times that are given, and which are "auto"."""
    times = {}
    auto = set()
    for key, low, high in (
        ("tick_ms", 1, 1_000),
        ("heartbeat_ms", 1, 60_000),
        ("election_ms", 2, 300_000),
    ):
        if table.peek(key, AUTO) == AUTO:
            table.take(key)
            auto.add(key)
        else:
            times[key] = table.number(key, low, low, high, unit="ms")
    times["settle_ms"] = table.number("settle_ms", 2_000, 0, 10**9, unit="ms")
    times["readonly_bound_ms"] = table.number("readonly_bound_ms", 5_000, 1, 10**9, unit="ms")
    table.done()
    return times, frozenset(auto)


def _expected_ms(
    nodes: tuple[NodeConfig, ...], layout: Layout, between: Mapping[frozenset[str], float]
) -> float:
    """The longest that any replica, as the leader, would wait for a quorum."""
    dc = {node.name: node.dc for node in nodes}
    longest = 0.0
    for shard in layout.shards:
        for leader in shard.replicas:
            waits = sorted(
                between.get(frozenset((dc[leader], dc[other])), 0.0) for other in shard.replicas
            )
            longest = max(longest, waits[len(waits) // 2])
    return longest


def _settled(
    times: Mapping[str, int],
    nodes: tuple[NodeConfig, ...],
    layout: Layout,
    between: Mapping[frozenset[str], float],
    faults: Faults,
) -> tuple[int, int, int]:
    """Tick, heartbeat and election timeout in ms, with "auto" worked out."""
    tick = times.get("tick_ms", TICK_MS)
    expected = _expected_ms(nodes, layout, between)
    given = _in_ticks(times["heartbeat_ms"], tick) if "heartbeat_ms" in times else None
    if "election_ms" in times:
        election = _in_ticks(times["election_ms"], tick)
        most = max(1, _lease_ms(election, tick) // 2)
        heartbeat = given or _in_ticks(min(_auto_heartbeat_ms(election, tick), most), tick)
    else:
        if len({node.dc for node in nodes}) > 1 and not between:
            election = _with_lease_ms(FAR_ELECTION_MS, expected, given, tick)
        else:
            election = advisable_election_ms(expected, tick, given)
        heartbeat = given or _auto_heartbeat_ms(election, tick)
    if _lease_ms(election, tick) <= heartbeat:
        faults.add(
            "timing.heartbeat_ms",
            f"{heartbeat} ms outlasts a leader's lease, which with election_ms={election} and "
            f'tick_ms={tick} is {_lease_ms(election, tick)} ms: lower it, or leave it "auto"',
        )
    elif election // tick > limits.TIMER_TICKS_MAX // 4:
        faults.add("timing.election_ms", f"{election} is {election // tick} ticks: raise tick_ms")
    return tick, heartbeat, election


def _in_ticks(time_ms: float, tick_ms: int) -> int:
    """At least so long, in whole ticks; in ms."""
    return math.ceil(time_ms / tick_ms - 1e-9) * tick_ms


def _lease_ms(election_ms: int, tick_ms: int) -> int:
    """As `consensus.config.CoreConfig.lease_ticks`; in ms."""
    return (int((election_ms // tick_ms - 1) / (1.0 + CLOCK_DRIFT) ** 2) - 1) * tick_ms


def _there(dcs: Collection[str]) -> str:
    return f"the datacenters are {listed(dcs)}"


def _others_may_read(path: Path) -> bool:
    """Whether it is there, and the file system says so."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & 0o044)
    except OSError:
        return False


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
