"""Small scenarios of a few Raft nodes, written down as text, with what happens beside them.

A transcript is a text of blocks, separated by empty lines:

    # Comments, above a block.
    campaign 1
    stabilize
    ----
    1: pre-candidate, term 0
    ...

Above `----` stand commands, one in each line; below it what they print.  `replay(text)` runs the
commands on real cores and gives the text back with what they print now: a test compares the two,
a rewrite writes the second.  Time passes only by `tick`, messages arrive only by `deliver` and
`stabilize`, so that every order of things can be had.

Commands (N, M: nodes; [...] may be left out; `quiet COMMAND` prints nothing):

    cluster N [voters=1,2] [learners=3] [witnesses=3] [SETTING=VALUE ...]
                            nodes 1 ... N; settings are those of `Config` (priorities=1:5,2:3)
    add-node N              a node that knows of no group yet
    given N terms=1x3,4 [term=T] [vote=M] [commit=I]
                            node N starts anew from a log of these terms (1x3: three of term 1)

    tick N [COUNT]          one tick at a time; `tick all` ticks every node
    campaign N
    propose N A B ...       one call with these payloads; A*1000 repeats the text
    forward N A B ...
    read N CONTEXT
    change N [voters=..] [learners=..] [witnesses=..] [remove=..] [transition=..]
    leave N                 leave a joint configuration
    transfer N M
    quiesce N, wake N
    snapshot N [keep=I] [pad=BYTES]
                            save the state machine, compact the log (from I on it stays)

    deliver [N M] [COUNT]   what is under way now (from N to M; the first COUNT); replies stay
    deliver together N      what is under way to N, as one batch
    stabilize               deliver until nothing is under way
    drop N M [COUNT]        lose what is under way from N to M (the first COUNT)
    dup N M                 everything under way from N to M comes twice
    hold N M, release N M   what goes from N to M stays under way; no longer
    cut N M, heal [N M]     the two lose everything between them; no longer
    isolate N               cut from all others

    async N, sync N         what N persists waits for `persist`; no longer
    persist N [COUNT]       complete the oldest writes
    crash N, restart N      lose what was not persisted; start again from what was

    status [N], log [N], progress N, membership N, under-way

What is printed:

    1: leader, term 2               its role, term or known leader changed
    1>2 AppendEntries t2 ...        a message is sent: log positions are index@term, +4..5@2 are
                                    entries, !2 marks that the link is cut or its end is down
    1: write term=2 vote=1 commit=3 +4..5@2
                                    this becomes durable (`queue`: later, by `persist`)
    1: apply 4..5 [a b]             committed entries reach the state machine; - is a control entry
    1: read x at 5, placed, rejects (a message), error (of a command)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ringleader.consensus.log import Block, Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.raft import Config, Raft, messages
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.errors import RingleaderError, SettingError
from ringleader.kernels import hashing
from ringleader.sim.family import raft_core
from ringleader.storage.memory import MemoryStorage

SEPARATOR = "----"
#: Messages that `stabilize` delivers before it says that they never end.
DELIVERED_MAX = 10_000
#: Payloads longer than this are shown by their length.
SHOWN_BYTES = 12


def replay(text: str) -> str:
    """`text` with what its commands print now.

    Raises:
        SettingError: a block without commands, or a command that there is not.
    """
    scene = Scene()
    out: list[str] = []
    for block in text.rstrip("\n").split("\n\n"):
        lines = block.split("\n")
        commands = lines[: lines.index(SEPARATOR)] if SEPARATOR in lines else lines
        out.append("\n".join(commands))
        if all(not line.strip() or line.startswith("#") for line in commands):
            continue
        printed: list[str] = []
        for line in commands:
            if line.strip() and not line.startswith("#"):
                printed += scene.run(line)
        out[-1] += "\n" + "\n".join([SEPARATOR, *(printed or ["ok"])])
    return "\n\n".join(out) + "\n"


class _Node:
    """One node: its core, what is durable, and what its state machine has seen."""

    def __init__(self, id: int, storage: MemoryStorage) -> None:
        self.id = id
        self.storage = storage
        self.core: Raft | None = None
        self.life = 0
        self.commands: list[bytes] = []
        self.is_async = False
        self.queued: deque[Ready] = deque()
        self.shown: tuple[object, ...] = ()
        self.rejected: dict[str, int] = {}


class Scene:
    """Nodes, the messages under way between them, and the commands above."""

    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}
        self._config = Config()
        self._first = Membership()
        self._under_way: list[Any] = []
        self._held: set[tuple[int, int]] = set()
        self._cut: set[tuple[int, int]] = set()
        self._out: list[str] = []

    def run(self, line: str) -> list[str]:
        """Run one command; the lines that it prints.

        Raises:
            SettingError: there is no such command, or its arguments make no sense.
        """
        self._out = []
        name, *words = line.split()
        quiet = name == "quiet"
        if quiet:
            name, *words = words
        command: Callable[..., None] | None = getattr(self, "do_" + name.replace("-", "_"), None)
        if command is None:
            raise SettingError(f"there is no command {name!r} ({line!r})")
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        try:
            command(*(word for word in words if "=" not in word), **settings)
        except RingleaderError as error:
            if isinstance(error, SettingError):
                raise
            self._print(f"error: {type(error).__name__}: {error}")
        except (TypeError, ValueError, KeyError) as error:
            raise SettingError(f"{line!r}: {error!r}") from error
        return [] if quiet else self._out

    # --- the cast ----------------------------------------------------------------------------

    def do_cluster(
        self,
        count: str,
        voters: str | None = None,
        learners: str = "",
        witnesses: str = "",
        **settings: str,
    ) -> None:
        ids = list(range(1, int(count) + 1))
        bystanders = _ids(learners)
        self._config = _config(settings)
        self._first = Membership(
            [id for id in ids if id not in bystanders] if voters is None else _ids(voters),
            learners=bystanders,
            witnesses=_ids(witnesses),
        )
        self._nodes = {id: _Node(id, MemoryStorage()) for id in ids}
        self._under_way.clear()
        self._held.clear()
        self._cut.clear()
        for node in self._nodes.values():
            self._start(node, self._first)

    def do_add_node(self, id: str) -> None:
        node = self._nodes[int(id)] = _Node(int(id), MemoryStorage())
        self._start(node, Membership())

    def do_given(
        self, id: str, terms: str = "", term: str = "0", vote: str = "0", commit: str = "0"
    ) -> None:
        listed: list[int] = []
        for part in terms.split(",") if terms else ():
            of_term, _, count = part.partition("x")
            listed += [int(of_term)] * int(count or 1)
        node = _Node(int(id), MemoryStorage())
        ready = Ready(1)
        ready.hard_state = HardState(
            max(int(term), *listed, 0), int(vote) or None, min(int(commit), len(listed))
        )
        if listed:
            payloads = [f"{of_term}.{at}".encode() for at, of_term in enumerate(listed, 1)]
            ready.block = Block.pack(1, listed, payloads)
        node.storage.write(ready, lambda ready: None)
        self._nodes[node.id] = node
        self._start(node, self._first)

    def _start(self, node: _Node, first: Membership) -> None:
        found = node.storage.load()
        node.life += 1
        node.queued.clear()
        node.is_async = False
        node.rejected = {}
        node.commands = []
        if found.snapshot is not None:
            node.commands = _commands(found.snapshot.source.read(0, 2**40))
        seed = 1000 * node.life + node.id
        node.core = raft_core(node.id, first, found, self._config, seed)
        node.shown = (node.core.role, node.core.term, node.core.leader)

    def do_crash(self, id: str) -> None:
        self._nodes[int(id)].core = None

    def do_restart(self, id: str) -> None:
        node = self._nodes[int(id)]
        self._start(node, self._first)
        core = self._core(id)
        self._print(
            f"{node.id}: starts, term {core.term}, vote {core.vote or '-'}, log "
            f"{_terms(core.log)}, commit {core.commit}"
        )
        self._work(node)

    # --- what is done to a node --------------------------------------------------------------

    def do_tick(self, id: str, count: str = "1") -> None:
        ids = list(self._nodes) if id == "all" else [int(id)]
        for _ in range(int(count)):
            for each in ids:
                if (core := self._nodes[each].core) is not None:
                    core.tick()
                    self._work(self._nodes[each])

    def do_campaign(self, id: str) -> None:
        self._core(id).campaign()
        self._work(self._nodes[int(id)])

    def do_propose(self, id: str, *texts: str) -> None:
        first = self._core(id).propose(_payloads(texts))
        self._print(f"{id}: proposes {first}..{first + len(texts) - 1}")
        self._work(self._nodes[int(id)])

    def do_forward(self, id: str, *texts: str) -> None:
        self._core(id).forward(_payloads(texts))
        self._work(self._nodes[int(id)])

    def do_read(self, id: str, context: str) -> None:
        self._core(id).read_index(context.encode())
        self._work(self._nodes[int(id)])

    def do_change(
        self,
        id: str,
        voters: str = "",
        learners: str = "",
        witnesses: str = "",
        remove: str = "",
        transition: str = "auto",
    ) -> None:
        change = ConfChange(
            voters=_ids(voters),
            learners=_ids(learners),
            witnesses=_ids(witnesses),
            remove=_ids(remove),
            transition=transition,
        )
        index = self._core(id).change_config(change)
        self._print(f"{id}: proposes {index}: {_membership(self._core(id).membership)}")
        self._work(self._nodes[int(id)])

    def do_leave(self, id: str) -> None:
        index = self._core(id).change_config(ConfChange.leave_joint())
        self._print(f"{id}: proposes {index}: {_membership(self._core(id).membership)}")
        self._work(self._nodes[int(id)])

    def do_transfer(self, id: str, to: str) -> None:
        self._core(id).transfer(int(to))
        self._work(self._nodes[int(id)])

    def do_quiesce(self, id: str) -> None:
        rests = self._core(id).quiesce()
        self._print(f"{id}: {'rests' if rests else 'cannot rest'}")
        self._work(self._nodes[int(id)])

    def do_wake(self, id: str) -> None:
        self._core(id).wake()
        self._work(self._nodes[int(id)])

    def do_snapshot(self, id: str, keep: str = "", pad: str = "0") -> None:
        node, core = self._nodes[int(id)], self._core(id)
        index = core.last_applied
        data = b"\n".join([*node.commands, b"#" * int(pad)] if int(pad) else node.commands)
        snapshot = Snapshot(
            index,
            core.log.term(index),
            core.membership_at(index),
            BytesSource(data),
            hashing.crc32c(data),
        )
        keep_from = int(keep) if keep else index + 1
        node.storage.save_snapshot(snapshot, keep_from, lambda: None)
        core.compact(snapshot, keep_from)
        self._print(f"{id}: snapshot {index}@{snapshot.term}, {len(data)} bytes; log {_log(core)}")
        self._work(node)

    # --- the network -------------------------------------------------------------------------

    def do_deliver(self, *words: str) -> None:
        if words[:1] == ("together",):
            to = int(words[1])
            batch = self._take(lambda message: message.to == to, None)
            node = self._nodes[to]
            for message in batch:
                if node.core is not None:
                    node.core.step(message)
            self._work(node)
            return
        pair, count = _pair_and_count(words)
        batch = self._take(lambda message: pair in (None, (message.sender, message.to)), count)
        for message in batch:
            self._arrive(message)

    def do_stabilize(self) -> None:
        delivered = 0
        while batch := self._take(lambda message: True, None):
            for message in batch:
                self._arrive(message)
            delivered += len(batch)
            if delivered > DELIVERED_MAX:
                raise SettingError(f"still messages after {delivered}: this never ends")

    def do_drop(self, *words: str) -> None:
        pair, count = _pair_and_count(words)
        for message in self._take(
            lambda message: pair == (message.sender, message.to), count, held=True
        ):
            self._print(f"lost: {show(message)}")

    def do_dup(self, sender: str, to: str) -> None:
        pair = (int(sender), int(to))
        self._under_way = [
            message
            for message in self._under_way
            for _ in range(1 + ((message.sender, message.to) == pair))
        ]

    def do_hold(self, sender: str, to: str) -> None:
        self._held.add((int(sender), int(to)))

    def do_release(self, sender: str, to: str) -> None:
        self._held.discard((int(sender), int(to)))

    def do_cut(self, one: str, other: str) -> None:
        self._cut |= {(int(one), int(other)), (int(other), int(one))}
        # What is under way is lost as well: from here on nothing passes.
        self._under_way = [m for m in self._under_way if (m.sender, m.to) not in self._cut]

    def do_isolate(self, id: str) -> None:
        for other in self._nodes:
            if other != int(id):
                self.do_cut(id, str(other))

    def do_heal(self, *pair: str) -> None:
        if pair:
            one, other = map(int, pair)
            self._cut -= {(one, other), (other, one)}
        else:
            self._cut.clear()

    def do_under_way(self) -> None:
        for message in self._under_way:
            self._print(show(message))

    def _take(
        self, wanted: Callable[[Any], bool], count: int | None, held: bool = False
    ) -> list[Any]:
        """Take out of the network, in the order in which they were sent."""
        taken: list[Any] = []
        left: list[Any] = []
        for message in self._under_way:
            blocked = not held and (message.sender, message.to) in self._held
            if not blocked and wanted(message) and (count is None or len(taken) < count):
                taken.append(message)
            else:
                left.append(message)
        self._under_way = left
        return taken

    def _arrive(self, message: Any) -> None:
        node = self._nodes.get(message.to)
        if node is not None and node.core is not None:
            node.core.step(message)
            self._work(node)

    def _send(self, sent: Sequence[Any]) -> None:
        for message in sent:
            end = self._nodes.get(message.to)
            lost = (message.sender, message.to) in self._cut or end is None or end.core is None
            self._print(show(message) + (f" !{message.to}" if lost else ""))
            if not lost:
                self._under_way.append(message)

    # --- the disk ----------------------------------------------------------------------------

    def do_async(self, id: str) -> None:
        self._nodes[int(id)].is_async = True

    def do_sync(self, id: str) -> None:
        self.do_persist(id)
        self._nodes[int(id)].is_async = False

    def do_persist(self, id: str, count: str = "") -> None:
        node = self._nodes[int(id)]
        for _ in range(min(int(count), len(node.queued)) if count else len(node.queued)):
            self._persist(node, node.queued.popleft())
        self._work(node)

    def _persist(self, node: _Node, ready: Ready) -> None:
        core = node.core
        assert core is not None
        if ready.writes:
            self._print(f"{node.id}: write{_writes(ready)}")
        node.storage.write(ready, lambda ready: None)
        if ready.snapshot is not None:
            ready.snapshot.source = node.storage.open_snapshot()
            node.commands = _commands(ready.snapshot.source.read(0, 2**40))
        core.persisted(ready)
        self._send(ready.messages[ready.early :])

    # --- a node at work ----------------------------------------------------------------------

    def _work(self, node: _Node) -> None:
        """Persist, send, apply: what `consensus.driver` does, with a word about each."""
        core = node.core
        self._notice(node)
        while core is not None and core.has_ready:
            ready = core.ready()
            self._send(ready.messages[: ready.early])
            if node.is_async and (ready.writes or node.queued):
                self._print(f"{node.id}: queue{_writes(ready)}")
                node.queued.append(ready)
            else:
                self._persist(node, ready)
            for placed in ready.placed or ():
                at = f"{placed.index}@{placed.term}" if placed.index else "refused"
                self._print(f"{node.id}: placed {at}")
            if (entries := ready.committed) is not None:
                shown = []
                for index in range(entries.first, entries.last + 1):
                    if entries.is_control(index):
                        shown.append("-")
                    else:
                        node.commands.append(bytes(entries[index]))
                        shown.append(_text(bytes(entries[index])))
                self._print(f"{node.id}: apply {_span(entries)} [{' '.join(shown)}]")
                core.applied(entries.last)
            for read in ready.reads or ():
                at = f"at {read.index}" if read.index else "refused"
                self._print(f"{node.id}: read {read.context.decode()} {at}")
            self._notice(node)

    def _notice(self, node: _Node) -> None:
        core = node.core
        if core is None:
            return
        now = (core.role, core.term, core.leader)
        if now != node.shown:
            node.shown = now
            known = "" if core.leader in (None, node.id) else f", leader {core.leader}"
            self._print(f"{node.id}: {core.role}, term {core.term}{known}")
        for reason, times in core.rejected.items():
            if times != node.rejected.get(reason, 0):
                self._print(f"{node.id}: rejects: {reason}")
        node.rejected = dict(core.rejected)

    # --- looking -----------------------------------------------------------------------------

    def do_status(self, id: str | None = None) -> None:
        for node in self._nodes.values() if id is None else [self._nodes[int(id)]]:
            if node.core is None:
                self._print(f"{node.id}: down")
                continue
            status = node.core.status()
            parts = [
                f"{node.id}: {status.role}",
                f"term {status.term}",
                f"vote {status.vote or '-'}",
                f"leader {status.leader or '-'}",
                f"log {_log(node.core)}",
                f"commit {status.commit}",
                f"applied {status.last_applied}",
            ]
            if status.stable != status.last:
                parts.append(f"stable {status.stable}")
            if status.has_lease:
                parts.append("lease")
            if status.transferee is not None:
                parts.append(f"handing over to {status.transferee}")
            if status.quiesced:
                parts.append("quiesced")
            self._print(", ".join(parts))

    def do_log(self, id: str | None = None) -> None:
        for node in self._nodes.values() if id is None else [self._nodes[int(id)]]:
            if node.core is not None:
                log = node.core.log
                terms = " ".join(str(log.term(index)) for index in range(log.first, log.last + 1))
                base = f"(..{log.base}@{log.base_term}) " if log.base else ""
                self._print(f"{node.id}: {base}{terms or '-'}")

    def do_progress(self, id: str) -> None:
        for peer in self._core(id).status().peers:
            flags = [
                name
                for name, value in (
                    ("paused", peer.paused),
                    ("silent", not peer.active),
                    ("witness", peer.witness),
                    (f"inflight {peer.inflight_entries}", peer.inflight_entries),
                    (f"snapshot bytes {peer.snapshot_bytes_sent}", peer.snapshot_bytes_sent),
                )
                if value
            ]
            self._print(
                f"{id} sees {peer.id}: "
                + ", ".join([peer.state, f"match {peer.match}", f"next {peer.next}", *flags])
            )

    def do_membership(self, id: str) -> None:
        core = self._core(id)
        self._print(f"{id}: {_membership(core.membership)} since {core.membership_index}")

    def _core(self, id: str) -> Raft:
        core = self._nodes[int(id)].core
        if core is None:
            raise SettingError(f"{id} is down")
        return core

    def _print(self, line: str) -> None:
        self._out.append(line)


# --- how things are written ------------------------------------------------------------------


def show(message: Any) -> str:
    """A message in one short line."""
    kind = type(message).__name__
    words = [f"{message.sender}>{message.to}", kind, f"t{message.term}"]
    if isinstance(message, messages.RequestVote):
        words.append(f"last={message.last_index}@{message.last_term}")
        words += [name for name in ("pre", "transfer") if getattr(message, name)]
    elif isinstance(message, messages.VoteReply):
        words.append("granted" if message.granted else "refused")
        words += ["pre"] if message.pre else []
    elif isinstance(message, messages.AppendEntries):
        words.append(f"prev={message.prev_index}@{message.prev_term}")
        if message.block is not None:
            words.append(_entries(message.block))
        words.append(f"commit={message.commit}")
        words += [f"round={message.round}"] if message.round else []
    elif isinstance(message, messages.AppendReply):
        if message.refused:
            words += [f"refused={message.match}", f"hint={message.hint_index}@{message.hint_term}"]
        else:
            words.append(f"match={message.match}")
        words += [f"round={message.round}"] if message.round else []
    elif isinstance(message, messages.InstallSnapshot):
        end = message.offset + len(message.data)
        words.append(f"at={message.index}@{message.index_term}")
        words.append(f"bytes={message.offset}..{end}/{message.total_bytes}")
        words += [f"round={message.round}"] if message.round else []
    elif isinstance(message, messages.SnapshotReply):
        words.append(f"at={message.index}")
        words.append("installed" if message.installed else f"has={message.offset}")
        words += [f"round={message.round}"] if message.round else []
    elif isinstance(message, messages.Quiesce):
        words.append(f"index={message.index}")
    elif isinstance(message, messages.ReadRequest):
        words.append(message.context.decode())
    elif isinstance(message, messages.ReadReply):
        words += [message.context.decode(), f"at={message.index}" if message.index else "refused"]
    elif isinstance(message, messages.Propose):
        words.append(f"[{' '.join(_text(payload) for payload in message.payloads)}]")
    elif isinstance(message, messages.ProposeReply):
        words.append(f"at={message.index}" if message.index else "refused")
    return " ".join(words)


def _text(payload: bytes) -> str:
    return payload.decode() if len(payload) <= SHOWN_BYTES else f"<{len(payload)} bytes>"


def _span(entries: Any) -> str:
    return str(entries.first) + (f"..{entries.last}" if entries.last > entries.first else "")


def _runs(first: int, terms: Iterable[int]) -> str:
    """3..5@1 6@2"""
    runs: list[list[int]] = []
    for index, term in enumerate(terms, first):
        if runs and runs[-1][2] == term:
            runs[-1][1] = index
        else:
            runs.append([index, index, term])
    return " ".join(f"{low}{f'..{high}' if high > low else ''}@{term}" for low, high, term in runs)


def _entries(block: Block) -> str:
    terms = [block.term(index) for index in range(block.first, block.last + 1)]
    return "+" + _runs(block.first, terms).replace(" ", " +")


def _terms(log: Log) -> str:
    return _runs(log.first, (log.term(index) for index in range(log.first, log.last + 1))) or "-"


def _log(core: Raft) -> str:
    log = core.log
    return (f"(..{log.base}@{log.base_term}) " if log.base else "") + _terms(log)


def _writes(ready: Ready) -> str:
    parts = [""]
    if (state := ready.hard_state) is not None:
        parts.append(f"term={state.term} vote={state.vote or '-'} commit={state.commit}")
    for chunk in ready.chunks or ():
        parts.append(f"bytes={chunk.offset}..{chunk.offset + len(chunk.data)}")
    if ready.snapshot is not None:
        parts.append(f"snapshot={ready.snapshot.index}@{ready.snapshot.term}")
    if ready.block is not None:
        parts.append(_entries(ready.block))
    return " ".join(parts)


def _membership(membership: Membership) -> str:
    parts = []
    for name in ("voters", "outgoing", "learners", "witnesses"):
        if nodes := getattr(membership, name):
            parts.append(f"{name}={','.join(map(str, nodes))}")
    return " ".join(parts) + (" auto-leave" if membership.auto_leave else "")


# --- how arguments are read ------------------------------------------------------------------


def _ids(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _payloads(texts: Sequence[str]) -> list[bytes]:
    payloads = []
    for text in texts:
        word, _, times = text.partition("*")
        payloads.append(word.encode() * int(times or 1))
    return payloads


def _commands(data: bytes) -> list[bytes]:
    return data.split(b"\n") if data else []


def _pair_and_count(words: Sequence[str]) -> tuple[tuple[int, int] | None, int | None]:
    pair = (int(words[0]), int(words[1])) if len(words) >= 2 else None
    left = words[2:] if pair else words
    return pair, int(left[0]) if left else None


def _config(settings: dict[str, str]) -> Config:
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name == "priorities":
            pairs = (pair.split(":") for pair in text.split(","))
            values[name] = {int(id): int(priority) for id, priority in pairs}
        elif text in ("on", "off"):
            values[name] = text == "on"
        else:
            values[name] = float(text) if "." in text else int(text)
    return Config(**values)
