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

The commands of one connection take effect in their order on each shard, however often they are
given back: nothing is given to a shard while something older of the connection waits here, or is
elsewhere and may come back.  A node that refuses a request refuses all later ones, until the
router, which knows of the refusal then, begins a new *epoch* of requests to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

from ringleader.consensus.constants import LEADER
from ringleader.errors import FormatError
from ringleader.limits import ERRANDS_MAX, PEER_LONG_REPLY_BYTES, WAITS_PERIOD_S
from ringleader.node import replies
from ringleader.node.codec import Request, Response
from ringleader.node.commands import Command, find, may_grow
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

#: What `Origin.remote` says of a shard for which no command is on another node.
_NOT_UNDER_WAY = (0, "", 0)
#: An epoch that never is: nothing may follow what is under way.
_BROKEN = -1
#: More than there will ever be errands.
_EARLIER = 2**62


class Calls(Protocol):
    """What the router needs of the connections between nodes."""

    def call(self, peer: str, request: Request, done: Callable[[Response], None]) -> bool: ...
    def connected(self, peer: str) -> bool: ...
    def silent(self, peer: str) -> bool: ...


class _Errand:
    """A command that is not executed yet; the waiter of it, too, while the shard here has it.

    order       errands of a shard are tried in this order
    deadline_s  when it is given up, however often it was tried
    peer        who was asked to execute it; "" while nobody is
    epoch       in which it was
    attempt     how often somebody was: an answer to an earlier one comes too late
    """

    __slots__ = (
        "args",
        "attempt",
        "command",
        "deadline_s",
        "epoch",
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
        since_s: float,
    ) -> None:
        self.router = router
        self.origin = origin
        self.command = command
        self.args = args
        self.number = number
        self.waiter = waiter
        self.order = router.take_order()
        self.deadline_s = since_s + router.patience_s
        self.peer = ""
        self.epoch = 0
        self.attempt = 0

    @property
    def is_local(self) -> bool:
        """Whether any replica may answer it: a read of a connection that is READONLY."""
        return self.origin.readonly and not self.command.is_write

    def resolve(self, reply: Any) -> None:
        """The shard here has executed it."""
        self.waiter.resolve(reply)

    def answered(self, attempt: int, response: Response) -> None:
        """The leader's answer, or what is known without one."""
        router = self.router
        if not self.peer or attempt != self.attempt:
            return  # it was given up before
        del router.under_way[self.peer][self.order]
        self.peer = ""
        remote = self.origin.remote
        count, peer, epoch = remote.pop(self.number)
        if count > 1:
            remote[self.number] = count - 1, peer, epoch
        status = response.status
        if status == "done":
            try:
                reply = replies.unpack(response.reply)
            except FormatError:
                router.uncertain += 1
                reply = UNCERTAIN
            self.waiter.resolve(reply)
        elif status in ("refused", "unsent"):
            router.learn_refusal(self.number, response.leader)
            if status == "refused":
                router.end_epoch(peer, self.number, self.epoch)
            router.park(self)
        elif self.command.is_write:
            router.uncertain += 1
            self.waiter.resolve(UNCERTAIN)
        elif count > 1:
            self.waiter.resolve(UNANSWERED)  # what came after it may have been executed by now
        else:
            router.park(self)


class _Remote:
    """A waiter on another node."""

    __slots__ = ("epoch", "id", "respond")

    def __init__(self, id: int, epoch: int, respond: Responder) -> None:
        self.id = id
        self.epoch = epoch
        self.respond = respond

    def resolve(self, reply: Any) -> None:
        is_long = reply.__class__ is bytes and len(reply) > PEER_LONG_REPLY_BYTES
        if is_long and self.respond.is_full:
            self.respond(Response(self.id, "unknown"))  # packing it would be for nothing
        else:
            self.respond(Response(self.id, "done", replies.pack(reply), ""))


