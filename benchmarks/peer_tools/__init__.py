# SPDX-License-Identifier: Apache-2.0
"""Timing tools beside ours, each asked the same question in its own way: did this work become slower?"""
