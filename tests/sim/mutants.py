"""Known bugs, injected one by one: the simulator must catch every one.

This file has the table of Raft's and the command line; Multi-Paxos' are in paxos_mutants.py, and
mutation.py says what a mutant is.

    python tests/sim/mutants.py                 each mutant with its seed: is it still caught?
    python tests/sim/mutants.py NAME ...        these only
    python tests/sim/mutants.py --search NAME   from seed 1 on until it is caught; notes the seed
    python tests/sim/mutants.py --report        writes docs/mutations.md from what was found
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim import paxos_mutants
from sim.mutation import (
    CORE_BASE,
    DRIFT_IGNORED,
    DRIFTING,
    DRIVER,
    KNOWN,
    LOG_TWIN,
    OWN,
    RECORD,
    RECOVERY,
    WAL,
    Catch,
    Mutant,
    Outcome,
    Setting,
    check,
    in_processes,
    known,
    report_on,
)
from sim.mutation import changes_in as _in
from sim.mutation import row as _mutant

from ringleader.sim.profiles import FAULTS, MS, SECOND

CORE = "consensus/raft/core.py"
PROGRESS = "consensus/raft/progress.py"

_LEASES = Setting(
    profile="lan-3",
    faults=replace(
        FAULTS["all"],
        name="all, partitions and transfers every half second",
        network=replace(
            FAULTS["all"].network, partition_every_us=500 * MS, partition_us=(100 * MS, 500 * MS)
        ),
        membership=replace(FAULTS["all"].membership, transfer_every_us=500 * MS),
    ),
    seconds=6.0,
    clients=12,
    config=(("lease", True), ("pre_vote", True), ("check_quorum", True)),
)
_READS = replace(_LEASES, config=(("lease", False), ("pre_vote", True), ("check_quorum", False)))
#: Leaders that are cut off with much that is not committed, and come back.
_DIVERGENT = Setting(
    faults=replace(
        FAULTS["all"],
        name="all, partitions every second and a half, slow disks",
        network=replace(
            FAULTS["all"].network, partition_every_us=1500 * MS, partition_us=(500 * MS, 4 * SECOND)
        ),
        disk=replace(FAULTS["all"].disk, stall_rate=0.02),
    ),
    seconds=20.0,
    clients=20,
)
#: The same, and what is written is durable long after.
_SLOW_DISKS = replace(
    _DIVERGENT,
    faults=replace(
        _DIVERGENT.faults,
        name="all, partitions every 0.8 s, a third of the syncs up to a second and a half late",
        network=replace(
            FAULTS["all"].network, partition_every_us=800 * MS, partition_us=(300 * MS, 2 * SECOND)
        ),
        disk=replace(FAULTS["all"].disk, stall_rate=0.3, stall_us=(200 * MS, 1500 * MS)),
    ),
)
#: Messages that arrive a term too late.
_LATE = Setting(
    profile="lan-5",
    faults=replace(
        FAULTS["all"],
        name="all, a fifth of the messages up to a second late",
        network=replace(
            FAULTS["all"].network,
            reorder_rate=0.2,
            reorder_us=1 * SECOND,
            partition_every_us=1 * SECOND,
            partition_us=(100 * MS, 1 * SECOND),
        ),
    ),
    seconds=5.0,
    config=(("pre_vote", True), ("check_quorum", False), ("lease", False)),
)
_LATE_VOTES = replace(_LATE, config=(("pre_vote", False), ("check_quorum", True), ("lease", False)))
#: Leadership that comes back to who had it.
_BACK = replace(
    _DIVERGENT,
    faults=replace(
        _DIVERGENT.faults,
        name="all but changes of membership, partitions every 1.5 s, transfers every 0.7 s",
        membership=replace(FAULTS["all"].membership, change_every_us=0, transfer_every_us=700 * MS),
    ),
)
#: Processes that die and come back at once, and messages that do not know it.
_RESTLESS = Setting(
    profile="lan-3",
    faults=replace(
        FAULTS["all"],
        name="all, processes that restart often and at once, messages up to two seconds late",
        network=replace(FAULTS["all"].network, reorder_rate=0.3, reorder_us=2 * SECOND),
        crash=replace(FAULTS["all"].crash, every_us=300 * MS, down_us=(0, 5 * MS), power_rate=0.1),
    ),
    seconds=6.0,
    clients=20,
)
#: Power that fails while writes are under way.
_TORN = Setting(
    faults=replace(
        FAULTS["all"],
        name="all, power lost every 0.7 s, slow disks, tails filled with zeros or garbage",
        crash=replace(
            FAULTS["all"].crash, every_us=700 * MS, down_us=(10 * MS, 500 * MS), power_rate=1.0
        ),
        disk=replace(
            FAULTS["all"].disk,
            torn_rate=0.3,
            fill_rate=0.8,
            flip_unsynced_rate=0.3,
            stall_rate=0.1,
            stall_us=(50 * MS, 500 * MS),
        ),
    ),
)

MUTANTS: tuple[Mutant, ...] = (
    # --- elections
    _mutant(
        "votes twice in a term",
        {1},
        "a voter forgets that it has voted, and grants a second candidate of the same term",
        "Raft §5.2; ktoso/akka-raft#56, redpanda-data/redpanda#19",
        _in(
            CORE,
            (
                "                self.vote is None\n                and self.leader is None\n",
                "                self.leader is None\n",
            ),
        ),
    ),
    _mutant(
        "vote sent before it is durable",
        {6},
        "a vote leaves before the disk has it; after a crash it can be given again",
        "Raft §5.1 and figure 2 (persistent state); robustmq/robustmq#2039",
        _in(
            CORE,
            (
                "self._reply(VoteReply(self.id, message.sender, message.term, True, message.pre))",
                "self._early.append("
                "VoteReply(self.id, message.sender, message.term, True, message.pre))",
            ),
        ),
    ),
    _mutant(
        "term shown before it is durable",
        {6},
        "a candidate asks for votes in a term that its disk does not know yet",
        "Raft figure 2; valkey-io/valkey#3887 (review)",
        _in(
            CORE,
            (
                "                    self._waiting.append(request)",
                "                    self._early.append(request)",
            ),
        ),
    ),
    _mutant(
        "stale vote counted",
        {1},
        "a vote of an earlier term is counted in this one",
        "Raft §5.2; andreev-io/little-raft#44",
        _in(
            CORE,
            (
                "            return\n\n        if isinstance(message, AppendEntries):\n"
                "            self._on_append_entries(message)",
                "            if not isinstance(message, VoteReply):\n                return\n\n"
                "        if isinstance(message, AppendEntries):\n"
                "            self._on_append_entries(message)",
            ),
            (
                "if message.granted and message.term != self.term + (1 if message.pre else 0):",
                "if message.pre and message.granted and message.term != self.term + 1:",
            ),
        ),
        setting=_LATE_VOTES,
        budget=400,
    ),
    _mutant(
        "pre-votes taken for votes",
        {1},
        "a candidate counts the answers to its pre-vote among the votes",
        "canonical/raft#196",
        _in(
            CORE,
            (
                "if self.role_number != (PRE_CANDIDATE if message.pre else CANDIDATE):",
                "if self.role_number not in (PRE_CANDIDATE, CANDIDATE):",
            ),
            (
                "if message.granted and message.term != self.term + (1 if message.pre else 0):",
                "if message.granted and message.term < self.term:",
            ),
        ),
    ),
    _mutant(
        "pre-vote raises the term",
        {11},
        "a node that is asked whether it would vote takes up the term that was asked about",
        "dissertation §9.6; " + OWN,
        _in(
            CORE,
            (
                "                if not message.pre:\n"
                "                    self._become_follower(message.term, None)",
                "                self._become_follower(message.term, None)",
            ),
        ),
    ),
    _mutant(
        "campaigns without pre-votes",
        {11},
        "a pre-candidate that was refused campaigns all the same",
        "dissertation §9.6; " + OWN,
        _in(
            CORE,
            (
                '        elif outcome == "lost":\n'
                "            self._become_follower(self.term, None)",
                '        elif outcome == "lost":\n'
                "            if self.role_number == PRE_CANDIDATE:\n"
                "                self._campaign(False, False)\n"
                "            else:\n"
                "                self._become_follower(self.term, None)",
            ),
        ),
    ),
    _mutant(
        "up to date by length alone",
        {4},
        "voters compare the candidate's last index with theirs, and not the last term first",
        "Raft §5.4.1; " + OWN,
        _in(
            CORE,
            (
                "up_to_date = message.last_term > last_term or (\n"
                "            message.last_term == last_term and message.last_index >= self._last\n"
                "        )",
                "up_to_date = message.last_index >= self._last",
            ),
        ),
        setting=_DIVERGENT,
        budget=400,
    ),
    _mutant(
        "transfer to a short log",
        {4},
        "leadership is handed over before the target has caught up, and voters vote for the target "
        "of a transfer whatever its log",
        "dissertation §3.10; " + OWN,
        _in(
            CORE,
            (
                "        if peer.match == self._last:\n            # From here",
                "        if True:\n            # From here",
            ),
            ("if free and up_to_date:", "if free and (up_to_date or message.transfer):"),
        ),
    ),
    # --- replication
    _mutant(
        "commits an earlier term by counting",
        {7, 4},
        "a leader commits entries of earlier terms as soon as a majority holds them (figure 8)",
        "Raft §5.4.2, figure 8",
        _in(
            CORE,
            (
                "if index > self.commit and index >= self.term_start:\n            self._commit_to",
                "if index > self.commit:\n            self._commit_to",
            ),
        ),
    ),
    _mutant(
        "late append shortens the log",
        {2, 5, 6, 7},
        "every AppendEntries cuts the log after its predecessor, also a late or repeated one that "
        "conflicts with nothing",
        "Raft figure 2, AppendEntries 3; shipped in a widely used Raft for Python; the "
        "students' guide to MIT 6.824",
        _in(
            LOG_TWIN,
            (
                "            if at <= self.last and "
                "self._entries[at - self.first][0] == entry[0]:\n"
                "                continue\n",
                "",
            ),
        ),
    ),
    _mutant(
        "conflicting tail kept",
        {3, 5, 6, 7, 14},
        "entries that conflict are replaced one by one, and what follows them stays",
        "Raft §5.3; mofa-org/mofa#1150",
        _in(
            LOG_TWIN,
            (
                "            del self._entries[at - self.first :]\n"
                "            self._entries += arrived[at - index - 1 :]",
                "            rest = arrived[at - index - 1 :]\n"
                "            self._entries[at - self.first : at - self.first + len(rest)] = rest",
            ),
        ),
    ),
    _mutant(
        "commits beyond the matched prefix",
        {5, 6, 7},
        "a follower takes the leader's commit index for its whole log, not for the part that the "
        "message has shown to be the same",
        "Raft figure 2, AppendEntries 5; atomix/copycat#265, scylladb/scylladb#9965",
        _in(
            CORE,
            (
                "if message.commit > self.commit and matched > self.commit:\n"
                "            self._commit_to(min(message.commit, matched))",
                "if message.commit > self.commit:\n"
                "            self._commit_to(min(message.commit, self._last))",
            ),
        ),
        setting=_DIVERGENT,
        budget=400,
    ),
    _mutant(
        "heartbeat commits a divergent tail",
        {5, 6, 7},
        "a heartbeat's commit index is believed whether or not its predecessor is there",
        "Raft §5.3; atomix/copycat#110",
        _in(
            CORE,
            (
                "        try:\n            matched = self.log.try_append(",
                "        if block is None and message.commit > self.commit:\n"
                "            self._commit_to(max(self.commit, min(message.commit, self._last)))\n"
                "        try:\n            matched = self.log.try_append(",
            ),
        ),
        setting=_DIVERGENT,
        budget=400,
    ),
    _mutant(
        "match index of an earlier term",
        {4, 7},
        "what a follower acknowledged to an earlier leadership of this node counts for the present "
        "one: match indices are kept, and late answers counted",
        "Raft §5.3 (matchIndex is of a term); " + OWN,
        (
            *_in(
                CORE,
                (
                    "            return\n\n        if isinstance(message, AppendEntries):\n"
                    "            self._on_append_entries(message)",
                    "            if not isinstance(message, AppendReply):\n"
                    "                return\n\n"
                    "        if isinstance(message, AppendEntries):\n"
                    "            self._on_append_entries(message)",
                ),
                # Our checks would notice most of them: this is a core without.
                (
                    "        if message.round > self.round:\n"
                    '            self._reject("answer to a round that was never sent")\n'
                    "            return\n"
                    "        if not message.refused and message.match > self._last:\n"
                    '            self._reject("match beyond the log")\n'
                    "            return\n"
                    "        self._heard(peer, message.round)\n"
                    "        if message.refused:\n",
                    "        self._heard("
                    "peer, message.round if message.round <= self.round else 0)\n"
                    "        if message.refused:\n",
                ),
                (
                    "        self.round = self.round_acked = 0\n        self._lease_lost = False\n",
                    "        self.round = self.round_acked = 0\n        self._lease_lost = False\n"
                    "        for peer in self._peers:\n"
                    "            peer.round = peer.round_sent = 0\n"
                    "            peer.become_probe(self._last + 1)\n",
                ),
            ),
            *_in(
                CORE_BASE,
                (
                    "        self.progress = {}\n        self._peers = []\n        self._round",
                    "        self._round",
                ),
            ),
        ),
        setting=_BACK,
        budget=200,
    ),
    _mutant(
        "acknowledged before it is durable",
        {6},
        "a follower acknowledges entries that its disk does not have yet",
        "Raft §5.1, figure 2; " + OWN,
        _in(
            CORE,
            (
                "self._reply(accepted(self.id, message.sender, self.term, matched, message.round))",
                "self._early.append("
                "accepted(self.id, message.sender, self.term, matched, message.round))",
            ),
        ),
    ),
    _mutant(
        "leader counts itself early",
        {7},
        "a leader counts itself for entries that its own disk does not have yet",
        "dissertation §10.2.1 (what that optimisation must not do)",
        (
            *_in(CORE, ("acked[self.id] = self.stable", "acked[self.id] = self._last")),
            *_in(CORE_BASE, ("count = 1 if self.stable >= index else 0", "count = 1")),
        ),
    ),
    _mutant(
        "write acknowledged after a truncation",
        {6, 7},
        "a write that ends after its entries were replaced counts for those that stand there now "
        "(the ABA of asynchronous writes)",
        "etcd-io/raft#8",
        _in(
            CORE_BASE,
            (
                "        for ready in self._outstanding:\n"
                "            if ready.last > index:\n"
                "                ready.last = index",
                "",
            ),
        ),
        setting=_SLOW_DISKS,
        budget=400,
    ),
    _mutant(
        "applied before it is durable",
        {6},
        "committed entries are applied though the own disk does not have them yet",
        "ringleader.consensus.ready (rule 3); " + OWN,
        _in(CORE_BASE, ("ceiling = min(self.commit, self.stable)", "ceiling = self.commit")),
    ),
    _mutant(
        "old leader drops its tail",
        {2, 3, 4, 6, 7},
        "a leader that steps down drops what is not committed, though others may have it committed",
        "Raft §5.4.2; " + OWN,
        _in(
            CORE_BASE,
            (
                '        """The log stays as it is: what was not committed may still be."""',
                "        if self._last > self.commit:\n"
                "            self.log.truncate(self.commit + 1)\n"
                "            self._last = self.commit\n"
                "            self._forget_stable(self.commit)\n"
                "            self._drop_memberships(self.commit + 1)",
            ),
        ),
    ),
    _mutant(
        "index 0 taken for none",
        {12},
        "a refusal whose hint is index 0 (an empty log) is taken for one without, and dropped",
        "the general form: an index that is falsy; " + OWN,
        _in(
            CORE,
            (
                "        hint = min(message.hint_index, refused - 1)",
                "        if not message.hint_index:\n            return\n"
                "        hint = min(message.hint_index, refused - 1)",
            ),
        ),
    ),
    _mutant(
        "lost append never repeated",
        {12},
        "what was in flight to a follower and lost keeps its place in the window for ever",
        "hashicorp/raft#612, etcd-io/etcd#14633",
        _in(
            CORE,
            (
                "if peer.state == SNAPSHOT or refused <= peer.match:",
                "if peer.state != PROBE or refused <= peer.match:",
            ),
        ),
    ),
    # --- snapshots
    _mutant(
        "snapshot keeps a divergent tail",
        {3, 5, 6, 7, 14},
        "a snapshot that the log does not contain replaces its beginning; what follows stays",
        "Raft §7; hashicorp/raft#697",
        (
            *_in(
                LOG_TWIN,
                (
                    "        self._base, self._base_term = at, of_term\n"
                    "        self._entries: list[Entry] = []\n",
                    '        kept = getattr(self, "_entries", [])\n'
                    '        kept = kept[at - getattr(self, "_base", 0) :]\n'
                    "        self._base, self._base_term = at, of_term\n"
                    "        self._entries: list[Entry] = kept\n",
                ),
            ),
            *_in(
                CORE_BASE,
                (
                    "        self._last = self._base = index\n",
                    "        self._base = index\n        self._last = self.log.last\n",
                ),
            ),
        ),
        setting=_DIVERGENT,
        budget=400,
    ),
    _mutant(
        "lost chunk never sent again",
        {12},
        "a piece of a snapshot that the network lost is not sent again",
        "dgraph-io/dgraph#2707",
        _in(
            CORE,
            (
                "                    peer.sent = peer.offset  # lost on the way: go back\n",
                "",
            ),
        ),
    ),
    _mutant(
        "older snapshot installed",
        {5, 6, 7, 14},
        "a snapshot that is older than what was applied is installed: the state moves back",
        "Raft §7; Alluxio/alluxio#12179, camunda/camunda#6092",
        _in(
            CORE,
            (
                "        if index <= self.commit:\n            # Older than what is here already.",
                "        if index < self._base:\n            # Older than what is here already.",
            ),
        ),
    ),
    _mutant(
        "snapshot acknowledged before it is durable",
        {6},
        "a follower says that it has installed a snapshot before its disk has it",
        "Raft §7; " + OWN,
        _in(
            CORE,
            (
                "                self._install_snapshot(message)\n"
                "                self._reply(\n"
                "                    SnapshotReply(",
                "                self._install_snapshot(message)\n"
                "                self._early.append(\n"
                "                    SnapshotReply(",
            ),
        ),
    ),
    _mutant(
        "chunks of two snapshots mixed",
        {5, 6, 14},
        "chunks are put together by their offsets, whatever snapshot they are of, and the sum is "
        "not checked",
        "Raft §7 (chunks carry an offset, and no name); " + OWN,
        (
            *_in(
                CORE, ("        if self._incoming != name:", "        if self._incoming is None:")
            ),
            *_in(
                CORE_BASE,
                (
                    "if self._incoming_bytes == total_bytes and self._incoming_crc != checksum:",
                    "if False:",
                ),
            ),
        ),
    ),
    # --- membership
    _mutant(
        "membership changes before the term commits",
        {8},
        "a new leader changes the membership before an entry of its own term is committed",
        "the correction of 2015 to dissertation §4.1; AxonIQ/axon-server-se#120",
        _in(
            CORE,
            (
                "        if self.commit < self.term_start:\n"
                '            raise ProposalRefused("nothing',
                '        if False:\n            raise ProposalRefused("nothing',
            ),
        ),
    ),
    _mutant(
        "two changes at once",
        {8},
        "a change of membership begins while another one is not committed",
        "dissertation §4.1; " + OWN,
        _in(
            CORE,
            (
                "        if self.membership_index > self.commit:\n            raise",
                "        if False:\n            raise",
            ),
        ),
    ),
    _mutant(
        "configuration in force when applied",
        {1, 7, 8},
        "a node campaigns and counts under the configuration that it has applied, not under the "
        "latest one in its log",
        "Raft §6; etcd-io/raft#456 (theirs is in force when applied, and guarded)",
        (
            *_in(
                CORE,
                (
                    "        since, membership = self.memberships[-1]\n"
                    "        self._use_membership(since, membership)\n\n"
                    "    def _drop_memberships",
                    "        for since, membership in self.memberships:\n"
                    "            if since <= max(self.last_applied, self._base):\n"
                    "                self._use_membership(since, membership)\n\n"
                    "    def _drop_memberships",
                ),
            ),
            *_in(
                CORE_BASE,
                (
                    "        self.last_applied = index\n\n    def _forget_stable",
                    "        self.last_applied = index\n"
                    "        for since, membership in self.memberships:\n"
                    "            if self.membership_index < since <= index:\n"
                    "                self._use_membership(since, membership)\n\n"
                    "    def _forget_stable",
                ),
            ),
        ),
    ),
    _mutant(
        "configuration stays when its entry is gone",
        {8, 1, 7},
        "a configuration whose entry was replaced stays in force",
        "Raft §6 (the latest in the log); " + OWN,
        _in(CORE, ("                self._drop_memberships(written)\n", "")),
    ),
    _mutant(
        "learners counted",
        {1, 7},
        "learners count in the quorum",
        "dissertation §4.2.1; " + OWN,
        _in(
            CORE,
            ("return self._half(membership.voters)", "return self._half(membership.members)"),
        ),
    ),
    _mutant(
        "joint decided by one half",
        {1, 7},
        "in a joint configuration the new half decides alone",
        "Raft §6; " + OWN,
        _in(
            CORE,
            (
                "return Joint(self._half(membership.voters), self._half(membership.outgoing))",
                "return self._half(membership.voters)",
            ),
        ),
    ),
    _mutant(
        "joint left before it is committed",
        {8},
        "the entry that leaves a joint configuration follows it at once",
        "Raft §6; " + OWN,
        _in(
            CORE,
            (
                "return self._append_membership(after)",
                "index = self._append_membership(after)\n"
                "        if self.membership.joint and self.membership.auto_leave:\n"
                "            self._append_membership(self.membership.left())\n"
                "        return index",
            ),
        ),
    ),
    # --- reads
    _mutant(
        "read without a round",
        {9, 13},
        "a leader answers reads without asking whether it still is one",
        "Raft §8; dissertation §6.4",
        _in(
            CORE_BASE,
            ("elif self.has_lease or not self._peers:", "else:"),
            (
                "        else:\n"
                "            # The next round, not one that is under way: it has to begin "
                "after the read.\n"
                "            self._reads.append("
                "(self.round + 1, self.commit, context, requester))\n"
                "            self._round_wanted = True\n",
                "",
            ),
        ),
        setting=_READS,
        budget=400,
    ),
    _mutant(
        "read before the term's first commit",
        {9, 13},
        "a new leader serves reads at the commit index that it knows, before it has committed "
        "anything of its term",
        "dissertation §6.4, step 1; etcd-io/etcd#7331, tikv/tikv#9239",
        _in(
            CORE_BASE,
            (
                "        if not self._knows_all():\n            self._reads_early",
                "        if False:\n            self._reads_early",
            ),
        ),
    ),
    _mutant(
        "lease without regard to drift",
        {9, 13},
        "a lease lasts until the leader's own clock says that it has to step down",
        "dissertation §6.4.1; etcd-io/raft (ReadOnlyLeaseBased, documented there)",
        DRIFT_IGNORED,
        setting=DRIFTING,
        budget=200,
    ),
    _mutant(
        "transfer keeps the lease",
        {9, 13},
        "a leader that has told another to campaign goes on serving reads under its lease",
        "dissertation §6.4.1; tikv/raft-rs#234, databendlabs/openraft#1747",
        _in(CORE, ("            self._lease_lost = True\n", "")),
        setting=_LEASES,
        budget=400,
    ),
    _mutant(
        "read context used again",
        {9, 13},
        "after a restart reads are numbered from 1 again, so that an answer to a read of the "
        "earlier life meets one of this life",
        OWN,
        _in(
            DRIVER,
            (
                'context = f"{self.core.seed}:{self._sequence}".encode()',
                'context = f"{self._sequence}".encode()',
            ),
        ),
        setting=_RESTLESS,
        budget=400,
    ),
    # --- proposals
    _mutant(
        "refused proposal kept",
        {15},
        "a proposal that is refused for want of room stays in the log",
        OWN,
        _in(
            CORE_BASE,
            (
                "            self.log.truncate(first)  # nobody has seen it\n"
                "            self._last = first - 1\n",
                "",
            ),
        ),
    ),
    _mutant(
        "repeated forward taken twice",
        {15},
        "a forwarded proposal that the network repeats is appended twice",
        "dissertation §6.3; " + OWN,
        _in(
            CORE_BASE,
            (
                "        if not self._is_new(message.sender, message.ticket):\n"
                "            return\n",
                "",
            ),
        ),
    ),
    _mutant(
        "unanswered forward called refused",
        {15},
        "a forwarded proposal without an answer is reported as refused; it may yet be committed",
        "dissertation §6.3; " + OWN,
        _in(
            DRIVER,
            (
                'self._tickets.pop(ticket).done(Outcome("unknown", leader=self.core.leader))',
                'self._tickets.pop(ticket).done(Outcome("refused", leader=self.core.leader))',
            ),
        ),
    ),
    # --- disks and restarts
    _mutant(
        "no sync before the callback",
        {6},
        "the log is appended to and reported as durable without a sync",
        "Raft figure 2 (persistent state); robustmq/robustmq#2039",
        _in(
            WAL,
            (
                "        self.disk.sync(self._segment_name, self._synced)\n",
                "        self._synced(None)\n",
            ),
        ),
    ),
    _mutant(
        "snapshot named before it is synced",
        {6},
        "a snapshot's file gets its name before its bytes are durable",
        OWN,
        _in(
            WAL,
            (
                "wal.disk.sync(part, self._install_synced)",
                "self._install_synced(None)",
            ),
        ),
    ),
    _mutant(
        "zeros read as entries",
        {3, 6, 7},
        "zeros that a crash left behind the last record are read as empty entries",
        "databendlabs/databend#17042",
        _in(
            RECOVERY,
            (
                "            if found is None:\n                return at\n",
                "            if found is None:\n"
                "                if at and at + 32 <= len(view) and not any(view[at : at + 32]):\n"
                "                    log = self.group(0).log\n"
                '                    log.append(max(1, log.last_term), [b""])\n'
                "                    at += 32\n"
                "                    continue\n"
                "                return at\n",
            ),
        ),
        setting=_TORN,
        budget=400,
    ),
    _mutant(
        "torn last record accepted",
        {3, 6, 14},
        "a record that was cut off is taken for whole as far as it goes",
        "rabbitmq/ra#284 (its mending)",
        _in(
            RECORD,
            (
                "    found = records.parse(data, at, RECORD_BYTES_MAX)\n",
                "    found = records.parse(data, at, RECORD_BYTES_MAX)\n"
                "    room = len(data) - at - HEADER_BYTES\n"
                "    if found is None and room >= 0:\n"
                "        head = struct.Struct('<IIIIQQ').unpack_from(data, at)\n"
                "        if head[2] and room < head[1] <= RECORD_BYTES_MAX:\n"
                "            found = (*head[2:6], room)\n",
            ),
        ),
    ),
    _mutant(
        "checksum of records not checked",
        {3, 6, 14},
        "a record's checksum is written and never looked at",
        OWN,
        _in(
            RECORD,
            (
                "    found = records.parse(data, at, RECORD_BYTES_MAX)\n",
                "    found = None\n"
                "    room = len(data) - at - HEADER_BYTES\n"
                "    if room >= 0:\n"
                "        head = struct.Struct('<IIIIQQ').unpack_from(data, at)\n"
                "        if head[2] and head[1] + -head[1] % ALIGN_BYTES <= room:\n"
                "            found = (*head[2:6], head[1])\n",
            ),
        ),
        setting=_TORN,
        budget=400,
    ),
    _mutant(
        "damage taken for a torn write",
        {6},
        "a record that was durable and is spoiled ends the log without a word",
        "Alagappan et al., Protocol-Aware Recovery for Consensus-Based Storage, FAST 2018",
        _in(
            RECOVERY,
            ("        if witness is not None:", "        if witness is None and False:"),
        ),
    ),
    _mutant(
        "applied index moves back after a restart",
        {5},
        "after a restart the entries that were kept behind the snapshot are applied to it again",
        OWN,
        _in(
            CORE_BASE,
            ("        self.last_applied = start\n", "        self.last_applied = base\n"),
            ("        self.applying = start\n", "        self.applying = base\n"),
        ),
    ),
)
#: Of both tables.
ALL = (*MUTANTS, *paxos_mutants.MUTANTS)
BY_NAME = {mutant.name: mutant for mutant in ALL}


# --- the report -------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "mutations.md"

HEAD = """\
# Known bugs that the simulator catches

