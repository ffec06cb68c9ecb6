# SPDX-License-Identifier: Apache-2.0
"""How much work a model is: operations and bytes, counted from its graph."""
