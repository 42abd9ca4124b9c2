"""Every known bug of both tables is caught, and not by accident: the same seed passes without
it."""

from __future__ import annotations

import pytest
from sim import paxos_mutants
from sim.mutants import ALL, BY_NAME, MUTANTS
from sim.mutation import Catch, Outcome, check, in_processes, known

from ringleader.sim import invariants, paxos_invariants


@pytest.fixture(scope="module")
def checked(request: pytest.FixtureRequest) -> dict[str, tuple[Catch, Outcome | None]]:
    """Those mutants that this session asks for, in two processes."""
    mutants = [
        BY_NAME[item.callspec.params["name"]]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_the_mutant_is_caught"
        and item.callspec.params["name"] in known()
    ]
    return {result[0].mutant.name: result for result in in_processes(check, mutants)}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_mutant_is_caught(name: str, checked: dict[str, tuple[Catch, Outcome | None]]) -> None:
    if name not in known():
        pytest.skip("no seed is known that catches it; see docs/mutations.md")
    catch, sound = checked[name]
    others = [(outcome.seed, outcome.text) for outcome in catch.wrong]
    assert catch.outcome is not None, f"not in {catch.seeds} seeds; other invariants: {others}"
    assert catch.outcome.number in BY_NAME[name].caught_by
    assert sound is not None
    assert sound.number is None, f"the same seed fails without the bug: {sound.text}"


def test_the_tables_are_as_they_should_be() -> None:
    assert len(BY_NAME) == len(ALL)
    assert len(known()) >= 32 + 15
    for mutants, numbered in (
        (MUTANTS, invariants.INVARIANTS),
        (paxos_mutants.MUTANTS, paxos_invariants.INVARIANTS),
    ):
        numbers = {invariant.number for invariant in numbered}
        assert all(mutant.caught_by <= numbers for mutant in mutants)
        assert len({mutant.changes for mutant in mutants}) == len(mutants)
    assert sum(mutant.name in known() for mutant in paxos_mutants.MUTANTS) >= 15
    assert {mutant.setting.consensus for mutant in MUTANTS} == {"raft"}
    assert {mutant.setting.consensus for mutant in paxos_mutants.MUTANTS} == {"paxos"}
