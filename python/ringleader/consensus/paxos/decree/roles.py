"""The roles of a single decree, and who has which; the package's text says how it works."""

from __future__ import annotations

from collections.abc import Iterable

from ringleader.consensus.membership import NodeId, check_id
from ringleader.consensus.paxos.ballot import (
    NUMBER_BITS,
    ROUND_MAX,
    check_numbers,
    describe,
    next_ballot,
    number_of,
)
from ringleader.consensus.paxos.decree.messages import (
    DecreeAccept,
    DecreeAccepted,
    DecreeAsk,
    DecreeMessage,
    DecreeNack,
    DecreePrepare,
    DecreePromise,
    new_accept,
    new_accepted,
    new_prepare,
    new_promise,
)
from ringleader.consensus.paxos.decree.state import (
    AcceptorState,
    ProposerState,
    Step,
    new_proposer_state,
    new_state,
    new_step,
)
from ringleader.consensus.quorum import Majority, QuorumSystem
from ringleader.errors import (
    LimitError,
    MembershipError,
    MisuseError,
    SettingError,
    SettingTypeError,
)
from ringleader.kernels import hashing
from ringleader.limits import PAYLOAD_BYTES_MAX

#: The bits of a ballot that name its owner, and their number.
_OWNER = (1 << NUMBER_BITS) - 1
_OWNER_BITS = NUMBER_BITS
_BALLOT_MAX = (ROUND_MAX + 1 << NUMBER_BITS) - 1
_VALUE_BYTES_MAX = PAYLOAD_BYTES_MAX
#: How many rounds beyond those that a process knows a stranger's may lie: one wild ballot must not
#: use them all up.
ROUND_JUMP_MAX = 2**20
_JUMP_MAX = ROUND_JUMP_MAX
TICKS_MAX = 2**31
_RANDOM_MODULUS = 2**31 - 1

_IDLE = 0
_PREPARE = 1
_ACCEPT = 2
_WAIT = 3
_DONE = 4
PHASES = ("idle", "prepare", "accept", "wait", "done")

_NOTHING = AcceptorState()
_NO_BALLOT = ProposerState()


# --- who takes part ------------------------------------------------------------------------------


class Group:
    """Who takes part in one decision; the same on every process.

    Args:
        acceptors: their ids, for majorities; or a quorum system over them.  `owned_ballots` may be
            waived in it: two election quorums need not meet here.
        proposers: the acceptors, unless given.
        learners: who hears of every acceptance; the acceptors, unless given.  A proposer hears of
            its own.

    Roles take a group or what makes one; making one proves and looks up more than one decision
    costs, so who decides often makes it once.

    Raises:
        MembershipError: an id cannot be one; two proposers would use the same ballots.
        QuorumError: no acceptors, too many, or one twice.
    """

    __slots__ = (
        "_acceptors",
        "_election_count",
        "_members",
        "_number_of",
        "_numbers",
        "_replication_count",
        "_told",
        "acceptors",
        "learners",
        "proposers",
        "quorum",
    )

    def __init__(
        self,
        acceptors: Iterable[NodeId] | QuorumSystem,
        *,
        proposers: Iterable[NodeId] | None = None,
        learners: Iterable[NodeId] | None = None,
    ) -> None:
        self.quorum: QuorumSystem = (
            acceptors if isinstance(acceptors, QuorumSystem) else Majority(acceptors)
        )
        voters: tuple[NodeId, ...] = self.quorum.voters
        self.acceptors = voters
        self.proposers = voters if proposers is None else tuple(dict.fromkeys(proposers))
        self.learners = voters if learners is None else tuple(dict.fromkeys(learners))
        for node in (*self.acceptors, *self.proposers, *self.learners):
            check_id(node)
        check_numbers(self.proposers)
        self._acceptors = set(self.acceptors)
        self._members = {*self.acceptors, *self.proposers, *self.learners}
        self._numbers = {number_of(node): node for node in self.proposers}
        self._number_of = {node: number for number, node in self._numbers.items()}
        self._told = {
            node: (*self.learners, *((node,) if node not in self.learners else ()))
            for node in self.proposers
        }
        # How many acceptors make a quorum, whoever they are; 0: the system has to be asked.
        election, replication = self.quorum.election, self.quorum.replication
        self._election_count = election.count if election.parts == voters else 0
        self._replication_count = replication.count if replication.parts == voters else 0

    def owner(self, ballot: int) -> NodeId | None:
        """The proposer whose ballot this is."""
        return self._numbers.get(ballot & _OWNER)

    def can_prepare(self, acceptors: set[NodeId]) -> bool:
        """Whether promises of these acceptors are a quorum of phase 1."""
        if self._election_count > 0:
            return len(acceptors) >= self._election_count
        return self.quorum.can_elect(acceptors)

    def __repr__(self) -> str:
        return f"Group({self.quorum!r}, proposers={self.proposers}, learners={self.learners})"


