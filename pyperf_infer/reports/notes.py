# SPDX-License-Identifier: Apache-2.0
"""The sentences below the table: failures, parity, warnings with remedies, and the method in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pyperf_infer.reports import gpu_notes
from pyperf_infer.reports.comparisons import comparison_name
from pyperf_infer.reports.gpu_view import launch_bound_withheld
from pyperf_infer.reports.judged import mode_line
from pyperf_infer.reports.processes import processes_line
from pyperf_infer.reports.row_names import MAX_LISTED, name_rows, row_name
from pyperf_infer.reports.view import NOT_CONVERGED
from pyperf_infer.units import format_duration_ms, format_duration_ns, format_duration_s, format_percent, format_ratio

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, OutputParity, Parity, Result, Weights

# A shorter phase is in the document, and not worth a word here.
SHORTEST_PHASE_S = 0.001

Kind = Literal["good", "bad", "unsure", "plain"]


@dataclass(frozen=True)
class Note:
    """One sentence or two, and the remedy where there is one."""

    kind: Kind
    text: str
    remedy: str = ""


def headline(document: Document) -> list[Note]:
    """Tool and libraries, machine, GPUs that a row ran on; before them, that not all that was asked for is there."""
    environment = document.environment
    libraries = [f"{name} {environment.libraries[name]}" for name in _LIBRARIES if name in environment.libraries]
    cpu = f"{environment.cpu_model or environment.architecture}, "
    cpu += f"{len(environment.affinity)} of {environment.logical_cores} CPUs"
    tool = f"{document.tool} {document.tool_version}"
    gpus = gpu_notes.gpu_lines(document)
    notes = [Note("plain", " | ".join([tool, *libraries])), *(Note("plain", one) for one in [cpu, *gpus])]
    if document.status == "interrupted":
        notes.insert(0, Note("unsure", "INTERRUPTED: what follows is what was measured until then."))
    if document.status == "failed":
        notes.insert(0, Note("bad", "FAILED: not everything that was asked for could be measured."))
    return notes


_LIBRARIES = ("torch", "onnxruntime", "onnxruntime-gpu")


def findings(document: Document) -> list[Note]:
    """What the numbers do not say by themselves, the worst first."""
    return [
        *_failures(document),
        *_impossible(document),
        *_parities(document),
        *_launch_bound(document),
        *_graph_breaks(document),
        *_compared(document),
        *_refused(document),
        *_wide(document),
    ]


def _failures(document: Document) -> list[Note]:
    return [
        Note("bad", f"{row_name(document, one)} failed ({one.error.kind}): {one.error.message}")
        for one in document.results
        if one.error is not None
    ]


def _impossible(document: Document) -> list[Note]:
    return _remedied_once(
        [
            Note("bad", _sentence(f"{row_name(document, one)}: IMPOSSIBLE: {one.integrity.reason}"), _DO_NOT_USE)
            for one in document.results
            if one.integrity is not None and one.integrity.status == "impossible"
        ]
    )


_DO_NOT_USE = "The measurement is wrong, not the device faster than it can be: do not use this row's numbers."


def _launch_bound(document: Document) -> list[Note]:
    notes = []
    for one in document.results:
        name, summary = row_name(document, one), one.summary
        if summary.launch_bound:
            text = _sentence(f"{name} is launch-bound: {summary.launch_bound_evidence}")
            notes.append(Note("unsure", text, _LAUNCH_LESS))
        elif summary.launch_bound is not None:
            notes.append(Note("plain", f"{name} is not launch-bound: {summary.launch_bound_evidence}"))
        elif launch_bound_withheld(one) and one.method.gpu is not None:
            reason = summary.launch_bound_evidence or _UNKNOWN_HAND_OVER[one.method.gpu.asynchronous]
            reason = reason.removeprefix("withheld: ")
            notes.append(Note("plain", f"{name}: whether it is launch-bound is withheld: {reason}"))
    return _remedied_once(notes)


_LAUNCH_LESS = "The GPU waits for the host. A CUDA graph, a larger batch or fewer kernels shorten that wait."
_UNKNOWN_HAND_OVER = {
    "proved": "no evidence",
    "sync_inside_submit": "the call that hands the work over waits for the GPU",
    "unknown": "it is not known whether the call that hands the work over waits for the GPU",
}


def _parities(document: Document) -> list[Note]:
    rows: dict[tuple[str, str], list[Result]] = {}
    for one in document.results:
        if one.parity is not None:
            rows.setdefault((one.parity.status, parity_line(one.parity)), []).append(one)
    return [
        Note(_PARITY_KINDS[status], f"{name_rows(document, listed, always=True)}: {line}")
        for (status, line), listed in rows.items()
    ]


_PARITY_KINDS: dict[str, Kind] = {"equal": "good", "different": "bad", "invalid": "bad", "not checked": "unsure"}


def parity_line(parity: Parity) -> str:
    """Whether the outputs agree with the reference's, by how much, and what was allowed."""
    against = f"those of {parity.reference}"
    reason = f": {parity.reason}" if parity.reason else ""
    if parity.status == "not checked":
        return f"outputs not checked against {against}{reason}"
    if parity.status == "invalid":
        return f"outputs INVALID{reason}"
    worst = max(parity.outputs, key=lambda one: (one.status == "different", one.relative or 0.0), default=None)
    verdict = "outputs agree with" if parity.status == "equal" else "outputs DIFFER from"
    allowed = f"tolerance {_small(parity.rtol)}" + (f" + {_small(parity.atol)} absolute" if parity.atol else "")
    measured = "" if worst is None else f": {_difference(worst, name=len(parity.outputs) > 1)}"
    unchecked = sum(one.status == "not checked" for one in parity.outputs)
    rest = f"; {unchecked} of {len(parity.outputs)} outputs not checked" if unchecked else ""
    return f"{verdict} {against}{measured} ({allowed}{rest}){reason}"


