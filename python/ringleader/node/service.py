"""What all client connections of a node share: the router, the table of commands, who is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ringleader.limits import CLIENT_UNANSWERED_MAX, CLIENTS_BYTES_MAX, CLIENTS_MAX
from ringleader.node import (
    cluster_commands,
    connection_commands,
    keyspace_commands,
    scripts,
    server_commands,
    transactions,
)
from ringleader.node.dispatch import Entry, build_table
from ringleader.node.requests import RequestLimits
from ringleader.node.routing import Cluster, Router

if TYPE_CHECKING:
    from ringleader.node.session import Session

#: The release of Redis whose commands and replies are spoken; clients look at it to decide what
#: they may send.
REDIS_VERSION: Final = "7.2.4"

#: All commands, by name in upper and in lower case; the same for every node.
TABLE: Final[dict[bytes, Entry]] = build_table(
    [
        *connection_commands.COMMANDS,
        *server_commands.COMMANDS,
        *cluster_commands.COMMANDS,
        *keyspace_commands.COMMANDS,
        *transactions.COMMANDS,
        *scripts.COMMANDS,
    ]
)


class Service:
    """A node's side towards its clients.

    Args:
        router: executes commands of data.
        cluster: what INFO and CLUSTER tell.
        password: of the user "default", or None: nobody need authenticate.
        limits: of one command.
        lag_max_s: how old READONLY reads may be, unless the client sets another bound.
        clients_max: connections at a time.
        clients_bytes_max: what all of them together may make the node hold.
        unanswered_max: commands of one connection that may be under way.
        idle_s_max: a connection that says nothing for so long is closed; 0: never.
        clock_s: seconds since 1970.

    Attributes:
        sessions: the connections there are, by id.
        held_bytes: what they made the node hold when that was last looked at.
    """

    def __init__(
        self,
        router: Router,
        cluster: Cluster,
        *,
        password: str | None = None,
        limits: RequestLimits | None = None,
        lag_max_s: float = 5.0,
        clients_max: int = CLIENTS_MAX,
        clients_bytes_max: int = CLIENTS_BYTES_MAX,
        unanswered_max: int = CLIENT_UNANSWERED_MAX,
        idle_s_max: int = 0,
        port: int = 0,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.router = router
        self.cluster = cluster
        self.password = password.encode(errors="surrogateescape") if password else None
        self.limits = limits if limits is not None else RequestLimits()
        self.lag_max_s = lag_max_s
        self.clients_max = clients_max
        self.clients_bytes_max = clients_bytes_max
        self.unanswered_max = unanswered_max
        self.idle_s_max = idle_s_max
        self.port = port
        self.clock_s = clock_s
        self.table = TABLE
        self.version = REDIS_VERSION
        self.started_s = clock_s()
        self.sessions: dict[int, Session] = {}
        self.held_bytes = 0
        self.reset_counts()
        self._last_id = 0

    def new_id(self) -> int:
        """A number that no connection of this node has had."""
        self._last_id += 1
        return self._last_id

    @property
    def commands_count(self) -> int:
        """Commands that clients have sent."""
        return self.gone_commands_count + sum(
            session.taken_count for session in self.sessions.values()
        )

    def reset_counts(self) -> None:
        """What INFO counts begins at 0 again."""
        self.gone_commands_count = 0
        self.errors_count = 0
        self.connections_count = 0
        self.rejected_connections = 0
        self.evicted_connections = 0
        self.crowded_connections = 0
        self.timed_out_connections = 0
        self.protocol_errors = 0
        self.failed_authentications = 0
        self.failed_connections = 0
        self.bytes_in = 0
        self.bytes_out = 0
