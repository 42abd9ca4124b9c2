"""CLUSTER, told of three datacenters, some of it down."""

from __future__ import annotations

from typing import Any

from node.conversation import Talk
from node.fake_router import FakeRouter

from ringleader.node.routing import NodeView, ShardView, Topology

IDS = {
    name: letter * 40 for name, letter in zip(("e1", "e2", "u1", "u2", "a1"), "12345", strict=True)
}


def view(name: str, alive: bool = True) -> NodeView:
    dc = {"e": "eu", "u": "us", "a": "ap"}[name[0]]
    port = 7000 + int(IDS[name][0])
    return NodeView(name, IDS[name], "10.0.0.1", port, dc, "", alive, port + 1000)


class Elsewhere(FakeRouter):
    """The fake, but for its topology."""

    def __init__(self, name: str, dc: str, *shards: ShardView, down: tuple[str, ...] = ()) -> None:
        super().__init__(1)
        self.name, self.dc = name, dc
        self.view = Topology(tuple(view(name, name not in down) for name in IDS), shards)

    def topology(self) -> Topology:
        return self.view


FIRST = ShardView(0, ((0, 8191),), "e1", ("u1", "a1", "e1", "e2", "u2"), 7)
SECOND = ShardView(1, ((8192, 16383),), "u2", ("u2", "u1", "e1"), 3)


def names_in(slots: Any) -> list[list[str]]:
    names = {identity.encode(): name for name, identity in IDS.items()}
    return [[names[node[2]] for node in row[2:]] for row in slots]


class TestSlots:
    def test_leader_first_then_the_asked_nodes_datacenter(self) -> None:
        talk = Talk(Elsewhere("u1", "us", FIRST, SECOND))
        slots = talk.line("CLUSTER SLOTS")
        assert [row[:2] for row in slots] == [[0, 8191], [8192, 16383]]
        assert names_in(slots) == [["e1", "u1", "u2"], ["u2", "u1"]]
        assert slots[0][2] == [b"10.0.0.1", 7001, b"1" * 40, []]
        slots = Talk(Elsewhere("e2", "eu", FIRST, SECOND)).line("CLUSTER SLOTS")
        assert names_in(slots) == [["e1", "e2"], ["u2", "e1"]]

    def test_nodes_that_are_down_are_left_out(self) -> None:
        talk = Talk(Elsewhere("a1", "ap", FIRST, SECOND, down=("u1", "u2")))
        assert names_in(talk.line("CLUSTER SLOTS")) == [["e1", "a1"], ["e1"]]
        nobody_near = Talk(Elsewhere("a1", "ap", FIRST, down=("a1",)))
        assert names_in(nobody_near.line("CLUSTER SLOTS")) == [["e1", "u1", "e2", "u2"]]
        everybody = Talk(Elsewhere("a1", "ap", SECOND, down=tuple(IDS)))
        assert names_in(everybody.line("CLUSTER SLOTS")) == [["u2", "u1", "e1"]]

    def test_a_shard_without_a_leader(self) -> None:
        shard = ShardView(0, ((0, 16383),), None, ("u1", "e1"))
        assert names_in(Talk(Elsewhere("e1", "eu", shard)).line("CLUSTER SLOTS")) == [["e1"]]

    def test_a_shard_of_several_ranges(self) -> None:
        shard = ShardView(0, ((0, 4), (10, 16383)), "e1", ("e1",))
        other = ShardView(1, ((5, 9),), "e2", ("e2",))
        talk = Talk(Elsewhere("e1", "eu", shard, other))
        assert [row[:2] for row in talk.line("CLUSTER SLOTS")] == [[0, 4], [5, 9], [10, 16383]]
        assert talk.line("CLUSTER SHARDS")[0][1] == [0, 4, 10, 16383]
        assert b"connected 0-4 10-16383\n" in talk.line("CLUSTER NODES")