<!-- Written by tests/sim/mutants.py --report; do not edit. -->

Each of these bugs is injected alone, as a replacement in the source (tests/sim/mutants.py and
tests/sim/paxos_mutants.py have the texts), and the simulator runs seed after seed, from 1 on, until
one breaks an invariant that the bug is about.  The same seeds pass without the bug.
tests/sim/test_mutants.py checks both.

"Faults" is `all`, the set that `ringleader simulate` uses, where that catches the bug within a
hundred seeds (of 12 s with Raft, of 8 s with Multi-Paxos); where it was not found soon, a set of
faults that is tuned to the bug says what was tuned.  Invariants have the numbers of
`ringleader.sim.invariants`, and for Multi-Paxos of `ringleader.sim.paxos_invariants`.
"""
TAIL = """
### Changes that break nothing

These were tried, and are no bugs in this core, for the reasons given.

| change | why nothing can break |
| --- | --- |
| a candidate counts its own vote before its disk has it | its requests wait for the same write, \
so no other vote can be there before |
| a leader tells the target of a transfer to campaign before it has caught up | voters refuse a \
short log all the same; it is a bug together with voters that do not (above) |
| a probe that was lost is not released by the next heartbeat | the heartbeat goes to the same \
place in the log and asks for an answer: that answer goes on |
| a voter does not reset its election timer | more elections are split; with timeouts drawn anew \
each time the group still gets a leader in time |

