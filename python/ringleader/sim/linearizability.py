"""Is a history of concurrent calls one that a single copy could have given?

A history is linearizable (Herlihy and Wing 1990) if every operation can be thought to take effect
at one moment between its call and its return, so that all results are those of one copy that
does one thing after another.

    history = [
        Operation("a", "x", ("set", 1), None, invoked=0, returned=4),
        Operation("b", "x", ("get",), None, invoked=5, returned=7),   # the set is over: stale
    ]
    verdict = check(history, RegisterModel())
    verdict.ok, verdict.key, verdict.explanation

How.  Keys are independent, so each is checked alone (Herlihy and Wing, theorem 1: linearizability
is local).  For one key the search is Wing and Gong's (1993) with Lowe's improvements ("Testing for
linearizability", 2017): go through the returns in order of time, depth first; an operation takes
effect no earlier than some return needs it (just in time); and no *configuration* (next return,
state, open operations that took effect) is tried twice.  Beyond that:

  - An open operation that only read, and whose result fits, takes effect at once: nothing that
    could follow is lost.  So concurrent reads do not multiply the search.
  - An operation whose outcome is unknown never has to take effect.  Of two configurations that
    differ in those only, the one that has used fewer of them can do whatever the other can, and
    the other is dropped.  Of equal ones the first to be called is used first.
  - A model may know more: that nobody who is still to come can tell one value from another
    (`asks`, `blurred`), or that a state cannot become one that somebody saw (`becoming`).

The problem is NP-complete: the search stops after a number of steps, and then says "unknown",
which is not ok.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final, Literal, TypeAlias, final

from ringleader.errors import SettingError
from ringleader.limits import LINEARIZABILITY_STEPS_MAX

__all__ = [
    "ANY",
    "BLUR",
    "UNKNOWN",
    "Model",
    "Operation",
    "RegisterModel",
    "Verdict",
    "check",
]


@final
class _Mark:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


#: The result of an operation that may take effect at any time after its call, or never.
UNKNOWN: Final = _Mark("UNKNOWN")
#: The result of an operation that took effect and returned, whatever it returned.
ANY: Final = _Mark("ANY")
#: A value that nobody asks for.
BLUR: Final = _Mark("BLUR")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client called, and what came back.

    Attributes:
        client: who called.
        key: what it was called on; operations on different keys do not concern each other.
        call: what the model's `apply` takes.
        result: what came back, `ANY` or `UNKNOWN`.
        invoked: when it was called.
        returned: when the client had the result, in the same unit; None: it never had one, and
            the outcome is unknown whatever `result` says.
    """

    client: Any
    key: Hashable
    call: Any
    result: Any
    invoked: float
    returned: float | None

    @property
    def is_known(self) -> bool:
        """Whether the client learned the outcome."""
        return self.returned is not None and self.result is not UNKNOWN

    def __str__(self) -> str:
        call = self.call
        if isinstance(call, tuple) and call and isinstance(call[0], str):
            call = " ".join([call[0], *map(repr, call[1:])])
        return f"{call} -> {self.result!r}" if self.is_known else f"{call} -> ?"


class Model(ABC):
    """One copy of what a key holds, doing one call after another.  States hash and compare."""

    #: The state before the first call.
    initial: Any = None

    @abstractmethod
    def apply(self, state: Any, call: Any) -> tuple[Any, Any]:
        """The state after `call` and its result; depends on nothing else."""

    def is_read(self, call: Any, result: Any) -> bool:
        """Whether `call`, where it gives this result (ANY, UNKNOWN: whatever it gives), leaves
        every state as it is.  False is always safe, and slower.
        """
        return False

    # What follows narrows the search; the answers given here are always safe.

    def asks(self, call: Any, result: Any) -> Iterable[Hashable] | None:
        """The values for which alone this operation could have gone otherwise; None: for any.

        Only asked of models whose `blurred` says something.
        """
        return None

    def blurred(self, call: Any) -> tuple[Hashable, Any] | None:
        """The value that `call` leaves if it changes the state, and the same call with `BLUR` for
        that value, for when nobody asks for it any more; None: the call is no such one.
        """
        return None

    def becoming(
        self, operations: Sequence[Operation]
    ) -> tuple[Callable[[Any, Any], bool], Callable[[Operation], Any]] | None:
        """Where some states cannot become others: whether one can, by these calls, become (or is)
        another; and which state an operation with a known result was done on (`ANY`: no telling).
        """
        return None


