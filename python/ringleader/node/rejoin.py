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
their way is kept in a file beside the log, so that a restart goes on where it was.

A leader does what is asked by the node concerned only, and only for replicas of the cluster file.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ringleader.consensus.membership import ConfChange
from ringleader.errors import IdentityError, RingleaderError
from ringleader.node.codec import Request, Response
from ringleader.node.replies import pack

if TYPE_CHECKING:
    from ringleader.node.shard import Shard

#: What a node asks of a leader; the shard and the node are those of the request.
LEAVE: Final = b"MEMBER.LEAVE"
JOIN: Final = b"MEMBER.JOIN"
REQUESTS: Final = frozenset((LEAVE, JOIN))

DONE: Final = b"DONE"
WAIT: Final = b"WAIT"

FILE_NAME: Final = "refetch.json"
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
    if shard is None or not shard.leads or name not in replicas:
        leader = "" if shard is None or shard.leader is None else str(shard.leader)
        respond(Response(request.id, "refused", b"", leader))
        return
    answer = WAIT
    with contextlib.suppress(RingleaderError):  # another change is under way: it asks again
        answer = grant(shard, name, request.args[0])
    respond(Response(request.id, "done", pack(answer), ""))


# --- the node that comes back ------------------------------------------------------------------


class Refetch:
    """Which shards of a node are on their way back, on record in its directory.

    Args:
        directory: the node's.

    `incarnation` counts how often the node has begun anew: its log's identity carries it, so that
    the log of an earlier life is never taken for the present one.

    Raises:
        IdentityError: the record is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.incarnation = 0
        self.shards: set[int] = set()
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.incarnation = int(found["incarnation"])
            self.shards = {int(number) for number in found["shards"]}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityError(
                f"{self.path}: it is damaged ({error}); start the node with --refetch once more"
            ) from error

    def begin(self, shards: Iterable[int]) -> Path | None:
        """All shards are to be fetched anew; where the log that was there is kept, if there was
        one."""
        self.incarnation += 1
        self.shards = set(shards)
        log = self.path.parent / "log"
        kept = None
        if log.exists():
            kept = log.with_name(f"log.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            os.replace(log, kept)
        self._write()
        return kept

    def end(self, number: int) -> None:
        """A shard is whole again."""
        self.shards.discard(number)
        self._write()

    def _write(self) -> None:
        """Whole or not at all, and durable."""
        new = self.path.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump({"incarnation": self.incarnation, "shards": sorted(self.shards)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
