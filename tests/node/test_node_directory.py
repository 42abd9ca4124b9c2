"""A node and its directory: what it may begin with, and that no interruption makes it a voter that
has forgotten what it promised."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringleader.consensus.driver import Outcome
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import HardState, Ready
from ringleader.errors import IdentityError, LogDamagedError, SettingError, StorageError
from ringleader.node import checked, identity, rejoin
from ringleader.node.codec import Request, Response
from ringleader.node.config import ClusterConfig
from ringleader.node.node import Node
from ringleader.node.rejoin import DONE, JOIN, LEAVE, WAIT, Refetch
from ringleader.node.replies import pack
from ringleader.storage import layout
from ringleader.storage.directory import Directory, failure

TERM = 7


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that are made in no time."""
    monkeypatch.setitem(Directory.__init__.__kwdefaults__, "segment_bytes", 2**16)


class Quiet:
    """A logger."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **fields: None


def config(nodes: int = 3, consensus: str = "raft") -> ClusterConfig:
    return ClusterConfig.parse(
        {
            "name": "orchard",
            "shards": 2,
            "replicas": nodes,
            "consensus": consensus,
            "nodes": [
                {"name": f"n{number}", "host": "127.0.0.1", "port": 39_000 + number}
                for number in range(1, nodes + 1)
            ],
        }
    )


class Life:
    """One start of node n1, without a network: what it would be, or why it refuses."""

    def __init__(self, directory: Path, *, refetch: bool = False, nodes: int = 3) -> None:
        self.directory = directory
        self.refetch = refetch
        self.nodes = nodes
        #: Of each shard that it takes part in at once: its voters, and its term.
        self.shards: dict[int, tuple[set[str], int]] = {}
        self.asks: list[tuple[int, bytes]] = []

    def run(self, then: Callable[[Node], None] = lambda _: None) -> Life:
        async def begin() -> None:
            node = Node(
                config(self.nodes),
                "n1",
                self.directory,
                Quiet(),  # type: ignore[arg-type]
                refetch=self.refetch,
            )
            try:
                for shard in node.shards:
                    voters = {str(name) for name in shard.core.membership.voters}
                    self.shards[shard.number] = (voters, shard.core.term)
                self.asks = [(each.number, each.wish) for each in node._rejoining]
                then(node)
            finally:
                node.disk.close()

        asyncio.run(begin())
        return self

    @property
    def forgot(self) -> bool:
        """Whether it is the voter that it was, without what it promised."""
        return any(voters and term < TERM for voters, term in self.shards.values())


def promise(node: Node) -> None:
    """Have all shards vote in a term."""
    done: list[Ready] = []
    for number in range(2):
        ready = Ready(1)
        ready.hard_state = HardState(TERM, "n2", 0)
        node.wal.group(number).write(ready, done.append)
    node.wal.flush()
    while len(done) < 2:
        node.disk.wait(1)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A directory of a node that has promised something."""
    directory = tmp_path / "n1"
    Life(directory).run(promise)
    return directory


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "log").glob("*.log"))


# --- a log that is gone -----------------------------------------------------------------------


def lose_directory(log: Path) -> None:
    shutil.rmtree(log)


def lose_files(log: Path) -> None:
    for path in log.glob("*.log"):
        path.unlink()


def zero(log: Path) -> None:
    for path in log.glob("*.log"):
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("lose", [lose_directory, lose_files, zero])
def test_a_log_that_is_gone_is_not_a_new_one(used: Path, lose: Callable[[Path], None]) -> None:
    assert Life(used).run().shards[0] == ({"n1", "n2", "n3"}, TERM)
    lose(used / "log")
    for _ in range(2):
        with pytest.raises(LogDamagedError, match=r"n1/log: .*--refetch"):
            Life(used).run()
    again = Life(used, refetch=True).run()
    assert again.shards == {}
    assert again.asks == [(0, LEAVE), (1, LEAVE)]


