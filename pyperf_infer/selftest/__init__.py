# SPDX-License-Identifier: Apache-2.0
"""What `pyperf-infer selftest` measures: how often this tool is wrong, on the machine it runs on."""
