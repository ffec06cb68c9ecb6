# SPDX-License-Identifier: Apache-2.0
"""Backend + plan -> samples -> result."""
