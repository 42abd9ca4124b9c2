"""Where a command is executed: here, on the shard's leader, or later.

A `Router` gives each command of the clients of this node to the leader of its shard.  While no
leader is known or reachable, commands wait here, in order, each until its deadline.  What becomes
of a command whose leader is lost on the way:

    it certainly was not executed   it is tried again, and when time is out it is refused
    a read                          it is tried again, unless other commands of its connection
                                    were on their way with it: then it is refused
    a write that may have been      -UNCERTAIN: never a false OK, never a false failure

Between two nodes a command travels as a `Request` on the connection of the nodes; requests of one
turn share a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from ringleader.consensus.constants import LEADER
from ringleader.errors import FormatError
from ringleader.limits import ERRANDS_MAX, PEER_LONG_REPLY_BYTES
from ringleader.node import replies
from ringleader.node.codec import Request, Response
from ringleader.node.commands import Command, find
from ringleader.node.peers import Responder
from ringleader.node.replies import ReplyError
from ringleader.node.routing import PENDING, Origin
from ringleader.node.shard import BUSY, Args, Clock, Shard, Waiter

Mode: TypeAlias = Literal["write", "read", "ordered"]

UNCERTAIN = ReplyError(
    "UNCERTAIN the outcome of this command is not known: it may have taken effect, or may yet"
)
UNANSWERED = ReplyError("TRYAGAIN the leader was lost before it answered this read")
FULL = ReplyError("OOM command not allowed when used memory > 'memory_bytes_max'")
#: Writes that make nothing larger.
_SHRINKING = frozenset(
    b"DEL UNLINK GETDEL DELIFEQ HDEL PERSIST EXPIRE PEXPIRE EXPIREAT PEXPIREAT WATCH".split()
)


#: What `Origin.remote` says of a shard for which no command is on another node.
_NOT_UNDER_WAY = (0, "")
#: More than there will ever be errands.
_EARLIER = 2**62


class Calls(Protocol):
    """What the router needs of the connections between nodes."""

    def call(self, peer: str, request: Request, done: Callable[[Response], None]) -> None: ...
    def connected(self, peer: str) -> bool: ...
    def silent(self, peer: str) -> bool: ...


class _Errand:
    """A command that is not executed yet.

    order       errands of a shard are tried in this order
    peer        who was asked to execute it; "" while nobody is
    """

    __slots__ = (
        "args",
        "command",
        "deadline_s",
        "number",
        "order",
        "origin",
        "peer",
        "router",
        "waiter",
    )

    def __init__(
        self,
        router: Router,
        origin: Origin,
        command: Command,
        args: Args,
        number: int,
        waiter: Waiter,
    ) -> None:
        self.router = router
        self.origin = origin
        self.command = command
        self.args = args
        self.number = number
        self.waiter = waiter
        self.order = router.take_order()
        self.deadline_s = router.clock.now_s() + router.patience_s
        self.peer = ""

    def answered(self, response: Response) -> None:
        """The leader's answer, or what is known without one."""
        router = self.router
        if not self.peer:
            return  # it was given up before
        del router.under_way[self.peer][self.order]
        self.peer = ""
        remote = self.origin.remote
        count, peer = remote.pop(self.number)
        if count > 1:
            remote[self.number] = count - 1, peer
        status = response.status
        if status == "done":
            try:
                self.waiter.resolve(replies.unpack(response.reply))
            except FormatError:
                self.waiter.resolve(UNCERTAIN)
        elif status in ("refused", "unsent"):
            router.learn_refusal(self.number, response.leader)
            router.park(self)
        elif self.command.is_write:
            self.waiter.resolve(UNCERTAIN)
        elif count > 1:
            self.waiter.resolve(UNANSWERED)  # what came after it may have been executed by now
        else:
            router.park(self)


class _Remote:
    """A waiter on another node."""

    __slots__ = ("id", "respond")

    def __init__(self, id: int, respond: Responder) -> None:
        self.id = id
        self.respond = respond

    def resolve(self, reply: Any) -> None:
        is_long = reply.__class__ is bytes and len(reply) > PEER_LONG_REPLY_BYTES
        if is_long and self.respond.is_full:
            self.respond(Response(self.id, "unknown"))  # packing it would be for nothing
        else:
            self.respond(Response(self.id, "done", replies.pack(reply), ""))


