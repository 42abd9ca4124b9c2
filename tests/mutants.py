"""Broken cores: the sources of Raft with a few lines replaced, as a factory of cores."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import ringleader.consensus as consensus
from ringleader.consensus.driver import Recovered
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.raft.config import Config

FOLDER = Path(consensus.__file__).parent
#: The modules that Raft is made of; a class of plain Python derives from none that is compiled.
BASE = "ringleader.consensus.core"
SOURCES = {BASE: "core.py", "ringleader.consensus.raft.core": "raft/core.py"}


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, changes: tuple[tuple[str, str], ...]) -> None:
        super().__init__(name, path)
        self.changes = changes

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        for old, new in self.changes:
            source = source.replace(old, new)
        return compile(source, f"<broken {Path(self.path).name}>", "exec")


def load(*changes: tuple[str, str]) -> ModuleType:
    """The Raft core as plain Python, each text of `changes` replaced by another."""
    for old, _ in changes:
        count = sum((FOLDER / file).read_text().count(old) for file in SOURCES.values())
        assert count == 1, f"{count} times in {list(SOURCES.values())}: {old}"
    base = importlib.import_module(BASE)
    try:
        for name, file in SOURCES.items():
            loader = _Loader(name, str(FOLDER / file), changes)
            spec = importlib.util.spec_from_loader(name, loader)
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            if name == BASE:
                sys.modules[name] = module
            loader.exec_module(module)
    finally:
        sys.modules[BASE] = base
    return module


class Broken:
    """A `CoreFactory` of cores whose source was changed."""

    def __init__(self, *changes: tuple[str, str]) -> None:
        self.raft = load(*changes).Raft

    def __call__(
        self, node: NodeId, voters: Membership, recovered: Recovered, config: Config, seed: int
    ) -> Any:
        return self.raft(
            node,
            voters,
            log=recovered.log,
            config=config,
            seed=seed,
            hard_state=recovered.hard_state,
            snapshot=recovered.snapshot,
            partial=recovered.partial,
        )
