"""Known bugs of Multi-Paxos, injected one by one; see mutation.py, and mutants.py to run them."""

from __future__ import annotations

from dataclasses import replace

from sim.mutation import CORE_BASE, DRIFT_IGNORED, DRIFTING, OWN, Mutant, Setting
from sim.mutation import changes_in as _in
from sim.mutation import row as _mutant

from ringleader.sim.profiles import FAULTS, MS, SECOND

CORE = "consensus/paxos/core.py"
PROGRESS = "consensus/paxos/progress.py"
QUORUM = "consensus/quorum.py"
FAMILY = "sim/family.py"

_ALL = Setting(seconds=8.0, consensus="paxos")
_MAJORITY = replace(_ALL, config=(("quorum", "Majority"),))
#: Two leaders at a time, cut off from each other, and windows that fill.
_DUEL = Setting(
    profile="lan-5",
    faults=replace(
        FAULTS["all"],
        name="all but changes of membership, partitions every half second, slow disks",
        network=replace(
            FAULTS["all"].network, partition_every_us=500 * MS, partition_us=(100 * MS, 1 * SECOND)
        ),
        disk=replace(FAULTS["all"].disk, stall_rate=0.02, stall_us=(50 * MS, 500 * MS)),
        membership=replace(FAULTS["all"].membership, change_every_us=0),
    ),
    seconds=3.0,
    clients=12,
    consensus="paxos",
    config=(("window", 16), ("max_block_bytes", 200), ("max_inflight_entries", 256)),
)
#: The same, and processes that restart often.
_RESTARTS = replace(
    _DUEL,
    faults=replace(
        _DUEL.faults,
        name="all but changes of membership, partitions and restarts every 0.3 s",
        network=replace(_DUEL.faults.network, partition_every_us=300 * MS),
        crash=replace(FAULTS["all"].crash, every_us=200 * MS, down_us=(0, 50 * MS), power_rate=0.1),
    ),
)
#: Changes of membership, and transfers, one after the other.
_CHANGES = Setting(
    profile="lan-5",
    faults=replace(
        FAULTS["all"],
        name="all, membership changed every 0.3 s, leadership moved every 0.5 s",
        membership=replace(
            FAULTS["all"].membership, change_every_us=300 * MS, transfer_every_us=500 * MS
        ),
    ),
    seconds=3.0,
    consensus="paxos",
)
#: Leadership that comes back to who had it, and messages that do not know.
_BACK = replace(
    _DUEL,
    faults=replace(
        _DUEL.faults,
        name="all but changes of membership, transfers every 0.3 s, a fifth of the messages late",
        network=replace(FAULTS["all"].network, reorder_rate=0.2, reorder_us=1 * SECOND),
        membership=replace(FAULTS["all"].membership, change_every_us=0, transfer_every_us=300 * MS),
    ),
)
_DRIFTING = replace(DRIFTING, consensus="paxos")
#: Leaders that are cut off, and hand over, all the time.
_LEASES = Setting(
    profile="lan-3",
    faults=replace(
        FAULTS["all"],
        name="all but changes of membership, partitions and transfers every half second",
        network=replace(
            FAULTS["all"].network, partition_every_us=500 * MS, partition_us=(100 * MS, 500 * MS)
        ),
        membership=replace(FAULTS["all"].membership, change_every_us=0, transfer_every_us=500 * MS),
    ),
    seconds=6.0,
    clients=12,
    consensus="paxos",
    config=(("lease", True), ("pre_vote", True), ("check_quorum", True)),
)
_READS = replace(_LEASES, config=(("lease", False), ("pre_vote", True), ("check_quorum", False)))
MUTANTS: tuple[Mutant, ...] = (
    # --- promises
    _mutant(
        "promise forgotten at a restart",
        {1, 2},
        "an acceptor that comes back has promised no more than it has accepted",
        "Paxos Made Simple §2.5 (stable storage)",
        _in(
            CORE,
            (
                "        accepted_in = [block.last_term for block in aside]\n",
                "        accepted_in = [block.last_term for block in aside]\n"
                "        self.term = max(self.log.last_term, max(accepted_in, default=0))\n"
                "        self.vote = None\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "promise told before it is durable",
        {6},
        "a promise, and its report, leave before the disk has it",
        "Paxos Made Simple §2.5; Paxos Made Live §5.1 (disk corruption)",
        _in(
            CORE,
            (
                "            self._reply(\n"
                "                Promise(self.id, sender, ballot, attempt, False, report, part",
                "            self._early.append(\n"
                "                Promise(self.id, sender, ballot, attempt, False, report, part",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "acceptance told before it is durable",
        {6},
        "an acceptor says that it has accepted before its disk has the entries",
        "Paxos Made Simple §2.5",
        _in(
            CORE,
            (
                "            self._reply(\n                accepted(",
                "            self._early.append(\n                accepted(",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "prepare sent before it is durable",
        {6},
        "a proposer asks for promises in a ballot that its own disk does not know yet, and may use "
        "the ballot again after a crash",
        "Paxos Made Simple §2.5 (the highest number used)",
        _in(
            CORE,
            (
                "                    self._waiting.append(request)",
                "                    self._early.append(request)",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "ballot used again",
        {1, 2},
        "a proposer numbers its ballot after the last entry of its log, and forgets those that it "
        "used in vain",
        "Paxos Made Simple §2.2, §2.5 (no two proposals have the same number)",
        _in(
            CORE,
            (
                "self.ballot = next_ballot(max(self._seen, self.term), self.number)",
                "self.ballot = next_ballot(self.log.last_term, self.number)",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "accepts below its promise",
        {2},
        "an acceptor compares with the ballot that it last accepted in, and not with its promise",
        "Paxos Made Simple §2.2 (P1a)",
        _in(
            CORE,
            (
                '        """Phase 2b."""\n        ballot = message.term\n'
                "        if ballot < self.term:\n",
                '        """Phase 2b."""\n        ballot = message.term\n'
                "        if ballot < self.log.last_term:\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "promise goes back",
        {2},
        "an acceptor promises any ballot above the one that it last accepted in, whatever it has "
        "promised meanwhile",
        "Paxos Made Simple §2.2 (phase 1b)",
        _in(
            CORE,
            (
                "        if ballot < self.term or (ballot == self.term and message.probe):\n",
                "        if ballot < self.log.last_term or (\n"
                "            ballot <= self.term and message.probe\n        ):\n",
            ),
            (
                "        if ballot > self.term:\n            if message.commit < self.commit:\n",
                "        if ballot != self.term:\n            if message.commit < self.commit:\n",
            ),
            (
                "            self._become_follower(ballot, None)\n"
                "            self.vote = message.sender\n",
                "            self._become_follower(ballot, None)\n"
                "            self.term = ballot\n"
                "            self.vote = message.sender\n",
            ),
        ),
        setting=_ALL,
    ),
    # --- phase 1
    _mutant(
        "lowest ballot wins",
        {3, 4},
        "of the values reported for a slot, a new leader proposes the one of the lowest ballot",
        "Paxos Made Simple §2.2 (P2c)",
        _in(
            CORE,
            (
                "            if known is None or known[0] < ballot:\n",
                "            if known is None or known[0] > ballot:\n",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "first report wins",
        {3, 4},
        "of the values reported for a slot, a new leader proposes the one that it heard first",
        "Paxos Made Simple §2.2 (P2c)",
        _in(
            CORE,
            (
                "            if known is None or known[0] < ballot:\n",
                "            if known is None:\n",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "reports ignored",
        {3, 4},
        "a new leader proposes its own commands, whatever was reported to it",
        "Paxos Made Simple §2.2 (phase 2a)",
        _in(
            CORE,
            (
                "        for slot in [slot for slot in self.found if slot <= self.commit]:\n"
                "            del self.found[slot]\n",
                "        self.found = {}\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "own memory left out",
        {3, 4, 6},
        "a new leader takes the reports of the others, and forgets what it has accepted itself",
        "Paxos Made Simple §2.2 (P2c: the quorum includes it)",
        _in(
            CORE,
            (
                "        for block in self._report(self.commit, self.ballot):\n",
                "        for block in ():\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "gap ends what is proposed again",
        {3, 4},
        "a new leader proposes again what was reported up to the first slot without a value, and "
        "its own commands from there on",
        "Paxos Made Simple §3 (slots 136 and 137 get no-ops); " + OWN,
        _in(
            CORE,
            (
                "        self.term_start = max(self.found, default=self.commit)\n",
                "        self.term_start = self.commit\n"
                "        while self.term_start + 1 in self.found:\n"
                "            self.term_start += 1\n"
                "        for slot in [slot for slot in self.found if slot > self.term_start]:\n"
                "            del self.found[slot]\n",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "part of a report taken for all of it",
        {3, 4},
        "a promise counts as soon as the first part of its report is there",
        OWN,
        _in(
            CORE,
            ("            if len(parts) < message.parts:\n                return\n", ""),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "promises in half a quorum",
        {3},
        "half of the voters, its own vote not counted, are enough to lead",
        "Paxos Made Simple §2.1 (any two majorities meet)",
        _in(
            CORE,
            (
                "            result = quorum.vote(self._answers)\n",
                "            result = quorum.vote(self._answers)\n"
                "            if sum(self._answers.values()) * 2 >= len(quorum.voters) - 1:\n"
                '                result = "won"\n',
            ),
        ),
        setting=_MAJORITY,
    ),
    _mutant(
        "promised to who lacks what is chosen",
        {2, 3, 4},
        "an acceptor that has compacted chosen slots promises to a candidate that asks for them, "
        "and reports what it still has",
        "Paxos Made Moderately Complex §4.2 (garbage collection)",
        _in(
            CORE,
            (
                "            if message.commit < self.commit:\n                # It would ask for",
                "            if False:\n                # It would ask for",
            ),
            (
                "        at = after + 1\n        while at <= end:\n",
                "        at = max(after, self._base) + 1\n        while at <= end:\n",
            ),
        ),
        setting=_ALL,
    ),
    # --- phase 2
    _mutant(
        "half a quorum commits",
        {7},
        "half of the members, rounded down, are enough to choose a value",
        "Paxos Made Simple §2.1",
        _in(
            CORE_BASE,
            (
                "        return count > (len(self._peers) + 1) // 2\n",
                "        return count >= (len(self._peers) + 1) // 2\n",
            ),
        ),
        setting=_MAJORITY,
    ),
    _mutant(
        "quorum system ignored",
        {7},
        "a leader counts a majority, though the quorum system demands more to commit",
        "Flexible Paxos §3",
        _in(
            CORE,
            (
                "            type(self.quorum) is Majority\n            and len(in_force) == 1\n",
                "            len(in_force) == 1\n",
            ),
        ),
        setting=replace(_ALL, config=(("quorum", "few_elect"),)),
    ),
    _mutant(
        "quorums that do not meet",
        {18},
        "a quorum system is taken whose election quorums miss some of its replication quorums",
        "Flexible Paxos §3",
        _in(
            FAMILY,
            (
                "replication=count, election=len(voters) + 1 - count, owned_ballots=True)",
                "replication=count, election=len(voters) - count, owned_ballots=True)",
            ),
        )
        + _in(
            QUORUM,
            (
                "        if pair := disjoint_pair(elects, commits):\n",
                "        if (pair := disjoint_pair(elects, commits)) and not owned_ballots:\n",
            ),
        ),
        setting=replace(_ALL, config=(("quorum", "few_commit"),)),
    ),
    _mutant(
        "proposer counts its own acceptance early",
        {7},
        "a leader counts itself for entries that its own disk does not have yet",
        "Paxos Made Simple §2.5",
        (
            *_in(CORE_BASE, ("count = 1 if self.stable >= index else 0", "count = 1")),
            *_in(CORE, ("held[self.id] = self.stable", "held[self.id] = self._last")),
        ),
        setting=_ALL,
    ),
    _mutant(
        "acceptance of an earlier ballot counted",
        {5, 7},
        "what an acceptor told an earlier leadership of this node counts for the present one",
        "Paxos Made Moderately Complex §2.3 (a commander is of one ballot)",
        _in(
            CORE,
            (
                "        if self.role_number != LEADER or message.term != self.term:\n"
                "            return\n"
                "        peer = self.progress[message.sender]\n",
                "        if self.role_number != LEADER or message.last > self._last:\n"
                "            return\n"
                "        if message.sender not in self.progress:\n"
                "            return\n"
                "        peer = self.progress[message.sender]\n",
            ),
        ),
        setting=_BACK,
        budget=200,
    ),
    _mutant(
        "commits past a gap",
        {7},
        "an acceptance of later slots counts for all before them, too",
        "Paxos Made Simple §3 (commands 136 and 137); Paxos Made Moderately Complex §2.1",
        _in(
            PROGRESS,
            (
                "        if first > self.match + 1:\n"
                "            self._holds_beyond(first, last)\n"
                "            return False\n",
                "",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "window ignored",
        {8},
        "a leader proposes slots as they come, however far beyond those that are chosen",
        "Paxos Made Simple §3 (alpha)",
        _in(
            CORE,
            (
                "        if self._last + count > self._ceiling or self._last < self.term_start:\n",
                "        if self._last < self.term_start:\n",
            ),
        ),
        setting=replace(_ALL, config=(("window", 4),)),
    ),
    # --- what an acceptor keeps
    _mutant(
        "accepted past a gap and not kept",
        {6},
        "slots that do not follow the log are acknowledged and dropped",
        "Paxos Made Moderately Complex §2.2 (an acceptor's set grows only); " + OWN,
        _in(
            CORE,
            (
                "            if not self._stands_aside(block):\n"
                "                self._set_aside(block)\n",
                "",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "replaced tail not kept",
        {2, 17},
        "a block that replaces accepted entries takes those behind it along, as it would in Raft",
        "Paxos Made Simple §2.2; Howard and Mortier, Paxos vs Raft, 2020, §3.2",
        _in(
            CORE,
            (
                "            for tail in self._tail(last):\n"
                "                self._set_aside(tail)\n",
                "",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "snapshot drops what lies behind it",
        {2, 17},
        "installing a snapshot forgets the accepted entries that it does not cover",
        "Paxos Made Live §5.5 (snapshots and the acceptor's log); " + OWN,
        _in(
            CORE,
            (
                "        for block in self._tail(index):\n            self._set_aside(block)\n",
                "",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "reports leave out what stands aside",
        {2},
        "an acceptor reports its log, and not what it has accepted beside it",
        "Paxos Made Simple §2.2 (phase 1b)",
        _in(
            CORE,
            (
                "        for kept in self.aside:\n            last = kept.last\n",
                "        for kept in ():\n            last = kept.last\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "what stands aside is not written",
        {6, 17},
        "entries beside the log live in memory only",
        "Paxos Made Simple §2.5",
        _in(
            CORE,
            (
                "        elif self._aside_new:\n            ready.aside = self._aside_new\n",
                "        elif self._aside_new:\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "what stands aside is forgotten at a restart",
        {2, 17},
        "a node that comes back takes up its log, and not what the disk holds beside it",
        "Paxos Made Simple §2.5",
        _in(
            CORE,
            (
                "        self.aside: list[Block] = list(aside)\n",
                "        self.aside: list[Block] = []\n",
            ),
        ),
        setting=_RESTARTS,
    ),
    _mutant(
        "lower ballot joins the log",
        {17},
        "of several values that stand aside for a slot, the one of the lowest ballot joins the log "
        "and the others are forgotten",
        "Paxos Made Simple §2.2 (phase 1b: the highest)",
        _in(
            CORE,
            (
                "(best is None or block.term(at) > best.term(at))",
                "(best is None or block.term(at) < best.term(at))",
            ),
            (
                "                if block is not best and block.last_term > best.term(at):\n",
                "                if False:\n",
            ),
        ),
        setting=_DUEL,
    ),
    # --- learning
    _mutant(
        "earlier ballot's entries committed by a later leader",
        {7},
        "a follower believes a leader's commit index for all that it has in its log",
        "Paxos Made Moderately Complex §2.3 (a decision is of a value); " + OWN,
        _in(
            CORE,
            (
                "        if self._holds_run(self.term):\n"
                "            if self._run_start <= self.commit + 1:\n",
                "        if self._last > self.commit:\n            if True:\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "what lies before the leader's entries taken for chosen",
        {6, 7},
        "a follower that holds entries of the leader's ballot believes its commit index for those "
        "of earlier ballots before them, too",
        OWN,
        _in(
            CORE,
            (
                "            if self._run_start <= self.commit + 1:\n",
                "            if True:\n",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "teaches what is only accepted",
        {7},
        "who is asked for what is chosen gives all that it has accepted",
        "Paxos Made Simple §2.3",
        _in(
            CORE,
            (
                "            block = self.log.block(at, self.commit + 1, self._max_block_bytes)\n"
                "            self._early.append(Learn(",
                "            block = self.log.block(at, self._last + 1, self._max_block_bytes)\n"
                "            self._early.append(Learn(",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "learned value does not replace",
        {6, 7},
        "a node that learns what was chosen keeps what it has accepted itself for the slot",
        "Paxos Made Simple §2.3; " + OWN,
        _in(
            CORE,
            (
                "            and log.term(at) == block.term(at)\n"
                "            and log.is_control(at) == block.is_control(at)\n",
                "",
            ),
        ),
        setting=_DUEL,
    ),
    _mutant(
        "older snapshot takes the state back",
        {5, 7},
        "a snapshot is installed although more than it covers is known to be chosen",
        OWN,
        _in(
            CORE,
            (
                "        if index <= self.commit:\n            if self._incoming is not None",
                "        if index <= self._base:\n            if self._incoming is not None",
            ),
        ),
        setting=_RESTARTS,
        budget=200,
    ),
    # --- membership
    _mutant(
        "membership in force at once",
        {8},
        "a change of membership governs the slots right behind its entry, though a window of them "
        "may be under way",
        "Paxos Made Simple §3 (alpha); Reconfiguring a State Machine §3",
        _in(
            CORE,
            (
                "                self._coming = index + self._window\n",
                "                self._coming = index + 1\n",
            ),
        ),
        setting=_ALL,
    ),
    _mutant(
        "newcomers are not asked for promises",
        {3},
        "a leader proposes the slots of a new membership on the promises of the old one",
        "Reconfiguring a State Machine §3 (a leader per configuration)",
        _in(
            CORE,
            (
                "            if not self._quorum_of(membership).can_elect(self.promised_by):\n",
                "            if False:\n",
            ),
            (
                '        """Leader: phase 1 with the voters of a membership that is coming."""\n',
                "        return\n",
            ),
        ),
        setting=_CHANGES,
    ),
    _mutant(
        "learners accept",
        {7},
        "members that have no vote count in a phase-2 quorum",
        "Paxos Made Simple §2.3 (learners)",
        _in(
            CORE,
            (
                "            and len(membership.members) == len(membership.voters)\n",
                "",
            ),
        ),
        setting=replace(_CHANGES, config=(("quorum", "Majority"),)),
    ),
    # --- reads
    _mutant(
        "read by who may lead no more",
        {9, 13},
        "a leader answers reads without asking whether a higher ballot was promised",
        "Paxos Made Live §5.2; dissertation §6.4",
        _in(
            CORE_BASE,
            (
                "        elif self.has_lease or not self._peers:\n",
                "        elif self.has_lease or self._peers is not None:\n",
            ),
        ),
        setting=_READS,
        budget=300,
    ),
    _mutant(
        "read before what was found is chosen",
        {9, 13},
        "a new leader serves reads at the commit index that it knows, before it has chosen again "
        "what phase 1 found",
        "Paxos Made Live §5.2; dissertation §6.4, step 1",
        _in(
            CORE_BASE,
            (
                "        if not self._knows_all():\n            self._reads",
                "        if False:\n            self._reads",
            ),
        ),
        setting=_READS,
        budget=300,
    ),
    _mutant(
        "master lease without regard to drift",
        {9, 13},
        "a lease lasts until the leader's own clock says that it has to step down",
        "Paxos Made Live §5.2; dissertation §6.4.1",
        DRIFT_IGNORED,
        setting=_DRIFTING,
        budget=200,
    ),
    _mutant(
        "master lease kept through a transfer",
        {9, 13},
        "a leader that has told another to campaign goes on serving reads under its lease",
        "dissertation §6.4.1; Paxos Made Live §5.2",
        _in(CORE, ("            self._lease_lost = True\n", "")),
        setting=_LEASES,
        budget=300,
    ),
)

TAIL = """
### Changes of Multi-Paxos that break nothing, by reasoning

| change | why nothing can break |
| --- | --- |
| a change of membership is proposed while another one is coming \
| it is void when both are chosen: the first counts |
| an acceptor promises a ballot below the one that it has promised, and keeps the higher promise \
| it accepts nothing in the lower one, and reports all that it has accepted in ballots below it |
| a candidate counts its own promise before its disk has it | its questions wait for the same \
write, so no other promise can be there before |
| a new leader puts new commands into slots for which values were reported to it, if its window is \
full | the ceiling refuses them all the same: what was reported fills the window first |

### What is not covered of Multi-Paxos

| bug | why |
| --- | --- |
| parts of two reports are mixed | after its promise an acceptor accepts nothing in a lower \
ballot, so two answers differ only in what it has learned meanwhile: 43 seeds do not come there |
| an acceptor promises while a lease that it granted runs | links cut one by one, without probes: \
30 seeds do not come there |
| a lease is forgotten at a restart | restarts every 0.3 s: 126 seeds do not come there |
"""