@final
class RegisterModel(Model):
    """A value, or None for its absence.

        ("get",)            the value
        ("set", new)        None
        ("cas", old, new)   whether the value was `old`, and so is `new` now
        ("append", tail)    the length of the value with `tail` at its end (absent: `tail` alone)
        ("delete",)         whether there was a value

    Values hash and compare; those appended to are str, bytes or tuples.
    """

    def __init__(self, initial: Any = None) -> None:
        self.initial = initial

    def apply(self, state: Any, call: Any) -> tuple[Any, Any]:
        name = call[0]
        if name == "get":
            return state, state
        if name == "set":
            return call[1], None
        if name == "cas":
            return (call[2], True) if state == call[1] else (state, False)
        if name == "append":
            longer = call[1] if state is None else state + call[1]
            return longer, len(longer)
        if name == "delete":
            return None, state is not None
        raise SettingError(f"a register has no call {name!r}")

    def is_read(self, call: Any, result: Any) -> bool:
        return call[0] == "get" or (call[0] in {"cas", "delete"} and result is False)

    def asks(self, call: Any, result: Any) -> Iterable[Hashable] | None:
        name = call[0]
        if name == "get":
            return () if result is ANY else (result,)
        if name == "cas":
            return (call[1],)
        if name == "delete":
            return (None,)
        return () if name == "set" else None

    def blurred(self, call: Any) -> tuple[Hashable, Any] | None:
        if call[0] == "set":
            return call[1], ("set", BLUR)
        if call[0] == "cas":
            return call[2], ("cas", call[1], BLUR)
        return None

    def becoming(
        self, operations: Sequence[Operation]
    ) -> tuple[Callable[[Any, Any], bool], Callable[[Operation], Any]] | None:
        if {op.call[0] for op in operations} - {"get"} != {"append"}:
            return None
        return _begins, _seen


def _begins(state: Any, later: Any) -> bool:
    """Where values only grow, each is the beginning of those after it."""
    if state is None or state == later:
        return True
    grows = isinstance(later, str | bytes | tuple) and isinstance(state, str | bytes | tuple)
    return grows and bool(later[: len(state)] == state)


def _seen(op: Operation) -> Any:
    return op.result if op.call[0] == "get" else ANY


