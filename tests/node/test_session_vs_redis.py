"""A session answers what a real Redis answers, byte for byte: transactions, errors, bytes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node.conversation import Talk, encoded
from node.fake_router import FakeRouter
from store_parts import redis_server


@pytest.fixture(scope="module")
def redis_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with redis_server(tmp_path_factory.mktemp("redis")) as path:
        yield path


def of_redis(path: Path, data: bytes) -> bytes:
    """All that Redis answers to these bytes and the end of input; its data is gone then."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"FLUSHALL\r\n")
        assert client.recv(5) == b"+OK\r\n"
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while more := client.recv(2**16):
            answer += more
        return answer


def of_session(data: bytes, deferred: bool = True) -> bytes:
    talk = Talk(FakeRouter(1, deferred=deferred))
    answer = b""
    talk.session.receive(data)
    for _ in range(100):
        talk.router.commit()
        talk.session.drain()
        answer += talk.session.take()
    return answer


class TestTexts:
    @pytest.mark.parametrize(
        "data",
        [
            b"PING\r\n",
            b"ping 'a b'\r\nPING \"\\x41\\n\"\r\n\r\n  \r\nECHO a",
            b"*0\r\n*-1\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
            b"GET 'a\r\n",
            b"GET 'a'b\r\n",
            b"*x\r\n",
            b"*01\r\n",
            b"*2147483648\r\n",
            b"*1\r\n$x\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n+PING\r\n",
            b"*2\r\n$4\r\nECHO\r\n:1\r\n",
            b"*1\r\n*1\r\n$4\r\nPING\r\n",
            b"$4\r\nPING\r\n",
            b":1\r\n",
            b"NOPE\r\nnope a b\r\n",
            b"nope " + b"x" * 100 + b" " + b"y" * 100 + b" z\r\n",
            b"GET\r\nget a b\r\nSET a\r\nMSET a 1 b\r\nMGET\r\nPING a b\r\nECHO\r\n",
            b"CLIENT\r\nCLIENT NOPE\r\nCLIENT SETNAME\r\nCONFIG\r\nCONFIG NOPE\r\nSCRIPT NOPE\r\n",
            b"CLIENT GETNAME\r\nCLIENT SETNAME x\r\nCLIENT GETNAME\r\nCLIENT SETNAME 'a b'\r\n",
            b"CLIENT NO-EVICT x\r\nCLIENT REPLY x\r\nCLIENT KILL 1.2.3.4:5\r\nCLIENT KILL ID x\r\n",
            b"CLIENT KILL ID 0\r\nCLIENT KILL TYPE x\r\nCLIENT KILL ID 999\r\nCLIENT LIST ID x\r\n",
            b"CLIENT REPLY SKIP\r\nPING\r\nPING\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n",
            b"CLIENT REPLY SKIP\r\nNOPE\r\nPING\r\n",
            b"CLIENT REPLY OFF\r\nNOPE\r\nGET\r\nCLIENT REPLY ON\r\n",
            b"CLIENT REPLY SKIP\r\nGET\r\nNOPE\r\n",
            b"CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
            b"SELECT x\r\nSELECT 0\r\nWAIT x 1\r\nWAIT 0 x\r\nWAIT 0 -1\r\n",
            b"AUTH x\r\nAUTH default x\r\nAUTH other x\r\nAUTH a b c\r\n",
            b"HELLO x\r\nHELLO 4\r\nHELLO 2 NOPE\r\nHELLO 2 AUTH x\r\n",
            b"RESET\r\nMULTI\r\nRESET\r\nEXEC\r\n",
            b"EVALSHA x 0\r\nEVALSHA x a\r\nSCRIPT EXISTS x y\r\nSCRIPT FLUSH x\r\n",
            b"SCAN x\r\nSCAN 0 COUNT 0\r\nSCAN 0 NOPE\r\nDBSIZE\r\nRANDOMKEY\r\nKEYS *\r\n",
            b"COMMAND GETKEYS MSET a 1 b 2\r\nCOMMAND GETKEYS NOPE x\r\n",
            b"SUBSTR\r\nDISCARD\r\nUNWATCH\r\nMULTI\r\nMULTI\r\nWATCH a\r\nDISCARD\r\n",
            b"QUIT\r\nPING\r\n",
        ],
    )
    def test_same_answer(self, redis_path: Path, data: bytes) -> None:
        ours, theirs = of_session(data), of_redis(redis_path, data)
        assert ours == theirs


COMMANDS = st.sampled_from(
    [
        encoded(*text.split())
        for text in (
            "MULTI",
            "MULTI",
            "EXEC",
            "EXEC",
            "EXEC",
            "DISCARD",
            "WATCH {t}a",
            "WATCH {t}a {t}b",
            "UNWATCH",
            "SET {t}a 1",
            "SET {t}b x",
            "GET {t}a",
            "INCR {t}a",
            "INCR {t}b",
            "DEL {t}a {t}b",
            "MSET {t}a 1 {t}b 2",
            "MGET {t}a {t}b {t}c",
            "HSET {t}a f 1",
            "PING",
            "ECHO x",
            "EXPIRE {t}a 1000",
            "GET",
            "NOPE x",
            "SELECT 0",
            "CLIENT REPLY SKIP",
        )
    ]
)


class TestSequences:
    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(commands=st.lists(COMMANDS, max_size=16), deferred=st.booleans())
    def test_transactions(self, redis_path: Path, commands: list[bytes], deferred: bool) -> None:
        """Of one connection, whose own commands modify what it watches."""
        inside = False
        for command in commands:
            # Not allowed here within a transaction, and in Redis it is of no use there.
            if b"MULTI" in command:
                inside = True
            elif b"EXEC" in command or b"DISCARD" in command:
                inside = False
            elif inside and b"CLIENT" in command:
                return
        data = b"".join(commands)
        assert of_session(data, deferred) == of_redis(redis_path, data)
