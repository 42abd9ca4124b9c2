"""The pages are true: their Python runs, their tables are the code's, their names are there."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from ringleader import kernels, placement
from ringleader.consensus.config import CoreConfig
from ringleader.consensus.paxos import core as paxos
from ringleader.consensus.paxos.config import Config as PaxosConfig
from ringleader.consensus.raft import core as raft
from ringleader.consensus.raft.config import Config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_made_of_the_code_is_up_to_date(generate: ModuleType) -> None:
    for path, text in generate.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run docs/generate.py: {path.name}"


@pytest.mark.parametrize("core", [raft, paxos], ids=["raft", "paxos"])
def test_every_transition_is_drawn(generate: ModuleType, core: ModuleType) -> None:
    drawing = generate.roles_svg(core)
    assert drawing.count("marker-end") == len(core.TRANSITIONS)
    assert generate.roles(core).count("\n") == len(core.TRANSITIONS) + 1


def test_every_setting_is_described(generate: ModuleType) -> None:
    described = generate.settings()
    assert all(f"`{name}`" in described for name in Config.__dataclass_fields__)
    described += generate.paxos_settings()
    assert all(f"`{name}`" in described for name in PaxosConfig.__dataclass_fields__)


@pytest.mark.skipif(kernels.PURE, reason="the simulator takes long on the twins")
@pytest.mark.parametrize("page", ["consensus.md", "simulator.md"])
def test_the_python_of_a_page(page: str) -> None:
    failed, tried = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried > 5


@pytest.mark.parametrize("page", ["availability.md", "movement.md", "paxos.md"])
def test_the_python_of_a_page_without_simulator(page: str) -> None:
    path = str(DOCS / page)
    failed, tried = doctest.testfile(path, module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried > 5


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_a_page_is_whole(path: Path) -> None:
    """Blocks of code end, begin on lines of their own, and hold no headings; pictures are there."""
    text = path.read_text(encoding="utf-8")
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            assert inside == (line == "```"), line
            inside = not inside
        else:
            assert not (inside and line.startswith("### ")), line
    assert not inside
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (DOCS / picture).exists(), picture


def test_every_public_name_of_placement_is_in_the_reference() -> None:
    reference = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in placement.__all__:
        assert re.search(rf"^\.\. auto\w+:: ringleader\.(\w+\.)*{name}\b", reference, re.M), name


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_the_rules_of_figure_2_stand_where_the_manual_says() -> None:
    consensus = ROOT / "python" / "ringleader" / "consensus"
    known = set[str]().union(
        *(functions(consensus / "raft" / f"{name}.py") for name in ("core", "progress")),
        *(functions(consensus / f"{name}.py") for name in ("core", "driver", "ready")),
        functions(ROOT / "python" / "ringleader" / "_reference" / "log.py"),
    )
    text = (DOCS / "consensus.md").read_text(encoding="utf-8")
    section = text.split("## Where figure 2 stands")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`([\w.]+)`", row)
        assert named, row
        for name in named:
            if not name.endswith(".py"):
                assert set(name.split(".")) <= known | {"Raft", "Driver", "Log"}, name


def test_what_is_compared_line_by_line_is_there() -> None:
    consensus = ROOT / "python" / "ringleader" / "consensus"
    text = (DOCS / "raft-vs-paxos.md").read_text(encoding="utf-8")
    section = text.split("## Line by line")[1].split("\n## ")[0]
    rows = [line.split("|")[2:4] for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 15
    for column, package in enumerate(("raft", "paxos")):
        known = set[str]().union(
            *(functions(consensus / package / f"{name}.py") for name in ("core", "messages"))
        )
        known |= {"term", "vote", "match", "window", *CoreConfig.__dataclass_fields__}
        named = [name for row in rows for name in re.findall(r"`(\w+)`", row[column])]
        assert len(named) > 15
        assert not set(named) - known, package


def test_the_manuals_name_what_there_is() -> None:
    """`ringleader simulate --option`s, and files, that the pages speak of."""
    from click.testing import CliRunner

    from ringleader.cli.app import app

    options = CliRunner().invoke(app, ["simulate", "--help"]).output
    pages = "".join((DOCS / page).read_text("utf-8") for page in ("consensus.md", "simulator.md"))
    for option in re.findall(r"(?<=[ `])--[a-z][a-z-]+", pages):
        assert option.replace("--no-", "--") in options, option
    for path in re.findall(r"`((?:tests|examples|docs)/[\w/.]+\.\w+)`", pages):
        assert (ROOT / path).exists(), path
