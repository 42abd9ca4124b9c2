"""Every error that ringleader raises on purpose.

Each derives from `RingleaderError` and from the builtin a caller would expect, so that
`except KeyError` and `except RingleaderError` both work.
"""

from __future__ import annotations


class RingleaderError(Exception):
    """The base of every error below."""


class KeyTypeError(RingleaderError, TypeError):
    """A key, or a column of keys, is of a type that has no defined bytes."""


class KeyRangeError(RingleaderError, OverflowError):
    """An integer key lies outside -2**63 ... 2**64-1."""


class KeyEncodingError(RingleaderError, ValueError):
    """A text key has a code point (a lone surrogate) that UTF-8 cannot encode."""


class ColumnError(RingleaderError, ValueError):
    """A column of keys is damaged: its offsets, views or dictionary indices lie outside it."""


class OutputError(RingleaderError, ValueError):
    """`out` has the wrong shape or layout, is read-only, or overlaps the keys."""


class OutputTypeError(RingleaderError, TypeError):
    """`out` is not a NumPy array of the dtype asked for."""


class SettingError(RingleaderError, ValueError):
    """A setting (hash, seed, vnodes, threads, ...) lies outside what it may be."""


class SettingTypeError(RingleaderError, TypeError):
    """A setting is of the wrong type."""


class LimitError(RingleaderError, ValueError):
    """Something is larger than `ringleader.limits` allows."""


class NodeError(RingleaderError, ValueError):
    """A node's name, datacenter, zone, address or tags cannot be used."""


class NodeTypeError(RingleaderError, TypeError):
    """A node, or one of its fields, is of the wrong type."""


class WeightError(RingleaderError, ValueError):
    """A weight is negative, infinite or not a number."""


class DuplicateNode(RingleaderError, ValueError):
    """Two nodes of one ring have the same name."""


class NodeNotFound(RingleaderError, KeyError):
    """No node of the ring has this name."""

    def __str__(self) -> str:  # KeyError would show the repr of the sentence
        return str(self.args[0]) if self.args else ""


class EmptyRingError(RingleaderError, LookupError):
    """A lookup on a ring without a node of positive weight."""


class TooFewNodes(RingleaderError, ValueError):
    """More distinct nodes were asked for than the ring can give."""


class PolicyError(RingleaderError, ValueError):
    """A replica policy that is not possible, or that the nodes at hand cannot satisfy."""


class PolicyTypeError(RingleaderError, TypeError):
    """A replica policy, or a part of one, is of the wrong type."""


class KeyNotHeld(RingleaderError, KeyError):
    """A key was asked for or released that was never acquired, or is released already."""

    __str__ = NodeNotFound.__str__


class SpaceError(RingleaderError, ValueError):
    """Two locators that place keys by different hashes, and so have no ranges to compare."""


class TokenError(RingleaderError, ValueError):
    """A node's tokens lie outside their range, are given twice, or are none at all."""


class TokenTypeError(RingleaderError, TypeError):
    """What should be a list of tokens is none."""


class SlotError(RingleaderError, ValueError):
    """Ranges of Redis slots that leave holes, overlap, or lie outside 0 ... 16383."""


class SlotTypeError(RingleaderError, TypeError):
    """What should say which slots belong to which node is of the wrong type."""


class FormatError(RingleaderError, ValueError):
    """Saved bytes are not what they should be: cut short, altered, or of another kind."""


class FormatTypeError(RingleaderError, TypeError):
    """What should be saved bytes is no bytes at all."""


class VersionError(FormatError):
    """Saved bytes were written by a newer version than this one reads."""


class ColumnNotFound(RingleaderError, KeyError):
    """A file has no column of this name, or several and none was chosen."""

    __str__ = NodeNotFound.__str__


class OutputExists(RingleaderError, FileExistsError):
    """A file that would be written exists already."""


class MissingExtra(RingleaderError, ImportError):
    """A part of ringleader needs a package that is not installed; says which extra brings it."""


class BuildError(RingleaderError, RuntimeError):
    """This installation, or the machine, lacks what was asked for (kernels, instructions)."""


# --- consensus ------------------------------------------------------------------------------


class BlockError(FormatError):
    """Bytes that should be a block of log entries break one of a block's guarantees."""


class LogIndexError(RingleaderError, IndexError):
    """The log holds no entry of this index: it is past the end, or was compacted."""


class LogError(RingleaderError, ValueError):
    """A change of the log that its rules forbid: a gap, a term that goes back, a foreign block."""


class QuorumError(RingleaderError, ValueError):
    """A quorum system that cannot be used: no voters, or quorums that do not intersect."""


class RowError(RingleaderError, IndexError):
    """A table of timers has no such row."""


class ConfigError(RingleaderError, ValueError):
    """A setting of a consensus core, or a relation between two of them, is not possible."""


class NotLeader(RingleaderError, RuntimeError):
    """Only the leader can do this; `leader` is the one that this node knows of, or None."""

    def __init__(self, message: str, leader: int | str | None = None) -> None:
        super().__init__(message)
        self.leader = leader


class ProposalRefused(RingleaderError, RuntimeError):
    """The leader takes no proposal now; nothing was appended, and it may be tried again later."""


class MembershipError(RingleaderError, ValueError):
    """A change of membership that is not possible now, or never."""


class GroupError(RingleaderError, ValueError):
    """A group of a multi-group node cannot be added: its number or its node is not possible."""


class GroupNotFound(RingleaderError, KeyError):
    """This node runs no group of that number."""

    __str__ = NodeNotFound.__str__


class MisuseError(RingleaderError, RuntimeError):
    """A call out of order: the caller's mistake, not a peer's."""


class StorageError(RingleaderError, OSError):
    """What should be durable is damaged, foreign or could not be written."""


class LogDamagedError(StorageError):
    """A log has lost what was durable in it, so that nothing may be built on it any more."""


class ClusterFileError(RingleaderError, ValueError):
    """A cluster file that cannot be used: each fault names its key and what to do."""


class LocalClusterError(RingleaderError, RuntimeError):
    """A cluster on this machine cannot be started as asked: says why and what to do."""


class IdentityError(RingleaderError, RuntimeError):
    """A data directory belongs to another node or cluster, or to one that was cut otherwise."""


class InvariantViolation(RingleaderError, AssertionError):
    """The simulator saw one of the numbered invariants broken.

    Attributes:
        number: of the `INVARIANTS` of the consensus: `sim.invariants`, `sim.paxos_invariants`.
        node: by whom, or None.
        time: in seconds of virtual time.
        story: the last events before it, in words.
    """

    def __init__(
        self,
        message: str,
        *,
        number: int = 0,
        node: int | str | None = None,
        time: float = 0.0,
        story: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.number = number
        self.node = node
        self.time = time
        self.story = story
