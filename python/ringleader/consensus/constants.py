"""Numbers and bytes that all cores know.

They are a module of their own, so that each compiled one can hold the numbers in C.
"""

from __future__ import annotations

#: Roles; each core has another name for 1, the one of a node that asks whether it would win.
FOLLOWER = 0
CANDIDATE = 2
LEADER = 3

#: A deadline that no tick reaches.
NEVER = 2**62
#: Of Lehmer's generator of random numbers.
RANDOM_MODULUS = 2**31 - 1

#: The first byte of a control entry's payload.
NO_OP = b"\0"
MEMBERSHIP = b"\1"
