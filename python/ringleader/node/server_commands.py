"""Commands about the node: COMMAND, INFO, CONFIG.

INFO has the sections and fields that clients of Redis look at, and the node's own.  CONFIG GET
answers what tools ask before they begin; settings are changed in the cluster file only.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ringleader.node.commands import has_arity, keys_of
from ringleader.node.connection_commands import text_of
from ringleader.node.dispatch import Local, Subcommands
from ringleader.node.globs import matcher
from ringleader.node.replies import OK, CommandError, Reply
from ringleader.node.routing import Waiting
from ringleader.node.scripts import eval_keys

if TYPE_CHECKING:
    from ringleader.node.service import Service
    from ringleader.node.session import Session

# --- COMMAND -----------------------------------------------------------------------------------


def _names(service: Service) -> list[bytes]:
    return [name for name in service.table if name.isupper()]


def _described(service: Service, name: bytes) -> Reply:
    """What COMMAND INFO answers for one command."""
    entry = service.table.get(name.upper())
    if entry is None:
        return None
    command, _, local = entry
    shown = local if local is not None else command
    assert shown is not None
    flags = {"readonly" if flag == "read" else flag for flag in shown.flags}
    if local is not None and local.is_open:
        flags.add("no_auth")
    categories = [
        f"@{category}"
        for category, is_in in (
            ("read", "readonly" in flags),
            ("write", "write" in flags),
            ("keyspace", command is not None),
            ("connection", command is None),
            ("fast", "fast" in flags),
            ("slow", "fast" not in flags),
        )
        if is_in
    ]
    keys = (command.first_key, command.last_key, command.step) if command is not None else (0, 0, 0)
    return [
        shown.name.lower(),
        shown.arity,
        sorted(flags - {"internal"}),
        *keys,
        categories,
        [],
        [],
        [],
    ]


def command(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if len(args) == 1:
        return [_described(session.service, name) for name in _names(session.service)]
    return _COMMAND.run(session, args, waiter)


def command_count(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return len(_names(session.service))


def command_info(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    service = session.service
    return [_described(service, name) for name in args[2:] or _names(service)]


def command_docs(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    service = session.service
    docs: dict[bytes, dict[bytes, bytes]] = {}
    for name in args[2:] or _names(service):
        entry = service.table.get(name.upper())
        if entry is not None:
            docs[name.lower()] = {
                b"summary": b"See https://redis.io/commands/%b" % name.lower(),
                b"since": b"1.0.0",
                b"group": b"connection" if entry[0] is None else b"generic",
                b"complexity": b"",
            }
    return docs


def command_list(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    names = [name.lower() for name in _names(session.service)]
    if len(args) == 2:
        return names
    if len(args) != 5 or args[2].upper() != b"FILTERBY" or args[3].upper() != b"PATTERN":
        raise CommandError("ERR syntax error")
    match = matcher(args[4].lower())
    return [name for name in names if match(name)]


def command_getkeys(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    given = args[2:]
    entry = session.service.table.get(given[0].upper())
    if entry is None:
        raise CommandError("ERR Invalid command specified")
    data = entry[0]
    name = given[0].upper()
    if name in (b"EVAL", b"EVALSHA") and len(given) >= 3:
        keys = eval_keys(given)
    elif data is None or not data.first_key:
        raise CommandError("ERR The command has no key arguments")
    elif not has_arity(data, given):
        raise CommandError("ERR Invalid number of arguments specified for command")
    else:
        keys = keys_of(data, given)
    return keys


_COMMAND: Final = Subcommands(
    "COMMAND",
    {
        "COUNT": (2, command_count),
        "DOCS": (-2, command_docs),
        "GETKEYS": (-3, command_getkeys),
        "INFO": (-2, command_info),
        "LIST": (-2, command_list),
    },
    (
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the number of commands.",
        "DOCS [<command-name> ...]",
        "    Return documentation of commands.",
        "GETKEYS <full-command>",
        "    Return the keys of a command.",
        "INFO [<command-name> ...]",
        "    Return details about commands.",
        "LIST [FILTERBY PATTERN <pattern>]",
        "    Return the names of commands.",
    ),
)

# --- INFO --------------------------------------------------------------------------------------

_EVERYTHING: Final = {"all", "everything", "default"}


def _sections(service: Service) -> dict[str, dict[str, Any]]:
    now_s = service.clock_s()
    uptime_s = int(now_s - service.started_s)
    cluster = service.cluster
    sections: dict[str, dict[str, Any]] = {
        "server": {
            "redis_version": service.version,
            "redis_mode": "cluster",
            "server_name": "ringleader",
            "os": f"{platform.system()} {platform.release()} {platform.machine()}",
            "arch_bits": 64,
            "process_id": os.getpid(),
            "tcp_port": service.port,
            "uptime_in_seconds": uptime_s,
            "uptime_in_days": uptime_s // 86_400,
            "availability_zone": cluster.dc,
            "node_name": cluster.name,
        },
        "clients": {
            "connected_clients": len(service.sessions),
            "maxclients": service.clients_max,
            "blocked_clients": 0,
        },
        "memory": {
            "mem_clients_normal": service.held_bytes,
            "maxmemory_clients": service.clients_bytes_max,
        },
        "persistence": {"loading": 0, "aof_enabled": 1},
        "stats": {
            "total_connections_received": service.connections_count,
            "total_commands_processed": service.commands_count,
            "rejected_connections": service.rejected_connections,
            "total_net_input_bytes": service.bytes_in,
            "total_net_output_bytes": service.bytes_out,
            "total_error_replies": service.errors_count,
            "protocol_errors": service.protocol_errors,
            "failed_authentications": service.failed_authentications,
            "timed_out_connections": service.timed_out_connections,
            "evicted_connections": service.evicted_connections,
            "evicted_clients": service.crowded_connections,
        },
        "replication": {"role": "master", "connected_slaves": 0},
        "cluster": {"cluster_enabled": 1},
        "keyspace": {},
    }
    own: Mapping[str, Mapping[str, Any]] = cluster.info()
    for name, fields in own.items():
        sections.setdefault(name.lower(), {}).update(fields)
    return sections


def info(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    sections = _sections(session.service)
    wanted = {text_of(arg).lower() for arg in args[1:]}
    if wanted and not wanted & _EVERYTHING:
        sections = {name: fields for name, fields in sections.items() if name in wanted}
    text = "\r\n".join(
        f"# {name.capitalize()}\r\n"
        + "".join(f"{key}:{_shown(value)}\r\n" for key, value in fields.items())
        for name, fields in sections.items()
    )
    return text.encode(errors="surrogateescape")


def _shown(value: Any) -> str:
    if value is True or value is False:
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value).replace("\r", " ").replace("\n", " ")


# --- CONFIG ------------------------------------------------------------------------------------


def _settings(service: Service) -> dict[bytes, bytes]:
    """What CONFIG GET knows, in Redis's names."""
    settings = {
        "appendfsync": "always",
        "appendonly": "yes",
        "bind": "",
        "cluster-enabled": "yes",
        "databases": 1,
        "maxclients": service.clients_max,
        "maxmemory": service.cluster.info().get("Memory", {}).get("maxmemory", 0),
        "maxmemory-clients": service.clients_bytes_max,
        "maxmemory-policy": "noeviction",
        "port": service.port,
        "proto-max-bulk-len": service.limits.bulk_bytes_max,
        "save": "",
        "timeout": service.idle_s_max,
    }
    return {key.encode(): str(value).encode() for key, value in settings.items()}


def config_get(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    matches = [matcher(arg.lower()) for arg in args[2:]]
    return {
        key: value
        for key, value in _settings(session.service).items()
        if any(match(key) for match in matches)
    }


def config_refused(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    raise CommandError(
        f"ERR CONFIG {text_of(args[1]).upper()} is not supported: "
        "settings are in the cluster file, and a node reads them when it starts"
    )


def config_resetstat(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.service.reset_counts()
    return OK


_CONFIG: Final = Subcommands(
    "CONFIG",
    {
        "GET": (-3, config_get),
        "RESETSTAT": (2, config_resetstat),
        "REWRITE": (2, config_refused),
        "SET": (-4, config_refused),
    },
    (
        "GET <pattern> [<pattern> ...]",
        "    Return settings, by names that match.",
        "RESETSTAT",
        "    Reset the counts that INFO shows.",
    ),
)

COMMANDS: Final = (
    Local("COMMAND", -1, command, ""),
    Local("INFO", -1, info, ""),
    Local("CONFIG", -2, _CONFIG.run, "admin"),
)
