"""A deterministic simulator: virtual time, and networks, disks and clocks that fail.

`clock`, `network` and `disk` are the ground; `profiles` says how far apart the nodes stand and what
goes wrong.  The same seed gives the same run to the byte: whatever is random draws from a
`random.Random` of its own, made from the seed and a name.
"""
