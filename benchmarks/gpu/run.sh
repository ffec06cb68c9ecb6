#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves on the GPU of this machine what only a GPU can show. Needs what a plain CUDA machine has (PyTorch, NumPy, CMake, a
# C++20 compiler, pip, pybind11, scikit-build-core) and no network; nothing outside of build/ and --out is written.
#
#   benchmarks/gpu/run.sh [--full] [--resume] [--ort-capi DIR] [--wheels DIR] [--out DIR] [--limit S] [--dry-run]
#
# PYTHON names the Python that has torch (default: python3). --help says more.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH=$root/benchmarks:$root/tests/helpers${PYTHONPATH:+:$PYTHONPATH}
# -P: in the root of a clone the source folder would hide the package that is built.
exec "${PYTHON:-python3}" -P -m gpu.prove "$@"
