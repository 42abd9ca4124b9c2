"""The patterns of KEYS and SCAN: * ? [a-z] [^a-z], and \\ before a character that means itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from ringleader.limits import PATTERN_BYTES_MAX, PATTERNS_KEPT_MAX
from ringleader.node.replies import CommandError


@lru_cache(PATTERNS_KEPT_MAX)
def matcher(pattern: bytes) -> Callable[[bytes], object]:
    """A function that gives something true for keys that match the whole of `pattern`.

    Each "*" takes as little as lets the text up to the next "*" follow, and never tries again: what
    matches at all matches so.  The cost is O(key * pattern).

    Raises:
        CommandError: the pattern is longer than `PATTERN_BYTES_MAX`.
    """
    if len(pattern) > PATTERN_BYTES_MAX:
        raise CommandError(f"ERR pattern exceeds maximum allowed size ({PATTERN_BYTES_MAX} bytes)")
    runs = _runs(pattern)
    source = [runs[0]]
    if len(runs) > 1:
        source += [b"(?>.*?%b)" % run for run in runs[1:-1] if run]
        source.append(b".*" + runs[-1])
    if pattern:
        source.insert(0, b"(?=.)")  # Redis lets no pattern match the empty key
    return re.compile(b"".join(source) + rb"\Z", re.DOTALL).match


def _runs(pattern: bytes) -> list[bytes]:
    """The regular expressions of what stands between the stars."""
    runs: list[list[bytes]] = [[]]
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            runs.append([])
        elif char == b"?":
            runs[-1].append(b".")
        elif char == b"[":
            text, at = _one_of(pattern, at)
            runs[-1].append(text)
        else:
            if char == b"\\" and at < end:
                char = pattern[at : at + 1]
                at += 1
            runs[-1].append(re.escape(char))
    return [b"".join(run) for run in runs]


def _one_of(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The regular expression of a class, and where it ends; a class left open ends the pattern."""
    end = len(pattern)
    inverted = pattern[at : at + 1] == b"^"
    at += inverted
    members: set[int] = set()
    while at < end and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < end:
            members.add(pattern[at + 1])
            at += 2
        elif at + 2 < end and pattern[at + 1] == 0x2D:
            first, last = sorted((pattern[at], pattern[at + 2]))
            members.update(range(first, last + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    if not members:
        return (b"." if inverted else b"(?!)"), at + 1
    listed = b"".join(b"\\x%02x" % member for member in sorted(members))
    return (b"[^" if inverted else b"[") + listed + b"]", at + 1
