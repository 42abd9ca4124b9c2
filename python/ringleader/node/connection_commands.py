"""Commands about the connection that they come on: PING, HELLO, AUTH, CLIENT, READONLY ...

Semantics and error texts are those of Redis 7 (https://redis.io/docs/latest/commands/).
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final

from ringleader.limits import CLIENT_NAME_BYTES_MAX
from ringleader.node.dispatch import Local, Subcommands, wrong_arity
from ringleader.node.replies import OK, CommandError, Reply
from ringleader.node.routing import Waiting

if TYPE_CHECKING:
    from ringleader.node.session import Session

SYNTAX: Final = "ERR syntax error"
NOT_INTEGER: Final = "ERR value is not an integer or out of range"
_INTEGER: Final = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z")
_PRINTABLE: Final = re.compile(rb"[!-~]*\Z")
_WRONGPASS: Final = "WRONGPASS invalid username-password pair or user is disabled."
_HELLO_NOAUTH: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP "
    "protocol version at the same time"
)


def integer(text: bytes, error: str = NOT_INTEGER) -> int:
    """A decimal integer of 64 bits.

    Raises:
        CommandError: with the text `error`.
    """
    if _INTEGER.match(text):
        number = int(text)
        if -(2**63) <= number < 2**63:
            return number
    raise CommandError(error)


def text_of(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def ping(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if len(args) > 2:
        raise wrong_arity(args[0])
    return args[1] if len(args) == 2 else "PONG"


def echo(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return args[1]


def select(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if integer(args[1]):
        raise CommandError("ERR SELECT is not allowed in cluster mode")
    return OK


def quit_(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.finish()
    return OK


def reset(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.reset()
    return "RESET"


def readonly(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    """READONLY [MAXLAG ms]: with MAXLAG, reads older than that are refused (ours, not Redis's)."""
    lag_max_s = session.service.lag_max_s
    if len(args) == 3 and args[1].upper() == b"MAXLAG":
        lag_ms = integer(args[2])
        if lag_ms < 0:
            raise CommandError("ERR MAXLAG is negative")
        lag_max_s = lag_ms / 1000
    elif len(args) != 1:
        raise CommandError(SYNTAX)
    session.origin.readonly = True
    session.origin.lag_max_s = lag_max_s
    return OK


def readwrite(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.origin.readonly = False
    session.origin.lag_max_s = session.service.lag_max_s
    return OK


def asking(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    """Slots do not migrate key by key here: nothing to do."""
    return OK


def wait(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    count = integer(args[1])
    timeout_ms = integer(args[2], "ERR timeout is not an integer or out of range")
    if count < 0:
        raise CommandError("ERR value is out of range, must be positive")
    if timeout_ms < 0:
        raise CommandError("ERR timeout is negative")
    return session.service.router.wait(session.origin, count, timeout_ms, waiter)


# --- authentication ----------------------------------------------------------------------------


def _is_password(session: Session, user: bytes, password: bytes) -> bool:
    expected = session.service.password
    is_default = hmac.compare_digest(user, b"default")
    if expected is None:
        return is_default
    return hmac.compare_digest(password, expected) and is_default


def _authenticate(session: Session, user: bytes, password: bytes) -> None:
    if not _is_password(session, user, password):
        session.service.failed_authentications += 1
        raise CommandError(_WRONGPASS)
    session.authenticated()


def auth(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if len(args) > 3:
        raise CommandError(SYNTAX)
    if len(args) == 2 and session.service.password is None:
        raise CommandError(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _authenticate(session, args[1] if len(args) == 3 else b"default", args[-1])
    return OK


def hello(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    protocol = session.protocol
    position = 1
    if len(args) > 1:
        if not _INTEGER.match(args[1]):
            raise CommandError("ERR Protocol version is not an integer or out of range")
        protocol = int(args[1])
        if protocol not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
        position = 2
    name: bytes | None = None
    credentials: tuple[bytes, bytes] | None = None
    while position < len(args):
        option = args[position].upper()
        if option == b"AUTH" and position + 2 < len(args):
            credentials = (args[position + 1], args[position + 2])
            position += 3
        elif option == b"SETNAME" and position + 1 < len(args):
            name = _checked_name(args[position + 1])
            position += 2
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{text_of(args[position])}'")
    if credentials is not None:
        _authenticate(session, *credentials)
    if not session.user:
        raise CommandError(_HELLO_NOAUTH)
    if name is not None:
        session.name = name
    session.protocol = protocol
    service = session.service
    return {
        b"server": b"ringleader",
        b"version": service.version.encode(),
        b"proto": protocol,
        b"id": session.id,
        b"mode": b"cluster",
        b"role": b"master",
        b"modules": [],
        b"availability_zone": service.cluster.dc.encode(),
    }


# --- CLIENT ------------------------------------------------------------------------------------


def _checked_name(name: bytes) -> bytes:
    if len(name) > CLIENT_NAME_BYTES_MAX or not _PRINTABLE.match(name):
        raise CommandError(
            "ERR Client names cannot contain spaces, newlines or special characters."
        )
    return name


def _is_on(value: bytes) -> bool:
    if value.upper() not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX)
    return value.upper() == b"ON"


def client_id(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return session.id


def client_getname(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return session.name or None


def client_setname(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.name = _checked_name(args[2])
    return OK


def client_setinfo(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    option = args[2].upper()
    value = args[3]
    if option not in (b"LIB-NAME", b"LIB-VER"):
        raise CommandError(f"ERR Unrecognized option '{text_of(args[2])}'")
    if len(value) > CLIENT_NAME_BYTES_MAX or not _PRINTABLE.match(value):
        shown = option.decode().lower()
        raise CommandError(f"ERR {shown} cannot contain spaces, newlines or special characters.")
    if option == b"LIB-NAME":
        session.library = value
    else:
        session.library_version = value
    return OK


def _line(session: Session) -> str:
    now_s = session.service.clock_s()
    transaction = session.transaction
    fields = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "name": text_of(session.name),
        "age": int(now_s - session.created_s),
        "idle": int(now_s - session.last_s),
        "flags": "x" if transaction is not None else "r" if session.origin.readonly else "N",
        "db": 0,
        "sub": 0,
        "psub": 0,
        "ssub": 0,
        "multi": -1 if transaction is None else transaction.command_count,
        "watch": len(session.watched),
        "qbuf": session.buffered_bytes,
        "unanswered": session.unanswered_count,
        "events": "r",
        "cmd": text_of(session.last_command[:64]).lower() or "NULL",
        "user": "default",
        "redir": -1,
        "resp": session.protocol,
        "lib-name": text_of(session.library),
        "lib-ver": text_of(session.library_version),
    }
    return " ".join(f"{key}={value}" for key, value in fields.items())


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def client_info(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return _encoded(_line(session) + "\n")


def client_list(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    sessions = session.service.sessions
    chosen = list(sessions.values())
    if len(args) > 3 and args[2].upper() == b"ID":
        wanted = [integer(arg, "ERR Invalid client ID") for arg in args[3:]]
        chosen = [sessions[number] for number in wanted if number in sessions]
    elif len(args) == 4 and args[2].upper() == b"TYPE":
        if _client_type(args[3]) != b"normal":
            chosen = []
    elif len(args) != 2:
        raise CommandError(SYNTAX)
    return _encoded("".join(_line(other) + "\n" for other in chosen))


def _client_type(text: bytes) -> bytes:
    kind = text.lower()
    if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
        raise CommandError(f"ERR Unknown client type '{text_of(text)}'")
    return kind


def client_kill(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    everyone = list(session.service.sessions.values())
    if len(args) == 3:
        address = text_of(args[2])
        for other in everyone:
            if other.address == address:
                _kill(session, other)
                return OK
        raise CommandError("ERR No such client")
    if len(args) % 2:
        raise CommandError(SYNTAX)
    skips_me = True
    for option, value in zip(args[2::2], args[3::2], strict=True):
        name = option.upper()
        if name == b"ID":
            number = integer(value, "ERR client-id should be greater than 0")
            if number <= 0:
                raise CommandError("ERR client-id should be greater than 0")
            everyone = [other for other in everyone if other.id == number]
        elif name == b"ADDR":
            everyone = [other for other in everyone if other.address == text_of(value)]
        elif name == b"LADDR":
            everyone = [other for other in everyone if other.local_address == text_of(value)]
        elif name == b"TYPE":
            everyone = everyone if _client_type(value) == b"normal" else []
        elif name == b"USER":
            if value != b"default":
                raise CommandError(f"ERR No such user '{text_of(value)}'")
        elif name == b"SKIPME":
            if value.upper() not in (b"YES", b"NO"):
                raise CommandError(SYNTAX)
            skips_me = value.upper() == b"YES"
        elif name == b"MAXAGE":
            age_s = integer(value)
            now_s = session.service.clock_s()
            everyone = [other for other in everyone if now_s - other.created_s >= age_s]
        else:
            raise CommandError(SYNTAX)
    killed = [other for other in everyone if other is not session or not skips_me]
    for other in killed:
        _kill(session, other)
    return len(killed)


def _kill(session: Session, other: Session) -> None:
    """End a connection: another's at once, the own one after the reply."""
    if other is session:
        other.finish()
    else:
        other.cut_off()


def client_no_evict(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.evictable = not _is_on(args[2])
    return OK


def client_no_touch(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    session.touches = not _is_on(args[2])
    return OK


def client_reply(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    mode = args[2].upper()
    if mode == b"ON":
        session.speak()
        return OK
    if mode == b"OFF":
        return session.mute()
    if mode == b"SKIP":
        return session.skip_next()
    raise CommandError(SYNTAX)


def client_tracking(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if len(args) == 3 and args[2].upper() == b"OFF":
        return OK
    raise CommandError("ERR client-side caching is not supported: CLIENT TRACKING stays off")


def client_trackinginfo(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return {b"flags": [b"off"], b"redirect": -1, b"prefixes": []}


def client_getredir(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return -1


_CLIENT: Final = Subcommands(
    "CLIENT",
    {
        "ID": (2, client_id),
        "GETNAME": (2, client_getname),
        "SETNAME": (3, client_setname),
        "SETINFO": (4, client_setinfo),
        "INFO": (2, client_info),
        "LIST": (-2, client_list),
        "KILL": (-3, client_kill),
        "NO-EVICT": (3, client_no_evict),
        "NO-TOUCH": (3, client_no_touch),
        "REPLY": (3, client_reply),
        "TRACKING": (-3, client_tracking),
        "TRACKINGINFO": (2, client_trackinginfo),
        "GETREDIR": (2, client_getredir),
    },
    (
        "ID",
        "    Return the ID of the current connection.",
        "GETNAME",
        "    Return the name of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port> | <option> <value> [<option> <value> ...]",
        "    Kill connections. Options: ID, ADDR, LADDR, TYPE, USER, SKIPME, MAXAGE.",
        "LIST [TYPE <type> | ID <id> [<id> ...]]",
        "    Return information about client connections.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Set the library's name or version.",
        "SETNAME <name>",
        "    Assign a name to the current connection.",
    ),
)

COMMANDS: Final = (
    Local("PING", -1, ping, "fast"),
    Local("ECHO", 2, echo, "fast"),
    Local("SELECT", 2, select, "fast"),
    Local("QUIT", -1, quit_, "fast open immediate"),
    Local("RESET", 1, reset, "fast open immediate barrier"),
    Local("AUTH", -2, auth, "fast open alone"),
    Local("HELLO", -1, hello, "fast open alone barrier"),
    Local("CLIENT", -2, _CLIENT.run, "admin alone barrier"),
    Local("READONLY", -1, readonly, "fast"),
    Local("READWRITE", 1, readwrite, "fast"),
    Local("ASKING", 1, asking, "fast"),
    Local("WAIT", 3, wait, "alone barrier"),
)