class _Wait:
    """A client's WAIT for `count` replicas to hold the entries of `marks`, by shard."""

    __slots__ = ("count", "deadline_s", "marks", "waiter")

    def __init__(
        self, marks: list[tuple[int, int]], count: int, deadline_s: float, waiter: Waiter
    ) -> None:
        self.marks = marks
        self.count = count
        self.deadline_s = deadline_s
        self.waiter = waiter


class Router:
    """See the module's text.

    Args:
        name: of this node.
        replicas: of each shard, the names of its nodes, most preferred leader first.
        shard_of_slot: the shard of each of the 16384 slots.
        peers: the connections to other nodes.
        clock: see `ringleader.node.shard.Clock`.
        patience_s: a command that waited so long for a leader is refused.

    `shards[number]` is this node's replica, or None; the node fills it in.
    """

    def __init__(
        self,
        name: str,
        replicas: Sequence[Sequence[str]],
        shard_of_slot: Sequence[int],
        peers: Calls,
        clock: Clock,
        patience_s: float,
    ) -> None:
        self.name = name
        self.replicas = [tuple(names) for names in replicas]
        self.shard_of_slot = shard_of_slot
        self.shard_count = len(self.replicas)
        self.peers = peers
        self.clock = clock
        self.patience_s = patience_s
        self.shards: list[Shard | None] = [None] * self.shard_count
        #: Whether there is no memory for more data.
        self.is_full = False
        self.uncertain = 0
        self.forwarded = 0
        #: Errands on other nodes: node -> order -> errand.
        self.under_way: dict[str, dict[int, _Errand]] = {}
        self._parked: dict[int, list[_Errand]] = {}
        self._parked_count = 0
        self._orders = 0
        #: Shard -> (term, node) as nodes say of themselves; for shards that are not here.
        self._claims: dict[int, tuple[int, str]] = {}
        self._hints: dict[int, str] = {}
        self._nobody = Origin(0.0)
        self._waits: list[_Wait] = []

    # --- commands of own clients ----------------------------------------------------------------

    def execute(
        self, origin: Origin, command: Command, args: Args, number: int, waiter: Waiter
    ) -> Any:
        """The reply to a command on shard `number`, or PENDING: then `waiter.resolve(reply)` is
        called later, once."""
        shard = self.shards[number]
        if self.is_full and command.is_write and command.name not in _SHRINKING:
            return FULL
        if shard is not None and number not in self._parked:
            if shard.core.role_number == LEADER:
                if number not in origin.remote:
                    if command.is_write:
                        sequence = shard.enqueue(args, waiter)
                        if not sequence:
                            return BUSY
                        origin.pending[number] = sequence
                        return PENDING
                    reply = shard.read(command, args, waiter, origin.pending.get(number, 0))
                    if reply is PENDING:
                        origin.pending[number] = shard.frontier
                    return reply
            elif origin.readonly and not command.is_write:
                return shard.read_stale(args, waiter, origin.lag_max_s)
        if self._parked_count >= ERRANDS_MAX:
            return BUSY
        errand = _Errand(self, origin, command, args, number, waiter)
        if number in self._parked:
            self.park(errand)
        else:
            self._send(errand)
        return PENDING

    def _send(self, errand: _Errand) -> None:
        """Bring an errand to the shard's leader, or let it wait.

        While another node, or this one's replica as the leader that it was, has earlier commands
        of the same connection, it waits: they may be given back, and go first then.
        """
        number = errand.number
        shard = self.shards[number]
        command, origin = errand.command, errand.origin
        under_way, busy = origin.remote.get(number, _NOT_UNDER_WAY)
        if shard is not None and shard.leads:
            if under_way:
                self.park(errand)
                return
            if command.is_write:
                sequence = shard.enqueue(errand.args, errand.waiter)
                if sequence:
                    origin.pending[number] = sequence
                else:
                    errand.waiter.resolve(BUSY)
            else:
                after = origin.pending.get(number, 0)
                reply = shard.read(command, errand.args, errand.waiter, after)
                if reply is PENDING:
                    origin.pending[number] = shard.frontier
                else:
                    errand.waiter.resolve(reply)
            return
        leader = self.leader_of(number)
        if (
            leader is None
            or leader == self.name
            or (under_way and busy != leader)
            or (shard is not None and shard.owes(origin.pending.get(number, 0)))
            or not self.peers.connected(leader)
        ):
            self.park(errand)
            return
        origin.remote[number] = under_way + 1, leader
        mode: Mode = "write" if command.is_write else "ordered" if under_way else "read"
        budget_ms = max(1, int((errand.deadline_s - self.clock.now_s()) * 1000))
        self.forwarded += 1
        errand.peer = leader
        self.under_way.setdefault(leader, {})[errand.order] = errand
        self.peers.call(leader, Request(0, number, mode, errand.args, budget_ms), errand.answered)

    def take_order(self) -> int:
        """The next errand's place."""
        self._orders += 1
        return self._orders

    def park(self, errand: _Errand) -> None:
        """Let an errand wait for a leader."""
        self._parked_count += 1
        self._parked.setdefault(errand.number, []).append(errand)

    def tick(self) -> None:
        """Try again what waits, and give up what has waited too long."""
        for peer, errands in self.under_way.items():
            if errands and self.peers.silent(peer):
                self._give_up(peer, errands)
        if self._parked:
            self._retry()
        if self._waits:
            self._check_waits()

    def _give_up(self, peer: str, errands: dict[int, _Errand]) -> None:
        """Expect no more answers of a silent node about shards that another one leads by now."""
        for errand in list(errands.values()):
            if self.leader_of(errand.number) not in (None, peer):
                errand.answered(Response(0, "lost"))

    def _retry(self) -> None:
        now_s = self.clock.now_s()
        for number in list(self._parked):
            shard = self.shards[number]
            leader = self.leader_of(number)
            is_known = (
                shard.leads
                if shard is not None and leader == self.name
                else leader is not None and self.peers.connected(leader)
            )
            if not is_known and shard is None:
                self._hints[number] = self._next_replica(number, leader)
            errands = self._parked.pop(number)
            self._parked_count -= len(errands)
            errands.sort(key=_order)
            for errand in errands:
                if errand.deadline_s <= now_s:
                    errand.waiter.resolve(self._given_up(number))
                elif is_known:
                    self._send(errand)
                else:
                    self.park(errand)

    def _given_up(self, number: int) -> ReplyError:
        return ReplyError(
            f"CLUSTERDOWN shard {number} had no leader that could be reached for "
            f"{self.patience_s:g} s: this command was not executed"
        )

    # --- who leads ------------------------------------------------------------------------------

    def leader_of(self, number: int) -> str | None:
        """Who leads a shard, as far as this node knows."""
        shard = self.shards[number]
        if shard is not None:
            leader = shard.core.leader
            return None if leader is None else str(leader)
        hint = self._hints.get(number)
        if hint is not None:
            return hint
        claim = self._claims.get(number)
        return claim[1] if claim is not None else self.replicas[number][0]

    def lose(self, shard: Shard) -> None:
        """This replica can do nothing any more: its commands are for the others."""
        if self.shards[shard.number] is shard:
            self.shards[shard.number] = None

    def claimed_term(self, number: int) -> int:
        """The term in which somebody says to lead a shard; 0: nobody has."""
        claim = self._claims.get(number)
        return claim[0] if claim is not None else 0

    def learn_refusal(self, number: int, leader: str) -> None:
        """The node that was asked does not lead the shard; it names who does, or nobody."""
        if self.shards[number] is not None:
            return
        if leader in self.replicas[number]:
            self._hints[number] = leader
        else:
            self._hints[number] = self._next_replica(number, self.leader_of(number))

    def _next_replica(self, number: int, after: str | None) -> str:
        names = self.replicas[number]
        at = names.index(after) if after in names else -1
        return names[(at + 1) % len(names)]

    def claims(self) -> list[tuple[int, int]]:
        """The shards that this node leads, and the term of each."""
        return [
            (shard.number, shard.core.term)
            for shard in self.shards
            if shard is not None and shard.leads
        ]

    def learn_claims(self, peer: str, claims: Sequence[tuple[int, int]]) -> None:
        """What a node says that it leads."""
        for number, term in claims:
            if not 0 <= number < self.shard_count or peer not in self.replicas[number]:
                continue
            known = self._claims.get(number)
            if known is None or term >= known[0]:
                self._claims[number] = (term, peer)
                self._hints.pop(number, None)

    # --- what shards give back ------------------------------------------------------------------

    def refused(self, shard: Shard, commands: list[Args], waiters: list[Waiter]) -> None:
        """Commands that were certainly not executed."""
        if shard.driver.failed is not None:
            self.lose(shard)
        leader = shard.leader
        hint = "" if leader is None or leader == self.name else str(leader)
        for args, waiter in zip(commands, waiters, strict=True):
            if type(waiter) is _Remote:
                waiter.respond(Response(waiter.id, "refused", b"", hint))
            else:
                self._park_again(shard, args, waiter)

    def unknown(self, shard: Shard, commands: list[Args], waiters: list[Waiter]) -> None:
        """Commands that may have been executed."""
        for args, waiter in zip(commands, waiters, strict=True):
            command = find(args[0])
            if type(waiter) is _Remote:
                waiter.respond(Response(waiter.id, "unknown", b"", ""))
            elif command is None or command.is_write:
                self.uncertain += 1
                waiter.resolve(UNCERTAIN)
            else:
                # It stood among writes, and those that came after it may have been executed.
                waiter.resolve(UNANSWERED)

    def _park_again(self, shard: Shard, args: Args, waiter: Waiter) -> None:
        command = find(args[0])
        assert command is not None, "only commands of the table are queued"
        errand = _Errand(self, self._nobody, command, args, shard.number, waiter)
        # It was given to the shard before all that waits here came.
        errand.order -= _EARLIER
        self.park(errand)

    # --- commands of other nodes' clients -------------------------------------------------------

    def serve(self, requests: Sequence[Request], respond: Responder) -> None:
        """Execute what another node's clients asked for, if this node leads the shards."""
        for request in requests:
            number = request.shard
            shard = self.shards[number] if 0 <= number < self.shard_count else None
            args = request.args
            command = find(args[0]) if args else None
            if shard is None or command is None or not shard.leads:
                leader = shard.leader if shard is not None else None
                respond(Response(request.id, "refused", b"", "" if leader is None else str(leader)))
                continue
            waiter = _Remote(request.id, respond)
            if request.mode == "read" and not command.is_write:
                reply = shard.read(command, args, waiter)
                if reply is not PENDING:
                    waiter.resolve(reply)
            elif not shard.enqueue(args, waiter):
                waiter.resolve(BUSY)

    # --- WAIT -----------------------------------------------------------------------------------

    def wait(self, origin: Origin, count: int, timeout_ms: int, waiter: Waiter) -> Any:
        """How many replicas besides the leaders hold all that this connection has written; PENDING
        until there are `count` of them, or time is out (0: never).  A quorum does in any case."""
        marks = [
            (number, shard.core.commit)
            for number in origin.pending
            if (shard := self.shards[number]) is not None
        ]
        held = self._held(marks)
        if held >= count or not marks:
            return held
        deadline_s = self.clock.now_s() + (timeout_ms / 1000 if timeout_ms else 1e9)
        self._waits.append(_Wait(marks, count, deadline_s, waiter))
        return PENDING

    def _held(self, marks: Sequence[tuple[int, int]]) -> int:
        """Replicas besides the leader that are known to hold each of these committed entries."""
        least = min(len(names) for names in self.replicas)
        held = [] if marks else [least // 2]
        for number, index in marks:
            shard = self.shards[number]
            count = len(self.replicas[number]) // 2
            if shard is not None and shard.leads:
                followers = shard.core.progress.values()
                count = max(count, sum(peer.match >= index for peer in followers))
            held.append(count)
        return min(held)

    def _check_waits(self) -> None:
        now_s = self.clock.now_s()
        waits, self._waits = self._waits, []
        for wait in waits:
            held = self._held(wait.marks)
            if held >= wait.count or now_s >= wait.deadline_s:
                wait.waiter.resolve(held)
            else:
                self._waits.append(wait)

    # --- what an operator wants to see ----------------------------------------------------------

    @property
    def parked(self) -> int:
        """Commands that wait for a leader."""
        return self._parked_count


def _order(errand: _Errand) -> int:
    return errand.order
