# SPDX-License-Identifier: Apache-2.0
"""Own and inclusive times from the calls of nested layers, in one thread and in several."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.profile.spans import Span, Totals

LAYERS = 4


@dataclass
class Made:
    """A call: nanoseconds before, between and after the calls that it makes."""

    number: int
    gaps: list[int]
    parts: list[Made] = field(default_factory=list)


def calls(number: int) -> st.SearchStrategy[Made]:
    gap = st.integers(1, 50)
    leaf = st.builds(Made, st.integers(0, number - 1), st.lists(gap, min_size=1, max_size=1))
    return st.recursive(
        leaf,
        lambda parts: st.lists(parts, min_size=1, max_size=3).flatmap(
            lambda made: st.builds(
                Made,
                st.integers(0, number - 1),
                st.lists(gap, min_size=len(made) + 1, max_size=len(made) + 1),
                st.just(made),
            )
        ),
        max_leaves=12,
    )


def run(made: Made, now: int, spans: list[Span], thread: int) -> int:
    """Notes the call as a watch does, when it ends. Returns when that is."""
    begin = now
    for gap, part in zip(made.gaps, [*made.parts, None], strict=True):
        now += gap
        if part is not None:
            now = run(part, now, spans, thread)
    spans.append(Span(made.number, begin, thread, now - begin))
    return now


def expected(made: Made, totals: Totals, within: frozenset[int] = frozenset()) -> int:
    took = sum(made.gaps) + sum(expected(part, totals, within | {made.number}) for part in made.parts)
    totals.calls[made.number] += 1
    totals.own_ns[made.number] += sum(made.gaps)
    if made.number not in within:
        totals.total_ns[made.number] += took
    return took


@given(st.lists(calls(LAYERS), min_size=1, max_size=4), st.integers(0, 2**40))
def test_a_layer_has_what_it_took_itself_and_with_its_parts(made: list[Made], start: int) -> None:
    spans: list[Span] = []
    now, wanted = start, Totals(LAYERS)
    for call in made:
        now = run(call, now, spans, thread=1)
        expected(call, wanted)
    found = Totals(LAYERS)
    found.add(spans)
    assert (found.calls, found.own_ns, found.total_ns) == (wanted.calls, wanted.own_ns, wanted.total_ns)
    assert sum(found.own_ns) == now - start


@given(st.lists(calls(LAYERS), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_calls_of_other_threads_are_nobodys_parts(made: list[Made], random: object) -> None:
    wanted = Totals(LAYERS)
    threads = []
    for thread, call in enumerate(made):
        spans: list[Span] = []
        run(call, 0, spans, thread)
        threads.append(spans)
        expected(call, wanted)
    mixed: list[Span] = []
    while any(threads):
        mixed.append(random.choice([spans for spans in threads if spans]).pop(0))  # type: ignore[attr-defined]
    found = Totals(LAYERS)
    found.add(mixed)
    assert (found.calls, found.own_ns, found.total_ns) == (wanted.calls, wanted.own_ns, wanted.total_ns)


def test_several_inferences_add_up() -> None:
    found = Totals(1)
    found.add([Span(0, 10, 1, 5), Span(0, 20, 1, 7)], inferences=2)
    found.add([Span(0, 30, 1, 3)])
    assert (found.inferences, found.calls, found.own_ns, found.total_ns) == (3, [3], [15], [15])


def test_a_clock_of_its_own_says_how_long_and_the_host_says_within_which() -> None:
    found = Totals(2)
    found.add([Span(1, 5, 1, 400), Span(0, 0, 1, 1000)])  # on the host, the whole took less than that
    assert found.own_ns == [600, 400]
