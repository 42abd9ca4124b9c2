"""Lines of code, as they are installed: what is neither blank, nor comment, nor docstring."""

from __future__ import annotations

import ast
import io
import tokenize
from importlib.util import find_spec
from pathlib import Path

_NO_CODE = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    }
)

#: What it is for -> the modules that do it, in Raft and in Multi-Paxos.
PARTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("the algorithm", ("core",), ("core", "ballot")),
    ("what a leader knows of a peer", ("progress",), ("progress",)),
    ("messages", ("messages",), ("messages",)),
    ("messages as bytes", ("wire",), ("wire",)),
    ("settings, status", ("config", "status"), ("config", "status")),
)
#: What both are made of.
SHARED = ("core", "progress", "message", "wire", "config", "status", "constants")


def code_lines(source: str) -> int:
    """How many lines of `source` hold code."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                documented |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def module_lines(package: str, module: str) -> int:
    """Of `package.module`, as it is installed: its source lies beside what is compiled of it."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / f"{module}.py"
    return code_lines(source.read_text(encoding="utf-8"))
