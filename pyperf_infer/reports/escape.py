# SPDX-License-Identifier: Apache-2.0
"""Names and messages may come from a stranger's model file: what they hold is printed, never obeyed."""

from __future__ import annotations

import re
import unicodedata

# Control characters (a terminal obeys ESC), invisible format characters (some turn the text around), line ends of all
# kinds, lone surrogates.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What GitHub's Markdown takes for markup inside a line: HTML, mathematics, links and emoji (":name:") included.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&$@]|:(?=//|\w+:))")
# What starts a list, a heading's underline or a rule at the start of a line.
_LINE_START = re.compile(r"^([-+=]|\d+(?=[.)](\s|$)))")


def printable(text: str) -> str:
    """``text`` on one line, with everything that a terminal would obey or hide written out: "\\x1b", "\\n"."""
    return "".join(
        one.encode("unicode_escape").decode("ascii") if unicodedata.category(one) in _UNPRINTABLE else one
        for one in text
    )


def markdown(text: str) -> str:
    """``text`` so that Markdown shows it as it is within a line, in a table cell too."""
    return _MARKDOWN.sub(r"\\\1", printable(text))


def markdown_line(text: str) -> str:
    """``text`` so that Markdown shows it as it is where a line or a list's item starts."""
    escaped = markdown(text)
    start = _LINE_START.match(escaped)
    at = start.end() if start and start[1].isdigit() else 0
    return f"{escaped[:at]}\\{escaped[at:]}" if start else escaped


def encodable(text: str, encoding: str) -> str:
    """``text`` with what ``encoding`` cannot write spelled out, so that a plain ASCII terminal gets a report too."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\N{PLUS-MINUS SIGN}", "+/-").replace("\N{DEGREE SIGN}C", "C")
        return text.encode(encoding, errors="backslashreplace").decode(encoding)
    return text