def test_a_first_start_that_ended_early_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was promised before the log was on record."""

    def dies(directory: Path, incarnation: int) -> None:
        raise KeyboardInterrupt

    directory = tmp_path / "n1"
    with monkeypatch.context() as patch:
        patch.setattr(identity, "note_log", dies)
        with pytest.raises(KeyboardInterrupt):
            Life(directory).run()
    zero(directory / "log")
    Life(directory).run(promise)
    assert identity.log_incarnation(directory) == 0
    assert Life(directory).run().shards[1][1] == TERM


def test_what_cannot_be_put_on_record_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checked.write

    def full(path: Path, fields: dict[str, Any]) -> None:
        if "log" in fields:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, fields)

    monkeypatch.setattr(checked, "write", full)
    with pytest.raises(OSError, match="No space left"):
        Life(tmp_path / "n1").run(promise)


def test_the_log_of_another_layout_is_refused(used: Path) -> None:
    """Also where its identity was made anew around it."""
    (used / "identity.json").unlink()
    kept = used.with_name("kept")
    used.rename(kept)
    config(consensus="paxos").check_identity(used, "n1")
    (kept / "log").rename(used / "log")

    async def begin() -> None:
        Node(config(consensus="paxos"), "n1", used, Quiet())  # type: ignore[arg-type]

    with pytest.raises(StorageError, match=r"belongs to .*raft, 2 shards") as raised:
        asyncio.run(begin())
    assert not isinstance(raised.value, LogDamagedError)


# --- what is advised --------------------------------------------------------------------------


def test_a_full_disk_is_no_reason_to_give_a_log_up(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(disk: Directory) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        raise failure(disk.path / "x.log", "it cannot be made durable", error)

    monkeypatch.setattr(Directory, "settle", full)
    with pytest.raises(StorageError, match="free some space") as raised:
        Life(used).run()
    assert "refetch" not in str(raised.value)


def test_a_newer_log_is_no_reason_to_give_it_up(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "FORMAT_VERSION", layout.FORMAT_VERSION - 1)
    with pytest.raises(StorageError, match=r"n1/log: .*upgrade it") as raised:
        Life(used).run()
    assert "refetch" not in str(raised.value)


def test_with_nobody_to_fetch_from_a_backup_is_advised(tmp_path: Path) -> None:
    directory = tmp_path / "n1"
    Life(directory, nodes=1).run()
    zero(directory / "log")
    with pytest.raises(LogDamagedError, match="from a backup") as raised:
        Life(directory, nodes=1).run()
    assert "--refetch" not in str(raised.value)
    before = {path.name for path in directory.iterdir()}
    with pytest.raises(SettingError, match="from a backup"):
        Life(directory, nodes=1, refetch=True).run()
    assert {path.name for path in directory.iterdir()} == before


# --- fetching anew ----------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, is_before: bool) -> None:
    """The process is killed before or after its so many'th change in the node's directory."""
    count = 0

    def killing(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any) -> Any:
            nonlocal count
            if args[0].name not in ("log", "refetch.json", "identity.json"):
                return real(*args)
            count += 1
            if count == step and is_before:
                raise Killed
            result = real(*args)
            if count == step:
                raise Killed
            return result

        return change

    monkeypatch.setattr(checked, "write", killing(checked.write))
    monkeypatch.setattr(os, "rename", killing(os.rename))


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, 5))
def test_a_node_that_is_killed_while_it_begins_anew_forgets_nothing(
    used: Path, monkeypatch: pytest.MonkeyPatch, step: int, is_before: bool
) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, step, is_before)
        with pytest.raises(Killed):
            Life(used, refetch=True).run()
    # It is started again without the option, as by systemd.
    again = Life(used).run()
    assert not again.forgot
    if not again.shards:
        assert again.asks == [(0, LEAVE), (1, LEAVE)]
        (kept,) = used.glob("log.replaced-*")
        assert list(kept.glob("*.log"))
    # And once more with it: a log of its own each time.
    last = Life(used, refetch=True).run()
    assert last.asks == [(0, LEAVE), (1, LEAVE)]
    assert last.shards == {}


def test_names_of_logs_that_were_put_aside_differ(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026,) + (1,) * 8))
    for _ in range(3):
        Life(used, refetch=True).run()
    names = sorted(path.name for path in used.glob("log.replaced-*"))
    assert names == [f"log.replaced-20260101T010101Z{end}" for end in ("", "-2", "-3")]
    assert Refetch(used).incarnation == 3


def test_shards_that_are_back_stay_back(used: Path) -> None:
    def joined(node: Node) -> None:
        node._on_joined(0)

    Life(used, refetch=True).run(joined)
    later = Life(used).run()
    assert later.asks == [(1, LEAVE)]
    lose_files(used / "log")
    with pytest.raises(LogDamagedError, match="--refetch"):
        Life(used).run()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"incarnation": 5, "shards": []}'])
def test_a_damaged_record_is_made_anew_as_advised(used: Path, content: bytes) -> None:
    Life(used, refetch=True).run()
    path = used / "refetch.json"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=r"refetch\.json: it is damaged; start .*--refetch"):
        Life(used).run()
    assert Life(used, refetch=True).run().asks == [(0, LEAVE), (1, LEAVE)]
    assert Refetch(used).incarnation == 2, "no two lives have one"


def test_a_record_of_the_past_is_refused(used: Path) -> None:
    Life(used, refetch=True).run()
    path = used / "refetch.json"
    older = path.read_bytes()
    Life(used, refetch=True).run()
    path.write_bytes(older)
    with pytest.raises(IdentityError, match="older than the log"):
        Life(used).run()
    path.unlink()
    with pytest.raises(IdentityError, match="is gone"):
        Life(used).run()
    Life(used, refetch=True).run()
    assert Refetch(used).incarnation == 3
    fields = json.loads(path.read_text())
    del fields["check"]
    checked.write(path, {**fields, "format": 2})
    for refetch in (False, True):
        with pytest.raises(IdentityError, match="of format 2"):
            Life(used, refetch=refetch).run()


def test_nothing_is_written_before_it_is_clear_that_nobody_uses_the_log(used: Path) -> None:
    before = sorted(path.name for path in used.iterdir())
    with (
        Directory(used / "log", segment_bytes=0),
        pytest.raises(StorageError, match="another process"),
    ):
        Life(used, refetch=True).run()
    assert sorted(path.name for path in used.iterdir()) == before
    # And the disk that may be the reason for it all is not written to.
    spare = used / "log" / "spare"
    spare.unlink(missing_ok=True)
    Life(used, refetch=True).run()
    (kept,) = used.glob("log.replaced-*")
    assert not (kept / "spare").exists()


# --- the leader's side ------------------------------------------------------------------------


class FakeCore:
    is_changing = False
    membership = Membership(["n1", "n2"])


class FakeShard:
    """A leader, as far as it knows."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.driver = self
        self.clock = self
        self.leader = "n2"
        self.leads = True
        self.caught_up = 0
        self.reads: list[Callable[[Outcome], None]] = []

    def catch_up(self) -> float:
        self.caught_up += 1
        return 0.0

    def read(self, done: Callable[[Outcome], None]) -> None:
        self.reads.append(done)


