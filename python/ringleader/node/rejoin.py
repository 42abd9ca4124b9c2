"""A node that lost its log takes part again: `ringleader serve --refetch`.

A replica that forgot what it promised and acknowledged must not vote, or count for a quorum, as if
it had not: what was acknowledged with its help could be lost.  So it does not come back as the
voter that it was.  For each of its shards it

    1  is deaf and dumb, while it asks the shard's leader to remove it from the group; that is done
       when the removal is committed, by a quorum of the others;
    2  begins anew, as a node that is a member of nothing, and asks to be added as a learner;
    3  asks to become a voter, which the leader grants once it has everything.

All three are changes of membership as in the Raft paper, section 6, so nothing here can make a
replica set less safe than it was; a quorum of the others is needed.  Which shards are still on
their way is kept in a file beside the log, so that a restart goes on where it was.  It is written
before the log is put aside: a start that finds the one and not the other finishes that.

A leader does what is asked by the node concerned only, and only for replicas of the cluster file.
That a node is removed it says only when a quorum still follows it: one that was stopped and goes on
would answer from a configuration of the past.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ringleader.consensus.driver import Outcome
from ringleader.consensus.membership import ConfChange
from ringleader.errors import IdentityError, RingleaderError, StorageError
from ringleader.node import checked, identity
from ringleader.node.codec import Request, Response
from ringleader.node.replies import pack
from ringleader.storage import durable
from ringleader.storage.directory import failure, locked

if TYPE_CHECKING:
    from ringleader.node.shard import Shard

#: What a node asks of a leader; the shard and the node are those of the request.
LEAVE: Final = b"MEMBER.LEAVE"
JOIN: Final = b"MEMBER.JOIN"
REQUESTS: Final = frozenset((LEAVE, JOIN))

DONE: Final = b"DONE"
WAIT: Final = b"WAIT"

FILE_NAME: Final = "refetch.json"
FORMAT: Final = 1
#: A request is asked again after so long.
PERIOD_S: Final = 0.2
#: A learner that lacks no more entries than this becomes a voter.
BEHIND_MAX: Final = 16


# --- the leader's side -------------------------------------------------------------------------


def grant(shard: Shard, name: str, wish: bytes) -> bytes:
    """Do the next step of what a node asks for; DONE when there is none.

    Raises:
        RingleaderError: not now: ask again.
    """
    core = shard.core
    if core.is_changing:
        return WAIT
    membership = core.membership
    if wish == LEAVE:
        if name not in membership.members:
            return DONE
        shard.driver.change_config(ConfChange(remove=[name]))
        return WAIT
    if name in membership.voters:
        return DONE
    if name not in membership.members:
        shard.driver.change_config(ConfChange(learners=[name]))
        return WAIT
    progress = core.progress.get(name)
    if progress is not None and progress.match + BEHIND_MAX >= core.commit:
        shard.driver.change_config(ConfChange(voters=[name]))
    return WAIT


def serve(
    shard: Shard | None,
    replicas: Iterable[str],
    name: str,
    request: Request,
    respond: Callable[[Response], None],
) -> None:
    """Answer a node's request of `REQUESTS`.

    Args:
        shard: this node's replica of `request.shard`, or None.
        replicas: of the shard, by the cluster file.
        name: of the node that asks.
    """

    def refuse() -> None:
        leader = "" if shard is None or shard.leader is None else str(shard.leader)
        respond(Response(request.id, "refused", b"", leader))

    def answer(outcome: Outcome) -> None:
        assert shard is not None
        if outcome.kind != "applied" or not shard.leads:
            refuse()
            return
        reply = WAIT
        with contextlib.suppress(RingleaderError):  # another change is under way: it asks again
            reply = grant(shard, name, request.args[0])
        respond(Response(request.id, "done", pack(reply), ""))

    if shard is None or name not in replicas:
        refuse()
        return
    shard.clock.catch_up()
    if shard.leads:
        shard.driver.read(answer)
    else:
        refuse()


# --- the node that comes back ------------------------------------------------------------------


class Refetch:
    """Which shards of a node are on their way back, on record in its directory.

    Args:
        directory: the node's, which has its identity.
        anew: `begin()` comes next: a record that is damaged does not matter.

    `incarnation` counts how often the node has begun anew: its log's identity carries it, so that
    the log of an earlier life is never taken for the present one.

    Raises:
        IdentityError: the record is damaged, gone, or one of the past.
        OSError: it cannot be read.
    """

    def __init__(self, directory: Path, *, anew: bool = False) -> None:
        self.path = directory / FILE_NAME
        self.incarnation = 0
        self.shards: set[int] = set()
        self._moves_log = False
        begun = identity.log_incarnation(directory) or 0
        why = None
        try:
            if not self._read():
                why = "it is damaged"
        except FileNotFoundError:
            if begun:
                why = "it is gone"
        if why is None and self.incarnation < begun:
            why = "it is older than the log"
        if why is not None and not anew:
            raise IdentityError(f"{self.path}: {why}; start the node with --refetch once more")
        # Up to this there may be logs.
        self.incarnation = max(self.incarnation, begun)

    def _read(self) -> bool:
        fields = checked.read(self.path)
        if fields is None:
            return False
        if fields.get("format") != FORMAT:
            raise IdentityError(
                f"{self.path}: is of format {fields.get('format')}, and this ringleader knows "
                f"{FORMAT}"
            )
        self.incarnation = fields["incarnation"]
        self.shards = set(fields["shards"])
        self._moves_log = fields["moves_log"]
        return True

    def begin(self, shards: Iterable[int]) -> None:
        """All shards are to be fetched anew: on record before anything is touched, so that nothing
        which comes between makes this node the voter that it was.

        Raises:
            StorageError: another process uses the log, or the record cannot be written.
        """
        if self._log.exists():
            with locked(self._log):
                pass
        self.incarnation += 1
        self.shards = set(shards)
        self._moves_log = True
        self._write()

    def put_log_aside(self) -> Path | None:
        """Move the log of before away, if that is still to be done; where it is then, if there was
        one.

        Raises:
            StorageError: another process uses the log, or the disk fails.
        """
        if not self._moves_log:
            return None
        kept = None
        if self._log.exists():
            name = f"log.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            kept = self._log.with_name(name)
            count = 1
            while kept.exists():
                count += 1
                kept = self._log.with_name(f"{name}-{count}")
            try:
                with locked(self._log):
                    os.rename(self._log, kept)
                durable.sync_names(self._log.parent)
            except StorageError:
                raise
            except OSError as error:
                raise failure(self._log, f"it cannot be moved to {kept.name}", error) from error
        self._moves_log = False
        self._write()
        return kept

    def end(self, number: int) -> None:
        """A shard is whole again.

        Raises:
            StorageError: that cannot be written.
        """
        self.shards.discard(number)
        self._write()

    @property
    def _log(self) -> Path:
        return self.path.parent / "log"

    def _write(self) -> None:
        fields = {
            "format": FORMAT,
            "incarnation": self.incarnation,
            "moves_log": self._moves_log,
            "shards": sorted(self.shards),
        }
        try:
            checked.write(self.path, fields)
        except OSError as error:
            raise failure(self.path, "it cannot be written", error) from error


class Rejoining:
    """One shard's way back, on this node.

    Args:
        number: of the shard.
        wish: LEAVE, or JOIN when the replica was begun already.
        others: the shard's other replicas.
        call: asks a node: `peers.call`.
        connected: whether a node can be asked.
        on_left: the removal is committed: begin the replica, as a member of nothing.
        on_joined: it is a voter again.

    `step()` is called every `PERIOD_S`.
    """

    def __init__(
        self,
        number: int,
        wish: bytes,
        others: Iterable[str],
        call: Callable[[str, Request, Callable[[Response], None]], Any],
        connected: Callable[[str], bool],
        on_left: Callable[[int], None],
        on_joined: Callable[[int], None],
    ) -> None:
        self.number = number
        self.wish = wish
        self.others = list(others)
        self.call = call
        self.connected = connected
        self.on_left = on_left
        self.on_joined = on_joined
        self.is_done = False
        self._asking = False
        self._whom = 0

    def step(self) -> None:
        """Ask, unless an answer is awaited."""
        if self.is_done or self._asking or not self.others:
            return
        whom = self.others[self._whom % len(self.others)]
        if not self.connected(whom):
            self._whom += 1
            return
        self._asking = True
        self.call(whom, Request(0, self.number, "write", [self.wish], 2000), self._answered)

    def _answered(self, response: Response) -> None:
        self._asking = False
        if response.status != "done":
            if response.leader in self.others:
                self._whom = self.others.index(response.leader)
            else:
                self._whom += 1
        elif response.reply == pack(DONE):
            if self.wish == LEAVE:
                self.wish = JOIN
                self.on_left(self.number)
            else:
                self.is_done = True
                self.on_joined(self.number)
