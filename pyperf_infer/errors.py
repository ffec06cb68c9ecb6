# SPDX-License-Identifier: Apache-2.0
"""Every error this package raises on purpose. The command line turns each into one message and one exit code."""

from __future__ import annotations


class PyperfInferError(Exception):
    """Base of all. A message says what happened, to which input, and what to do about it."""

    exit_code = 5


class UsageError(PyperfInferError):
    """The call itself is off: flags that contradict each other, an option nobody knows."""

    exit_code = 2


class InputError(PyperfInferError):
    """A model, a weights file, a shape or a path that cannot be used."""

    exit_code = 3


class BackendError(PyperfInferError):
    """A backend, provider, library or device that is not there or does not load."""

    exit_code = 4


class MeasurementError(PyperfInferError):
    """The work was started and failed while it was being measured."""

    exit_code = 5


class OutOfMemoryError(MeasurementError):
    """The work does not fit in the memory there is. A smaller batch may."""
