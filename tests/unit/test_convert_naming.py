# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.convert.naming import unique_names

names = st.lists(st.text(max_size=4))


@given(names, names)
def test_names_are_plain_unique_and_not_taken(wanted: list[str], taken: list[str]) -> None:
    given_out = unique_names(wanted, taken)
    assert len(given_out) == len(wanted)
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & set(taken)
    plain = set(string.ascii_letters + string.digits + "_.-")
    assert all(name and set(name) <= plain for name in given_out)


def test_a_plain_free_name_stays_as_it_is() -> None:
    assert unique_names(["logits", "hidden.0", "logits"], ["x"]) == ["logits", "hidden.0", "logits_2"]
