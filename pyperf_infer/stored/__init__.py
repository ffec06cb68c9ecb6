# SPDX-License-Identifier: Apache-2.0
"""Result documents -> rows of the same subject -> what differs, and whether it does."""
