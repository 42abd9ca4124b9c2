"""A session without a socket, and a reader of what it answers."""

from __future__ import annotations

from typing import Any

import hiredis
from node.fake_router import FakeRouter

from ringleader.node.service import Service
from ringleader.node.session import Session


def encoded(*args: bytes | str | int) -> bytes:
    """A command as clients send it."""
    parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Error(str):
    """An error reply."""


def replies_in(data: bytes) -> list[Any]:
    """All the replies; errors as `Error`.  What is left over is a mistake."""
    reader = hiredis.Reader(replyError=Error)
    reader.feed(data)
    replies = []
    while (reply := reader.gets()) is not False or reader.has_data():
        assert reply is not False or not reader.has_data(), data
        replies.append(reply)
    return replies


class Talk:
    """One client of a service on a `FakeRouter`."""

    def __init__(self, router: FakeRouter | None = None, **settings: Any) -> None:
        self.router = router if router is not None else FakeRouter()
        self.woken: list[Session] = []
        service = settings.pop("service", None)
        self.service: Service = (
            service if service is not None else Service(self.router, self.router, **settings)
        )
        self.session = Session(self.service, self.woken.append, "10.0.0.1:1000", "10.0.0.9:6379")
        self.service.sessions[self.session.id] = self.session

    def send(self, *args: bytes | str | int) -> None:
        self.session.receive(encoded(*args))

    def read(self) -> list[Any]:
        """The replies that are there by now."""
        return replies_in(self.session.take())

    def commit(self) -> list[Any]:
        """Let the router execute what it has, until nothing more comes; the replies."""
        data = b""
        while self.router.is_dirty or self.woken or self.session.can_resume:
            self.router.commit()
            woken = self.woken[:]
            self.woken.clear()
            for session in woken:
                session.drain()
            if self.session.can_resume:
                self.session.resume()
            data += self.session.take()
        return replies_in(data)

    def ask(self, *args: bytes | str | int) -> Any:
        """One command's only reply."""
        self.send(*args)
        replies = self.read() + self.commit()
        assert len(replies) == 1, replies
        return replies[0]

    def line(self, text: str) -> Any:
        """As `ask`, words separated by spaces."""
        return self.ask(*text.split())
