"""Paxos: `core` is Multi-Paxos, `messages` what its nodes say, `config` its settings; `decree`
decides one value, by a `Proposer`, `Acceptor`s and `Learner`s."""

from ringleader.consensus import core as core_base
from ringleader.consensus import message, ready
from ringleader.consensus import progress as progress_base
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import ballot, core, messages, progress
from ringleader.consensus.paxos.ballot import describe
from ringleader.consensus.paxos.config import Config
from ringleader.consensus.paxos.core import MultiPaxos
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
from ringleader.consensus.paxos.status import PeerStatus, Status
from ringleader.kernels import require_compiled

__all__ = [
    "Acceptor",
    "AcceptorState",
    "ConfChange",
    "Config",
    "DecreeMessage",
    "Group",
    "Learner",
    "Membership",
    "Message",
    "MultiPaxos",
    "PeerStatus",
    "Proposer",
    "ProposerState",
    "Status",
    "Step",
    "describe",
]

require_compiled(message, ready, progress_base, core_base, ballot, messages, progress, core)
