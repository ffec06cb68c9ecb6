# SPDX-License-Identifier: Apache-2.0
"""Where one inference goes: by layer, by node, by Python function, and in memory."""
