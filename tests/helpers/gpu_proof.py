# SPDX-License-Identifier: Apache-2.0
"""Puts benchmarks/ on the path, so that tests import the modules of the GPU proof as its rows do."""

from __future__ import annotations

import sys

from native_build import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"

if str(BENCHMARKS) not in sys.path:
    sys.path.append(str(BENCHMARKS))
