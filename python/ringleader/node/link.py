"""One connection to another node: bytes in and out, and the wide area in between if wanted.

A `Link` knows frames, not what they mean: it hands each to its `Peers`.  Outgoing bytes may be held
back for a while, in their order: so a cluster on one machine has the distances of a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ringleader.consensus.wire import Codec
from ringleader.errors import FormatError
from ringleader.node.codec import Frames

if TYPE_CHECKING:
    from ringleader.node.peers import Peer, Peers

__all__ = ["Link"]

#: What is due so soon is due: timers of uvloop count whole milliseconds (and so does its clock,
#: which is why times are taken from `time.monotonic`).
_EARLY_SECONDS = 0.0005
#: Above so many bytes that the socket has not taken, the link counts as paused.
_HIGH_WATER_BYTES = 2**20
#: How long a connection that is being closed may take to send what it has.
_CLOSE_SECONDS = 1.0
#: What comes in the meantime is read in pieces of so many bytes, and ignored.
_IGNORED_BYTES = 2**14


class Link(asyncio.BufferedProtocol):
    """One connection, dialled or accepted.

    Attributes:
        peer: who is at the other end; of an accepted connection None until its HELLO came.
        ready: whether both sides have said who they are.
        done: completes when the connection is closed.
        quiet: ticks of `Peers` since something came.
        was_ready: whether it ever was.
        ended: whether `Peers` has drawn the conclusions of its end.
        slow: whether it was closed for a reason that will still be there in a moment, so that
            dialling again at once is of no use.
    """

    def __init__(self, peers: Peers, codec: Codec, dialled: Peer | None) -> None:
        self.peers = peers
        self.peer = dialled
        self.dialled = dialled is not None
        self.ready = False
        self.was_ready = False
        self.ended = False
        self.slow = False
        self.paused = False
        self.quiet = 0
        #: When a ping of this number left, in seconds of `time.monotonic`; oldest first.
        self.pings: dict[int, float] = {}
        self.loop = peers.loop
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.deadline: asyncio.TimerHandle | None = None
        self.transport: Any = None
        self._frames = Frames(codec)
        self._closing = False
        #: What is held back: when it is due, its pieces, their bytes.
        self._held: deque[tuple[float, list[bytes], int]] = deque()
        self._held_bytes = 0
        #: Bytes that were ever written.
        self.written_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    # --- what asyncio calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.done.done():  # given up while it was being made
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.peers.on_link(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.done.done():
            return
        self._closing = True
        self._forget_held()
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.peers.on_link_lost(self, error)
        self.done.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        return bytearray(_IGNORED_BYTES) if self._closing else self._frames.room()

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        frames = self._frames
        frames.wrote(nbytes)
        self.quiet = 0
        self.peers.on_bytes(self, nbytes)
        while not self._closing:
            try:
                frame = frames.next()
            except FormatError as error:
                self.peers.on_bad_bytes(self, error)
                return
            if frame is None:
                return
            self.peers.on_frame(self, *frame)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    # --- what Peers calls -----------------------------------------------------------------------

    def introduce(self, peer: Peer) -> None:
        """Both sides have said who they are."""
        self.peer = peer
        self.ready = True
        self._frames.introduce(peer.name, self.peers.name)
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    @property
    def is_closing(self) -> bool:
        return self._closing

    def queued_bytes(self) -> int:
        """Bytes that are held back, or that the socket has not taken."""
        if self._closing:
            return 0
        return self._held_bytes + int(self.transport.get_write_buffer_size())

    def write(self, pieces: list[bytes], delay_seconds: float = 0.0) -> None:
        """Sends the pieces behind everything written before, `delay_seconds` from now."""
        if self._closing:
            return
        size = sum(map(len, pieces))
        self.written_bytes += size
        if delay_seconds > 0 or self._held:
            self._held.append((time.monotonic() + delay_seconds, pieces, size))
            self._held_bytes += size
            if self._timer is None:
                self._timer = self.loop.call_later(delay_seconds, self._release)
        else:
            self._write(pieces)

    def _write(self, pieces: list[bytes]) -> None:
        if len(pieces) == 1:
            self.transport.write(pieces[0])
        else:
            self.transport.writelines(pieces)

    def _release(self) -> None:
        self._timer = None
        now = time.monotonic()
        pieces: list[bytes] = []
        while self._held and self._held[0][0] <= now + _EARLY_SECONDS:
            _, some, size = self._held.popleft()
            pieces += some
            self._held_bytes -= size
        if pieces and not self._closing:
            self._write(pieces)
        if self._held:
            self._timer = self.loop.call_later(self._held[0][0] - now, self._release)

    def _forget_held(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self, *last: bytes) -> None:
        """Closes after all that was written, and `last`, has left; nothing comes in any more.

        The other side is given the chance to close first, for a moment: a socket that is closed
        with something unread in it takes what was written with it.
        """
        if self._closing:
            return
        pieces = [piece for _, some, _ in self._held for piece in some]
        self._forget_held()
        pieces += last
        if pieces:
            self._write(pieces)
        self._closing = True
        self.ready = False
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()
        else:
            self.transport.close()
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = self.loop.call_later(_CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        """Closes at once; what was written and has not left is lost."""
        self._closing = True
        self.ready = False
        self._forget_held()
        if self.transport is not None:
            self.transport.abort()
