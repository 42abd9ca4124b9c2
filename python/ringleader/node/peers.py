"""The other nodes: consensus messages, requests and pings, over one connection per direction.

Each node dials every other one.  On the connection that it dialled a node sends its messages,
requests, responses and pings; on one that it accepted it sends pongs, and responses while its own
connection is down.  So a pair of nodes has two connections, of which each carries one direction.

    flush()     once per loop turn: one frame of each kind to each peer with something waiting
    send()      never fails: a message that cannot leave now is dropped, as consensus allows
    call()      tells the caller exactly once what came of a request

Both sides say who they are first (`codec.Hello`).  A connection is refused, with a `codec.Bye` that
says why, an error in the log and a count, when the other side is of another cluster, protocol or
consensus, has a cluster file that puts shards elsewhere, is not in ours, claims this node's name,
is no longer the last incarnation of its name, or shows a certificate of another name.  Such a peer
is tried again, slowly.

What a peer can make this node hold is bounded: `limits` has the numbers (PEER_*).
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from ringleader.consensus.message import Message
from ringleader.consensus.paxos.wire import CODEC as PAXOS
from ringleader.consensus.raft.wire import CODEC as RAFT
from ringleader.errors import FormatError, NodeNotFound, SettingError, VersionError
from ringleader.limits import (
    CLOCK_SKEW_MS_MAX,
    PEER_ANSWER_BYTES_MAX,
    PEER_CALLS_MAX,
    PEER_HANDSHAKE_SECONDS,
    PEER_LONG_REPLY_BYTES,
    PEER_PING_SECONDS,
    PEER_QUEUE_BYTES_MAX,
    PEER_QUIET_TICKS,
    PEER_REFUSED_SECONDS,
    PEER_REQUESTS_TOGETHER,
    PEER_RETRY_SECONDS_MAX,
    PEER_RETRY_SECONDS_MIN,
    PEER_SILENT_SECONDS,
    PEER_STRANGERS_MAX,
    PEER_UNTAKEN_BYTES_MAX,
    SHARDS_MAX,
)
from ringleader.node import codec as c
from ringleader.node import replies
from ringleader.node.accept import TlsListener
from ringleader.node.codec import Request, Response
from ringleader.node.identity import Identity
from ringleader.node.link import Link

__all__ = ["Counters", "Peer", "PeerConfig", "PeerNode", "Peers", "Responder"]

CODECS = {"raft": RAFT, "paxos": PAXOS}

#: Round trips that are remembered of each peer.
_ROUND_TRIPS = 32
#: Weight of a new round trip in the smoothed one (RFC 6298, section 2).
_ALPHA = 0.125
#: Pings without an answer that are remembered.
_PINGS_MAX = 64
#: How long a closing node waits for its last bytes to leave.
_STOP_SECONDS = 1.0
_DROPPED = "message dropped"
#: It is not known here whether the command was one that changes anything.
_TOO_LARGE = replies.pack(
    replies.ReplyError(
        "UNCERTAIN the command was executed, and its reply is too large to be passed on between "
        "nodes: ask the leader of the shard itself"
    )
)
_STRANGERS = "too many connections that have not said who they are"
#: After so many turns of asyncio's loop a connection that it has accepted is a link.
_ACCEPT_TURNS = 5
#: Reasons to refuse a connection that will still be there in a moment.
_LASTING = frozenset(
    {
        *("certificate", "cluster", "consensus", "duplicate", "layout", "misdirected", "self"),
        *("unknown", "version"),
    }
)
#: The same trouble with the same peer is logged again after so long.
_REPEAT_SECONDS = 60.0
#: A request besides its arguments, about.
_REQUEST_BYTES = 64

Done = Callable[[Response], None]


class PeerNode(Protocol):
    """What is to be known of a node of the cluster; `config.NodeConfig` knows it."""

    @property
    def name(self) -> str: ...
    @property
    def dc(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def listen(self) -> str: ...
    @property
    def peer_port(self) -> int: ...


class PeerConfig(Protocol):
    """What is to be known of the cluster; `config.ClusterConfig` knows it."""

    @property
    def name(self) -> str: ...
    @property
    def consensus(self) -> str: ...
    @property
    def nodes(self) -> Sequence[PeerNode]: ...
    @property
    def wan(self) -> Mapping[frozenset[str], float]: ...
    def identity(self) -> Identity: ...


@dataclass(slots=True)
class Counters:
    """What happened with one peer since the start; all of them only grow."""

    bytes_in: int = 0
    bytes_out: int = 0
    frames_in: int = 0
    messages_in: int = 0
    messages_out: int = 0
    messages_dropped: int = 0
    requests_in: int = 0
    requests_out: int = 0
    requests_unsent: int = 0
    requests_lost: int = 0
    #: Of its requests, those not executed because it does not take the responses.
    requests_refused: int = 0
    responses_in: int = 0
    responses_out: int = 0
    responses_dropped: int = 0
    #: Of requests that nobody waits for any more.
    responses_late: int = 0
    connects: int = 0
    failures: int = 0
    #: Connections closed because nothing came.
    silent: int = 0


class Peer:
    """One other node, as this one sees it; made and used by `Peers`."""

    def __init__(self, node: PeerNode, delay_seconds: float, writer: c.MessagesWriter) -> None:
        self.node = node
        self.name = node.name
        self.delay_seconds = delay_seconds
        self.writer = writer
        self.counters = Counters()
        #: The connection that we dialled, once both sides have said who they are.
        self.out: Link | None = None
        #: The one that it dialled.
        self.incoming: Link | None = None
        #: Of the last HELLO that was accepted; -1: none yet.
        self.incarnation = -1
        self.respond: Responder | None = None
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        #: By the numbers of the requests that wait: whom to tell, and until when.
        self.calls: dict[int, tuple[Done, float]] = {}
        #: Bytes that may still be queued, by what was known at the last look; 0: not connected.
        self.room = 0
        #: Bytes of the requests, and of the responses, that wait for `flush`.
        self.request_bytes = 0
        self.response_bytes = 0
        #: Responses that the socket has not taken: where in the link's stream they end, how many
        #: bytes they are; and their sum.
        self.written_answers: deque[tuple[int, int]] = deque()
        self.written_answer_bytes = 0
        self.is_dirty = False
        self.is_draining = False
        #: Set when there is a reason to dial at once.
        self.wake = asyncio.Event()
        self.round_trips: deque[tuple[float, float]] = deque(maxlen=_ROUND_TRIPS)  # both in ms
        self.smoothed_ms: float | None = None
        self.is_skewed = False
        self.trouble = ""
        self.trouble_at = 0.0

    @property
    def answering(self) -> Link | None:
        """The link that responses leave on."""
        return self.out if self.out is not None else self.incoming

    def answer_bytes(self) -> int:
        """Bytes of responses that wait, here or in the socket.  O(1), amortized."""
        link = self.answering
        if link is None:
            return 0
        answers = self.written_answers
        taken_bytes = link.written_bytes - link.queued_bytes()
        while answers and answers[0][0] <= taken_bytes:
            self.written_answer_bytes -= answers.popleft()[1]
        return self.written_answer_bytes + self.response_bytes

    def forget_answers(self) -> None:
        """Responses leave on another link from now on."""
        self.written_answers.clear()
        self.written_answer_bytes = 0

    @property
    def skew_ms(self) -> float | None:
        """How far its clock is ahead, by the fastest of the last round trips: the least in doubt
        (half of that round trip)."""
        return min(self.round_trips)[1] if self.round_trips else None


class Responder:
    """Takes the responses to the requests of one life of one peer; each at most once.

    Requests for a shard are never executed in another order than they were sent: once one is
    refused, so are all that were sent in its epoch or before, until the caller, which has to know
    of the refusal for that, begins a new one.
    """

    __slots__ = ("_incarnation", "_peer", "_peers", "_refused")

    def __init__(self, peers: Peers, peer: Peer, incarnation: int) -> None:
        #: Shard -> the last epoch of which a request was refused.
        self._refused: dict[int, int] = {}
        self._peers = peers
        self._peer = peer
        self._incarnation = incarnation

    def __call__(self, response: Response) -> None:
        """Queues it; a reply longer than `limits.PEER_LONG_REPLY_BYTES` is left out, and the
        outcome unknown, while `is_full`."""
        self._peers._respond(self._peer, self._incarnation, response)

    def refuse(self, id: int, shard: int, epoch: int, leader: str = "") -> None:
        """Queues the response that a request was not executed."""
        if epoch > self._refused.get(shard, -1) and shard < SHARDS_MAX:
            self._refused[shard] = epoch
        self(Response(id, "refused", b"", leader))

    def refuses(self, shard: int, epoch: int) -> bool:
        """Whether a request has to be refused because one before it was."""
        return epoch <= self._refused.get(shard, -1)

    @property
    def is_full(self) -> bool:
        """Whether the peer has not taken so many bytes of responses that no more long ones are sent
        to it.  Who asks in time need not even make them."""
        return self._peer.answer_bytes() > PEER_UNTAKEN_BYTES_MAX


class Peers:
    """The connections of one node to all others.

    All callbacks but `on_call` run on the loop, never within `send`, `call` or `flush`.

    Args:
        config: the cluster.
        name: this node.
        loop: on which everything runs.
        on_messages: consensus messages came: from whom, and [(group, message), ...].
        on_requests: requests came: from whom, which, and a function for their responses, each to
            be given to it at most once; they leave with the next `flush`.  A few requests at a
            time: when responses pile up, the rest is refused before it gets here.
        on_data: node data came: from whom, and what.
        on_peer: a peer can now be reached (True), or not any more.
        on_call: called within `call`, when a request waits for `flush`.
        incarnation: grows with each start of this node; the default is the time in ms.
        server_ssl, client_ssl: for mutual TLS; both or none.
        verify_names: with TLS, the peer's certificate must have its node's name, as a DNS name
            of its subjectAltName or as the common name.
        queue_bytes_max: what may wait for one peer.
        silent_seconds: after how long a connection on which nothing came is closed.
        listen: a socket to accept on, in place of the address in `config`.
        wall_ms: the clock, in ms since 1970.

    Raises:
        NodeNotFound: `config` has no node of this name.
        SettingError: an unknown consensus, or one SSL context without the other.
    """

    def __init__(
        self,
        config: PeerConfig,
        name: str,
        loop: asyncio.AbstractEventLoop,
        on_messages: Callable[[str, list[tuple[int, Message]]], None],
        on_requests: Callable[[str, list[Request], Responder], None],
        *,
        on_data: Callable[[str, bytes], None] = lambda name, data: None,
        on_peer: Callable[[str, bool], None] = lambda name, connected: None,
        on_call: Callable[[], None] = lambda: None,
        incarnation: int | None = None,
        server_ssl: ssl.SSLContext | None = None,
        client_ssl: ssl.SSLContext | None = None,
        verify_names: bool = False,
        queue_bytes_max: int = PEER_QUEUE_BYTES_MAX,
        silent_seconds: float = PEER_SILENT_SECONDS,
        listen: socket.socket | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if config.consensus not in CODECS:
            raise SettingError(f"there is no consensus {config.consensus!r}: it is raft or paxos")
        if (server_ssl is None) != (client_ssl is None):
            raise SettingError("TLS between nodes takes two contexts: of the server, of the client")
        own = next((node for node in config.nodes if node.name == name), None)
        if own is None:
            raise NodeNotFound(f"the cluster {config.name!r} has no node {name!r}")
        self.config = config
        self.name = name
        self.loop = loop
        self.incarnation = wall_ms() if incarnation is None else incarnation
        #: Connections refused, by reason.
        self.refused: Counter[str] = Counter()
        self._own = own
        self._codec = CODECS[config.consensus]
        self._on_messages = on_messages
        self._on_requests = on_requests
        self._on_data = on_data
        self._on_peer = on_peer
        self._on_call = on_call
        self._server_ssl = server_ssl
        self._client_ssl = client_ssl
        self._verify_names = verify_names and server_ssl is not None
        self._queue_bytes_max = queue_bytes_max
        self._quiet_ticks_max = max(2, round(silent_seconds / PEER_PING_SECONDS))
        self._listen = listen
        self._wall_ms = wall_ms
        self._peers: dict[object, Peer] = {}
        for node in config.nodes:
            if node.name != name:
                round_trip_ms = config.wan.get(frozenset((own.dc, node.dc)), 0.0)
                delay_seconds = round_trip_ms / 2000 if node.dc != own.dc else 0.0
                self._peers[node.name] = Peer(node, delay_seconds, c.MessagesWriter(self._codec))
        self._dirty: list[Peer] = []
        self._links: set[Link] = set()
        self._strangers = 0
        self._next_request = 1
        self._next_ping = 1
        self._server: asyncio.AbstractServer | TlsListener | None = None
        self._dialling: list[asyncio.Task[None]] = []
        self._ticking: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._is_stopping = False
        self._random = random.Random()
        self._log = structlog.get_logger("ringleader.peers").bind(node=name)
        self._logged: dict[tuple[str, str], float] = {}

    # --- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listens, and begins to dial the others; does not wait for them.

        Raises:
            OSError: the address cannot be listened on.
        """
        accept = partial(Link, self, self._codec, None)
        host, port = self._own.listen, self._own.peer_port
        if self._server_ssl is not None:
            self._server = listener = TlsListener(
                accept, self._server_ssl, seconds=PEER_HANDSHAKE_SECONDS, admits=self._admits
            )
            if self._listen is not None:
                listener.listen_on(self._listen)
            else:
                await listener.listen(host, port, PEER_STRANGERS_MAX)
        elif self._listen is not None:
            self._server = await self.loop.create_server(accept, sock=self._listen)
        else:
            self._server = await self.loop.create_server(accept, host, port)
        for peer in self._peers.values():
            task = self.loop.create_task(self._dial(peer), name=f"dial {peer.name}")
            task.add_done_callback(self._on_dial_end)
            self._dialling.append(task)
        self._ticking = self.loop.call_later(PEER_PING_SECONDS, self._tick)

    async def stop(self) -> None:
        """Says goodbye, sends what waits, and closes everything; what is called hears "lost"."""
        if self._is_stopping:
            return
        self.flush()
        self._is_stopping = True
        if self._ticking is not None:
            self._ticking.cancel()
        if self._server is not None:
            self._server.close()
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        bye = c.frame(c.BYE, c.Bye("drain"))
        links = list(self._links)
        for link in links:
            link.close(*([bye] if link.ready else []))
        if links:
            await asyncio.wait([link.done for link in links], timeout=_STOP_SECONDS)
        rest = list(self._links)
        for link in rest:
            link.abort()
        if rest:
            await asyncio.wait([link.done for link in rest], timeout=_STOP_SECONDS)
        if self._server is not None:
            await self._server.wait_closed()
        for peer in self._peers.values():
            self._lose_calls(peer)
        await asyncio.sleep(0)  # they are told

    def drain(self) -> None:
        """Tells the others that this node is being stopped: nobody is to hand leads to it."""
        self._is_draining = True
        for peer in self._peers.values():
            if peer.out is not None:
                self._ping(peer, peer.out)

    # --- sending --------------------------------------------------------------------------------

    def send(self, group: int, messages: Sequence[Message]) -> None:
        """Queues the messages of one group, each for the node that it names.

        One that cannot leave -- its node is not connected, or too much waits for it -- is dropped
        and counted.
        """
        for message in messages:
            peer = self._peers.get(message.to)
            if peer is None:
                self._complain(str(message.to), "unknown", "it is not in the cluster", _DROPPED)
                continue
            writer = peer.writer
            if writer.bytes >= peer.room and not self._find_room(peer):
                peer.counters.messages_dropped += 1
                continue
            try:
                writer.add(group, message)
            except FormatError as error:
                peer.counters.messages_dropped += 1
                self._complain(peer.name, "message", str(error), _DROPPED)
                continue
            if not peer.is_dirty:
                peer.is_dirty = True
                self._dirty.append(peer)

    def send_data(self, peer_name: str, data: bytes) -> bool:
        """Queues node data, which travels with the messages; False: dropped, as a message is.

        Raises:
            FormatError: it is too large for any frame.
            NodeNotFound: there is no such peer.
        """
        peer = self._peer(peer_name)
        if peer.writer.bytes >= peer.room and not self._find_room(peer):
            peer.counters.messages_dropped += 1
            return False
        peer.writer.add_data(data)
        self._mark(peer)
        return True

    def call(self, peer_name: str, request: Request, done: Done) -> bool:
        """Queues a request and numbers it (`request.id`); False: there is no room.

        `done` is called exactly once, in a later turn of the loop: with the peer's response, or
        with the status "unsent" (certainly not executed) or "lost" (it may have been): the
        connection broke, or the request's budget is spent.

        Raises:
            NodeNotFound: there is no such peer.
        """
        peer = self._peer(peer_name)
        request.id = self._next_request
        self._next_request += 1
        has_room = peer.request_bytes < peer.room or self._find_room(peer)
        if not has_room or len(peer.calls) >= PEER_CALLS_MAX:
            peer.counters.requests_unsent += 1
            self.loop.call_soon(done, Response(request.id, "unsent"))
            return False
        peer.calls[request.id] = done, self.loop.time() + request.budget_ms / 1000
        peer.requests.append(request)
        peer.request_bytes += sum(map(len, request.args)) + _REQUEST_BYTES
        self._mark(peer)
        self._on_call()
        return True

    def flush(self) -> None:
        """Sends what waits.  To be called once at the end of each turn of the loop in which
        something was queued; O(peers with something waiting)."""
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            peer.is_dirty = False
            self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        counters = peer.counters
        link = peer.out
        pieces: list[bytes] = []
        if link is not None:
            if peer.writer.count:
                counters.messages_out += peer.writer.count
                pieces = peer.writer.take()
            if peer.requests:
                requests, peer.requests = peer.requests, []
                made, too_large = c.frames(c.REQUESTS, requests)
                pieces += made
                counters.requests_out += len(requests) - len(too_large)
                for request in too_large:
                    self._settle_soon(peer, request.id, "unsent")
            peer.request_bytes = 0
            if pieces:
                self._write(peer, link, pieces)
        if peer.responses:
            self._flush_responses(peer)
        if link is not None:
            peer.room = self._queue_bytes_max - link.queued_bytes()

    def _flush_responses(self, peer: Peer) -> None:
        responses, peer.responses = peer.responses, []
        peer.response_bytes = 0
        link = peer.answering
        if link is None:
            peer.counters.responses_dropped += len(responses)
            return
        made, too_large = c.frames(c.RESPONSES, responses)
        if too_large:
            peer.counters.responses_dropped += len(too_large)
            self._complain(peer.name, "response", "it is too large for any frame", _DROPPED)
            # Who asked must not wait for it, nor ask again.
            more, _ = c.frames(
                c.RESPONSES, [Response(each.id, "done", _TOO_LARGE) for each in too_large]
            )
            made += more
        peer.counters.responses_out += len(responses) - len(too_large)
        if not made:
            return
        self._write(peer, link, made)
        size = sum(map(len, made))
        peer.written_answers.append((link.written_bytes, size))
        peer.written_answer_bytes += size

    def _write(self, peer: Peer, link: Link, pieces: list[bytes]) -> None:
        peer.counters.bytes_out += sum(map(len, pieces))
        link.write(pieces, peer.delay_seconds)

    def _mark(self, peer: Peer) -> None:
        if not peer.is_dirty:
            peer.is_dirty = True
            self._dirty.append(peer)

    def _find_room(self, peer: Peer) -> bool:
        """Looks again how much may be queued: the socket has taken something since, perhaps."""
        if peer.out is None:
            return False
        peer.room = self._queue_bytes_max - peer.out.queued_bytes()
        return max(peer.writer.bytes, peer.request_bytes) < peer.room

    def _respond(self, peer: Peer, incarnation: int, response: Response) -> None:
        link = peer.answering
        if (
            peer.incarnation != incarnation
            or link is None
            or peer.response_bytes + link.queued_bytes() >= self._queue_bytes_max
        ):
            peer.counters.responses_dropped += 1
            return
        is_long = len(response.reply) > PEER_LONG_REPLY_BYTES
        if is_long and peer.answer_bytes() > PEER_UNTAKEN_BYTES_MAX:
            # Those that went through the log come all at once, long after they were let in.
            peer.counters.responses_dropped += 1
            response = Response(response.id, "unknown")
        peer.responses.append(response)
        peer.response_bytes += len(response.reply) + _REQUEST_BYTES
        self._mark(peer)

    def _serve(self, peer: Peer, requests: list[Request]) -> None:
        """Hands requests on, as long as the peer takes the responses."""
        assert peer.respond is not None
        for start in range(0, len(requests), PEER_REQUESTS_TOGETHER):
            if peer.answer_bytes() > PEER_ANSWER_BYTES_MAX:
                rest = requests[start:]
                peer.counters.requests_refused += len(rest)
                for request in rest:
                    peer.respond.refuse(request.id, request.shard, request.epoch)
                return
            self._on_requests(
                peer.name, requests[start : start + PEER_REQUESTS_TOGETHER], peer.respond
            )

    # --- what is known of a peer ----------------------------------------------------------------

    def _peer(self, name: str) -> Peer:
        peer = self._peers.get(name)
        if peer is None:
            raise NodeNotFound(f"the node {self.name!r} has no peer {name!r}")
        return peer

    @property
    def names(self) -> tuple[str, ...]:
        """All other nodes, in the order of the cluster file."""
        return tuple(peer.name for peer in self._peers.values())

    def connected(self, peer_name: str) -> bool:
        """Whether messages and requests can leave for this peer now."""
        peer = self._peers.get(peer_name)
        return peer is not None and peer.out is not None

    def silent(self, peer_name: str) -> bool:
        """Whether nothing has come from the peer for a while: pings are answered, so that it is
        cut off, or stands still."""
        peer = self._peer(peer_name)
        links = [link for link in (peer.out, peer.incoming) if link is not None]
        return all(link.quiet >= PEER_QUIET_TICKS for link in links)

    def draining(self, peer_name: str) -> bool:
        """Whether it said that it is being stopped, and has not come back."""
        return self._peer(peer_name).is_draining

    def rtt_ms(self, peer_name: str) -> float | None:
        """The smoothed round trip time in ms; None: none was measured yet."""
        return self._peer(peer_name).smoothed_ms

    def rtt_max_ms(self, peer_name: str) -> float | None:
        """The longest of the last round trips (about 8 seconds of them), in ms."""
        round_trips = self._peer(peer_name).round_trips
        return max(round_trips)[0] if round_trips else None

    def skew_ms(self, peer_name: str) -> float | None:
        """How far the peer's clock is ahead of this node's, in ms; see `Peer.skew_ms`."""
        return self._peer(peer_name).skew_ms

    def counters(self, peer_name: str) -> Counters:
        """What happened with this peer so far."""
        return self._peer(peer_name).counters

    def status(self) -> list[dict[str, Any]]:
        """For operators: of each peer its state and its counters, ready for JSON."""
        return [
            {
                "name": peer.name,
                "dc": peer.node.dc,
                "connected": peer.out is not None,
                "accepted": peer.incoming is not None,
                "draining": peer.is_draining,
                "paused": peer.out is not None and peer.out.paused,
                "incarnation": peer.incarnation if peer.incarnation >= 0 else None,
                "queued_bytes": peer.out.queued_bytes() if peer.out is not None else 0,
                "waiting_calls": len(peer.calls),
                "rtt_ms": peer.smoothed_ms,
                "rtt_max_ms": self.rtt_max_ms(peer.name),
                "skew_ms": peer.skew_ms,
                "trouble": peer.trouble,
                **asdict(peer.counters),
            }
            for peer in self._peers.values()
        ]

    # --- dialling -------------------------------------------------------------------------------

    async def _dial(self, peer: Peer) -> None:
        """Keeps one connection to `peer`, for ever."""
        wait_seconds = PEER_RETRY_SECONDS_MIN
        while True:
            peer.wake.clear()
            link = await self._connect(peer)
            is_slow = False
            if link is not None:
                began = self.loop.time()
                await asyncio.wait([link.done])
                is_slow = link.slow
                if link.was_ready and self.loop.time() - began > PEER_RETRY_SECONDS_MAX:
                    wait_seconds = PEER_RETRY_SECONDS_MIN
            pause = PEER_REFUSED_SECONDS if is_slow else wait_seconds
            wait_seconds = min(2 * wait_seconds, PEER_RETRY_SECONDS_MAX)
            try:
                async with asyncio.timeout(pause * self._random.uniform(0.5, 1.0)):
                    await peer.wake.wait()
            except TimeoutError:
                pass

    def _on_dial_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # the peer will not be reached any more: nobody may overlook that
            self.loop.call_exception_handler(
                {"message": f"{task.get_name()} ended", "exception": error, "task": task}
            )

    async def _connect(self, peer: Peer) -> Link | None:
        tls: dict[str, Any] = {}
        if self._client_ssl is not None:
            name = peer.name if self._verify_names else peer.node.host
            tls = {
                "ssl": self._client_ssl,
                "server_hostname": name,
                "ssl_handshake_timeout": PEER_HANDSHAKE_SECONDS,
            }
        link = Link(self, self._codec, peer)
        try:
            async with asyncio.timeout(PEER_HANDSHAKE_SECONDS):
                await self.loop.create_connection(
                    lambda: link, peer.node.host, peer.node.peer_port, **tls
                )
        except asyncio.CancelledError:
            link.abort()
            link.connection_lost(None)  # which uvloop may not say
            raise
        except Exception as error:  # a name that cannot be looked up is no OSError
            peer.counters.failures += 1
            link.abort()
            link.connection_lost(OSError(str(error) or "no connection in time"))
            return None
        return link

    # --- what links tell ------------------------------------------------------------------------

    def on_link(self, link: Link) -> None:
        """A connection stands; who is at its other end is not known yet."""
        self._links.add(link)
        if not link.dialled:
            self._strangers += 1
        if self._is_stopping:
            link.abort()
            return
        link.deadline = self.loop.call_later(PEER_HANDSHAKE_SECONDS, self._on_deadline, link)
        if link.dialled:
            assert link.peer is not None
            link.write([self._hello(link.peer)], link.peer.delay_seconds)
            return
        if self._strangers > PEER_STRANGERS_MAX:
            self._refuse(link, "strangers", _STRANGERS)

    def _admits(self, handshakes_count: int) -> bool:
        """Whether one more connection may begin its TLS handshake: nobody knows who it is."""
        if self._strangers + handshakes_count < PEER_STRANGERS_MAX:
            return True
        self.refused["strangers"] += 1
        self._complain("the port", "strangers", _STRANGERS)
        return False

    def on_link_lost(self, link: Link, error: Exception | None) -> None:
        """A connection is gone."""
        self._links.discard(link)
        self._end(link, str(error) if error is not None else "closed by the other side")

    def _end(self, link: Link, why: str) -> None:
        """A link is of no use any more; done once for each."""
        if link.ended:
            return
        link.ended = True
        peer = link.peer
        if not link.dialled and not link.was_ready:
            self._strangers -= 1
        if peer is None:
            return
        if peer.answering is link:
            peer.forget_answers()
        if peer.incoming is link:
            peer.incoming = None
        if peer.out is link:
            peer.out = None
            peer.room = 0
            peer.counters.messages_dropped += peer.writer.count
            peer.writer.take()
            peer.request_bytes = 0
            self._trouble(peer, why)
            self._lose_calls(peer)
            self._on_peer(peer.name, False)
        elif link.dialled:
            self._trouble(peer, why)

    def on_bytes(self, link: Link, count: int) -> None:
        """Bytes have come."""
        if link.peer is not None:
            link.peer.counters.bytes_in += count

    def on_bad_bytes(self, link: Link, error: FormatError) -> None:
        """What came is no frame, or a newer version's."""
        self._refuse(link, "version" if isinstance(error, VersionError) else "format", str(error))

    def _on_deadline(self, link: Link) -> None:
        link.deadline = None
        self._refuse(link, "timeout", "did not say who it is in time")

    def on_frame(self, link: Link, kind: int, value: Any) -> None:
        """A frame has come."""
        peer = link.peer
        if not link.ready:
            if kind == c.HELLO:
                self._on_hello(link, value)
            elif kind == c.BYE and link.dialled:
                self._on_bye(link, value)
            else:
                self._refuse(link, "format", f"the first frame is of kind {kind}, and no HELLO")
            return
        assert peer is not None
        counters = peer.counters
        counters.frames_in += 1
        if kind == c.MESSAGES:
            messages, data = value
            if messages:
                counters.messages_in += len(messages)
                self._on_messages(peer.name, messages)
            for piece in data:
                self._on_data(peer.name, piece)
        elif kind == c.REQUESTS:
            counters.requests_in += len(value)
            self._serve(peer, value)
        elif kind == c.RESPONSES:
            counters.responses_in += len(value)
            for response in value:
                call = peer.calls.pop(response.id, None)
                if call is None:
                    counters.responses_late += 1
                else:
                    self._tell(call[0], response)
        elif kind == c.PING:
            peer.is_draining = value.draining
            self._write(peer, link, [c.frame(c.PONG, c.Pong(value.number, self._wall_ms()))])
        elif kind == c.PONG:
            self._on_pong(peer, link, value)
        elif kind == c.BYE:
            self._on_bye(link, value)
        else:
            self._refuse(link, "format", "a second HELLO")

    # --- who is there ---------------------------------------------------------------------------

    def _hello(self, peer: Peer) -> bytes:
        hello = c.Hello(
            protocol=c.PROTOCOL,
            cluster=self.config.name,
            consensus=self.config.consensus,
            name=self.name,
            to=peer.name,
            incarnation=self.incarnation,
            wall_ms=self._wall_ms(),
            cluster_id=self.config.identity().cluster_id,
        )
        return c.frame(c.HELLO, hello)

    def _on_hello(self, link: Link, hello: c.Hello) -> None:
        peer = self._peers.get(hello.name)
        reason, text = self._problem(link, hello, peer)
        if reason:
            self._refuse(link, reason, text)
            return
        assert peer is not None
        if hello.incarnation != peer.incarnation:
            peer.incarnation = hello.incarnation
            peer.respond = Responder(self, peer, hello.incarnation)
            peer.responses.clear()
            peer.response_bytes = 0
            for old in (peer.out, peer.incoming):  # to a process that is gone
                if old is not None:
                    old.abort()
                    self._end(old, "was started again")
        if not link.dialled:
            self._strangers -= 1
        link.was_ready = True
        link.introduce(peer)
        peer.is_draining = False
        if link.dialled:
            peer.forget_answers()
            peer.out = link
            peer.room = self._queue_bytes_max
            peer.counters.connects += 1
            peer.trouble = ""
            clock_ms = hello.wall_ms - self._wall_ms()
            self._log.info("connected", peer=peer.name, clock_ms=clock_ms)
            self._ping(peer, link)
            self._on_peer(peer.name, True)
            return
        if peer.incoming is not None:  # half open: the peer gave it up
            old, peer.incoming = peer.incoming, None
            old.abort()
            self._end(old, "was dialled again")
        peer.incoming = link
        link.write([self._hello(peer)], peer.delay_seconds)
        if peer.out is None:
            peer.wake.set()

    def _problem(self, link: Link, hello: c.Hello, peer: Peer | None) -> tuple[str, str]:
        """Why this connection is refused: one word, and a sentence; two empty texts: it is not."""
        config = self.config
        if hello.protocol != c.PROTOCOL:
            return "version", f"speaks protocol {hello.protocol}, and we {c.PROTOCOL}"
        if hello.cluster != config.name:
            return "cluster", f"belongs to the cluster {hello.cluster!r}, not {config.name!r}"
        if hello.consensus != config.consensus:
            return "consensus", f"runs {hello.consensus}, and we {config.consensus}"
        if hello.cluster_id != config.identity().cluster_id:
            return "layout", f"{hello.name!r} has a cluster file that puts shards elsewhere"
        if hello.name == self.name:
            return "self", f"claims to be {self.name!r}, which is this node"
        if peer is None:
            return "unknown", f"{hello.name!r} is not in the cluster file"
        if link.peer is not None and link.peer is not peer:
            return "misdirected", f"{hello.name!r} answers at the address of {link.peer.name!r}"
        if hello.to != self.name:
            return "misdirected", f"takes this node for {hello.to!r}"
        if self._verify_names:
            names = _certified(link.transport.get_extra_info("peercert"))
            if hello.name not in names:
                listed = ", ".join(sorted(names)) or "no name"
                return "certificate", f"{hello.name!r} shows a certificate of {listed}"
        alive = peer.incoming or peer.out
        if alive is not None and hello.incarnation < peer.incarnation:
            return "duplicate", f"another, newer process is {hello.name!r} already"
        return "", ""

    def _refuse(self, link: Link, reason: str, text: str) -> None:
        self.refused[reason] += 1
        link.slow = reason in _LASTING
        peer = link.peer
        where = peer.name if peer is not None else _address(link)
        self._complain(where, reason, text)
        if peer is not None:
            peer.trouble = f"refused by us ({reason}): {text}"
        if reason == "strangers":
            link.abort()
        else:
            link.close(c.frame(c.BYE, c.Bye(reason, _clean(text))))
        self._end(link, f"refused by us ({reason}): {text}")

    def _on_bye(self, link: Link, bye: c.Bye) -> None:
        reason, text = _clean(bye.reason), _clean(bye.text)
        peer = link.peer
        if reason == "drain":
            if peer is not None:
                peer.is_draining = True
            why = "is being stopped"
        else:
            why = f"refused us ({reason}): {text}"
            link.slow = reason in _LASTING
            if link.dialled and peer is not None:
                self.refused["by peer"] += 1
                self._complain(peer.name, f"by peer: {reason}", text)
        link.close()
        self._end(link, why)

    # --- time -----------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Every PEER_PING_SECONDS.  A loop that stood still counts as one tick: what has come in
        the meantime is read before anybody is taken for silent."""
        self._ticking = self.loop.call_later(PEER_PING_SECONDS, self._tick)
        now = self.loop.time()
        for link in list(self._links):
            if not link.ready:
                continue
            peer = link.peer
            assert peer is not None
            link.quiet += 1
            if link.quiet > self._quiet_ticks_max:
                peer.counters.silent += 1
                link.abort()
                self._end(link, "nothing came any more")
            elif peer.out is link:
                self._ping(peer, link)
        for peer in self._peers.values():
            late = [number for number, (_, until) in peer.calls.items() if until < now]
            if late:
                waiting = {request.id for request in peer.requests}
                for number in late:
                    self._settle(peer, number, "unsent" if number in waiting else "lost")
                peer.requests = [request for request in peer.requests if request.id in peer.calls]

    def _ping(self, peer: Peer, link: Link) -> None:
        number, self._next_ping = self._next_ping, self._next_ping + 1
        link.pings[number] = time.monotonic()
        if len(link.pings) > _PINGS_MAX:
            del link.pings[next(iter(link.pings))]
        self._write(peer, link, [c.frame(c.PING, c.Ping(number, self._is_draining))])

    def _on_pong(self, peer: Peer, link: Link, pong: c.Pong) -> None:
        sent = link.pings.pop(pong.number, None)
        if sent is None:
            return
        rtt_ms = (time.monotonic() - sent) * 1000
        skew_ms = pong.wall_ms - (self._wall_ms() - rtt_ms / 2)
        peer.round_trips.append((rtt_ms, skew_ms))
        before = peer.smoothed_ms
        peer.smoothed_ms = rtt_ms if before is None else before + _ALPHA * (rtt_ms - before)
        skew = peer.skew_ms
        assert skew is not None
        if abs(skew) > CLOCK_SKEW_MS_MAX and not peer.is_skewed:
            peer.is_skewed = True
            self._log.warning("clocks differ", peer=peer.name, ahead_ms=round(skew))
        elif abs(skew) < 0.8 * CLOCK_SKEW_MS_MAX and peer.is_skewed:
            peer.is_skewed = False
            self._log.info("clocks agree again", peer=peer.name, ahead_ms=round(skew))

    # --- outcomes -------------------------------------------------------------------------------

    def _tell(self, done: Done, response: Response) -> None:
        try:
            done(response)
        except Exception as error:  # the others that wait must hear, too
            self.loop.call_exception_handler(
                {"message": "a call's `done` raised", "exception": error}
            )

    def _settle(self, peer: Peer, number: int, status: c.Status) -> None:
        call = peer.calls.pop(number, None)
        if call is None:
            return
        if status == "unsent":
            peer.counters.requests_unsent += 1
        else:
            peer.counters.requests_lost += 1
        self._tell(call[0], Response(number, status))

    def _settle_soon(self, peer: Peer, number: int, status: c.Status) -> None:
        self.loop.call_soon(self._settle, peer, number, status)

    def _lose_calls(self, peer: Peer) -> None:
        """No response will come for what was sent; what still waits never left."""
        unsent, peer.requests = peer.requests, []
        for request in unsent:
            self._settle_soon(peer, request.id, "unsent")
        waiting = {request.id for request in unsent}
        for number in list(peer.calls):
            if number not in waiting:
                self._settle_soon(peer, number, "lost")

    # --- the log --------------------------------------------------------------------------------

    def _trouble(self, peer: Peer, why: str) -> None:
        """Says once that a peer cannot be reached, and again when the reason changes."""
        if self._is_stopping:
            return
        now = self.loop.time()
        if why != peer.trouble or now - peer.trouble_at > _REPEAT_SECONDS:
            peer.trouble_at = now
            self._log.warning("not connected", peer=peer.name, why=why)
        peer.trouble = why

    def _complain(self, where: str, reason: str, text: str, event: str = "peer refused") -> None:
        """Logs an error, but not the same one again and again."""
        now = self.loop.time()
        key = (where.partition(" port ")[0], reason)
        last = self._logged.get(key)
        if last is not None and now - last < _REPEAT_SECONDS:
            return
        if len(self._logged) >= 1000:
            self._logged.clear()
        self._logged[key] = now
        self._log.error(event, peer=where, reason=reason, why=_clean(text))


def _address(link: Link) -> str:
    found = link.transport.get_extra_info("peername")
    return f"{found[0]} port {found[1]}" if isinstance(found, tuple) else "an unknown address"


def _clean(text: str) -> str:
    """Of what others say, only what can be shown, and not too much."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def _certified(certificate: Any) -> set[str]:
    """The names that a certificate is of, as `SSLSocket.getpeercert` tells."""
    if not certificate:
        return set()
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    for part in certificate.get("subject", ()):
        names |= {value for key, value in part if key == "commonName"}
    return names
