# SPDX-License-Identifier: Apache-2.0
"""The file of floors: for the machine it was measured on and no other, and never an error to whom only reads it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import result_documents as made
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.errors import InputError
from pyperf_infer.statistics.floor import Floor
from pyperf_infer.system.floor_file import find_floor, floor_path, load_floor, machine_key, save_floor
from pyperf_infer.system.state_folder import state_folder

HERE, ELSEWHERE = "CPU | 2 CPUs | kvm", "CPU | 4 CPUs | kvm"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_what_was_saved_is_found_with_its_date(folder: Path) -> None:
    assert save_floor(Floor(0.0123, 10), HERE) == folder / "floor.json"
    assert load_floor(HERE) == Floor(0.0123, 10)
    found = find_floor(HERE)
    assert found.reason is None
    assert found.measured_utc is not None
    assert found.measured_utc.endswith("Z")


def test_each_machine_has_its_own_and_a_newer_one_replaces_the_older() -> None:
    save_floor(Floor(0.01, 10), HERE)
    save_floor(Floor(0.05, 5), ELSEWHERE)
    save_floor(Floor(0.02, 8), HERE)
    assert load_floor(HERE) == Floor(0.02, 8)
    assert load_floor(ELSEWHERE) == Floor(0.05, 5)


def test_without_a_file_the_reason_names_the_command() -> None:
    assert load_floor(HERE) is None
    assert find_floor(HERE).reason == (
        "The floor between processes of this machine is not known. pyperf-infer selftest measures it."
    )


def test_another_machines_floor_is_none_of_this_one() -> None:
    save_floor(Floor(0.01, 10), ELSEWHERE)
    found = find_floor(HERE)
    assert found.floor is None
    assert "is of other machines. pyperf-infer selftest" in (found.reason or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is damaged"),
        ('{"version": 1, "machines": {"CPU', "it is damaged"),
        ("[]", "it is damaged"),
        ("[" * 9_999, "it is damaged"),
        ('{"version": 2, "machines": {}}', "it is of version 2, and this release reads version 1"),
        ('{"version": 1}', "it is damaged"),
        ('{"version": 1, "machines": {"%s": {"relative_sd": -1, "processes": 9, "measured_utc": ""}}}', "no such"),
        ('{"version": 1, "machines": {"%s": {"relative_sd": 1e300, "processes": 9, "measured_utc": ""}}}', "no such"),
        ('{"version": 1, "machines": {"%s": {"relative_sd": 1, "processes": 2, "measured_utc": ""}}}', "no such"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_reason_and_is_replaced(folder: Path, text: str, reason: str) -> None:
    folder.mkdir()
    floor_path().write_text(text.replace("%s", HERE))
    found = find_floor(HERE)
    assert found.floor is None
    assert reason in (found.reason or "")
    assert str(floor_path()) in (found.reason or "")
    save_floor(Floor(0.01, 10), HERE)
    assert load_floor(HERE) == Floor(0.01, 10)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_reading_fail(data: bytes) -> None:
    state_folder().mkdir(exist_ok=True)
    floor_path().write_bytes(data)
    assert load_floor(HERE) is None


def test_a_folder_in_the_place_of_the_file_is_a_reason_for_none(folder: Path) -> None:
    floor_path().mkdir(parents=True)
    assert "cannot be used" in (find_floor(HERE).reason or "")


def test_where_it_cannot_be_written_the_error_names_the_file(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"Cannot write .*floor\.json"):
        save_floor(Floor(0.01, 10), HERE)


def test_the_file_says_what_it_holds() -> None:
    save_floor(Floor(0.01, 10), HERE)
    assert json.loads(floor_path().read_text())["version"] == 1


def test_the_key_tells_machines_apart_and_not_the_software() -> None:
    environment = made.environment()
    key = machine_key(environment)
    assert key == "AMD EPYC 9654 | 4 CPUs | kvm"
    assert machine_key(msgspec.structs.replace(environment, python="4.0", libraries={})) == key
    for changed in ({"cpu_model": "other"}, {"logical_cores": 8}, {"hypervisor": None}):
        assert machine_key(msgspec.structs.replace(environment, **changed)) != key


def test_without_the_variable_it_is_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PYPERF_INFER_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert floor_path() == tmp_path / "pyperf-infer" / "floor.json"