Outcome = Literal["linearizable", "not linearizable", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `check` found.

    Attributes:
        outcome: "unknown" when the search gave up on a key and no other key was found wrong.
        key: the key that is wrong or unknown; None when all are linearizable.
        explanation: for a person; empty when all keys are linearizable.
        operation: where the outcome is "not linearizable", the one that cannot be placed.
        steps: calls tried on the model, of all keys.
    """

    outcome: Outcome
    key: Hashable
    explanation: str
    operation: Operation | None
    steps: int

    @property
    def ok(self) -> bool:
        """Proven linearizable.  "unknown" is not ok."""
        return self.outcome == "linearizable"

    def __str__(self) -> str:
        return self.explanation or f"linearizable ({self.steps:,} steps)"


def check(
    history: Iterable[Operation],
    model: Model,
    *,
    steps_max: int = LINEARIZABILITY_STEPS_MAX,
) -> Verdict:
    """Whether the history is linearizable, each key for itself.

    An operation precedes another if it returned before the other was called; at equal times they
    count as concurrent.

    Args:
        history: in any order.
        model: what every key is.
        steps_max: calls tried on the model for one key, after which that key is "unknown".

    Returns:
        The first key, in the order of the history, that is not linearizable; else the first one
        that is unknown; else that all are linearizable.

    Raises:
        SettingError: an operation returned before it was called.

    Cost: near linear where few operations are concurrent and few outcomes unknown; exponential
    in their number at worst, up to `steps_max`.
    """
    keys: dict[Hashable, list[Operation]] = {}
    for operation in history:
        if operation.returned is not None and operation.returned < operation.invoked:
            raise SettingError(f"{operation!r} returned before it was called")
        keys.setdefault(operation.key, []).append(operation)
    steps = 0
    gave_up: Verdict | None = None
    for key, operations in keys.items():
        search = _Search(operations, model, steps_max)
        try:
            found = search.run()
        except _OutOfStepsError:
            text = f"key {key!r}: unknown, since {steps_max:,} steps were not enough\n"
            gave_up = gave_up or Verdict("unknown", key, text + search.explained(), None, 0)
            found = True
        steps += search.steps
        if not found:
            search = _plainly(search)
            text = f"key {key!r}: not linearizable\n"
            return Verdict(
                "not linearizable", key, text + search.explained(), search.culprit(), steps
            )
    if gave_up:
        return Verdict("unknown", gave_up.key, gave_up.explanation, None, steps)
    return Verdict("linearizable", None, "", None, steps)


def _plainly(failed: _Search) -> _Search:
    """The same search without looking ahead, which fails at the operation that it is about; or
    the one that failed, where that takes much longer."""
    if failed.can_become is None:
        return failed
    steps_max = min(failed.steps_max, 4 * failed.steps + _STEPS_TO_EXPLAIN)
    again = _Search(failed.operations, failed.model, steps_max)
    again.can_become = None
    try:
        again.run()
    except _OutOfStepsError:
        return failed
    return again


class _OutOfStepsError(Exception):
    """The search has used up its steps."""


#: What took effect, newest first: (index of the operation, the chain before it).
_Chain: TypeAlias = "tuple[int, _Chain] | None"
#: (state, open known operations that took effect, unknown ones that did, the chain).  The sets are
#: bits: of a known operation its slot, which is free again after its return, so that the numbers
#: stay small; of an unknown one its rank among the unknown.
_Configuration: TypeAlias = tuple[Any, int, int, _Chain]

#: So many more, and four times as many as were needed, to find the operation to blame.
_STEPS_TO_EXPLAIN: Final = 20_000
_NEVER_FADES: Final = 2**62
#: How many states and operations an explanation shows.
_STATES_SHOWN: Final = 5
_OPERATIONS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class _Return:
    """A return, in order of time.

    Attributes:
        index: the operation's.
        bit: of its slot.
        open: (bit, index) of every known operation that was called and has not returned, this
            one first.
        unknown_count: how many operations of unknown outcome have been called.
    """

    index: int
    bit: int
    open: tuple[tuple[int, int], ...]
    unknown_count: int


@final
class _Tried:
    """Configurations that need no second look, of one return."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        # (state, known) -> sets of unknown operations, none of which holds another.
        self._sets: dict[tuple[Any, int], list[int]] = {}

    def is_new(self, state: Any, known: int, unknown: int) -> bool:
        """Whether none as good was tried; this one is from now on."""
        sets = self._sets.get((state, known))
        if sets is None:
            self._sets[state, known] = [unknown]
            return True
        for used in sets:
            if used & ~unknown == 0:
                return False
        sets[:] = [used for used in sets if unknown & ~used]
        sets.append(unknown)
        return True


@final
class _Search:
    """One key."""

    def __init__(self, operations: Sequence[Operation], model: Model, steps_max: int) -> None:
        kept = [op for op in operations if op.is_known or not model.is_read(op.call, UNKNOWN)]
        self.operations = sorted(kept, key=lambda op: op.invoked)
        self.model = model
        self.steps_max = steps_max
        self.steps = 0
        self.unknown = [i for i, op in enumerate(self.operations) if not op.is_known]
        self.is_read = [model.is_read(op.call, op.result) for op in self.operations]
        self.returns = self._returns()
        # After which return nobody asks for the value that an operation leaves, and the call to
        # do instead.
        self.fades, self.faded_calls = self._fading()
        # Of each return: the states that coming ones were done on, each with its bit where it is
        # open already, for then it may have been done; up to the first that is not open.
        self.can_become: Callable[[Any, Any], bool] | None = None
        self.ahead: list[list[tuple[Any, int]]] = []
        if becoming := model.becoming(self.operations):
            self.can_become, seen = becoming
            self.ahead = self._ahead(seen)
        # The furthest return reached, and what took effect until then, in each way found.
        self.furthest = -1
        self.furthest_chains: list[_Chain] = []

    def _returns(self) -> list[_Return]:
        # At equal times calls come before returns: such operations are concurrent.
        moments: list[tuple[float, int, int]] = []
        for index, op in enumerate(self.operations):
            moments.append((op.invoked, 0, index))
            if op.is_known and op.returned is not None:
                moments.append((op.returned, 1, index))
        moments.sort()
        returns = []
        free: list[int] = []
        slots = unknown_count = 0
        open_bits: dict[int, int] = {}
        for _, is_return, index in moments:
            if is_return:
                bit = open_bits.pop(index)
                others = tuple((other, at) for at, other in open_bits.items())
                returns.append(_Return(index, bit, ((bit, index), *others), unknown_count))
                heappush(free, bit)
            elif self.operations[index].is_known:
                if free:
                    open_bits[index] = heappop(free)
                else:
                    open_bits[index] = 1 << slots
                    slots += 1
            else:
                unknown_count += 1
        return returns

    def _fading(self) -> tuple[list[int], list[Any]]:
        model = self.model
        fades = [_NEVER_FADES] * len(self.operations)
        calls = [op.call for op in self.operations]
        blurred = [model.blurred(call) for call in calls]
        if not any(blurred):
            return fades, calls
        place = {due.index: at for at, due in enumerate(self.returns)}
        last_asked: dict[Hashable, int] = {}
        for index, op in enumerate(self.operations):
            asked = model.asks(op.call, op.result if op.is_known else ANY)
            if asked is None:
                return fades, calls
            for value in asked:
                at = place.get(index, _NEVER_FADES)
                last_asked[value] = max(at, last_asked.get(value, -1))
        for index, blur in enumerate(blurred):
            if blur is not None:
                fades[index] = last_asked.get(blur[0], -1)
                calls[index] = blur[1]
        return fades, calls

    def _ahead(self, seen: Callable[[Operation], Any]) -> list[list[tuple[Any, int]]]:
        ahead: list[list[tuple[Any, int]]] = []
        coming: list[int] = []  # that tell, the next to return last
        for due in reversed(self.returns):
            if seen(self.operations[due.index]) is not ANY:
                coming.append(due.index)
            bits = {index: bit for bit, index in due.open}
            told: list[tuple[Any, int]] = []
            for index in reversed(coming):
                told.append((seen(self.operations[index]), bits.get(index, 0)))
                if index not in bits:
                    break
            ahead.append(told)
        return ahead[::-1]

    def run(self) -> bool:
        """Whether all known operations can be placed.

        Each level of the stack gives, one by one, what may follow a configuration; leaving a
        level undoes it, since states are values.
        """
        returns, last, is_read = self.returns, len(self.returns), self.is_read
        tried: dict[int, _Tried] = {}
        first: _Configuration = (self.model.initial, 0, 0, None)
        stack: list[tuple[int, Iterator[_Configuration]]] = [(0, iter([first]))]
        while stack:
            at, following = stack[-1]
            configuration = next(following, None)
            if configuration is None:
                stack.pop()
                continue
            state, known, unknown, chain = configuration
            while at < last:
                due = returns[at]
                if not known & due.bit:
                    # A read that fits takes effect at once: there is nothing to choose.
                    if not is_read[due.index] or not self._fits(at, state):
                        break
                    chain = (due.index, chain)
                known &= ~due.bit
                at += 1
            if at > self.furthest:
                self.furthest, self.furthest_chains = at, [chain]
            elif at == self.furthest and len(self.furthest_chains) <= _STATES_SHOWN:
                self.furthest_chains.append(chain)
            if at == last:
                return True
            if at not in tried:
                tried[at] = _Tried()
            if tried[at].is_new(state, known, unknown):
                stack.append((at, self._following(at, (state, known, unknown, chain))))
        return False

    def _fits(self, at: int, state: Any) -> bool:
        """Whether the operation that is due gives its result on this state."""
        self._step()
        index = self.returns[at].index
        op = self.operations[index]
        call = self.faded_calls[index] if at > self.fades[index] else op.call
        _, result = self.model.apply(state, call)
        return op.result is ANY or bool(result == op.result)

    def _step(self) -> None:
        if self.steps >= self.steps_max:
            raise _OutOfStepsError
        self.steps += 1

    def _following(self, at: int, begin: _Configuration) -> Iterator[_Configuration]:
        """Every configuration in which the operation that is due has taken effect, last of all.

        Those that use fewer unknown operations come first, so that those which use more to the
        same end are known to be worse.
        """
        operations, apply = self.operations, self.model.apply
        fades, faded_calls, is_read = self.fades, self.faded_calls, self.is_read
        due = self.returns[at]
        tried = _Tried()
        level = [begin]
        while level:
            todo, done = level[::-1], []
            while todo:
                configuration = todo.pop()
                state, known, unknown, chain = configuration
                if not tried.is_new(state, known, unknown):
                    continue
                if not self._is_hopeful(at, state, known):
                    continue
                fitting: list[_Configuration] = []
                due_fits = False
                for bit, index in due.open:
                    if known & bit:
                        continue
                    op = operations[index]
                    self._step()
                    call = faded_calls[index] if at > fades[index] else op.call
                    after, result = apply(state, call)
                    if op.result is not ANY and result != op.result:
                        continue
                    due_fits = due_fits or bit == due.bit
                    fitting.append((after, known | bit, unknown, (index, chain)))
                    if is_read[index]:
                        fitting = fitting[-1:]
                        due_fits = bit == due.bit
                        break
                else:
                    done.append(configuration)
                if due_fits:
                    yield fitting.pop(0)
                todo += reversed(fitting)
            level = []
            for configuration in done:
                level += self._by_one_unknown(at, configuration)

    def _by_one_unknown(self, at: int, configuration: _Configuration) -> Iterator[_Configuration]:
        """What one more operation of unknown outcome makes of it."""
        state, known, unknown, chain = configuration
        alike = set()
        for rank in range(self.returns[at].unknown_count):
            bit = 1 << rank
            if unknown & bit:
                continue
            index = self.unknown[rank]
            fades = at > self.fades[index]
            call = self.faded_calls[index] if fades else self.operations[index].call
            if call in alike:
                continue
            alike.add(call)
            self._step()
            after, _ = self.model.apply(state, call)
            if after is not state and after != state:
                yield after, known, unknown | bit, (index, chain)

    def _is_hopeful(self, at: int, state: Any, known: int) -> bool:
        """Whether the state can still become what those that are to come have seen."""
        if self.can_become is None:
            return True
        for seen, bit in self.ahead[at]:
            if not known & bit and not self.can_become(state, seen):
                return False
        return True

    # --- what to tell a person -------------------------------------------------------------------

    def culprit(self) -> Operation:
        """The operation that no order of the others has room for."""
        return self.operations[self.returns[self.furthest].index]

    def explained(self) -> str:
        """Where the search came to its end: the furthest return, and the ways to it."""
        due = self.returns[self.furthest]
        op = self.operations[due.index]
        gave_up = self.steps >= self.steps_max
        of = f"{self.furthest} of the {len(self.returns)} operations that returned"
        lines = [
            f"{of} were placed; the search ended at"
            if gave_up
            else f"{of} can be placed; the next to return cannot",
            f"    {_whose(op)}: {op}",
        ]
        shown = []
        for chain in self.furthest_chains:
            state = self._state_after(chain)
            if state not in shown:
                shown.append(state)
                _, result = self.model.apply(state, op.call)
                lines.append(f"    on {state!r} it would give {result!r}")
        if self.can_become is not None:
            lines.append("    (states that cannot become what a later read saw were left out)")
        order = _in_order(self.furthest_chains[0])
        lines.append("an order of what came before, oldest first:")
        if len(order) > _OPERATIONS_SHOWN:
            lines.append(f"    ({len(order) - _OPERATIONS_SHOWN} others)")
        for index in order[-_OPERATIONS_SHOWN:]:
            lines.append(f"    {_whose(self.operations[index])}: {self.operations[index]}")
        if not order:
            lines.append(f"    (nothing: {self.model.initial!r} from the start)")
        near = {*order[-_OPERATIONS_SHOWN:], *(index for _, index in due.open)}
        lines.append("in time:")
        lines += _timeline([self.operations[index] for index in sorted(near)], op)
        return "\n".join(lines) + "\n"

    def _state_after(self, chain: _Chain) -> Any:
        state = self.model.initial
        for index in _in_order(chain):
            state, _ = self.model.apply(state, self.operations[index].call)
        return state


def _in_order(chain: _Chain) -> list[int]:
    order = []
    while chain is not None:
        order.append(chain[0])
        chain = chain[1]
    return order[::-1]


def _whose(op: Operation) -> str:
    return f"client {op.client}"


def _timeline(operations: Sequence[Operation], marked: Operation) -> list[str]:
    """A row for each operation, from its call to its return.  Order is shown, not duration."""
    moments = {(op.invoked, 0) for op in operations}
    moments |= {(op.returned, 1) for op in operations if op.is_known and op.returned is not None}
    column = {moment: 2 * rank for rank, moment in enumerate(sorted(moments))}
    width = 2 * len(column) + 1
    label_width = max(len(_whose(op)) for op in operations)
    lines = []
    for op in operations:
        begin = column[op.invoked, 0]
        if op.is_known and op.returned is not None:
            end = column[op.returned, 1]
            bar = "|" + "-" * (end - begin - 1) + "|"
        else:
            bar = "|" + "-" * (width - begin - 2) + ">"
        row = (" " * begin + bar).ljust(width)
        sign = "   <--- cannot be placed" if op is marked else ""
        lines.append(f"    {_whose(op):{label_width}}  {row}  {op}{sign}")
    return lines
