# SPDX-License-Identifier: Apache-2.0
"""Tests that need an NVIDIA GPU. Without one they are collected and skipped, on the exact conditions of gpu_presence;
`pytest tests/gpu --require-gpu` makes a failure of that. A driver that is there and does not work fails them always.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_presence import look

HERE = Path(__file__).parent
_MARKER = "gpu: needs an NVIDIA GPU"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="tests of tests/gpu fail where there is no GPU")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("gpu")
            item.add_marker(pytest.mark.xdist_group("gpu"))  # one at a time: they share it, and its memory


@pytest.fixture(scope="session", autouse=True)
def a_gpu(request: pytest.FixtureRequest) -> None:
    """Before anything else of a test here; what it raises holds for all of them."""
    why_none = look().why_none
    if why_none is None:
        return
    # The option is not known where pytest was started on more than this folder.
    if request.config.getoption("require_gpu", default=False):
        pytest.fail(f"{why_none}, and --require-gpu was given", pytrace=False)
    pytest.skip(why_none)
