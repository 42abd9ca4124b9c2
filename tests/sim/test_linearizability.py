"""The linearizability checker: histories known to be good or bad, and brute force."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.errors import SettingError
from ringleader.sim.linearizability import (
    ANY,
    UNKNOWN,
    Model,
    Operation,
    RegisterModel,
    Verdict,
    check,
)

MODEL = RegisterModel()


class PlainRegister(Model):
    """The same without any help to the search."""

    def apply(self, state: Any, call: Any) -> tuple[Any, Any]:
        return MODEL.apply(state, call)


def history(text: str) -> list[Operation]:
    """One operation a line: client, call, result, from..to ("?": unknown outcome), on key x."""
    operations = []
    for line in filter(None, map(str.strip, text.splitlines())):
        client, call, result, times = (field.strip() for field in line.split(";"))
        name, *values = call.split()
        begin, _, end = times.partition("..")
        operations.append(
            Operation(
                client,
                "x",
                (name, *map(eval, values)),
                UNKNOWN if result == "?" else eval(result),
                int(begin),
                int(end) if end else None,
            )
        )
    return operations


GOOD = {
    "nothing": "",
    "one after another": """
        a; get; None; 0..1
        a; set 1; None; 2..3
        a; get; 1; 4..5
        a; cas 1 2; True; 6..7
        a; cas 1 3; False; 8..9
        a; append 5; 7; 10..11
        a; delete; True; 12..13
        a; delete; False; 14..15
        a; get; None; 16..17""".replace("append 5; 7", "get; 2"),
    "appends give the length": """
        a; append 'ab'; 2; 0..1
        b; append 'c'; 3; 2..3
        a; get; 'abc'; 4..5
        a; append ANY; ANY; 6..7""".replace("append ANY; ANY", "append 'd'; ANY"),
    "a read may see a concurrent write": """
        a; set 1; None; 0..10
        b; get; 1; 2..3""",
    "or not see it": """
        a; set 1; None; 0..10
        b; get; None; 7..8""",
    "two reads, the write between them": """
        a; set 1; None; 0..10
        b; get; None; 2..3
        c; get; 1; 4..5""",
    "touching times are concurrent": """
        a; set 1; None; 0..5
        b; get; None; 5..6""",
    "concurrent writes in either order": """
        a; set 1; None; 0..10
        b; set 2; None; 0..10
        c; get; 1; 11..12""",
    "an unknown write that took effect": """
        a; set 1; ?; 0..
        b; get; None; 1..2
        b; get; 1; 50..51""",
    "an unknown write that never did": """
        a; set 1; ?; 0..
        b; get; None; 1..2
        b; get; None; 50..51""",
    "an unknown write long after": """
        a; set 1; ?; 0..
        b; set 2; None; 1..2
        b; get; 2; 3..4
        b; get; 1; 50..51""",
    "of an unknown outcome the return says nothing": """
        a; set 1; ?; 0..3
        b; get; None; 4..5
        b; get; 1; 6..7""",
    "unknown cas one after another": """
        a; cas 2 3; ?; 0..
        b; cas 1 2; ?; 1..
        c; set 1; None; 2..3
        c; get; 3; 4..5""",
    "a set of what is already there still counts later": """
        a; set 4; None; 10..30
        b; set 5; None; 11..60
        c; delete; True; 12..70
        d; delete; True; 13..71
        a; get; None; 100..101""",
    "an unknown read is nothing": """
        a; get; ?; 0..
        b; get; None; 1..2""",
    "two cas in a chain": """
        a; cas None 1; True; 0..10
        b; cas 1 2; True; 0..10
        c; get; 2; 11..12""",
    "unknown appends in an order of their own": """
        a; append 'a'; ?; 0..
        b; append 'b'; ?; 1..
        c; append 'c'; ?; 2..
        d; append 'd'; 3; 3..4
        d; get; 'cad'; 5..6
        d; get; 'cadb'; 7..8""",
}

BAD = {
    "a stale read": """
        a; set 1; None; 0..1
        a; set 2; None; 2..3
        b; get; 1; 4..5""",
    "a lost update": """
        a; set 1; None; 0..1
        a; get; 1; 2..3
        b; get; 1; 2..3
        a; cas 1 2; True; 4..5
        b; cas 1 3; True; 6..7""",
    "split brain: two cas win from one value": """
        a; cas None 'a'; True; 0..10
        b; cas None 'b'; True; 1..9""",
    "a value that nobody wrote": """
        a; set 1; None; 0..1
        b; get; 3; 2..3""",
    "reads go back between clients": """
        a; set 1; None; 0..1
        a; set 2; None; 2..20
        b; get; 2; 3..4
        c; get; 1; 5..6""",
    "an append applied twice": """
        a; append 'x'; 1; 0..1
        b; get; 'xx'; 2..3""",
    "an unknown append applied twice": """
        a; append 'x'; ?; 0..
        b; get; 'x'; 2..3
        b; get; 'xx'; 4..5""",
    "an unknown write undone": """
        a; set 1; None; 0..1
        b; set 2; ?; 2..
        c; get; 2; 3..4
        c; get; 1; 5..6""",
    "an unknown write seen before it was called": """
        a; get; 1; 0..1
        b; set 1; ?; 2..""",
    "an unknown write used twice": """
        a; set 1; None; 0..1
        b; set 2; ?; 2..
        c; get; 2; 3..4
        a; set 3; None; 5..6
        c; get; 2; 7..8""",
    "a refused cas that should have won": """
        a; set 1; None; 0..1
        b; cas 1 2; False; 2..3""",
    "an acknowledged write is lost": """
        a; set 1; None; 0..1
        b; get; None; 2..3""",
    "appends out of order": """
        a; append 'a'; 1; 0..1
        b; append 'b'; 2; 2..3
        c; get; 'ba'; 4..5""",
    "a deletion undone": """
        a; set 1; None; 0..1
        a; delete; True; 2..3
        b; get; 1; 4..5""",
    "a deletion of nothing that succeeds": """
        a; delete; True; 0..1""",
    "concurrent reads that disagree on the order": """
        a; set 1; None; 0..1
        a; set 2; None; 2..20
        b; set 3; None; 2..20
        c; get; 2; 21..22
        d; get; 3; 23..24""",
}


@pytest.mark.parametrize("model", [MODEL, PlainRegister()], ids=["register", "plain"])
@pytest.mark.parametrize("name", GOOD)
def test_good(name: str, model: Model) -> None:
    verdict = check(history(GOOD[name]), model)
    assert verdict.ok, verdict.explanation
    assert (verdict.outcome, verdict.key, verdict.explanation) == ("linearizable", None, "")
    assert verdict.operation is None


@pytest.mark.parametrize("model", [MODEL, PlainRegister()], ids=["register", "plain"])
@pytest.mark.parametrize("name", BAD)
def test_bad(name: str, model: Model) -> None:
    operations = history(BAD[name])
    verdict = check(operations, model)
    assert verdict.outcome == "not linearizable"
    assert not verdict.ok
    assert verdict.key == "x"
    assert verdict.operation in operations
    assert "cannot be placed" in verdict.explanation


def test_the_explanation_shows_who_when_and_why() -> None:
    verdict = check(history(BAD["a stale read"]), MODEL)
    assert verdict.operation is not None
    assert verdict.operation.client == "b"
    assert str(verdict) == (
        "key 'x': not linearizable\n"
        "2 of the 3 operations that returned can be placed; the next to return cannot\n"
        "    client b: get -> 1\n"
        "    on 2 it would give 2\n"
        "an order of what came before, oldest first:\n"
        "    client a: set 1 -> None\n"
        "    client a: set 2 -> None\n"
        "in time:\n"
        "    client a  |-|            set 1 -> None\n"
        "    client a      |-|        set 2 -> None\n"
        "    client b          |-|    get -> 1   <--- cannot be placed\n"
    )


def test_the_explanation_shows_open_operations_and_stays_short() -> None:
    operations = [Operation("w", "x", ("set", 0), UNKNOWN, 0, None)]
    for i in range(1, 200):
        operations.append(Operation("w", "x", ("set", i), None, 2 * i, 2 * i + 1))
    operations.append(Operation("r", "x", ("get",), 77, 500, 501))
    operations.append(Operation("r", "x", ("set", 7), UNKNOWN, 499, None))
    verdict = check(operations, MODEL)
    assert not verdict.ok
    assert "(187 others)" in verdict.explanation
    assert "on 199 it would give 199" in verdict.explanation
    assert len(verdict.explanation.splitlines()) < 40


def test_keys_are_checked_each_for_itself() -> None:
    good = history(GOOD["two cas in a chain"])
    bad = history(BAD["a stale read"])
    moved = [
        Operation(op.client, ("y", 2), op.call, op.result, op.invoked, op.returned) for op in bad
    ]
    mixed = [op for pair in zip(good, moved, strict=True) for op in pair]
    verdict = check(mixed, MODEL)
    assert not verdict.ok
    assert verdict.key == ("y", 2)
    assert check(mixed[::-1], MODEL).operation == verdict.operation
    assert check(good, MODEL).ok


def test_the_initial_value() -> None:
    operations = [Operation("a", "x", ("get",), 5, 0, 1)]
    assert check(operations, RegisterModel(5)).ok
    assert not check(operations, RegisterModel(4)).ok


def test_what_is_no_history() -> None:
    with pytest.raises(SettingError, match="returned before"):
        check([Operation("a", "x", ("get",), 1, 5, 4)], MODEL)
    with pytest.raises(SettingError, match="no call 'jump'"):
        check([Operation("a", "x", ("jump",), 1, 0, 1)], MODEL)


# --- when it is too much -------------------------------------------------------------------------


def exhausting(key: str = "x") -> list[Operation]:
    """Unknown counters of all sizes, and a sum that needs too many of them."""
    operations = [Operation(i, key, ("append", "a" * (3**i)), UNKNOWN, i, None) for i in range(14)]
    operations.append(Operation("c", key, ("delete",), False, 0, 1))
    operations.append(Operation("c", key, ("append", "b"), 2 * 3**13, 90, 91))
    return operations


def test_it_gives_up_and_says_so() -> None:
    verdict = check(exhausting(), MODEL, steps_max=1_000)
    assert verdict.outcome == "unknown"
    assert not verdict.ok
    assert verdict.key == "x"
    assert verdict.steps == 1_000
    assert "1,000 steps were not enough" in verdict.explanation
    assert "1 of the 2 operations that returned were placed" in verdict.explanation


def test_a_key_found_wrong_comes_before_one_given_up() -> None:
    operations = exhausting("a") + history(BAD["a stale read"])
    verdict = check(operations, MODEL, steps_max=1_000)
    assert verdict.outcome == "not linearizable"
    assert verdict.key == "x"
    assert check(
        exhausting("a") + history(GOOD["two cas in a chain"]), MODEL, steps_max=500
    ).key == ("a")


# --- histories of an atomic object ---------------------------------------------------------------


def simulated(
    seed: int,
    count: int,
    *,
    keys: int = 1,
    clients: int = 4,
    unknown: float = 0.2,
    kinds: str = "get get set cas append delete",
) -> list[Operation]:
    """Clients that call one atomic register each key; every call takes effect at a random moment
    between its call and its return, those of unknown outcome perhaps later, perhaps never."""
    rng = random.Random(seed)
    free_at = dict.fromkeys(range(clients), 0)
    drafts: list[tuple[Any, ...]] = []
    for number in range(count):
        client = min(free_at, key=lambda client: free_at[client])
        invoked = free_at[client]
        returned = invoked + rng.randint(1, 20)
        free_at[client] = returned + rng.randint(0, 5)
        effect: float | None = rng.uniform(invoked, returned)
        is_known = rng.random() >= unknown
        if not is_known:
            effect = None if rng.random() < 0.4 else invoked + rng.expovariate(1 / 40)
        drafts.append((effect, number, client, rng.randrange(keys), invoked, returned, is_known))
    states: dict[int, Any] = {}
    done: dict[int, Operation] = {}
    in_order = sorted(drafts, key=lambda draft: (draft[0] is None, draft[0] or 0))
    for effect, number, client, key, invoked, returned, is_known in in_order:
        state = states.get(key)
        kind = rng.choice(kinds.split())
        call: Any = {
            "get": ("get",),
            "set": ("set", f"{number % 7},"),
            "cas": ("cas", state if rng.random() < 0.6 else "0,", f"{number % 7},"),
            "append": ("append", f"{number % 7},"),
            "delete": ("delete",),
        }[kind]
        result: Any = UNKNOWN
        if effect is not None:
            states[key], result = MODEL.apply(state, call)
        done[number] = Operation(
            client,
            key,
            call,
            (ANY if rng.random() < 0.05 else result) if is_known else UNKNOWN,
            invoked,
            returned if is_known else None,
        )
    return [done[number] for number in range(count)]


KINDS = (
    "get get set cas append delete",
    "get set",
    "get get set cas",
    "get append",
    "cas cas set get",
    "set delete get",
    "get append set",
)


@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from(KINDS),
)
def test_what_an_atomic_object_did_is_accepted(
    seed: int, count: int, clients: int, unknown: float, kinds: str
) -> None:
    operations = simulated(seed, count, keys=2, clients=clients, unknown=unknown, kinds=kinds)
    verdict = check(operations, MODEL, steps_max=100_000)
    assert verdict.outcome != "not linearizable", verdict.explanation


def brute_force(operations: list[Operation]) -> bool:
    """Whether some order of all known and some unknown operations keeps real time and results."""
    known = [op for op in operations if op.is_known]
    for order in permutations(operations):
        for begin in range(len(order) + 1):  # what stands before `begin` never took effect
            if any(op.is_known for op in order[:begin]):
                break
            chosen = order[begin:]
            if _keeps_time(chosen) and _keeps_results(chosen):
                return True
    return not known


def _keeps_time(order: tuple[Operation, ...]) -> bool:
    for at, op in enumerate(order):
        for later in order[at + 1 :]:
            if later.is_known and later.returned is not None and later.returned < op.invoked:
                return False
    return True


def _keeps_results(order: tuple[Operation, ...]) -> bool:
    state = None
    for op in order:
        state, result = MODEL.apply(state, op.call)
        if op.is_known and op.result is not ANY and result != op.result:
            return False
    return True


@settings(max_examples=300)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from(KINDS),
    st.integers(0, 2),
    st.data(),
)
def test_small_histories_are_as_by_brute_force(
    seed: int,
    count: int,
    clients: int,
    unknown: float,
    kinds: str,
    mutations: int,
    data: st.DataObject,
) -> None:
    operations = simulated(seed, count, clients=clients, unknown=unknown, kinds=kinds)
    results = [op.result for op in operations if op.is_known] + [None, True, False, "1,"]
    for _ in range(mutations):
        at = data.draw(st.integers(0, count - 1))
        op = operations[at]
        if op.is_known:
            result = data.draw(st.sampled_from(results))
            operations[at] = Operation(op.client, op.key, op.call, result, op.invoked, op.returned)
    want = brute_force(operations)
    for model in (MODEL, PlainRegister()):
        verdict = check(operations, model)
        assert verdict.outcome == ("linearizable" if want else "not linearizable"), verdict


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from(KINDS))
def test_the_models_help_changes_no_verdict(seed: int, unknown: float, kinds: str) -> None:
    """On mutated histories too long for brute force."""
    operations = simulated(seed, 14, clients=4, unknown=unknown, kinds=kinds)
    rng = random.Random(seed)
    reads = [at for at, op in enumerate(operations) if op.is_known and op.call[0] == "get"]
    if reads:
        at, other = rng.choice(reads), rng.choice(reads)
        op = operations[at]
        operations[at] = Operation(
            op.client, op.key, op.call, operations[other].result, op.invoked, op.returned
        )
    helped, plain = check(operations, MODEL), check(operations, PlainRegister())
    assert "unknown" not in (helped.outcome, plain.outcome)
    assert helped.outcome == plain.outcome
    if not helped.ok:
        assert helped.operation == plain.operation


def test_a_search_that_looks_ahead_says_so_where_it_must() -> None:
    """Without looking ahead the many unknown appends would be tried in all orders."""
    operations = [Operation(i, "x", ("append", str(i)), UNKNOWN, 0, None) for i in range(9)]
    operations += history(
        """
        r; get; '012'; 1..2
        w; append 'x'; ANY; 3..4
        r; get; '021'; 5..6"""
    )
    verdict = check(operations, MODEL)
    assert verdict.outcome == "not linearizable"
    assert "what a later read saw" in verdict.explanation
    assert verdict.steps < 1_000


def test_long_histories_take_few_steps() -> None:
    """Near one step an operation, also with many unknown outcomes."""
    for kinds in ("get get set cas", "get append", "get set delete"):
        operations = simulated(7, 5_000, keys=10, clients=10, unknown=0.1, kinds=kinds)
        verdict = check(operations, MODEL)
        assert isinstance(verdict, Verdict)
        assert verdict.ok
        assert verdict.steps < 10 * len(operations), kinds
