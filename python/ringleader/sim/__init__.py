"""A deterministic simulator: a group of nodes in virtual time, and everything that can go wrong.

    clock, network, disk    the ground: virtual time, links, disks, and their faults
    profiles                how far apart the nodes stand, and what goes wrong
    cluster                 the nodes: drivers over all that, watched
    nemesis                 the faults of a run, as a list that can be cut
    workload                a key-value machine and its clients
    invariants              what must hold at every step
    linearizability         what must hold of the clients' history
    transcript              small scenarios as text
    user                    your own state machine instead of the key-value one
    runner                  one seed, many seeds, and how a failure is made small

The same seed gives the same run to the byte: whatever is random draws from a `random.Random` of its
own, made from the seed and a name.
"""
