"""Imports go one way: csrc <- pyx <- kernels <- hashing, keys <- placement <- cli,
and kernels <- consensus.

Read from the sources, so that a shortcut fails here before it becomes a habit.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "ringleader"

#: Layer -> the layers it may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "limits": set(),
    "_native": {"errors", "keys"},  # the stubs name the key types
    "_reference": {"errors", "limits"},
    "kernels": {"errors", "limits", "_native", "_reference"},
    "keys": {"errors", "limits", "kernels"},
    "hashing": {"errors", "limits", "kernels", "keys"},
    "placement": {"errors", "limits", "kernels", "keys", "hashing"},
    "consensus": {"errors", "limits", "kernels"},
    "storage": {"errors", "limits", "kernels", "hashing", "consensus"},
    "sim": {"errors", "limits", "kernels", "hashing", "consensus", "storage"},
    "node": {
        "errors",
        "limits",
        "kernels",
        "keys",
        "hashing",
        "placement",
        "consensus",
        "storage",
        "__init__",  # the version, which a node tells
    },
    "shardsim": {"limits", "consensus", "sim", "node"},
    "availability": {"errors", "limits", "placement"},
    "cli": {
        "errors",
        "limits",
        "kernels",
        "keys",
        "hashing",
        "placement",
        "availability",
        "sim",
        "storage",
        "node",
        "shardsim",
        "__init__",
    },
    "__main__": {"cli"},
    "__init__": {"placement"},
}
#: What each layer may import from outside the standard library.
OUTSIDE: dict[str, set[str]] = {
    "_native": {"numpy", "typing_extensions"},  # stubs: no run-time import
    # typing_extensions for type checkers only, msgspec for what only a node uses.
    "_reference": {"numpy", "pyarrow", "typing_extensions", "msgspec"},
    "kernels": set(),
    "node": {"hiredis", "msgspec", "prometheus_client", "structlog", "uvloop"},
    "cli": {"numpy", "click", "rich", "pyarrow", "matplotlib", "hiredis", "redis", "uvloop"},
}
C_MAY_KNOW_PYTHON = re.compile(r"Python\.h|PyObject|numpy/")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyi")


def imports(path: Path) -> set[str]:
    """Every module named by an import statement anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            assert node.module is not None
            if node.module == "ringleader":
                found |= {f"ringleader.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_imports_go_one_way(path: Path) -> None:
    import sys

    layer = layer_of(path)
    assert layer in MAY_IMPORT, f"{layer} is in no layer: name it in MAY_IMPORT"
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "ringleader":
            target = rest.partition(".")[0] or "__init__"
            if target not in MAY_IMPORT:  # a public name of the package itself
                target = "__init__"
            allowed = MAY_IMPORT[layer] | {layer}
            assert target in allowed, f"{path.name} ({layer}) imports {module}"
        elif top not in sys.stdlib_module_names:
            allowed = OUTSIDE.get(layer, {"numpy"})
            assert top in allowed, f"{path.name} ({layer}) imports {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "csrc").iterdir()), ids=lambda path: path.name)
def test_c_knows_nothing_of_python(path: Path) -> None:
    assert not C_MAY_KNOW_PYTHON.search(path.read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "pyx").glob("*.pyx")), ids=lambda path: path.name)
def test_the_border_names_no_sibling(path: Path) -> None:
    """Kernels share through C: none cimports or includes another's .pyx."""
    siblings = {other.stem for other in (ROOT / "pyx").glob("*.pyx")} - {path.stem}
    for line in path.read_text().splitlines():
        if re.match(r"\s*(cimport|include)\b|\s*from\s+\S+\s+cimport\b", line):
            named = set(re.findall(r"[A-Za-z_]+", line))
            assert not named & siblings, line
        elif match := re.match(r"\s*(?:from|import)\s+ringleader\.(\w+)", line):
            assert match[1] in {"errors", "limits"}, line
