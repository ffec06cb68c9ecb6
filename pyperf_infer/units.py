# SPDX-License-Identifier: Apache-2.0
"""Durations, bytes, rates, percentages: printed with at most four significant digits, and read from a flag's text.

A number is rounded first and given its unit afterwards, so that 999.96 us prints as "1.000 ms", never "1000 us".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

from pyperf_infer.errors import UsageError

SIGNIFICANT_DIGITS = 4
# (unit, its size in the unit before it): a rounded number at or past the next entry's size moves on to it.
_DURATION_STEPS = (("ns", 1), ("us", 1000), ("ms", 1000), ("s", 1000), ("min", 60), ("h", 60))
_BYTE_STEPS = (("B", 1), ("KiB", 1024), ("MiB", 1024), ("GiB", 1024), ("TiB", 1024), ("PiB", 1024))
_COUNT_STEPS = (("", 1), ("k", 1000), ("M", 1000), ("G", 1000), ("T", 1000))
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _round(value: Decimal) -> Decimal:
    return Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_HALF_EVEN).create_decimal(value)


def _digits(rounded: Decimal, *, whole: bool) -> str:
    """``rounded`` with as many decimals as make four digits; without decimals where the value itself has none."""
    if whole and rounded == rounded.to_integral_value():
        return f"{rounded:.0f}"
    if rounded and rounded.adjusted() < -SIGNIFICANT_DIGITS:
        return f"{rounded:.1e}"
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - rounded.adjusted()) if rounded else 0
    return f"{rounded:.{decimals}f}"


def _scaled(value: float, steps: Sequence[tuple[str, int]], *, minute_from: int = 0) -> tuple[str, str]:
    """``value`` (in the first step's unit) as digits and unit."""
    if not math.isfinite(value):
        return str(value), steps[0][0]
    amount, unit = abs(Decimal(value)), steps[0][0]
    rounded = _round(amount)
    whole = amount == amount.to_integral_value()
    for index in range(1, len(steps)):
        limit = minute_from if steps[index][0] in ("min", "h") and minute_from else steps[index][1]
        if rounded < limit:
            break
        amount, unit, whole = amount / steps[index][1], steps[index][0], False
        rounded = _round(amount)
    sign = "-" if value < 0 and rounded else ""
    return sign + _digits(rounded, whole=whole), unit


def format_duration_ns(nanoseconds: float) -> str:
    """Nanoseconds as "970 ns", "1.200 us", "52.31 ms", "75.00 s"; minutes from 1000 s on, hours from 1000 min on."""
    return " ".join(_scaled(nanoseconds, _DURATION_STEPS, minute_from=1000))


def format_duration_ms(milliseconds: float) -> str:
    """Milliseconds, printed as :func:`format_duration_ns` does."""
    return format_duration_ns(milliseconds * 1e6)


def format_duration_s(seconds: float) -> str:
    """Seconds, printed as :func:`format_duration_ns` does."""
    return format_duration_ns(seconds * 1e9)


def format_bytes(count: float) -> str:
    """Bytes in binary units: "512 B", "97.66 MiB"."""
    return " ".join(_scaled(count, _BYTE_STEPS))


def format_rate(per_second: float, unit: str = "") -> str:
    """A rate: "19.12/s", "12.35k items/s" with ``unit="items"``."""
    digits, prefix = _scaled(per_second, _COUNT_STEPS)
    return f"{digits}{prefix} {unit}/s" if unit else f"{digits}{prefix}/s"


def format_count(count: float) -> str:
    """A count of things: "512", "25.56M"."""
    return "".join(_scaled(count, _COUNT_STEPS))


def format_percent(fraction: float) -> str:
    """A fraction as a percentage with at most two significant digits: 0.004 -> "0.4%", 0 -> "0%"."""
    percent = fraction * 100
    if not math.isfinite(percent):
        return f"{percent}%"
    if percent and abs(percent) < 0.01:
        return "<0.01%" if percent > 0 else ">-0.01%"
    if abs(percent) >= 10:
        return f"{percent:.0f}%"
    text = f"{percent:.2f}" if abs(percent) < 0.1 else f"{percent:.1f}"
    return f"{text.rstrip('0').rstrip('.')}%"


def format_asked_percent(fraction: float) -> str:
    """A fraction that was asked for, as it was: 0.0025 -> "0.25%", 0.125 -> "12.5%". What is measured is rounded."""
    return f"{fraction * 100:.10g}%"  # ten digits: what the product of two floats adds comes later


def format_ratio(ratio: float) -> str:
    """A ratio with four significant digits: 2.1043 -> "2.104"."""
    return _digits(_round(Decimal(ratio)), whole=False) if math.isfinite(ratio) else str(ratio)


def parse_percent(text: str) -> float:
    """The fraction that ``text`` names: "1%" -> 0.01. Zero is allowed.

    Raises:
        UsageError: no percent sign (is 0.01 one percent or a hundredth of one?), no number, or a negative one.
    """
    body = text.strip()
    if not body.endswith("%"):
        raise UsageError(f"{text!r} is not a percentage. Write it with its sign: 1% for one in a hundred.")
    value = _parse_number(body[:-1].strip())
    if value is None or value < 0:
        raise UsageError(f"{text!r} is not a percentage of 0% or more. Write, for example, 1% or 0.5%.")
    return value / 100


def parse_percentiles(text: str) -> tuple[float, ...]:
    """The percentiles that ``text`` lists, sorted, each once: "50,90,99.9" -> (50.0, 90.0, 99.9).

    Raises:
        UsageError: an entry that is not a number above 0 and below 100 (p0 and p100 are the extremes, not percentiles).
    """
    values = set()
    for entry in text.split(","):
        value = _parse_number(entry.strip().removeprefix("p"))
        if value is None or not 0 < value < 100:
            where = f"{entry.strip()!r} in {text!r}" if entry.strip() != text.strip() else repr(text)
            raise UsageError(
                f"{where} is not a percentile. Give numbers above 0 and below 100, separated by commas: 50,90,99."
            )
        values.add(value)
    return tuple(sorted(values))


def _parse_number(text: str) -> float | None:
    """A finite decimal number. Stricter than ``float``, which also takes "nan", "1_0" and other scripts' digits."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
