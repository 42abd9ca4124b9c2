"""A client's connection without its socket: order, transactions, authentication, all commands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node.conversation import Error, Talk, encoded, replies_in
from node.fake_router import FakeRouter

from ringleader.errors import MisuseError
from ringleader.limits import CLIENT_WATCHED_KEYS_MAX, STORE_KEY_BYTES_MAX
from ringleader.node.replies import ReplyError
from ringleader.node.requests import RequestLimits
from ringleader.node.session import Session

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture(params=[False, True], ids=["at once", "deferred"])
def talk(request: pytest.FixtureRequest) -> Talk:
    return Talk(FakeRouter(deferred=request.param))


class TestOrder:
    def test_replies_leave_in_the_order_of_commands(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        for args in (("SET", "a", 1), ("PING",), ("GET", "zzz"), ("SET", "b", 2), ("ECHO", "x")):
            talk.send(*args)
        assert talk.read() == []
        assert talk.commit() == [b"OK", b"PONG", None, b"OK", b"x"]

    def test_a_later_reply_waits_behind_an_earlier_one(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.send("SET", "a", 1)
        talk.send("SET", "b", 2)
        assert talk.router.shard_of_slot[15495] != talk.router.shard_of_slot[3300]
        queues = talk.router.queues
        [(_, first)] = queues[talk.router.shard_of_slot[15495]]
        [(_, second)] = queues[talk.router.shard_of_slot[3300]]
        second.resolve("OK")
        talk.session.drain()
        assert talk.read() == []
        first.resolve(5)
        talk.session.drain()
        assert talk.read() == [5, b"OK"]

    def test_wake_is_called_once_until_drain(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        for number in range(5):
            talk.send("SET", f"k{number}", number)
        talk.router.commit()
        assert talk.woken == [talk.session]

    def test_replies_after_close_change_nothing(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.send("SET", "a", 1)
        talk.send("MSET", "a", 1, "b", 2)
        talk.send("WATCH", "a")
        talk.session.close()
        talk.router.commit()
        assert talk.woken == []
        assert talk.read() == []
        assert talk.router.stores[talk.router.shard_of_slot[15495]].data[b"a"] == b"1"

    def test_a_barrier_waits_and_keeps_the_protocol_of_earlier_replies(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(
            encoded("HSET", "h", "f", "v")
            + encoded("HGETALL", "h")
            + encoded("HELLO", "3")
            + encoded("HGETALL", "h")
        )
        assert talk.session.is_full
        data = b""
        for _ in range(4):
            talk.router.commit()
            talk.session.drain()
            data += talk.session.take()
        assert not talk.session.is_full
        assert data.startswith(b":1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n%8\r\n")
        assert data.endswith(b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n")

    def test_too_much_unanswered_asks_for_a_pause(self) -> None:
        talk = Talk(FakeRouter(deferred=True), unanswered_max=10)
        for number in range(9):
            talk.send("SET", f"k{number}", number)
            assert not talk.session.is_full
        talk.send("SET", "k", "v")
        assert talk.session.is_full
        assert len(talk.commit()) == 10
        assert not talk.session.is_full

    def test_too_many_bytes_unanswered_ask_for_a_pause(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("ringleader.node.session.CLIENT_UNANSWERED_BYTES_MAX", 10_000)
        talk = Talk(FakeRouter(deferred=True))
        talk.send("SET", "k", "x" * 9_000)
        assert not talk.session.is_full
        talk.send("SET", "k", "x" * 9_000)
        assert talk.session.is_full
        talk.commit()
        assert not talk.session.is_full
        talk.send("SET", "k", "x" * 9_000)
        assert not talk.session.is_full

    def test_nothing_begins_while_the_socket_is_full(self) -> None:
        talk = Talk()
        talk.session.set_blocked_output(True)
        assert talk.session.is_full
        talk.send("PING")
        assert talk.read() == []
        talk.session.set_blocked_output(False)
        talk.session.resume()
        assert talk.read() == [b"PONG"]
        assert not talk.session.is_full

    def test_many_long_replies_are_made_in_turns(self) -> None:
        talk = Talk()
        talk.ask("SET", "k", "x" * 100_000)
        talk.session.receive(encoded("GET", "k") * 100)
        turns = 0
        count = 0
        while True:
            data = talk.session.take()
            assert len(data) < 1_200_000
            count += len(replies_in(data))
            if not talk.session.can_resume:
                break
            turns += 1
            talk.session.resume()
        assert count == 100
        assert turns >= 9

    @given(st.data())
    @settings(max_examples=60)
    def test_cuts_and_commits_anywhere_change_nothing(self, data: st.DataObject) -> None:
        """Whatever the pieces and whenever the router answers: the replies are those of one by
        one."""
        names = st.sampled_from(["a", "b", "{a}c", "h"])
        command = st.one_of(
            st.tuples(st.just("SET"), names, st.integers(0, 9)),
            st.tuples(st.just("GET"), names),
            st.tuples(st.just("INCR"), names),
            st.tuples(st.just("MGET"), names, names, names),
            st.tuples(st.just("MSET"), names, st.just("1"), names, st.just("2")),
            st.tuples(st.just("DEL"), names, names),
            st.tuples(st.just("HSET"), names, st.just("f"), st.just("v")),
            st.tuples(st.just("HGETALL"), names),
            st.sampled_from(
                [
                    ("PING",),
                    ("HELLO", "3"),
                    ("HELLO", "2"),
                    ("MULTI",),
                    ("EXEC",),
                    ("DISCARD",),
                    ("WATCH", "a"),
                    ("UNWATCH",),
                    ("CLIENT", "REPLY", "SKIP"),
                    ("CLIENT", "GETNAME"),
                    ("CLIENT", "SETNAME", "x"),
                    ("READONLY",),
                    ("RESET",),
                    ("NONSENSE", "x"),
                    ("GET",),
                    ("DBSIZE",),
                ]
            ),
        )
        commands = data.draw(st.lists(command, max_size=14))
        one_by_one = Talk()
        expected = b""
        for args in commands:
            one_by_one.send(*args)
            expected += one_by_one.session.take()
        stream = b"".join(encoded(*args) for args in commands)
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
        router = FakeRouter(deferred=True)
        talk = Talk(router)
        answered = b""
        for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            talk.session.receive(stream[first:last])
            answered += talk.session.take()
            if data.draw(st.booleans()):
                router.commit()
                talk.session.drain()
                answered += talk.session.take()
        for _ in range(2 * len(commands) + 1):
            router.commit()
            talk.session.drain()
            answered += talk.session.take()
        assert answered == expected
        assert not talk.session.unanswered_count


class TestEnds:
    def test_quit_is_answered_after_all_before_it(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(encoded("SET", "a", 1) + encoded("QUIT") + encoded("PING"))
        assert talk.session.closing
        assert not talk.session.is_finished
        assert talk.commit() == [b"OK", b"OK"]
        assert talk.session.is_finished

    def test_a_protocol_error_is_answered_after_all_before_it(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(encoded("SET", "a", 1) + b"*x\r\n" + encoded("PING"))
        talk.session.receive(encoded("PING"))
        assert talk.commit() == [b"OK", Error("ERR Protocol error: invalid multibulk length")]
        assert talk.session.is_finished
        assert talk.service.protocol_errors == 1

    def test_a_protocol_error_behind_a_barrier(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(encoded("SET", "a", 1) + encoded("CLIENT", "ID") + b"*x\r\n")
        assert talk.commit() == [
            b"OK",
            talk.session.id,
            Error("ERR Protocol error: invalid multibulk length"),
        ]
        assert talk.session.is_finished

    def test_the_end_of_input_lets_all_be_answered(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(
            encoded("SET", "a", 1) + encoded("HELLO", "2") + encoded("GET", "a") + b"*1"
        )
        talk.session.end()
        assert not talk.session.is_finished
        assert [reply for reply in talk.commit() if not isinstance(reply, list)] == [b"OK", b"1"]
        assert talk.session.is_finished


class TestNames:
    def test_any_case(self, talk: Talk) -> None:
        assert [
            talk.line(text) for text in ("set a 1", "SeT a 2", "GeT a", "pInG", "mGeT a b")
        ] == [
            b"OK",
            b"OK",
            b"2",
            b"PONG",
            [b"2", None],
        ]

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("foo", "ERR unknown command 'foo', with args beginning with: "),
            ("Foo a b", "ERR unknown command 'Foo', with args beginning with: 'a' 'b' "),
            ("SUBSCRIBE x", "ERR unknown command 'SUBSCRIBE', with args beginning with: 'x' "),
            (
                "DEBUG SLEEP 1",
                "ERR unknown command 'DEBUG', with args beginning with: 'SLEEP' '1' ",
            ),
            ("MONITOR", "ERR unknown command 'MONITOR', with args beginning with: "),
            (
                "LOCK.RELEASE a b",
                "ERR unknown command 'LOCK.RELEASE', with args beginning with: 'a' 'b' ",
            ),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("get a b", "ERR wrong number of arguments for 'get' command"),
            ("MSET a", "ERR wrong number of arguments for 'mset' command"),
            ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
            ("PING a b", "ERR wrong number of arguments for 'ping' command"),
            ("CLIENT", "ERR wrong number of arguments for 'client' command"),
            ("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command"),
            ("CLIENT NOPE", "ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
            ("CLUSTER MEET a 1", "ERR unknown subcommand 'MEET'. Try CLUSTER HELP."),
            ("SELECT 1", "ERR SELECT is not allowed in cluster mode"),
            ("SELECT x", "ERR value is not an integer or out of range"),
            ("MSETNX a 1 b 2", "CROSSSLOT Keys in request don't hash to the same slot"),
            ("SCAN x", "ERR invalid cursor"),
            ("WAIT x 1", "ERR value is not an integer or out of range"),
            ("WAIT 1 -1", "ERR timeout is negative"),
            (
                "CLIENT TRACKING ON",
                "ERR client-side caching is not supported: CLIENT TRACKING stays off",
            ),
            ("READONLY MAXLAG -1", "ERR MAXLAG is negative"),
            ("READONLY x", "ERR syntax error"),
        ],
    )
    def test_errors(self, text: str, error: str) -> None:
        talk = Talk()
        reply = talk.line(text)
        assert isinstance(reply, Error)
        assert reply == error

    def test_an_unknown_command_shows_128_bytes(self) -> None:
        reply = Talk().ask("x" * 200, "y" * 100, "z" * 100, "zz")
        assert reply.startswith(f"ERR unknown command '{'x' * 128}', with args")
        assert f"'{'z' * 26}' " not in reply
        assert "zz'" in reply
        assert len(reply) < 330

    def test_a_name_that_is_no_text(self) -> None:
        talk = Talk()
        talk.send(b"\xff\r\n\0")
        assert talk.session.take() == (
            b"-ERR unknown command '\xff  \0', with args beginning with: \r\n"
        )

    def test_a_key_that_is_too_long(self, talk: Talk) -> None:
        for args in (("SET", "k" * 70_000, 1), ("GET", "k" * 70_000), ("MGET", "a", "k" * 70_000)):
            assert talk.ask(*args) == "ERR key exceeds maximum allowed size (65536 bytes)"
        assert talk.ask("SET", "k", "v" * 70_000) == b"OK"
        assert talk.ask("GET", "k") == b"v" * 70_000


class TestShards:
    def test_commands_of_many_keys(self, talk: Talk) -> None:
        keys = [f"key{number}" for number in range(20)]
        pairs = [part for key in keys for part in (key, key.upper())]
        assert talk.ask("MSET", *pairs) == b"OK"
        assert talk.ask("MGET", *keys, "none", *keys[:3]) == [
            *(key.upper().encode() for key in keys),
            None,
            b"KEY0",
            b"KEY1",
            b"KEY2",
        ]
        assert talk.ask("EXISTS", *keys, *keys) == 40
        assert talk.ask("TOUCH", *keys) == 20
        assert talk.ask("DBSIZE") == 20
        assert sorted(talk.ask("KEYS", "*")) == sorted(key.encode() for key in keys)
        assert talk.ask("RANDOMKEY").decode() in keys
        assert talk.ask("DEL", *keys[:5], "none") == 5
        assert talk.ask("UNLINK", *keys[5:]) == 15
        assert talk.ask("RANDOMKEY") is None
        assert talk.ask("DBSIZE") == 0

    def test_scan_walks_through_all_shards(self, talk: Talk) -> None:
        keys = {b"key%d" % number for number in range(200)}
        for key in keys:
            talk.ask("SET", key, "v")
        seen: set[bytes] = set()
        cursor = b"0"
        calls = 0
        while True:
            cursor, found = talk.ask("SCAN", cursor, "COUNT", 10, "MATCH", "key*")
            seen |= set(found)
            calls += 1
            assert int(cursor) < 2**63
            if cursor == b"0":
                break
        assert seen == keys
        assert calls >= 20

    def test_keys_of_different_slots_within_one_shard(self) -> None:
        talk = Talk(FakeRouter(1))
        assert talk.line("MSETNX a 1 b 2") == 1
        assert talk.line("MGET a b") == [b"1", b"2"]

    def test_one_part_fails(self) -> None:
        router = FakeRouter()
        talk = Talk(router)
        refusal = ReplyError("TRYAGAIN no leader")
        router.refusing = {router.shard_of_slot[15495]: refusal}  # the slot of "a"
        assert talk.line("MGET a b") == "TRYAGAIN no leader"
        assert talk.line("MSET a 1 b 2") == (
            "UNCERTAIN parts of this command on other shards took effect, this one did not: "
            "TRYAGAIN no leader"
        )
        assert talk.line("DEL a b").startswith("UNCERTAIN ")
        assert talk.line("EXISTS a b") == "TRYAGAIN no leader"
        assert talk.line("KEYS *") == "TRYAGAIN no leader"
        router.refusing = dict.fromkeys(range(4), refusal)
        assert talk.line("MSET a 1 b 2") == "TRYAGAIN no leader"
        assert talk.line("SCAN 0") == "TRYAGAIN no leader"
        assert talk.line("WATCH a") == "TRYAGAIN no leader"

    @pytest.mark.parametrize("uncertain", [15495, 3300])
    def test_one_part_may_have_taken_effect(self, uncertain: int) -> None:
        """Then the whole may have, whatever became of the others."""
        router = FakeRouter()
        talk = Talk(router)
        unknown = ReplyError("UNCERTAIN it may have taken effect")
        shard = router.shard_of_slot[uncertain]  # the slots of "a" and "b"
        router.refusing = {shard: unknown}
        for line in ("MSET a 1 b 2", "DEL a b", "UNLINK a b"):
            assert talk.line(line) == unknown.text
        router.refusing = dict.fromkeys(range(4), ReplyError("CLUSTERDOWN not executed"))
        router.refusing[shard] = unknown
        for line in ("MSET a 1 b 2", "DEL a b"):
            assert talk.line(line) == unknown.text

    def test_a_command_with_a_part_that_is_too_long_does_nothing(self) -> None:
        router = FakeRouter()
        talk = Talk(router)
        for letter in b"abcdefgh":
            long = bytes([letter]) * (STORE_KEY_BYTES_MAX + 1)
            assert talk.ask("MSET", "a", "1", long, "2").startswith("ERR key exceeds")
            assert talk.ask("DEL", "a", long).startswith("ERR key exceeds")
        assert not any(store.applied for store in router.stores)


class TestTransactions:
    def test_exec(self, talk: Talk) -> None:
        assert talk.line("MULTI") == b"OK"
        for text in ("SET {t}a 1", "INCR {t}a", "PING", "GET {t}a", "HGET {t}a f", "ECHO x"):
            assert talk.line(text) == b"QUEUED"
        assert talk.line("EXEC") == [b"OK", 2, b"PONG", b"2", WRONG_TYPE, b"x"]
        assert talk.line("GET {t}a") == b"2"

    def test_a_watch_that_is_refused_holds_nothing_up(self, talk: Talk) -> None:
        assert talk.line("WATCH " + "x" * 70_000).startswith("ERR key exceeds maximum")
        for text, reply in (("UNWATCH", b"OK"), ("MULTI", b"OK"), ("EXEC", []), ("MULTI", b"OK")):
            assert talk.line(text) == reply
        assert talk.line("DISCARD") == b"OK"
        assert not talk.session.can_resume

    def test_what_waits_for_nothing_is_a_fault(self, talk: Talk) -> None:
        talk.session.watches_under_way = 1
        with pytest.raises(MisuseError, match="waits for earlier commands"):
            talk.send("UNWATCH")

    def test_in_one_piece(self, talk: Talk) -> None:
        talk.session.receive(
            b"".join(
                encoded(*text.split())
                for text in ("SET a 1", "MULTI", "INCR a", "GET a", "EXEC", "GET a", "PING")
            )
        )
        replies = talk.read() + talk.commit()
        assert replies == [b"OK", b"OK", b"QUEUED", b"QUEUED", [2, b"2"], b"2", b"PONG"]

    @pytest.mark.parametrize(
        ("texts", "replies"),
        [
            (["EXEC"], ["ERR EXEC without MULTI"]),
            (["DISCARD"], ["ERR DISCARD without MULTI"]),
            (["MULTI", "EXEC"], [b"OK", []]),
            (["MULTI", "MULTI", "EXEC"], [b"OK", "ERR MULTI calls can not be nested", []]),
            (["MULTI", "WATCH a", "EXEC"], [b"OK", "ERR WATCH inside MULTI is not allowed", []]),
            (["MULTI", "SET a 1", "DISCARD", "GET a"], [b"OK", b"QUEUED", b"OK", None]),
            (
                ["MULTI", "NOPE", "EXEC", "GET a"],
                [
                    b"OK",
                    "ERR unknown command 'NOPE', with args beginning with: ",
                    "EXECABORT Transaction discarded because of previous errors.",
                    None,
                ],
            ),
            (
                ["MULTI", "SET a", "SET a 1", "EXEC", "GET a"],
                [
                    b"OK",
                    "ERR wrong number of arguments for 'set' command",
                    b"QUEUED",
                    "EXECABORT Transaction discarded because of previous errors.",
                    None,
                ],
            ),
            (
                ["MULTI", "SET a 1", "SET b 1", "EXEC", "GET a"],
                [
                    b"OK",
                    b"QUEUED",
                    "CROSSSLOT Keys in request don't hash to the same slot",
                    "EXECABORT Transaction discarded because of previous errors.",
                    None,
                ],
            ),
            (
                ["MULTI", "MGET a b", "EXEC"],
                [
                    b"OK",
                    "CROSSSLOT Keys in request don't hash to the same slot",
                    "EXECABORT Transaction discarded because of previous errors.",
                ],
            ),
            (
                ["MULTI", "KEYS *", "EXEC"],
                [
                    b"OK",
                    "ERR Command not allowed inside a transaction",
                    "EXECABORT Transaction discarded because of previous errors.",
                ],
            ),
            (["WATCH a b"], ["CROSSSLOT Keys in request don't hash to the same slot"]),
            (
                ["WATCH a", "WATCH b"],
                [b"OK", "CROSSSLOT Keys in request don't hash to the same slot"],
            ),
            (
                ["WATCH a", "MULTI", "SET b 1", "EXEC", "GET b"],
                [
                    b"OK",
                    b"OK",
                    b"QUEUED",
                    "CROSSSLOT Keys in request don't hash to the same slot",
                    None,
                ],
            ),
            (
                ["WATCH a", "SET a 1", "MULTI", "GET a", "EXEC"],
                [b"OK", b"OK", b"OK", b"QUEUED", None],
            ),
            (["WATCH a", "SET a 1", "MULTI", "EXEC"], [b"OK", b"OK", b"OK", None]),
            (
                ["WATCH a", "SET a 1", "UNWATCH", "MULTI", "GET a", "EXEC"],
                [b"OK", b"OK", b"OK", b"OK", b"QUEUED", [b"1"]],
            ),
            (
                ["WATCH a", "MULTI", "SET a 1", "UNWATCH", "EXEC", "MULTI", "GET a", "EXEC"],
                [b"OK", b"OK", b"QUEUED", b"QUEUED", [b"OK", b"OK"], b"OK", b"QUEUED", [b"1"]],
            ),
            (
                ["MULTI", "MSET {t}a 1 {t}b 2", "MGET {t}a {t}b", "DEL {t}a {t}c", "EXEC"],
                [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"OK", [b"1", b"2"], 1]],
            ),
        ],
    )
    def test_as_in_redis(self, talk: Talk, texts: list[str], replies: list[Any]) -> None:
        assert [talk.line(text) for text in texts] == replies

    def test_another_client_modifies_a_watched_key(self) -> None:
        mine = Talk()
        other = Talk(mine.router)
        assert mine.line("WATCH a") == b"OK"
        assert mine.line("MULTI") == b"OK"
        assert mine.line("INCR a") == b"QUEUED"
        assert other.line("SET a 5") == b"OK"
        assert mine.line("EXEC") is None
        assert mine.line("GET a") == b"5"

    def test_exec_waits_for_watch(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        texts = ("WATCH a", "SET a 1", "MULTI", "GET a", "EXEC", "PING")
        talk.session.receive(b"".join(encoded(*text.split()) for text in texts))
        assert talk.commit() == [b"OK", b"OK", b"OK", b"QUEUED", None, b"PONG"]

    def test_too_many_watched_keys(self) -> None:
        talk = Talk()
        keys = [f"{{a}}{number}" for number in range(CLIENT_WATCHED_KEYS_MAX)]
        assert talk.ask("WATCH", *keys) == b"OK"
        assert talk.ask("WATCH", "{a}more").startswith("ERR too many keys are watched")

    def test_a_transaction_that_is_too_large(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("ringleader.node.transactions.TRANSACTION_COMMANDS_MAX", 3)
        talk = Talk()
        assert [talk.line(text) for text in ("MULTI", "PING", "PING", "PING", "PING", "EXEC")][
            -2:
        ] == [
            "ERR the transaction is too large",
            "EXECABORT Transaction discarded because of previous errors.",
        ]

    def test_quit_and_reset_within(self) -> None:
        talk = Talk()
        assert talk.line("MULTI") == b"OK"
        assert talk.line("RESET") == b"RESET"
        assert talk.line("EXEC") == "ERR EXEC without MULTI"
        assert talk.line("MULTI") == b"OK"
        assert talk.line("QUIT") == b"OK"
        assert talk.session.is_finished


class TestAuthentication:
    def test_all_else_is_refused_before(self) -> None:
        talk = Talk(password="secret")
        for text in ("PING", "GET a", "SET a 1", "MULTI", "CLIENT ID", "INFO", "mGeT a b"):
            assert talk.line(text) == "NOAUTH Authentication required."
        assert talk.line("HELLO 3").startswith("NOAUTH HELLO must be called")
        assert talk.line("NOPE").startswith("ERR unknown command")
        wrong = "WRONGPASS invalid username-password pair or user is disabled."
        assert talk.line("AUTH wrong") == wrong
        assert talk.line("AUTH other secret") == wrong
        assert talk.line("HELLO 3 AUTH default wrong") == wrong
        assert talk.service.failed_authentications == 3
        assert talk.line("AUTH secret") == b"OK"
        assert talk.line("PING") == b"PONG"
        assert talk.line("AUTH a b c") == "ERR syntax error"

    def test_by_hello(self) -> None:
        talk = Talk(password="secret")
        reply = talk.line("HELLO 3 AUTH default secret SETNAME me")
        assert reply[b"proto"] == 3
        assert talk.line("CLIENT GETNAME") == b"me"

    def test_the_rest_of_a_chunk_is_trusted(self) -> None:
        talk = Talk(password="secret")
        talk.session.receive(
            encoded("PING") + encoded("AUTH", "secret") + encoded("SET", "a", "x" * 30_000) * 3
        )
        assert talk.read() == ["NOAUTH Authentication required.", b"OK", b"OK", b"OK", b"OK"]

    def test_strangers_have_narrow_limits(self) -> None:
        talk = Talk(password="secret")
        talk.session.receive(encoded("PING") + encoded("SET", "a", "x" * 30_000))
        assert talk.read() == [
            "NOAUTH Authentication required.",
            "ERR Protocol error: unauthenticated bulk length",
        ]
        assert talk.session.is_finished

    def test_reset_forgets(self) -> None:
        talk = Talk(password="secret")
        assert talk.line("AUTH secret") == b"OK"
        assert talk.line("RESET") == b"RESET"
        assert talk.line("PING") == "NOAUTH Authentication required."

    def test_without_a_password(self) -> None:
        talk = Talk()
        assert talk.line("AUTH x").startswith("ERR AUTH <password> called without any password")
        assert talk.line("AUTH default x") == b"OK"
        assert talk.line("AUTH other x").startswith("WRONGPASS")


class TestConnection:
    def test_hello(self) -> None:
        talk = Talk()
        reply = talk.line("HELLO 3")
        assert set(reply) == {
            b"server",
            b"version",
            b"proto",
            b"id",
            b"mode",
            b"role",
            b"modules",
            b"availability_zone",
        }
        assert reply[b"availability_zone"] == b"eu"
        assert reply[b"mode"] == b"cluster"
        assert talk.line("HELLO")[b"proto"] == 3
        assert talk.line("HELLO 4") == "NOPROTO unsupported protocol version"
        assert talk.line("HELLO x") == "ERR Protocol version is not an integer or out of range"
        assert talk.line("HELLO 2 NOPE") == "ERR Syntax error in HELLO option 'NOPE'"
        assert len(talk.line("HELLO 2")) == 16

    def test_client_reply(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        texts = (
            "CLIENT REPLY SKIP",
            "SET a 1",
            "GET a",
            "CLIENT REPLY OFF",
            "SET a 2",
            "NOPE",
            "CLIENT REPLY SKIP",
            "CLIENT REPLY ON",
            "GET a",
            "CLIENT REPLY SKIP",
            "CLIENT REPLY ON",
            "PING",
        )
        talk.session.receive(b"".join(encoded(*text.split()) for text in texts))
        assert talk.commit() == [b"1", b"OK", b"2", b"OK", b"PONG"]

    def test_names(self) -> None:
        talk = Talk()
        assert talk.line("CLIENT GETNAME") is None
        assert talk.line("CLIENT SETNAME me") == b"OK"
        assert talk.ask("CLIENT", "SETNAME", "a b").startswith("ERR Client names cannot contain")
        assert talk.line("CLIENT GETNAME") == b"me"
        assert talk.line("CLIENT SETINFO LIB-NAME lib") == b"OK"
        assert talk.line("CLIENT SETINFO lib-ver 1.0") == b"OK"
        assert talk.line("CLIENT SETINFO x y") == "ERR Unrecognized option 'x'"
        info = talk.line("CLIENT INFO").decode()
        assert "name=me " in info
        assert "lib-name=lib lib-ver=1.0\n" in info
        assert "addr=10.0.0.1:1000 laddr=10.0.0.9:6379 " in info

    def test_list_and_kill(self) -> None:
        mine = Talk()
        other = Talk(mine.router, service=mine.service)
        assert mine.line("CLIENT LIST").count(b"\n") == 2
        assert mine.line(f"CLIENT LIST ID {other.session.id} 99").count(b"\n") == 1
        assert mine.line("CLIENT LIST TYPE pubsub") == b""
        assert mine.line("CLIENT KILL 1.2.3.4:5") == "ERR No such client"
        assert mine.line("CLIENT KILL TYPE normal ID 99") == 0
        assert mine.line(f"CLIENT KILL ID {other.session.id}") == 1
        assert other.session.closing
        assert other.woken == [other.session]
        assert not mine.session.closing
        assert mine.line("CLIENT KILL ADDR 10.0.0.1:1000 SKIPME no") == 2
        assert mine.session.is_finished

    def test_small_ones(self) -> None:
        talk = Talk()
        for text, reply in (
            ("PING hello", b"hello"),
            ("ECHO x", b"x"),
            ("SELECT 0", b"OK"),
            ("ASKING", b"OK"),
            ("CLIENT NO-EVICT ON", b"OK"),
            ("CLIENT NO-TOUCH OFF", b"OK"),
            ("CLIENT NO-TOUCH x", "ERR syntax error"),
            ("CLIENT TRACKING OFF", b"OK"),
            ("CLIENT GETREDIR", -1),
            ("WAIT 1 100", 1),
        ):
            assert talk.line(text) == reply, text

    def test_readonly(self) -> None:
        talk = Talk(lag_max_s=3.0)
        origin = talk.session.origin
        assert (origin.readonly, origin.lag_max_s) == (False, 3.0)
        assert talk.line("READONLY") == b"OK"
        assert (origin.readonly, origin.lag_max_s) == (True, 3.0)
        assert talk.line("READONLY MAXLAG 250") == b"OK"
        assert (origin.readonly, origin.lag_max_s) == (True, 0.25)
        assert talk.line("READWRITE") == b"OK"
        assert (origin.readonly, origin.lag_max_s) == (False, 3.0)

    def test_help(self) -> None:
        talk = Talk()
        for name in ("CLIENT", "CLUSTER", "COMMAND", "CONFIG", "SCRIPT"):
            assert talk.ask(name, "help")[-2:] == [b"HELP", b"    Print this help."]


class TestServer:
    def test_command(self) -> None:
        talk = Talk()
        everything = talk.line("COMMAND")
        assert talk.line("COMMAND COUNT") == len(everything) == len(talk.line("COMMAND LIST"))
        by_name = {row[0]: row for row in everything}
        assert by_name[b"get"][1:6] == [2, [b"fast", b"readonly"], 1, 1, 1]
        assert by_name[b"mset"][1:6] == [-3, [b"denyoom", b"write"], 1, -1, 2]
        assert b"lock.release" not in by_name
        assert talk.line("COMMAND INFO nope GeT")[0] is None
        assert talk.line("COMMAND INFO nope GeT")[1] == by_name[b"get"]
        assert talk.line("COMMAND GETKEYS MSET a 1 b 2") == [b"a", b"b"]
        assert talk.line("COMMAND GETKEYS EVAL x 2 a b c") == [b"a", b"b"]
        assert talk.line("COMMAND GETKEYS PING") == "ERR The command has no key arguments"
        assert talk.line("COMMAND GETKEYS NOPE") == "ERR Invalid command specified"
        assert talk.line("COMMAND LIST FILTERBY PATTERN hg*") == [b"hget", b"hgetall"]
        assert talk.line("COMMAND DOCS get nope")[0] == b"get"

    def test_info(self) -> None:
        talk = Talk()
        talk.ask("SET", "a", 1)
        text = talk.line("INFO").decode()
        for part in ("# Server\r\n", "redis_mode:cluster\r\n", "availability_zone:eu\r\n"):
            assert part in text
        assert "db0:keys=1\r\n" in text
        assert "total_commands_processed:2\r\n" in text
        assert talk.line("INFO clients").decode().startswith("# Clients\r\nconnected_clients:1\r\n")
        assert talk.line("INFO everything") != b""
        assert talk.line("INFO nothing") == b""

    def test_config(self) -> None:
        talk = Talk()
        assert talk.line("CONFIG GET appendonly") == [b"appendonly", b"yes"]
        assert len(talk.line("CONFIG GET max* port")) == 10
        assert talk.line("CONFIG SET a b").startswith("ERR CONFIG SET is not supported")
        assert talk.line("CONFIG RESETSTAT") == b"OK"


class TestCluster:
    def test_slots(self) -> None:
        talk = Talk()
        talk.router.port = 7000
        node = [b"127.0.0.1", 7000, b"a" * 40, []]
        assert talk.line("CLUSTER SLOTS") == [
            [0, 4095, node],
            [4096, 8191, node],
            [8192, 12287, node],
            [12288, 16383, node],
        ]
        assert talk.line("CLUSTER KEYSLOT {a}b") == 15495
        assert talk.line("CLUSTER MYID") == b"a" * 40
        assert len(talk.line("CLUSTER MYSHARDID")) == 40
        assert talk.line("CLUSTER LINKS") == []
        assert b"cluster_state:ok\r\n" in talk.line("CLUSTER INFO")
        assert talk.line("CLUSTER NODES") == (
            b"a" * 40 + b" 127.0.0.1:7000@17000 myself,master - 0 0 4 connected 0-16383\n"
        )
        [slots, _, nodes, _] = talk.line("CLUSTER SHARDS")[0]
        assert slots == b"slots"
        assert nodes == b"nodes"


class TestScripts:
    RELEASE = "c3f8721cbb97f72bc19e972846bd7aaf91901658"
    EXTEND = "a4e8783852e6b949f9ef3a97212805108459a890"
    REACQUIRE = "1cac51482acf5858da00f6d685d68f886cd6b6b2"

    def test_the_three(self, talk: Talk) -> None:
        assert talk.line("SET l me PX 10000") == b"OK"
        assert talk.line(f"EVALSHA {self.RELEASE} 1 l you") == 0
        assert talk.line(f"EVALSHA {self.EXTEND} 1 l me 5000 0") == 1
        assert talk.line("PTTL l") == 15_000
        assert talk.line(f"EVALSHA {self.EXTEND} 1 l me 5000 1") == 1
        assert talk.line("PTTL l") == 5_000
        assert talk.line(f"EVALSHA {self.REACQUIRE} 1 l me 7000") == 1
        assert talk.line("PTTL l") == 7_000
        assert talk.line(f"EVALSHA {self.RELEASE.upper()} 1 l me") == 1
        assert talk.line("EXISTS l") == 0

    def test_in_a_transaction(self, talk: Talk) -> None:
        texts = ["MULTI", "SET l me", f"EVALSHA {self.RELEASE} 1 l me", "EXISTS l", "EXEC"]
        assert [talk.line(text) for text in texts][-1] == [b"OK", 1, 0]

    def test_by_text(self) -> None:
        from redis.lock import Lock

        talk = Talk()
        for text, sha1 in (
            (Lock.LUA_RELEASE_SCRIPT, self.RELEASE),
            (Lock.LUA_EXTEND_SCRIPT, self.EXTEND),
            (Lock.LUA_REACQUIRE_SCRIPT, self.REACQUIRE),
        ):
            assert talk.ask("SCRIPT", "LOAD", text) == sha1.encode()
        talk.line("SET l me")
        assert talk.ask("EVAL", Lock.LUA_RELEASE_SCRIPT, 1, "l", "me") == 1

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("EVAL x 0", "ERR scripts are not supported"),
            ("SCRIPT LOAD x", "ERR scripts are not supported"),
            ("EVALSHA x 0", "NOSCRIPT No matching script. Please use EVAL."),
            (f"EVALSHA {RELEASE} 2 a b c", "ERR this script takes 1 key and 1 arguments"),
            (f"EVALSHA {RELEASE} 9 a", "ERR Number of keys can't be greater than number of args"),
            (f"EVALSHA {RELEASE} -1 a", "ERR Number of keys can't be negative"),
            (f"EVALSHA {RELEASE} x a", "ERR value is not an integer or out of range"),
            ("SCRIPT FLUSH x", "ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
            ("SCRIPT KILL", "ERR unknown subcommand 'KILL'. Try SCRIPT HELP."),
        ],
    )
    def test_refusals(self, text: str, error: str) -> None:
        assert Talk().line(text).startswith(error)

    def test_script_exists(self) -> None:
        assert Talk().line(f"SCRIPT EXISTS {self.RELEASE} x {self.EXTEND}") == [1, 0, 1]
        assert Talk().line("SCRIPT FLUSH SYNC") == b"OK"


class TestFuzz:
    NAMES = sorted(name.decode() for name in Talk().service.table)

    @given(st.data())
    @settings(max_examples=150)
    def test_any_command_with_any_arguments(self, data: st.DataObject) -> None:
        """Every command is answered, once, whatever it is given."""
        words = st.one_of(
            st.sampled_from(["a", "b", "0", "1", "-1", "GET", "NX", "help", "ID", "ON", "*", ""]),
            st.sampled_from(self.NAMES),
            st.binary(max_size=6),
            st.just("x" * (STORE_KEY_BYTES_MAX + 1)),
        )
        talk = Talk(FakeRouter(deferred=data.draw(st.booleans())))
        for _ in range(data.draw(st.integers(1, 6))):
            name = data.draw(st.sampled_from(self.NAMES))
            args = data.draw(st.lists(words, max_size=5))
            talk.send(name, *args)
            replies = talk.read() + talk.commit()
            if talk.session.closing:
                return
            assert len(replies) == 1 or (name.upper() == "CLIENT" and not replies)
            if not replies:
                return

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=30),
                st.text("*$+-: \r\n0123aGETSETPINGMULTIEXEC\"'", max_size=40).map(str.encode),
                st.sampled_from([encoded("PING"), encoded("SET", "a", "b"), b"*1\r\n", b"$4\r\n"]),
            ),
            max_size=12,
        ),
        st.booleans(),
    )
    def test_any_bytes(self, pieces: list[bytes], has_password: bool) -> None:
        """No exception, and what is answered can be read."""
        talk = Talk(
            FakeRouter(deferred=True),
            password="secret" if has_password else None,
            limits=RequestLimits(arguments_max=100, bulk_bytes_max=1000),
        )
        data = b""
        for piece in pieces:
            talk.session.receive(piece)
            talk.router.commit()
            talk.session.drain()
            data += talk.session.take()
        replies = replies_in(data)
        if talk.session.closing and replies:
            assert isinstance(replies[-1], Error) or replies[-1] == b"OK"


def test_a_session_has_no_dict() -> None:
    assert not hasattr(Talk().session, "__dict__")
    assert Session.__slots__


class TestPace:
    """How many reads may be under way."""

    def test_it_grows_while_replies_are_short(self) -> None:
        talk = Talk(FakeRouter(deferred=True, defers_reads=True))
        talk.session.receive(encoded("GET", "a") * 5000)
        assert talk.session.is_full
        widths = []
        while talk.router.is_dirty:
            widths.append(sum(map(len, talk.router.queues)))
            talk.router.commit()
            talk.session.drain()
        assert widths == [256, 512, 1024, 2048, 1160]
        assert replies_in(talk.session.take()) == [None] * 5000
        assert not talk.session.is_full

    def test_it_shrinks_with_long_replies(self) -> None:
        talk = Talk(FakeRouter(deferred=True, defers_reads=True))
        talk.ask("SET", "a", "x" * 400_000)
        talk.session.receive(encoded("GET", "a") * 300 + encoded("MGET", "a", "a"))
        widths = []
        count = 0
        while talk.session.unanswered_count:
            widths.append(sum(map(len, talk.router.queues)))
            talk.router.commit()
            talk.session.drain()
            count += len(replies_in(talk.session.take()))
        assert count == 301
        assert widths[0] == 257  # one more since the SET was answered
        assert max(widths[1:]) <= 20
        assert not talk.session.is_full

    def test_reads_one_by_one_are_counted_too(self) -> None:
        talk = Talk(FakeRouter(deferred=True, defers_reads=True))
        for _ in range(300):
            talk.send("GET", "a")
        assert talk.router.begun_count == 256
        assert talk.session.is_full
        assert talk.commit() == [None] * 300

    def test_reads_without_replies_are_counted_too(self) -> None:
        talk = Talk(FakeRouter(deferred=True, defers_reads=True))
        talk.session.receive(encoded("CLIENT", "REPLY", "OFF") + encoded("GET", "a") * 300)
        assert talk.router.begun_count == 256
        talk.session.receive(encoded("CLIENT", "REPLY", "ON"))
        assert talk.commit() == [b"OK"]
        assert talk.router.begun_count == 300

    def test_writes_are_not_counted(self) -> None:
        talk = Talk(FakeRouter(deferred=True))
        talk.session.receive(encoded("SET", "a", 1) * 5000)
        assert talk.router.begun_count == 5000