def group_of(group: Group | Iterable[NodeId] | QuorumSystem) -> Group:
    return group if isinstance(group, Group) else Group(group)


def checked_ticks(name: str, ticks: object) -> int:
    if isinstance(ticks, bool) or not isinstance(ticks, int) or not 1 <= ticks <= TICKS_MAX:
        raise SettingError(f"{name}={ticks!r} is no integer in 1 ... 2**31")
    return ticks


def checked_message(message: object) -> None:
    if not isinstance(message, DecreeMessage):
        raise MisuseError(f"step() takes a message of paxos.decree, not {message!r}")


# --- acceptor ------------------------------------------------------------------------------------


class Acceptor:
    """§2.2, phases 1(b) and 2(b).

    Args:
        id: an acceptor of `group`.
        group: a `Group`, or its acceptors, or a quorum system over them.
        state: what was last durable; None only if this id never stepped before in this group.

    Attributes:
        state: promise and acceptance, durable or about to be.  Neither ever goes back.
        rejected: reason -> count of messages that were refused and changed nothing.

    Raises:
        MembershipError: `id` is no acceptor of the group.
    """

    __slots__ = ("_durable", "group", "id", "rejected", "state")

    def __init__(
        self,
        id: NodeId,
        group: Group | Iterable[NodeId] | QuorumSystem,
        *,
        state: AcceptorState | None = None,
    ) -> None:
        self.id = id
        self.group = group_of(group)
        if id not in self.group._acceptors:
            raise MembershipError(f"{id!r} is no acceptor of {self.group!r}")
        self.state = state if state is not None else _NOTHING
        self._durable = self.state
        self.rejected: dict[str, int] = {}

    def step(self, message: DecreeMessage) -> Step:
        """Take in a message: what to make durable, then to send.  One that is impossible is counted
        in `rejected` and changes nothing.

        Raises:
            MisuseError: it is no message at all.
        """
        if isinstance(message, DecreePrepare):
            return self._on_prepare(message)
        if isinstance(message, DecreeAccept):
            return self._on_accept(message)
        if isinstance(message, DecreeAsk):
            return self._on_ask(message)
        checked_message(message)
        return self._step(())

    def _on_prepare(self, message: DecreePrepare) -> Step:
        """§2.2, phase 1(b): "If an acceptor receives a prepare request with number n greater than
        that of any prepare request to which it has already responded, then it responds to the
        request with a promise not to accept any more proposals numbered less than n and with the
        highest-numbered proposal (if any) that it has accepted.\""""
        problem = self._objection(message)
        if problem is not None:
            return self._reject(problem)
        state = self.state
        if message.ballot > state.promised:
            state = self._promised(message.ballot)
            self.state = state
        elif message.ballot < state.promised:
            return self._refuse(message)
        elif message.ballot == state.accepted:
            return self._step(())  # repeated by the network: phase 1 is over
        return self._step(
            (new_promise(self.id, message.sender, message.ballot, state.accepted, state.value),)
        )

    def _on_accept(self, message: DecreeAccept) -> Step:
        """§2.2, phase 2(b): "If an acceptor receives an accept request for a proposal numbered n,
        it accepts the proposal unless it has already responded to a prepare request having a number
        greater than n.\""""
        problem = self._objection(message)
        if problem is not None:
            return self._reject(problem)
        ballot, value = message.ballot, message.value
        state = self.state
        if not self._may_accept(ballot):
            return self._refuse(message)
        if ballot != state.accepted:
            self.state = new_state(ballot, ballot, value)
        elif value != state.value:
            return self._reject("two values in one ballot")
        # §2.3: "each acceptor, whenever it accepts a proposal, respond to all learners".
        messages = [
            new_accepted(self.id, to, ballot, value) for to in self.group._told[message.sender]
        ]
        return self._step(tuple(messages))

    def _on_ask(self, message: DecreeAsk) -> Step:
        problem = message.problem()
        if problem is None and message.to != self.id:
            problem = "for another process"
        if problem is None and message.sender not in self.group._members:
            problem = "not a member"
        if problem is not None:
            return self._reject(problem)
        state = self.state
        if state.accepted == 0:
            return self._step(())
        return self._step((new_accepted(self.id, message.sender, state.accepted, state.value),))

    def _promised(self, ballot: int) -> AcceptorState:
        return new_state(ballot, self.state.accepted, self.state.value)

    def _may_accept(self, ballot: int) -> bool:
        return ballot >= self.state.promised

    def _objection(self, message: DecreeMessage) -> str | None:
        problem = message.problem()
        if problem is not None:
            return problem
        if message.to != self.id:
            return "for another process"
        owner = self.group._numbers.get(message.ballot & _OWNER)
        if owner is None or owner != message.sender:
            if message.sender not in self.group._told:
                return "not a proposer"
            return "ballot of another proposer"
        if message.ballot >> _OWNER_BITS > (self.state.promised >> _OWNER_BITS) + _JUMP_MAX:
            return "ballot too far ahead"
        return None

    def _refuse(self, message: DecreeMessage) -> Step:
        """§2.2, end: it "should probably inform the proposer, who should then abandon its
        proposal"."""
        self._count("below the promise")
        return self._step(
            (DecreeNack(self.id, message.sender, message.ballot, self.state.promised),)
        )

    def _reject(self, reason: str) -> Step:
        self._count(reason)
        return self._step(())

    def _count(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def _step(self, messages: tuple[DecreeMessage, ...]) -> Step:
        return new_step(self, None if self.state is self._durable else self.state, messages)

    def _saved(self, state: AcceptorState) -> None:
        if state.promised > self._durable.promised or state.accepted > self._durable.accepted:
            # The very object, so that a step tells by identity whether all is durable.
            self._durable = state

    def __repr__(self) -> str:
        return f"<Acceptor {self.id!r}: {self.state!r}>"


# --- learner -------------------------------------------------------------------------------------


class Learner:
    """§2.3: learns that a proposal "has been accepted by a majority of acceptors".

    It has nothing to make durable: one that restarts, or comes late, asks.  §2.3: if the answers do
    not tell, "it can have a proposer issue a proposal".

    Args:
        id: a member of `group`.
        group: as for `Acceptor`.
        retry_ticks: after so many ticks it asks again.

    Attributes:
        chosen: the value, once it is known to be chosen; None before.
        ballot: the ballot that it was learnt to be chosen in; 0 before.
        rejected: reason -> count of messages that were refused and changed nothing.

    Raises:
        MembershipError: `id` is no member of the group.
        SettingError: `retry_ticks` cannot be used.
    """

    __slots__ = (
        "_accepted",
        "_asked",
        "_due",
        "_retry_ticks",
        "ballot",
        "chosen",
        "group",
        "id",
        "rejected",
    )

    def __init__(
        self,
        id: NodeId,
        group: Group | Iterable[NodeId] | QuorumSystem,
        *,
        retry_ticks: int = 5,
    ) -> None:
        self.id = id
        self.group = group_of(group)
        if id not in self.group._members:
            raise MembershipError(f"{id!r} is no member of {self.group!r}")
        self._retry_ticks = checked_ticks("retry_ticks", retry_ticks)
        # The last acceptance of each acceptor.
        self._accepted: dict[NodeId, DecreeAccepted] = {}
        self._asked = False
        self._due = 0
        self.ballot = 0
        self.chosen: bytes | None = None
        self.rejected: dict[str, int] = {}

    def step(self, message: DecreeMessage) -> Step:
        """Take in a message; see `Acceptor.step`.

        Raises:
            MisuseError: it is no message at all.
        """
        if isinstance(message, DecreeAccepted):
            self._on_accepted(message)
        else:
            checked_message(message)
        return new_step(None, None, ())

    def ask(self) -> Step:
        """Ask all acceptors, now and again, until the choice is known: for who comes late."""
        if self.chosen is not None:
            return new_step(None, None, ())
        self._asked = True
        self._due = self._retry_ticks
        return new_step(
            None, None, tuple([DecreeAsk(self.id, acceptor) for acceptor in self.group.acceptors])
        )

    def tick(self, ticks: int = 1) -> Step:
        """Time passes.

        Raises:
            SettingError: `ticks` is no positive int.
        """
        ticks = checked_ticks("ticks", ticks)
        if self._asked and self.chosen is None:
            self._due -= ticks
            if self._due <= 0:
                return self.ask()
        return new_step(None, None, ())

    def _on_accepted(self, message: DecreeAccepted) -> None:
        problem = self._objection(message)
        if problem is not None:
            self.rejected[problem] = self.rejected.get(problem, 0) + 1
            return
        if self.chosen is not None:
            return
        known = self._accepted.get(message.sender)
        if known is not None and message.ballot <= known.ballot:
            return  # it came late, or twice
        self._accepted[message.sender] = message
        if self._is_chosen(message):
            self.ballot = message.ballot
            self.chosen = message.value

    def _is_chosen(self, message: DecreeAccepted) -> bool:
        """§2.1: "a value is chosen when a single proposal with that value has been accepted by a
        majority": acceptances of one ballot count together, never those of one value."""
        ballot = message.ballot
        count = 0
        for known in self._accepted.values():
            if known.ballot == ballot:
                count += 1
        if self.group._replication_count > 0:
            return count >= self.group._replication_count
        return self.group.quorum.has_quorum(
            {known.sender for known in self._accepted.values() if known.ballot == ballot}
        )

    def _objection(self, message: DecreeAccepted) -> str | None:
        problem = message.problem()
        if problem is not None:
            return problem
        if message.to != self.id:
            return "for another process"
        if message.sender not in self.group._acceptors:
            return "not an acceptor"
        if message.ballot & _OWNER not in self.group._numbers:
            return "ballot of no proposer"
        if self.chosen is not None:
            if message.ballot >= self.ballot and message.value != self.chosen:
                return "another value than the chosen one"
            return None
        for known in self._accepted.values():
            if known.ballot == message.ballot and known.value != message.value:
                return "two values in one ballot"
        return None

    def __repr__(self) -> str:
        return f"<Learner {self.id!r}: chosen {self.chosen!r}>"


# --- proposer ------------------------------------------------------------------------------------


class Proposer:
    """§2.2, phases 1(a) and 2(a), until it learns what was chosen: its value, or another.

    Two that outbid each other could go on for ever (§2.4).  So who is refused waits, up to
    `backoff_ticks`, up to twice as long after the next refusal, and so on, before it begins a
    higher ballot: some day one has the time for both phases.

    Args:
        id: a proposer of `group`.
        group: as for `Acceptor`.
        state: what was last durable; None only if this id never proposed before in this group.
        seed: makes waiting times differ; give every life another one.
        retry_ticks: after so many ticks it asks those that have not answered again.
        backoff_ticks, backoff_ticks_max: bounds of its wait after the first refusal, and after
            many.

    Attributes:
        value: what `propose` was given.
        ballot: the last one used; 0: none.
        phase: "idle"; "prepare" and "accept" for phases 1 and 2; "wait" after a refusal; "done".
        chosen: the value, once it is known to be chosen; None before.
        nacks: refusals that it heeded.
        rejected: reason -> count of messages that were refused and changed nothing.

    Raises:
        MembershipError: `id` is no proposer of the group.
        SettingError: a number of ticks cannot be used; the state has another proposer's ballot.
    """

    __slots__ = (
        "_backoff_ticks",
        "_backoff_ticks_max",
        "_best",
        "_best_value",
        "_due",
        "_durable",
        "_failures",
        "_learner",
        "_number",
        "_phase",
        "_pick",
        "_promises",
        "_random",
        "_retry_ticks",
        "_seen",
        "_state",
        "ballot",
        "group",
        "id",
        "nacks",
        "rejected",
        "seed",
        "value",
    )

    def __init__(
        self,
        id: NodeId,
        group: Group | Iterable[NodeId] | QuorumSystem,
        *,
        state: ProposerState | None = None,
        seed: int = 0,
        retry_ticks: int = 5,
        backoff_ticks: int = 4,
        backoff_ticks_max: int = 256,
    ) -> None:
        self.id = id
        self.group = group_of(group)
        if id not in self.group._told:
            raise MembershipError(f"{id!r} is no proposer of {self.group!r}")
        self._state = state if state is not None else _NO_BALLOT
        self._durable = self._state
        self.ballot = self._state.ballot
        self._number = self.group._number_of[id]
        if self.ballot != 0 and self.ballot & _OWNER != self._number:
            raise SettingError(f"ballot {describe(self.ballot)} is not one of {id!r}")
        self.seed = seed
        self._retry_ticks = checked_ticks("retry_ticks", retry_ticks)
        self._backoff_ticks = checked_ticks("backoff_ticks", backoff_ticks)
        self._backoff_ticks_max = checked_ticks("backoff_ticks_max", backoff_ticks_max)
        self._learner = Learner(id, self.group)
        self.rejected: dict[str, int] = self._learner.rejected
        self.value: bytes | None = None
        self.nacks = 0
        self._phase = _IDLE
        # Who promised the ballot, and the highest proposal that they had accepted.
        self._promises: set[NodeId] = set()
        self._best = 0
        self._best_value: bytes | None = None
        # What phase 2 proposes.
        self._pick: bytes | None = None
        # The highest ballot that it has heard of.
        self._seen = self.ballot
        self._due = 0
        self._failures = 0
        self._random = 0  # drawn from the seed when it is needed

    @property
    def phase(self) -> str:
        return PHASES[self._phase]

    @property
    def chosen(self) -> bytes | None:
        return self._learner.chosen

    @property
    def state(self) -> ProposerState:
        """Durable, or about to be."""
        return self._state

    def propose(self, value: bytes) -> Step:
        """Begin phase 1 of a proposal.  What comes of it, `chosen` will say: this value, or another
        one that was there before.

        Raises:
            SettingTypeError: the value is not bytes.
            LimitError: it is longer than `limits.PAYLOAD_BYTES_MAX`, or there is no ballot left.
            MisuseError: this proposer is at it already.
        """
        if type(value) is not bytes:
            raise SettingTypeError(f"a value is bytes, not {type(value).__name__}")
        if len(value) > _VALUE_BYTES_MAX:
            raise LimitError(f"a value of {len(value):,} bytes; at most {_VALUE_BYTES_MAX:,}")
        if self._phase == _DONE:
            return self._step(())
        if self._phase != _IDLE:
            raise MisuseError(f"proposer {self.id!r} is proposing {self.value!r} already")
        step = self._begin()
        self.value = value
        return step

    def tick(self, ticks: int = 1) -> Step:
        """Time passes: repeats what was not answered, begins anew after a refusal.

        Raises:
            SettingError: `ticks` is no positive int.
            LimitError: there is no ballot left.
        """
        ticks = checked_ticks("ticks", ticks)
        if self._phase == _IDLE or self._phase == _DONE:
            return self._step(())
        self._due -= ticks
        if self._due > 0:
            return self._step(())
        if self._phase == _WAIT:
            return self._begin()
        self._due = self._retry_ticks
        if self._phase == _PREPARE:
            return self._prepare()
        return self._accept()

    def step(self, message: DecreeMessage) -> Step:
        """Take in a message; see `Acceptor.step`.

        Raises:
            MisuseError: it is no message at all.
        """
        if isinstance(message, DecreePromise):
            return self._on_promise(message)
        if isinstance(message, DecreeAccepted):
            self._learner._on_accepted(message)
            if self._learner.chosen is not None:
                self._phase = _DONE
        elif isinstance(message, DecreeNack):
            self._on_nack(message)
        else:
            checked_message(message)
        return self._step(())

    # --- phase 1 ---------------------------------------------------------------------------------

    def _begin(self) -> Step:
        """§2.2, phase 1(a): "A proposer selects a proposal number n and sends a prepare request
        with number n to a majority of acceptors.\""""
        ballot = self._next_ballot()
        if ballot > _BALLOT_MAX:
            raise LimitError(f"there is no ballot after {describe(self._seen)}")
        self.ballot = ballot
        self._seen = ballot
        self._state = new_proposer_state(ballot)
        self._phase = _PREPARE
        self._due = self._retry_ticks
        self._promises = set()
        self._best = 0
        self._best_value = None
        return self._prepare()

    def _next_ballot(self) -> int:
        return next_ballot(self._seen, self._number)

    def _prepare(self) -> Step:
        messages = [
            new_prepare(self.id, acceptor, self.ballot)
            for acceptor in self.group.acceptors
            if acceptor not in self._promises
        ]
        return self._step(tuple(messages))

    def _on_promise(self, message: DecreePromise) -> Step:
        problem = message.problem()
        if problem is None:
            problem = self._objection(message)
        if problem is None and message.accepted != 0:
            if message.accepted & _OWNER not in self.group._numbers:
                problem = "ballot of no proposer"
            elif message.accepted == self._best and message.value != self._best_value:
                problem = "two values in one ballot"
        if problem is not None:
            self._reject(problem)
            return self._step(())
        if self._phase != _PREPARE or message.ballot != self.ballot:
            return self._step(())  # it came late
        if message.sender in self._promises:
            return self._step(())
        self._promises.add(message.sender)
        if message.accepted > self._best:
            self._best = message.accepted
            self._best_value = message.value
        if not self.group.can_prepare(self._promises):
            return self._step(())
        self._phase = _ACCEPT
        self._due = self._retry_ticks
        self._pick = self._picked()
        return self._accept()

    def _picked(self) -> bytes | None:
        """§2.2, phase 2(a): v "is the value of the highest-numbered proposal among the responses,
        or is any value if the responses reported no proposals"."""
        return self._best_value if self._best > 0 else self.value

    # --- phase 2 ---------------------------------------------------------------------------------

    def _accept(self) -> Step:
        """§2.2, phase 2(a): it "sends an accept request to each of those acceptors for a proposal
        numbered n with a value v"; here to all, which it need not be "the same set"."""
        known = self._learner._accepted
        messages = []
        for acceptor in self.group.acceptors:
            done = known.get(acceptor)
            if done is None or done.ballot < self.ballot:
                messages.append(new_accept(self.id, acceptor, self.ballot, self._pick))
        return self._step(tuple(messages))

    # --- refusals --------------------------------------------------------------------------------

    def _on_nack(self, message: DecreeNack) -> None:
        problem = message.problem()
        if problem is None:
            problem = self._objection(message)
        if problem is None:
            if message.promised & _OWNER not in self.group._numbers:
                problem = "ballot of no proposer"
            elif message.promised >> _OWNER_BITS > (self._seen >> _OWNER_BITS) + _JUMP_MAX:
                problem = "ballot too far ahead"
        if problem is not None:
            self._reject(problem)
            return
        self._seen = max(self._seen, message.promised)
        if message.ballot == self.ballot and (self._phase == _PREPARE or self._phase == _ACCEPT):
            self.nacks += 1
            self._back_off()

    def _back_off(self) -> None:
        self._phase = _WAIT
        span = min(self._backoff_ticks << min(self._failures, 30), self._backoff_ticks_max)
        self._failures += 1
        self._due = 1 + self._draw() % span

    def _draw(self) -> int:
        """Lehmer's generator (Park and Miller 1988): 31 bits, with no state but the last number."""
        if self._random == 0:
            # The id too: proposers that were given the same seed must not duel in step.
            mixed = hashing.crc32c(f"{self.id!r} {self.seed} {self.ballot}".encode())
            self._random = mixed % (_RANDOM_MODULUS - 1) + 1
        self._random = self._random * 48271 % _RANDOM_MODULUS
        return self._random

    # --- what both phases need -------------------------------------------------------------------

    def _objection(self, message: DecreeMessage) -> str | None:
        if message.to != self.id:
            return "for another process"
        if message.sender not in self.group._acceptors:
            return "not an acceptor"
        if message.ballot & _OWNER != self._number:
            return "ballot of another proposer"
        if message.ballot > self.ballot:
            return "ballot that was never used"
        return None

    def _reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def _step(self, messages: tuple[DecreeMessage, ...]) -> Step:
        return new_step(self, None if self._state is self._durable else self._state, messages)

    def _saved(self, state: ProposerState) -> None:
        if state.ballot > self._durable.ballot:
            self._durable = state

    def __repr__(self) -> str:
        return f"<Proposer {self.id!r}: {self.phase}, ballot {describe(self.ballot)}>"