class _Wait:
    """A client's WAIT for `count` replicas to hold the entries of `marks`, by shard."""

    __slots__ = ("count", "deadline_s", "marks", "origin", "waiter")

    def __init__(
        self,
        origin: Origin,
        marks: list[tuple[int, int]],
        count: int,
        deadline_s: float,
        waiter: Waiter,
    ) -> None:
        self.origin = origin
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
        #: Whether there is no memory for more data in the shards here.
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
        #: (node, shard) -> the epoch of requests; 0 at first.
        self._epochs: dict[tuple[str, int], int] = {}
        #: When it ticked last, and how much later than before that was.
        self._ticked_s = clock.now_s()
        self._stood_s = 0.0
        self._waits: list[_Wait] = []
        #: What replicas held when waits were last looked at, and when to look in any case.
        self._waits_seen: list[list[int]] = []
        self._waits_due_s = 0.0

    # --- commands of own clients ----------------------------------------------------------------

    def execute(
        self, origin: Origin, command: Command, args: Args, number: int, waiter: Waiter
    ) -> Any:
        """The reply to a command on shard `number`, or PENDING: then `waiter.resolve(reply)` is
        called later, once."""
        shard = self.shards[number]
        if shard is not None:
            if (
                shard.core.role_number == LEADER
                and number not in self._parked
                and number not in origin.remote
            ):
                if command.is_write:
                    if self.is_full and may_grow(command, args):
                        return FULL
                    sequence = shard.enqueue(args, waiter, origin)
                    if not sequence:
                        return BUSY
                    origin.pending[number] = sequence
                    return PENDING
                if not origin.readonly or shard.driver.reads_now():
                    after = origin.pending.get(number, 0)
                    reply = shard.read(command, args, waiter, after, origin)
                    if reply is PENDING:
                        origin.pending[number] = shard.frontier
                    return reply
            if origin.readonly and not command.is_write:
                return shard.read_stale(args, waiter, origin.lag_max_s)
        if self._parked_count >= ERRANDS_MAX:
            return BUSY
        errand = _Errand(self, origin, command, args, number, waiter, self.clock.now_s())
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
        if shard is not None and errand.is_local and not (shard.leads and shard.driver.reads_now()):
            reply = shard.read_stale(errand.args, errand.waiter, origin.lag_max_s)
            if reply is not PENDING:
                errand.waiter.resolve(reply)
            return
        under_way, busy, epoch = origin.remote.get(number, _NOT_UNDER_WAY)
        if shard is not None and shard.leads:
            if under_way:
                self.park(errand)
                return
            if command.is_write:
                if self.is_full and may_grow(command, errand.args):
                    errand.waiter.resolve(FULL)
                elif sequence := shard.enqueue(errand.args, errand, origin):
                    origin.pending[number] = sequence
                else:
                    errand.waiter.resolve(BUSY)
            else:
                after = origin.pending.get(number, 0)
                reply = shard.read(command, errand.args, errand, after, origin)
                if reply is PENDING:
                    origin.pending[number] = shard.frontier
                else:
                    errand.waiter.resolve(reply)
            return
        leader = self.leader_of(number)
        current = self._epochs.get((leader or "", number), 0)
        if (
            leader is None
            or leader == self.name
            or (under_way and (busy != leader or epoch != current))
            or (shard is not None and shard.owes(origin.pending.get(number, 0)))
            or not self.peers.connected(leader)
        ):
            self.park(errand)
            return
        origin.remote[number] = under_way + 1, leader, current
        mode: Mode = "write" if command.is_write else "ordered" if under_way else "read"
        budget_ms = max(1, int((errand.deadline_s - self.clock.now_s()) * 1000))
        self.forwarded += 1
        errand.peer, errand.epoch = leader, current
        errand.attempt += 1
        self.under_way.setdefault(leader, {})[errand.order] = errand
        request = Request(0, number, mode, errand.args, budget_ms, current)
        if not self.peers.call(leader, request, partial(errand.answered, errand.attempt)):
            origin.remote[number] = under_way + 1, leader, _BROKEN  # until it was told

    def take_order(self) -> int:
        """The next errand's place."""
        self._orders += 1
        return self._orders

    def park(self, errand: _Errand) -> None:
        """Let an errand wait for a leader."""
        self._parked_count += 1
        self._parked.setdefault(errand.number, []).append(errand)

    def end_epoch(self, peer: str, number: int, epoch: int) -> None:
        """A request of this epoch was refused: so will all others of it be."""
        if self._epochs.get((peer, number), 0) == epoch:
            self._epochs[peer, number] = epoch + 1

    def tick(self) -> None:
        """Try again what waits, and give up what has waited too long."""
        now_s = self.clock.now_s()
        self._stood_s, self._ticked_s = now_s - self._ticked_s, now_s
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
                errand.answered(errand.attempt, Response(0, "lost"))

    def _retry(self) -> None:
        now_s = self.clock.now_s()
        for number in list(self._parked):
            shard = self.shards[number]
            leader = self.leader_of(number)
            is_known = (
                shard.leads and shard.core.transferee is None
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
                elif is_known or (shard is not None and errand.is_local):
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

    def refused(
        self,
        shard: Shard,
        commands: list[Args],
        waiters: list[Waiter],
        origins: list[Origin | None],
        since_s: float,
    ) -> None:
        """Commands that were certainly not executed."""
        if shard.driver.failed is not None:
            self.lose(shard)
        number, leader = shard.number, shard.leader
        hint = "" if leader is None or leader == self.name else str(leader)
        for args, waiter, origin in zip(commands, waiters, origins, strict=True):
            if type(waiter) is _Remote:
                waiter.respond.refuse(waiter.id, number, waiter.epoch, hint)
                continue
            if type(waiter) is _Errand:
                errand = waiter
            else:
                command = find(args[0])
                assert command is not None, "only commands of the table are queued"
                assert origin is not None, "commands of clients here have one"
                errand = _Errand(self, origin, command, args, number, waiter, since_s)
            # It was given to the shard before all that waits here came.
            errand.order = self.take_order() - _EARLIER
            self.park(errand)

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

    # --- commands of other nodes' clients -------------------------------------------------------

    def serve(self, requests: Sequence[Request], respond: Responder) -> None:
        """Execute what another node's clients asked for, if this node leads the shards."""
        # If this node stood still, requests may have waited so long that nobody else does.
        stood_ms = max(self._stood_s, self.clock.now_s() - self._ticked_s) * 1000
        for request in requests:
            number, epoch = request.shard, request.epoch
            shard = self.shards[number] if 0 <= number < self.shard_count else None
            args = request.args
            command = find(args[0]) if args else None
            if (
                shard is None
                or command is None
                or not shard.leads
                or stood_ms > request.budget_ms
                or respond.refuses(number, epoch)
            ):
                leader = shard.leader if shard is not None else None
                respond.refuse(request.id, number, epoch, "" if leader is None else str(leader))
                continue
            waiter = _Remote(request.id, epoch, respond)
            if request.mode == "read" and not command.is_write:
                reply = shard.read(command, args, waiter)
                if reply is not PENDING:
                    waiter.resolve(reply)
            elif self.is_full and may_grow(command, args):
                waiter.resolve(FULL)
            elif not shard.enqueue(args, waiter):
                waiter.resolve(BUSY)

    # --- WAIT -----------------------------------------------------------------------------------

    def wait(self, origin: Origin, count: int, timeout_ms: int, waiter: Waiter) -> Any:
        """How many replicas besides the leaders hold all that this connection has written; PENDING
        until there are `count` of them, or time is out (0: never).  A quorum does in any case, and
        of shards that are led elsewhere no more is known."""
        marks = [
            (number, shard.core.commit)
            for number in origin.pending
            if (shard := self.shards[number]) is not None
        ]
        held = self._held(marks, self._matches())
        if held >= count or not marks:
            return held
        deadline_s = self.clock.now_s() + (timeout_ms / 1000 if timeout_ms else 1e9)
        self._waits.append(_Wait(origin, marks, count, deadline_s, waiter))
        self._waits_due_s = min(self._waits_due_s, deadline_s)
        return PENDING

    def _matches(self) -> dict[int, list[int]]:
        """Of each shard that is led here: how much each follower is known to hold."""
        return {
            shard.number: [peer.match for peer in shard.core.progress.values()]
            for shard in self.shards
            if shard is not None and shard.leads
        }

    def _held(self, marks: Sequence[tuple[int, int]], matches: dict[int, list[int]]) -> int:
        """Replicas besides the leader that are known to hold each of these committed entries."""
        least = min(len(names) for names in self.replicas)
        held = [] if marks else [least // 2]
        for number, index in marks:
            count = len(self.replicas[number]) // 2
            followers = matches.get(number, ())
            held.append(max(count, sum(match >= index for match in followers)))
        return min(held)

    def _check_waits(self) -> None:
        """End those waits that have what they want, or no more time.  They are looked at when some
        replica has got further, and once in a while."""
        now_s = self.clock.now_s()
        matches = self._matches()
        seen = list(matches.values())
        if seen == self._waits_seen and now_s < self._waits_due_s:
            return
        self._waits_seen = seen
        self._waits_due_s = now_s + WAITS_PERIOD_S
        waits, self._waits = self._waits, []
        for wait in waits:
            if wait.origin.is_closed:
                continue
            held = self._held(wait.marks, matches)
            if held >= wait.count or now_s >= wait.deadline_s:
                wait.waiter.resolve(held)
            else:
                self._waits.append(wait)
                self._waits_due_s = min(self._waits_due_s, wait.deadline_s)

    # --- what an operator wants to see ----------------------------------------------------------

    @property
    def parked(self) -> int:
        """Commands that wait for a leader."""
        return self._parked_count


def _order(errand: _Errand) -> int:
    return errand.order