### What is not covered

| bug | why |
| --- | --- |
| a quiesced group that never wakes | the simulator runs one group without quiescence: \
`RaftGroups` has its own tests |
| a read joins a round under way | rounds begin at every heartbeat; it needs an election, a \
commit and a read within one, and answers that come after: 400 seeds tuned to it do not come there |
| the commit index that is written lies beyond what is durable | it needs a power failure between \
two records of one batch, on a disk that holds another tail, in the first message of a new term: \
400 seeds tuned to it do not come there |
"""


def document() -> str:
    """docs/mutations.md, from what is known."""
    return "".join(
        (
            HEAD,
            _section("Raft", MUTANTS),
            TAIL,
            _section("Multi-Paxos", paxos_mutants.MUTANTS),
            paxos_mutants.TAIL,
        )
    )


def _section(title: str, mutants: tuple[Mutant, ...]) -> str:
    lines = [
        f"\n## {title}\n\n"
        "| bug | seen | profile, faults, time | caught by | after |\n"
        "| --- | --- | --- | --- | --- |\n"
    ]
    for mutant in mutants:
        found = known().get(mutant.name)
        caught, after = "**not caught**", f"{mutant.budget:,} seeds"
        if found is not None:
            caught = f"seed {found['seed']}: invariant {found['invariant']}"
            after = f"{found['messages']:,} messages"
        cells = (
            f"**{mutant.name}**: {mutant.bug}",
            mutant.seen,
            str(mutant.setting),
            caught,
            after,
        )
        lines.append("| " + " | ".join(cells) + " |\n")
    count = sum(mutant.name in known() for mutant in mutants)
    lines.append(f"\n{count} of {len(mutants)} are caught.\n")
    return "".join(lines)


def _print(catch: Catch, sound: Outcome | None) -> None:
    outcome = catch.outcome
    after = f"{catch.seeds} seeds, {catch.messages} messages"
    if outcome is None:
        print(f"NOT CAUGHT  {catch.mutant.name}, {after}", flush=True)
    else:
        print(
            f"seed {outcome.seed:4} {catch.mutant.name}, {after}: {outcome.text[:150]}", flush=True
        )
        if sound is not None and sound.number is not None:
            print(f"            but without it, too: {sound.text}", flush=True)
    for wrong in catch.wrong[:3]:
        print(f"            seed {wrong.seed}, another invariant: {wrong.text[:200]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of mutants, or parts of names; by default all")
    parser.add_argument("--search", action="store_true", help="from seed 1 on, and note the first")
    parser.add_argument("--report", action="store_true", help="write docs/mutations.md")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.report:
        DOCUMENT.write_text(document())
        return 0
    wanted = [
        mutant
        for mutant in ALL
        if not arguments.names or any(part in mutant.name for part in arguments.names)
    ]
    notes = dict(known())
    missed = False
    for catch, sound in in_processes(
        report_on if arguments.search else check, wanted, arguments.jobs
    ):
        _print(catch, sound)
        name, outcome = catch.mutant.name, catch.outcome
        missed |= outcome is None
        if not arguments.search:
            continue
        notes.pop(name, None)
        if outcome is not None and outcome.number is not None:
            notes[name] = {
                "seed": outcome.seed,
                "invariant": outcome.number,
                "messages": catch.messages,
            }
        kept = {name: notes[name] for name in BY_NAME if name in notes}
        KNOWN.write_text(json.dumps(kept, indent=2) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