@pytest.mark.parametrize("wish", [LEAVE, JOIN])
def test_a_leader_answers_when_a_quorum_still_follows_it(wish: bytes) -> None:
    shard = FakeShard()
    name = "n3" if wish == LEAVE else "n1"
    said: list[Response] = []

    def ask(who: str = name) -> None:
        request = Request(5, 0, "write", [wish], 1000)
        rejoin.serve(shard, ["n1", "n2", "n3"], who, request, said.append)  # type: ignore[arg-type]

    ask()
    assert (said, shard.caught_up) == ([], 1)
    shard.reads.pop()(Outcome("applied"))
    assert said == [Response(5, "done", pack(DONE), "")]
    ask()
    shard.reads.pop()(Outcome("refused"))
    assert said[1:] == [Response(5, "refused", b"", "n2")]
    ask()
    shard.leads = False
    shard.leader = "n1"
    shard.reads.pop()(Outcome("applied"))
    assert said[2:] == [Response(5, "refused", b"", "n1")]
    ask()
    ask("n9")
    assert [each.status for each in said[3:]] == ["refused", "refused"]
    assert shard.reads == []
    shard.leads = True
    shard.core.is_changing = True
    ask()
    shard.reads.pop()(Outcome("applied"))
    assert said[5:] == [Response(5, "done", pack(WAIT), "")]


# --- a turn -----------------------------------------------------------------------------------


def test_a_turn_does_all_its_steps_whatever_one_of_them_raises(tmp_path: Path) -> None:
    said: list[str] = []
    messages: list[str] = []

    def fails(node: Node) -> None:
        node.loop.set_exception_handler(lambda _, context: messages.append(context["message"]))

        class Shard:
            def __init__(self, name: str) -> None:
                self.name = name

            def flush(self) -> bool:
                said.append(self.name)
                raise ValueError(self.name)

        def step(name: str) -> Callable[[], None]:
            def raises() -> None:
                said.append(name)
                raise OSError(errno.EMFILE, name)

            return raises

        node._dirty = [Shard("first"), Shard("second")]  # type: ignore[list-item]
        node.wal.flush = step("log")  # type: ignore[method-assign]
        node.peers.flush = step("peers")  # type: ignore[method-assign]
        node.server.flush = step("clients")  # type: ignore[method-assign]
        node.disk.poll = step("disk")  # type: ignore[method-assign, assignment]
        node._on_disk()

    Life(tmp_path / "n1").run(fails)
    assert said == ["disk", "first", "second", "log", "peers", "clients"]
    assert len(messages) == 6


def test_what_goes_wrong_in_the_log_is_said(tmp_path: Path) -> None:
    def fails(node: Node) -> None:
        node.loop.set_exception_handler(lambda _, context: None)

        def append(name: str, data: bytes) -> None:
            raise MemoryError

        node.disk.append = append  # type: ignore[method-assign, assignment]
        ready = Ready(1)
        ready.hard_state = HardState(1, None, 0)
        node.wal.group(0).write(ready, lambda _: None)
        node._turn()
        assert node.wal.failed is not None
        assert "MemoryError" in str(node.failed)

    Life(tmp_path / "n1").run(fails)


def test_a_shard_that_takes_no_snapshots_is_told_once(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []

    class Loud(Quiet):
        def warning(self, event: str, **fields: Any) -> None:
            said.append(fields)

    def press(node: Node) -> None:
        node.logger = Loud()  # type: ignore[assignment]
        node.shards[0].driver.failed = ValueError("its machine")
        for _ in range(3):
            node._on_pressure(0)
            node._on_pressure(1)

    Life(tmp_path / "n1").run(press)
    assert said == [{"shard": 0}]
