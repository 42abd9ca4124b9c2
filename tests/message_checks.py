"""What is asked of the messages of every core: shared by the tests of Raft's and Multi-Paxos'."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from types import ModuleType
from typing import Any

import pytest
from core_group import work
from hypothesis import strategies as st

from ringleader import kernels
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.message import Message, SnapshotChunk
from ringleader.errors import MisuseError, RingleaderError
from ringleader.limits import INDEX_MAX, TERM_MAX

MEMBERS = Membership([1, 2, 3]).to_bytes()
STRANGER = 99


def kinds_of(messages: ModuleType) -> set[type]:
    """All kinds of messages that a module declares; not what they are made of."""
    declared = {kind for kind in vars(messages).values() if isinstance(kind, type)}
    return {kind for kind in declared if issubclass(kind, Message)} - {Message, SnapshotChunk}


# --- what is refused changes nothing ---------------------------------------------------------


def dump(core: Any, *names: str) -> dict[str, Any]:
    """Everything that can be seen of a core, the attributes `names` among it: all its state in
    plain Python, or as much as the compiled one shows."""
    log = core.log
    state: dict[str, Any] = {
        "log": [
            (log.term(index), log.is_control(index), bytes(log[index]))
            for index in range(log.first, log.last + 1)
        ],
        "base": (log.base, log.base_term),
        "status": {
            name: value for name, value in asdict(core.status()).items() if name != "rejected"
        },
        "has_ready": core.has_ready,
        "snapshot": repr(core.snapshot),
    }
    state |= {name: copy.copy(getattr(core, name)) for name in names}
    if kernels.PURE:
        state = {name: repr(value) for name, value in vars(core).items()} | state
        for name in ("rejected", "_advanced", "_ready_number"):
            del state[name]
        for peer in core.progress.values():
            slots = [name for kind in type(peer).__mro__ for name in getattr(kind, "__slots__", ())]
            state[f"peer {peer.id}"] = {name: getattr(peer, name) for name in slots}
    return state


def rejects(core: Any, message: Any, dump: Callable[[Any], dict[str, Any]]) -> None:
    """`message` is counted, and that is all."""
    work(core)
    before, counted = dump(core), sum(core.rejected.values())
    core.step(message)
    assert dump(core) == before, f"{message!r} changed something"
    assert sum(core.rejected.values()) == counted + 1, f"{message!r} was not counted"


def refuses_what_is_no_message(core: Any, dump: Callable[[Any], dict[str, Any]]) -> None:
    before = dump(core)
    for thing in (None, "hello", 7, b"", object(), Block.pack(1, 1, [b"x"])):
        with pytest.raises(MisuseError, match="takes a message"):
            core.step(thing)
    assert dump(core) == before


# --- fields ----------------------------------------------------------------------------------

#: Values that a field can never have.
IMPOSSIBLE: dict[str, list[Any]] = {
    "sender": [1],
    "to": [2, STRANGER, "1"],
    "term": [-1, TERM_MAX + 1],
    "commit": [-1, INDEX_MAX + 1],
    "round": [-1],
    "block": ["not a block", b"RLBK", 7],
    "index": [-1, INDEX_MAX + 1],
    "total_bytes": [-1, 5],
    "checksum": [-1, 2**32],
    "data": [b"", b"defg"],
    "membership": [],  # each core has a test of its own
    "context": [],
    "ticket": [],
    "payloads": [],
}


def impossible(
    templates: Iterable[Any],
    values: Mapping[str, list[Any]],
    skip: Callable[[Any, str, Any], bool] = lambda template, field, value: False,
) -> list[Any]:
    """Each template with each of its fields at each of the `values` that it can never have, as
    parameters of a test; but for those to `skip`."""
    cases = []
    for template in templates:
        kind = type(template)
        fields = {name: getattr(template, name) for name in kind.FIELDS}
        cases += [
            pytest.param(kind(**(fields | {field: value})), id=f"{kind.__name__}-{field}-{value!r}")
            for field in fields
            for value in values[field]
            if not skip(template, field, value)
        ]
    return cases


def is_a_value(message: Any, other_term: int) -> None:
    """It equals another of the same fields, and is copied by them."""
    fields = {name: getattr(message, name) for name in type(message).FIELDS}
    again = type(message)(**fields)
    assert again == message
    assert hash(again) == hash(message)
    assert type(message).__name__ in repr(message)
    assert message != "something else"
    assert type(message)(**(fields | {"term": other_term})) != message
    if getattr(message, "block", None) is None:
        assert pickle.loads(pickle.dumps(message)) == message


# --- messages in any order -------------------------------------------------------------------

SMALL = st.integers(-1, 8)
INDICES = st.one_of(st.integers(0, 9), st.sampled_from([-1, INDEX_MAX, INDEX_MAX + 1]))
#: What the fields that all cores have are drawn from.
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "to": st.sampled_from([1, 1, 1, 1, 1, 2]),
    "commit": INDICES,
    "round": SMALL,
    "index": INDICES,
    "total_bytes": st.integers(-1, 6),
    "checksum": st.integers(0, 1),
    "offset": SMALL,
    "data": st.binary(max_size=6),
    "context": st.sampled_from([b"x", b"y"]),
    "ticket": st.integers(0, 3),
    "payloads": st.sampled_from([(b"x",), (b"x", b"y"), (), ("text",), (7,)]),
}

CALLS: dict[str, Callable[[Any], object]] = {
    "campaign": lambda core: core.campaign(),
    "propose": lambda core: core.propose([b"p"]),
    "read": lambda core: core.read_index(b"r"),
    "transfer": lambda core: core.transfer(2),
    "quiesce": lambda core: core.quiesce(),
    "work": work,
}


def perform(core: Any, step: Any, elect: Callable[[Any], None]) -> None:
    """What is done to a core: a message, so many ticks, or a call; "elect": honest answers now and
    then, or no core would ever lead."""
    if isinstance(step, Message):
        core.step(step)
    elif isinstance(step, int):
        core.tick(step)
    elif step == "elect":
        elect(core)
    else:
        with suppress(RingleaderError):
            CALLS[step](core)
