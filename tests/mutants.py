"""Broken cores: the source of `raft/core.py` with a few lines replaced, as a factory of cores."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import ringleader.consensus.raft as raft
from ringleader.consensus.driver import Recovered
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.raft.config import Config

FOLDER = Path(raft.__file__).parent


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, changes: tuple[tuple[str, str], ...]) -> None:
        super().__init__(name, path)
        self.changes = changes

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        for old, new in self.changes:
            assert source.count(old) == 1, f"{source.count(old)} times in {self.path}: {old}"
            source = source.replace(old, new)
        return compile(source, f"<broken {Path(self.path).name}>", "exec")


def load(file: str, *changes: tuple[str, str]) -> ModuleType:
    """A module of the Raft core as plain Python, each text of `changes` replaced by another."""
    name = f"broken_{Path(file).stem}_{abs(hash(changes))}"
    loader = _Loader(name, str(FOLDER / file), changes)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


class Broken:
    """A `CoreFactory` of cores whose source was changed."""

    def __init__(self, *changes: tuple[str, str]) -> None:
        self.raft = load("core.py", *changes).Raft

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
