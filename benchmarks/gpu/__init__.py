# SPDX-License-Identifier: Apache-2.0
"""The proof on a GPU: `run.sh` builds, runs tests/gpu and the rows of this folder, and writes one page."""
