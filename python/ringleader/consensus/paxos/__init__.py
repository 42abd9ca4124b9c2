"""Paxos: `decree` decides one value, by a `Proposer`, `Acceptor`s and `Learner`s."""

from ringleader.consensus.paxos import decree
from ringleader.consensus.paxos.ballot import describe
from ringleader.consensus.paxos.decree import (
    Acceptor,
    AcceptorState,
    DecreeMessage,
    Group,
    Learner,
    Proposer,
    ProposerState,
    Step,
)
from ringleader.kernels import require_compiled

__all__ = [
    "Acceptor",
    "AcceptorState",
    "DecreeMessage",
    "Group",
    "Learner",
    "Proposer",
    "ProposerState",
    "Step",
    "describe",
]

require_compiled(decree)
