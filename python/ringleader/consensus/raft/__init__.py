"""Raft: `core` is the algorithm, `messages` what its nodes say, `config` its settings."""

from ringleader.consensus import core as core_base
from ringleader.consensus import message, ready
from ringleader.consensus import progress as progress_base
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.message import Message
from ringleader.consensus.raft import core, messages, progress
from ringleader.consensus.raft.config import Config
from ringleader.consensus.raft.core import Raft
from ringleader.consensus.raft.status import PeerStatus, Status
from ringleader.kernels import require_compiled

__all__ = ["ConfChange", "Config", "Membership", "Message", "PeerStatus", "Raft", "Status"]

require_compiled(message, ready, progress_base, core_base, messages, progress, core)
