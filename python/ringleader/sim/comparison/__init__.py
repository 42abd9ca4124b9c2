"""Raft and Multi-Paxos, asked the same questions: what `ringleader compare consensus` measures.

    algorithms      the contestants; the geometries and the quorums that they are asked about
    group           a group in virtual time: the simulator's clock, network and disks, counted
    loop            a group in one process and in real time, with nothing around the cores
    lines           lines of code, counted in the sources that are installed
    measures        the questions, and what an answer is made of
    verdicts        which, when: sentences that follow from the answers

Both cores run under the same driver, on the same disks and links, from the same seeds; whatever
differs in the results is theirs.  Nothing here checks them: that is for `ringleader.sim.cluster`.
"""