def _difference(worst: OutputParity, *, name: bool) -> str:
    where = f" in {worst.name!r}" if name else ""
    if worst.relative is not None:
        return f"largest difference{where} {_small(worst.relative)} of the output's movement"
    if worst.largest_difference is not None:
        return f"largest difference{where} {_small(worst.largest_difference)}"
    return f"the difference{where} is not a finite number"


def _graph_breaks(document: Document) -> list[Note]:
    rows: dict[tuple[str, ...], list[Result]] = {}
    for one in document.results:
        if one.summary.graph_breaks:
            rows.setdefault(tuple(one.summary.graph_break_reasons), []).append(one)
    notes = []
    for reasons, listed in rows.items():
        count = listed[0].summary.graph_breaks or 0
        more = f"; and {count - MAX_LISTED} more" if count > MAX_LISTED else ""
        places = f"{count} graph break{'s' * (count != 1)}: {'; '.join(reasons[:MAX_LISTED])}{more}"
        text = _sentence(f"{name_rows(document, listed, always=True)}: {places}")
        notes.append(Note("unsure", text, _BREAK_LESS))
    return _remedied_once(notes)


_BREAK_LESS = "There torch.compile hands over to Python, and nothing is fused across."


def _compared(document: Document) -> list[Note]:
    """Why a verdict is open, what a narrower interval would have taken, and what the ratio is not about."""
    notes = []
    for one in document.comparisons:
        name, needed = comparison_name(document, one), ""
        if one.converged is False and one.needed_duration_s is not None:
            needed = (
                f"about {format_duration_s(one.needed_duration_s)} of turns would have made the interval as narrow "
            )
            needed += "as asked"
        if one.reason or needed:
            text = f"{name}: {'; '.join(filter(None, [one.reason, needed]))}"
            text = _sentence(text) if needed else text
            notes.append(Note("unsure" if one.reason else "plain", text, _MORE_TIME if needed else ""))
        if one.items_ratio is not None:
            text = f"{name}: batch sizes differ: the ratio is of the time of a call, and that of items a second is "
            notes.append(Note("plain", f"{text}{format_ratio(one.items_ratio)}x"))
    return _remedied_once(notes)


_MORE_TIME = "Give more time with --max-duration, or ask for a wider --margin."


def _refused(document: Document) -> list[Note]:
    rows: dict[tuple[float, str], list[Result]] = {}
    for one in document.results:
        for percentile in one.summary.timing.percentiles if one.summary.timing else ():
            if percentile.refused is not None:
                rows.setdefault((percentile.percent, percentile.refused), []).append(one)
    return [
        Note("plain", f"no p{percent:g} for {name_rows(document, listed, always=True)}: {reason}")
        for (percent, reason), listed in rows.items()
    ]


def _wide(document: Document) -> list[Note]:
    stops = {id(one): one.method.stop for one in document.results if one.method.stop and one.summary.timing}
    asked = sorted({one.ci for one in stops.values() if not one.converged})
    if not asked:
        return []
    wanted = ", ".join(f"\N{PLUS-MINUS SIGN}{format_percent(one)}" for one in asked)
    quantities = sorted({one.quantity for one in stops.values() if not one.converged})
    of = f"the interval of {' or '.join(quantities)} is"
    if any(one.processes and id(one) in stops and not stops[id(one)].converged for one in document.results):
        of = f"in a process or more, the interval of its own {' or '.join(quantities)} is"
    return [Note("unsure", f"{NOT_CONVERGED} not converged: {of} wider than the {wanted} asked for")]


def warnings(document: Document) -> list[Note]:
    """Every warning once, with the rows that it is about, and its remedy."""
    rows: dict[tuple[str, str], list[Result]] = {(one.message, one.remedy): [] for one in document.warnings}
    for result in document.results:
        for one in result.warnings:
            rows.setdefault((one.message, one.remedy), []).append(result)
    notes = []
    for (message, remedy), listed in rows.items():
        names = name_rows(document, listed)
        notes.append(Note("unsure", f"{names}: {message}" if names else message, remedy))
    return notes


