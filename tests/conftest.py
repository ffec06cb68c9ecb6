# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def older_objects_are_no_garbage() -> None:
    """Collecting goes through all that torch and pytest keep, half a second each time; and much of what is tested
    collects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_known_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Floors and ceilings that its user has measured are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> Iterator[None]:
    """Where the tests are started in the background the shell has Ctrl-C ignored, and every child inherits that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