class TestShards:
    def test_roles_and_health(self) -> None:
        talk = Talk(Elsewhere("e1", "eu", FIRST, SECOND, down=("u1",)))
        talk.line("HELLO 3")
        [first, second] = talk.line("CLUSTER SHARDS")
        assert first[b"slots"] == [0, 8191]
        assert [node[b"role"] for node in first[b"nodes"]] == [b"master", *[b"replica"] * 4]
        assert [node[b"id"][:1] for node in second[b"nodes"]] == [b"4", b"1", b"3"]
        assert [node[b"health"] for node in second[b"nodes"]] == [b"online", b"online", b"fail"]
        assert first[b"nodes"][0][b"port"] == 7001


class TestNodes:
    def test_lines_as_redis_writes_them(self) -> None:
        talk = Talk(Elsewhere("e2", "eu", FIRST, SECOND, down=("a1",)))
        now = int(talk.service.clock_s())
        lines = talk.line("CLUSTER NODES").decode().splitlines()
        words = [line.split(" ") for line in lines]
        for row in words:
            assert abs(int(row[5]) / 1000 - now) < 100 or row[5] == "0"
            row[5] = "t"
        assert [" ".join(row) for row in words] == [
            f"{IDS['e1']} 10.0.0.1:7001@8001 master - 0 t 7 connected 0-8191",
            f"{IDS['e2']} 10.0.0.1:7002@8002 myself,slave {IDS['e1']} 0 t 0 connected",
            f"{IDS['u1']} 10.0.0.1:7003@8003 slave {IDS['e1']} 0 t 0 connected",
            f"{IDS['u2']} 10.0.0.1:7004@8004 master - 0 t 3 connected 8192-16383",
            f"{IDS['a1']} 10.0.0.1:7005@8005 slave,fail {IDS['e1']} 0 t 0 disconnected",
        ]

    def test_ranges_that_touch_are_one(self) -> None:
        halves = (FIRST, ShardView(1, ((8192, 16383),), "e1", ("e1",)))
        assert b"connected 0-16383\n" in Talk(Elsewhere("e1", "eu", *halves)).line("CLUSTER NODES")


class TestRest:
    def test_info(self) -> None:
        def fields(talk: Talk) -> dict[bytes, bytes]:
            return dict(line.split(b":") for line in talk.line("CLUSTER INFO").split())

        info = fields(Talk(Elsewhere("u2", "us", FIRST, SECOND)))
        assert info[b"cluster_state"] == b"ok"
        assert info[b"cluster_size"] == b"2"
        assert info[b"cluster_known_nodes"] == b"5"
        assert info[b"cluster_current_epoch"] == b"7"
        assert info[b"cluster_my_epoch"] == b"3"
        leaderless = ShardView(1, ((8192, 16383),), None, ("e1",))
        info = fields(Talk(Elsewhere("u2", "us", FIRST, leaderless)))
        assert info[b"cluster_state"] == b"fail"
        assert info[b"cluster_slots_ok"] == info[b"cluster_slots_fail"] == b"8192"

    def test_ids(self) -> None:
        talk = Talk(Elsewhere("u2", "us", FIRST, SECOND))
        other = Talk(Elsewhere("e2", "eu", FIRST, SECOND))
        assert talk.line("CLUSTER MYID") == b"4" * 40
        assert talk.line("CLUSTER MYSHARDID") != other.line("CLUSTER MYSHARDID")
        assert len(talk.line("CLUSTER LINKS")) == 4

    def test_keys_of_a_slot(self) -> None:
        for deferred in (False, True):
            talk = Talk(FakeRouter(deferred=deferred))
            for number in range(5):
                talk.ask("SET", f"{{a}}{number}", number)
            talk.ask("SET", "b", 1)
            assert talk.line("CLUSTER COUNTKEYSINSLOT 15495") == 5
            assert talk.line("CLUSTER COUNTKEYSINSLOT 15496") == 0
            keys = talk.line("CLUSTER GETKEYSINSLOT 15495 3")
            assert len(keys) == len(set(keys)) == 3
            assert talk.line("CLUSTER COUNTKEYSINSLOT 16384") == "ERR Invalid slot"
            assert talk.line("CLUSTER COUNTKEYSINSLOT x") == "ERR Invalid or out of range slot"
            assert talk.line("CLUSTER GETKEYSINSLOT 0 -1") == "ERR Invalid number of keys"
