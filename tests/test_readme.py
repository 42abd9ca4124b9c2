"""README's tour is true: its Python is run, line by line."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from ringleader import kernels


@pytest.mark.skipif(kernels.PURE, reason="ten million keys are too many for the twins")
def test_readme() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    failed, tried = doctest.testfile(str(readme), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried > 15
