# SPDX-License-Identifier: Apache-2.0
"""Where what is kept from one command to the next lies."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PYPERF_INFER_STATE_DIR"


def state_folder() -> Path:
    """The folder that ``PYPERF_INFER_STATE_DIR`` names, else the user's own. It may not be there yet."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    import platformdirs

    return platformdirs.user_state_path("pyperf-infer")
