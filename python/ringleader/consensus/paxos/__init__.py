"""Paxos: `core` is Multi-Paxos, `messages` what its nodes say, `config` its settings."""

from ringleader.consensus import core as core_base
from ringleader.consensus import message, ready
from ringleader.consensus import progress as progress_base
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import ballot, core, messages, progress
from ringleader.consensus.paxos.config import Config
from ringleader.consensus.paxos.core import MultiPaxos
from ringleader.consensus.paxos.status import PeerStatus, Status
from ringleader.kernels import require_compiled

__all__ = ["ConfChange", "Config", "Membership", "Message", "MultiPaxos", "PeerStatus", "Status"]

require_compiled(message, ready, progress_base, core_base, ballot, messages, progress, core)
