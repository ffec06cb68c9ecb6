# SPDX-License-Identifier: Apache-2.0
"""The time of a model's layers, joined with their work and with what the device can do."""
