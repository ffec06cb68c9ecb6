# SPDX-License-Identifier: Apache-2.0
"""The most that this machine was seen to do: measured, kept and found again."""
