"""A node: its shards on one disk, its peers, its clients, and the turn in which they work together.

Everything runs on one event loop.  What arrives in one iteration of it -- commands, messages, ends
of disk writes -- is taken in at once, and what follows from it is done at the end, by one *turn*:

    1  each shard with commands proposes them, as one batch
    2  the write-ahead log writes what all shards have to persist: one append, one sync
    3  what waits for each peer leaves as one frame, and replies to each client as one write

Time is counted in ticks of a clock that also runs while the process is stopped.  Before a lease is
trusted, all ticks that have passed are reported, so that a node that was stopped for a while knows
that its lease has run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from ringleader.consensus.driver import Driver
from ringleader.consensus.message import Message
from ringleader.consensus.paxos.config import Config as PaxosConfig
from ringleader.consensus.paxos.core import MultiPaxos
from ringleader.consensus.paxos.progress import Progress as PaxosProgress
from ringleader.consensus.raft.config import Config as RaftConfig
from ringleader.consensus.raft.core import Raft
from ringleader.errors import LogDamagedError, RingleaderError, SettingError, StorageError
from ringleader.limits import (
    ATTEND_PERIOD_S,
    CLAIM_PERIOD_S,
    DRAIN_SECONDS_MAX,
    PAXOS_WINDOW,
    ROUND_TRIP_PERIOD_S,
    SHARD_GATHER_S,
    SHARD_KEEP_BYTES,
    SHARD_KEEP_ENTRIES,
    SHARD_SNAPSHOT_BYTES_MIN,
    SHARD_SNAPSHOT_DIVISOR,
)
from ringleader.node import identity, rejoin, tls, views
from ringleader.node.clock import NodeClock
from ringleader.node.codec import Request
from ringleader.node.config import ClusterConfig
from ringleader.node.health import HealthServer, NodeStatus
from ringleader.node.layout import ShardLayout
from ringleader.node.logs import Logger
from ringleader.node.metrics import Metrics
from ringleader.node.peers import Peers, Responder
from ringleader.node.rejoin import Refetch, Rejoining
from ringleader.node.requests import RequestLimits
from ringleader.node.router import Router
from ringleader.node.routing import Topology
from ringleader.node.server import ClientSettings, Server
from ringleader.node.shard import Shard
from ringleader.node.store import Store
from ringleader.storage.directory import Directory
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import Wal

_encode_claims = msgspec.msgpack.Encoder().encode
_decode_claims = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


class _GroupTransport:
    """The `consensus.driver.Transport` of one shard."""

    __slots__ = ("number", "peers")

    def __init__(self, peers: Peers, number: int) -> None:
        self.peers = peers
        self.number = number

    def send(self, messages: Sequence[Message]) -> None:
        self.peers.send(self.number, messages)


def _held(progress: Any) -> int:
    """Up to where a replica has the log, as far as its leader knows."""
    return int(progress.held() if isinstance(progress, PaxosProgress) else progress.match)


class Node:
    """See the module's text.

    Args:
        config: of the cluster.
        name: of this node in it.
        directory: where its data is; made when it is not there.
        logger: what it has to say.
        refetch: put the log aside, and fetch everything anew from the other replicas (`rejoin`).

    Raises:
        SettingError: `refetch`, where there are no other replicas to fetch from.
        ConfigError: the cluster has no node of this name.
        StorageError: the directory is used by another process, belongs to another node or cluster,
            or is damaged, or gone.
    """

    def __init__(
        self,
        config: ClusterConfig,
        name: str,
        directory: Path,
        logger: Logger,
        *,
        refetch: bool = False,
    ) -> None:
        self.config = config
        self.own = config.node(name)
        self.name = name
        self.dc = self.own.dc
        self.directory = directory
        self.logger = logger
        self.layout = config.layout
        self.clock = NodeClock(config.tick_ms / 1000)
        self.started_s = time.time()
        self.ready = False
        self.failed: str | None = None
        self.timing_warning: str | None = None
        self.sync_count = 0
        self.sync_seconds = 0.0
        self.loop = asyncio.get_running_loop()
        self.metrics = Metrics(self.status)
        self.metrics.know({node.name: node.dc for node in config.nodes})
        self.health = HealthServer(self.status, self.metrics.page)
        self.peers = Peers(
            config,
            name,
            self.loop,
            self._on_messages,
            self._on_requests,
            on_data=self._on_claims,
            on_peer=self._on_peer,
            on_call=self._schedule_turn,
            queue_bytes_max=config.limits.peer_queue_bytes_max,
            server_ssl=tls.peer_port(config.tls),
            client_ssl=tls.peer_dial(config.tls),
            verify_names=config.tls.peers,
        )
        self.router = Router(
            name,
            [shard.replicas for shard in self.layout.shards],
            self.layout.shard_of_slot,
            self.peers,
            self.clock,
            config.limits.patience_ms / 1000,
        )
        self._dirty: list[Shard] = []
        #: Those that are to be flushed a little later.
        self._late: set[Shard] = set()
        #: Shards that keep old segments of the log and cannot help it, as was said.
        self._stuck: set[int] = set()
        self._turn_due = False
        self._timers: list[asyncio.TimerHandle] = []
        self._stopping = False
        config.check_identity(directory, name)
        self.refetch = Refetch(directory, anew=refetch)
        if refetch:
            self._begin_anew()
        if (kept := self.refetch.put_log_aside()) is not None:
            self.logger.warning("the log was put aside", kept=str(kept))
        begun = identity.log_incarnation(directory)
        self.disk = Directory(directory / "log")
        self.disk.observe = self._on_sync
        try:
            self.wal = Wal(
                self.disk,
                LogIdentity(
                    config.name,
                    name,
                    incarnation=self.refetch.incarnation,
                    layout=(
                        f"{config.consensus}, {config.shards} shards, {config.identity().digest}"
                    ),
                ),
                manual=True,
                on_failure=self._on_storage_failure,
                on_pressure=self._on_pressure,
                has_begun=begun is not None and begun >= self.refetch.incarnation,
            )
            try:
                self.wal.load()
            except StorageError as error:
                named = str(directory) in str(error)
                said = str(error) if named else f"{directory / 'log'}: {error}"
                if isinstance(error, LogDamagedError):
                    raise LogDamagedError(f"{said}.  {self._cure()}") from error
                raise StorageError(said) from error
            # Before anything is promised, or acknowledged, with its help.
            identity.note_log(directory, self.refetch.incarnation)
            self.shards: list[Shard] = []
            self._rejoining: list[Rejoining] = []
            groups = self.wal.groups
            for spec in self.layout.of(name):
                if spec.number not in self.refetch.shards:
                    self._begin(spec, spec.replicas)
                elif spec.number in groups:
                    self._begin(spec, ())
                    self._rejoin(spec, rejoin.JOIN)
                else:
                    self._rejoin(spec, rejoin.LEAVE)
        except BaseException:
            self.disk.close()
            raise
        self.server = Server(
            ClientSettings(
                host=self.own.listen,
                port=self.own.port,
                password=config.password,
                tls=tls.client_port(config.tls),
                readonly_lag_s=config.readonly_bound_ms / 1000,
                clients_max=config.limits.clients_max,
                clients_bytes_max=config.limits.clients_bytes_max,
                patience_s=config.limits.patience_ms / 1000,
                unanswered_max=config.limits.client_pending_max,
                output_bytes_max=config.limits.client_output_bytes_max,
                idle_s_max=config.limits.client_idle_s_max,
                requests=RequestLimits(
                    config.limits.command_args_max,
                    config.limits.value_bytes_max,
                    config.limits.command_bytes_max,
                ),
            ),
            self.router,
            self,
            logger=logger,
        )

    # --- assembly -------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        """Everything is to be fetched anew: the other replicas have what was in the log."""
        if (lonely := self._lonely()) is not None:
            raise SettingError(
                f"{self.name} cannot fetch shard {lonely} anew: that takes a quorum of its "
                "other replicas, and there are too few; restore the directory from a backup"
            )
        self.refetch.begin(spec.number for spec in self.layout.of(self.name))
        self.logger.warning("everything is fetched anew from the other replicas")

    def _lonely(self) -> int | None:
        """A shard that cannot be fetched from its other replicas."""
        lonely = (spec.number for spec in self.layout.of(self.name) if len(spec.replicas) < 3)
        return next(lonely, None)

    def _cure(self) -> str:
        """What to do when the log is damaged."""
        if self._lonely() is not None:
            return "Restore this node's directory from a backup: it has too few other replicas"
        return (
            "Start this node with --refetch: it gets everything from the other replicas then, and "
            "does not vote as if it remembered what it had promised"
        )

    def _rejoin(self, spec: ShardLayout, wish: bytes) -> None:
        self._rejoining.append(
            Rejoining(
                spec.number,
                wish,
                [name for name in spec.replicas if name != self.name],
                self.peers.call,
                self.peers.connected,
                self._on_left,
                self._on_joined,
            )
        )

    def _on_left(self, number: int) -> None:
        self._begin(self.layout.shards[number], ())
        self.logger.info("a shard is begun anew", shard=number)

    def _on_joined(self, number: int) -> None:
        try:
            self.refetch.end(number)
        except StorageError as error:  # then it is asked for once more after a restart
            self.logger.error("what was fetched cannot be put on record", error=str(error))
        self._rejoining = [each for each in self._rejoining if not each.is_done]
        self.logger.info("a shard was fetched anew", shard=number)

    def _begin(self, spec: ShardLayout, members: Sequence[str]) -> None:
        """Take part in a shard, as one of `members` until its log says otherwise."""
        shard = self._shard(spec, members)
        self.shards.append(shard)
        self.shards.sort(key=attrgetter("number"))
        self.clock.drivers.append(shard.driver)
        self.router.shards[spec.number] = shard

    def _shard(self, spec: ShardLayout, members: Sequence[str]) -> Shard:
        config, number = self.config, spec.number
        storage = self.wal.group(number)
        recovered = storage.load()
        settings: dict[str, Any] = {
            "election_ticks": config.election_ticks,
            "heartbeat_ticks": config.heartbeat_ticks,
            "lease": True,
            "priorities": spec.priorities,
            "priority_ticks": config.priority_ticks,
            "max_uncommitted_bytes": config.limits.uncommitted_bytes_max,
            # Replicas learn what is committed by the next batch or heartbeat: a message less.
            "eager_commit": False,
        }
        state: dict[str, Any] = {
            "log": recovered.log,
            "seed": int.from_bytes(os.urandom(7), "little"),
            "hard_state": recovered.hard_state,
            "snapshot": recovered.snapshot,
            "partial": recovered.partial,
        }
        core: Raft | MultiPaxos
        if config.consensus == "raft":
            core = Raft(self.name, members, config=RaftConfig(**settings), **state)
        else:
            core = MultiPaxos(
                self.name,
                members,
                config=PaxosConfig(**settings, window=PAXOS_WINDOW),
                aside=recovered.aside,
                **state,
            )
        store = Store()
        driver = Driver(
            core,
            storage,
            _GroupTransport(self.peers, number),
            store,
            forward=False,
            snapshot_bytes=SHARD_SNAPSHOT_BYTES_MIN,
            keep_entries=SHARD_KEEP_ENTRIES,
            patience_ticks=config.patience_ticks,
        )
        return Shard(
            number,
            driver,
            store,
            self.clock,
            on_dirty=self._on_dirty,
            on_refused=self.router.refused,
            on_unknown=self.router.unknown,
            meter=self.metrics,
        )

    async def start(self) -> None:
        """Listen, connect, and begin to take part."""
        self.loop.add_reader(self.disk.fileno(), self._on_disk)
        await self.peers.start()
        await self.health.start(self.own.listen, self.own.http_port)
        await self.server.start()
        self._every(self.config.tick_ms / 1000, self._tick)
        self._every(ATTEND_PERIOD_S, self._attend)
        self._every(CLAIM_PERIOD_S, self._claim)
        self._every(rejoin.PERIOD_S, self._step_rejoining)
        self._every(ROUND_TRIP_PERIOD_S, self._follow_round_trips)
        self.ready = True

    def _every(self, period_s: float, call: Callable[[], None]) -> None:
        place = len(self._timers)

        def run() -> None:
            if not self._stopping:
                self._timers[place] = self.loop.call_later(period_s, run)
                call()

        self._timers.append(self.loop.call_later(period_s, run))

    async def stop(self) -> None:
        """Hand leadership over, answer what is under way, and close everything."""
        self.ready = False
        self.peers.drain()
        await self.server.drain()
        await self._hand_over()
        await self.server.stop()
        # Until no request can come any more, turns go on: what is let in is answered.
        await self.peers.stop()
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        await self.health.stop()
        self.loop.remove_reader(self.disk.fileno())
        self.disk.close()

    async def _hand_over(self) -> None:
        """Let another node lead each shard that this one leads, if one can."""
        deadline_s = self.loop.time() + DRAIN_SECONDS_MAX
        again_s = 2 * self.config.election_ms / 1000
        due_s: dict[Shard, float] = {}
        while (now_s := self.loop.time()) < deadline_s:
            led = [shard for shard in self.shards if shard.leads and shard.driver.failed is None]
            heirs = {shard: self._heir(shard) for shard in led}
            if not any(heirs.values()):
                return
            for shard, heir in heirs.items():
                if heir is not None and now_s >= due_s.get(shard, 0.0):
                    due_s[shard] = now_s + again_s
                    with contextlib.suppress(RingleaderError):  # it leads no more
                        shard.driver.transfer(heir)
            self._schedule_turn()
            await asyncio.sleep(self.config.tick_ms / 1000)

    def _heir(self, shard: Shard) -> str | None:
        """Who should lead next: the most preferred replica that has all that is committed, or else
        the one that has most.  Nobody who is cut off, or being stopped as well."""
        peers, core = self.peers, shard.core
        held = {
            name: _held(core.progress[name])
            for name in self.layout.shards[shard.number].replicas
            if name in core.progress
            and peers.connected(name)
            and not peers.silent(name)
            and not peers.draining(name)
        }
        for name, index in held.items():
            if index >= core.commit:
                return name
        return max(held, key=held.__getitem__, default=None)

    # --- a turn ---------------------------------------------------------------------------------

    def _on_dirty(self, shard: Shard) -> None:
        self._dirty.append(shard)
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Do what follows from all that was taken in."""
        self._turn_due = False
        if self._stopping:
            return
        if self._dirty:
            dirty, self._dirty = self._dirty, []
            for shard in dirty:
                self._try(self._propose, shard)
        self._try(self.wal.flush)
        self._try(self.peers.flush)
        self._try(self.server.flush)

    def _try(self, step: Callable[..., object], *args: object) -> None:
        """One step of a turn: what goes wrong in it must not leave the others undone.  If it was
        the log's, that has failed, and has said so."""
        try:
            step(*args)
        except Exception as error:
            self.loop.call_exception_handler(
                {"message": f"a step of a turn failed: {error!r}", "exception": error}
            )

    def _propose(self, shard: Shard) -> None:
        if shard.flush() and shard not in self._late:
            self._late.add(shard)
            self.loop.call_later(SHARD_GATHER_S, self._flush_late, shard)

    def _flush_late(self, shard: Shard) -> None:
        self._late.discard(shard)
        self._on_dirty(shard)

    def _tick(self) -> None:
        self.clock.catch_up()
        self.router.tick()
        self._schedule_turn()

    def _on_disk(self) -> None:
        self._try(self.disk.poll)
        self._turn()

    def _on_messages(self, peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        shards = self.router.shards
        self.clock.catch_up()
        for number, message in messages:
            shard = shards[number] if 0 <= number < len(shards) else None
            if shard is not None:
                shard.driver.receive(message)
        self._schedule_turn()

    def _on_requests(self, peer: str, requests: Sequence[Request], respond: Responder) -> None:
        for request in requests:
            if request.args and request.args[0] in rejoin.REQUESTS:
                number = request.shard
                known = 0 <= number < self.router.shard_count
                shard = self.router.shards[number] if known else None
                replicas = self.layout.shards[number].replicas if known else ()
                rejoin.serve(shard, replicas, peer, request, respond)
        self.router.serve(
            [each for each in requests if not each.args or each.args[0] not in rejoin.REQUESTS],
            respond,
        )
        self._schedule_turn()

    # --- now and then ---------------------------------------------------------------------------

    def _attend(self) -> None:
        jumped_ms = self.clock.follow()
        if jumped_ms:
            self.logger.warning("the system's clock has jumped", ms=round(jumped_ms))
        used_bytes = 0
        for shard in self.shards:
            shard.attend()
            shard.count_reads()
            used_bytes += shard.store.size
            if shard.driver.failed is not None:
                self.router.lose(shard)
            shard.driver.snapshot_bytes = max(
                SHARD_SNAPSHOT_BYTES_MIN, shard.store.size // SHARD_SNAPSHOT_DIVISOR
            )
            log = shard.core.log
            entry_bytes = log.nbytes // (len(log) or 1) + 1
            shard.driver.keep_entries = min(SHARD_KEEP_ENTRIES, SHARD_KEEP_BYTES // entry_bytes)
        limit_bytes = self.config.limits.memory_bytes_max
        self.router.is_full = 0 < limit_bytes <= used_bytes

    def _claim(self) -> None:
        """Tell all nodes what this one leads."""
        claims = _encode_claims(self.router.claims())
        for peer in self.peers.names:
            if self.peers.connected(peer):
                self.peers.send_data(peer, claims)
        self._schedule_turn()

    def _on_claims(self, peer: str, data: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            self.router.learn_claims(peer, _decode_claims(data))

    def _on_peer(self, peer: str, is_connected: bool) -> None:
        if is_connected:
            self._claim()

    def _step_rejoining(self) -> None:
        for each in list(self._rejoining):
            each.step()
            self._schedule_turn()

    def _follow_round_trips(self) -> None:
        """Give elections the time that the way between datacenters takes, as it was measured."""
        measured = {
            peer: rtt_ms
            for peer in self.peers.names
            if (rtt_ms := self.peers.rtt_ms(peer)) is not None
        }
        config = self.config
        advisable_ms = config.advisable_election_ms(self.name, measured)
        slack_ticks = max(0, advisable_ms - config.election_ms) // config.tick_ms
        for shard in self.shards:
            shard.core.slack_ticks = slack_ticks
        warning = config.timing_warning(self.name, measured)
        if warning is not None and self.timing_warning is None:
            self.logger.warning(warning)
        self.timing_warning = warning
        if self.wal.idle:
            self.wal.mark()

    def _on_pressure(self, number: int) -> None:
        shard = self.router.shards[number]
        if shard is not None and shard.driver.failed is None:
            shard.driver.take_snapshot()
        elif number not in self._stuck:
            self._stuck.add(number)
            self.logger.warning("the log cannot shrink: a shard takes no snapshots", shard=number)

    def _on_storage_failure(self, error: StorageError) -> None:
        if self.failed is None:
            self.failed = str(error)
            self.logger.error("the disk failed: nothing is acknowledged here", error=str(error))

    def _on_sync(self, count: int, seconds: float) -> None:
        self.sync_count += 1
        self.sync_seconds += seconds
        self.metrics.synced(seconds)

    # --- what it tells --------------------------------------------------------------------------

    def topology(self) -> Topology:
        """The cluster, as this node knows it."""
        return views.topology(self)

    def info(self) -> dict[str, dict[str, Any]]:
        """The sections of INFO that are the node's."""
        return views.info(self)

    def status(self) -> NodeStatus:
        """All of it, as plain values."""
        return views.status(self)