def method(document: Document) -> list[tuple[str, str]]:
    """Title and text of clock, loop, threads and so on: one value where all rows agree, else each with its rows."""
    facts: list[tuple[str, Callable[[Result], str]]] = [
        ("clock", _clock),
        ("loop", lambda one: one.method.loop),
        ("mode", mode_line),
        ("device", lambda one: ", ".join(filter(None, [one.method.device, one.method.provider]))),
        ("nodes", _nodes),
        ("threads", lambda one: str(one.method.threads)),
        ("processes", processes_line),
        ("interval", _interval),
        ("input", _shapes),
        ("weights", lambda one: _weights(one.subject.weights)),
        ("seed", lambda one: str(one.method.seed)),
        ("memory", lambda one: one.summary.memory_method or ""),
        ("roof", _roof),
        *gpu_notes.facts(),
    ]
    lines = [("sides", _sides(document)), *((title, _shared(document, value)) for title, value in facts)]
    phases = [one for one in document.phases if one.seconds >= SHORTEST_PHASE_S]
    lines.append(("wall time", ", ".join(f"{one.name} {format_duration_s(one.seconds)}" for one in phases)))
    return [(title, text) for title, text in lines if text]


def _roof(result: Result) -> str:
    roof = result.roof
    if roof is None:
        return ""
    unknown = f"; without {', '.join(roof.unknown_ops)}, which no formula is known of" if roof.unknown_ops else ""
    return (
        f"{format_duration_ms(roof.roof_ms)} is the least that the ceilings measured {roof.ceilings_utc} allow the "
        f"model's work{unknown}; `pyperf-infer roofline` shows it layer by layer"
    )


def _shared(document: Document, value: Callable[[Result], str]) -> str:
    rows: dict[str, list[Result]] = {}
    for one in document.results:
        if text := value(one):
            rows.setdefault(text, []).append(one)
    if len(rows) == 1:
        return next(iter(rows))
    return "; ".join(f"{text} ({name_rows(document, listed)})" for text, listed in rows.items())


def _sides(document: Document) -> str:
    """What each --vs says; what it leaves out is as in the command."""
    given = {one.side.label: one.side.given for one in document.results if one.side is not None}
    named = [f"{label}: {text}" for label, text in given.items() if text]
    alike = [label for label, text in given.items() if not text]
    return "; ".join([*([f"{' and '.join(alike)}: as the command says"] if alike else []), *named])


def _clock(result: Result) -> str:
    step, cost = result.method.clock_step_ns, result.method.timer_overhead_ns
    known = [f"step {format_duration_ns(step)}" if step is not None else ""]
    known.append(f"timing an empty call gives {format_duration_ns(cost)}" if cost is not None else "")
    return result.method.clock + (f" ({', '.join(filter(None, known))})" if any(known) else "")


def _nodes(result: Result) -> str:
    providers = result.method.providers
    if providers is None:
        return ""
    counts = ", ".join(f"{one.count} on {one.provider}" for one in providers.nodes)
    return f"{counts or 'none'} ({providers.stage})"


def _interval(result: Result) -> str:
    stop = result.method.stop
    if stop is None:
        return ""
    half = f"\N{PLUS-MINUS SIGN}{format_percent(stop.ci)}"
    judged = "median" if stop.quantity == "p50" else stop.quantity
    of = "the median" if stop.quantity == "p50" else f"the median; of {judged}"
    if result.processes is not None:
        of = f"the processes' medians by their spread; of each one's own {judged}"
    return (
        f"{format_percent(stop.confidence)} of {of}, asked for {half} within {format_duration_s(stop.max_duration_s)}"
    )


def _shapes(result: Result) -> str:
    shapes = ", ".join(f"{name} {'x'.join(map(str, one))}" for name, one in result.subject.shapes.items())
    return f"{shapes} {result.subject.precision}" if shapes else ""


def _weights(weights: Weights | None) -> str:
    if weights is None:
        return ""
    if weights.source == "random":
        return f"random (seed {weights.seed}): the time is real, the predictions mean nothing"
    return f"{weights.source} (SHA-256 {weights.sha256[:12]})"


def _sentence(text: str) -> str:
    """``text`` so that a remedy can follow it on the same line."""
    return text if text.endswith(".") else f"{text}."


def _remedied_once(notes: list[Note]) -> list[Note]:
    """The remedy that several notes share, behind the last of them only."""
    last = {one.remedy: index for index, one in enumerate(notes)}
    return [one if last[one.remedy] == index else replace(one, remedy="") for index, one in enumerate(notes)]


def _small(value: float) -> str:
    """Two digits and a short exponent: 1.2e-6, 1e-3."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if value else "0"
