# SPDX-License-Identifier: Apache-2.0
"""Ceilings that were measured are found again: on the machine that they are of, while they hold, and never an error."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyperf_infer import __version__
from pyperf_infer.errors import UsageError
from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling, MemoryCeiling, MemoryLevel
from pyperf_infer.roofline.ceilings import cpu, find, store
from pyperf_infer.roofline.ceilings.find import cached_ceilings, find_ceilings, why_stale
from pyperf_infer.roofline.ceilings.levels import Cache
from pyperf_infer.roofline.ceilings.machine import ceilings_machine
from pyperf_infer.roofline.ceilings.store import ceilings_path, load_ceilings, save_ceilings
from pyperf_infer.system.environment import collect
from pyperf_infer.system.floor_file import machine_key

HERE, ELSEWHERE = "CPU | 2 CPUs | kvm", "CPU | 4 CPUs | kvm"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(find, "_machine", lambda _device: HERE)
    monkeypatch.setattr(find, "cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(find, "told_caches", lambda _cpus: [Cache("L1", 32768, False)])
    return tmp_path / "state"


def ceilings(machine: str = HERE, *, flops_per_s: float = 1e11, threads: int = 2, days_old: float = 0) -> Ceilings:
    compute = ComputeCeiling(
        precision="float32", threads=threads, instructions="avx2 fma", flops_per_s=flops_per_s,
        median_flops_per_s=flops_per_s, spread=0.01, runs=9, clock_hz=3e9, flops_per_cycle=None, share_of_theory=None,
        datasheet_flops_per_s=None,
    )  # fmt: skip
    memory = MemoryCeiling(
        level="memory", pattern="load", threads=threads, bytes_per_s=1e10, median_bytes_per_s=1e10, spread=0.01, runs=6,
        working_set_bytes=2**30, non_temporal=False, datasheet_bytes_per_s=None,
    )  # fmt: skip
    measured = datetime.now(UTC) - timedelta(days=days_old)
    return Ceilings(
        device="cpu", device_name="CPU", machine=machine, measured_utc=measured.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool_version=__version__, threads=threads, microarchitecture=None, microarchitecture_source=None,
        levels=[MemoryLevel(level="memory", capacity_bytes=None)], compute=[compute], memory=[memory], not_measured=[],
        other_load=None,
    )  # fmt: skip


class Measured:
    """In place of the measurement: gives other figures each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[int] = []
        monkeypatch.setattr(cpu, "measure_cpu", self)

    def __call__(self, threads: int, **_: object) -> Ceilings:
        self.calls.append(threads)
        return ceilings(threads=threads, flops_per_s=1e9 * len(self.calls))


def test_what_was_saved_is_found() -> None:
    made = ceilings()
    assert save_ceilings(made) == ceilings_path()
    assert load_ceilings(HERE, "cpu", 2) == made


def test_each_machine_device_and_number_of_threads_has_its_own() -> None:
    save_ceilings(ceilings(threads=2))
    save_ceilings(ceilings(threads=4, flops_per_s=2e11))
    save_ceilings(ceilings(ELSEWHERE, flops_per_s=3e11))
    save_ceilings(ceilings(threads=2, flops_per_s=4e11))
    found = [load_ceilings(HERE, "cpu", 2), load_ceilings(HERE, "cpu", 4), load_ceilings(ELSEWHERE, "cpu", 2)]
    assert [one.compute[0].flops_per_s for one in found if one] == [4e11, 2e11, 3e11]
    assert load_ceilings(ELSEWHERE, "cpu", 4) is None
    assert load_ceilings(HERE, "cuda:0", 1) is None


NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        NESTED,
        b'{"version": 1, "more": ' + NESTED + b', "ceilings": {}}',
        b'{"version": 1, "ceilings": {"one": ' + NESTED + b"}}",
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"version": 99, "ceilings": {}}',
        b'{"version": 1}',
        b"null",
    ],
    ids=range(10),
)
def test_a_damaged_or_newer_file_is_none_and_is_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir()
    ceilings_path().write_bytes(content)
    assert load_ceilings(HERE, "cpu", 2) is None
    save_ceilings(ceilings())
    assert load_ceilings(HERE, "cpu", 2) is not None


def test_one_damaged_entry_leaves_the_others(folder: Path) -> None:
    save_ceilings(ceilings())
    save_ceilings(ceilings(ELSEWHERE))
    document = json.loads(ceilings_path().read_text())
    document["ceilings"][f"{HERE} | cpu | 2 threads"]["threads"] = "two"
    ceilings_path().write_text(json.dumps(document))
    assert load_ceilings(HERE, "cpu", 2) is None
    assert load_ceilings(ELSEWHERE, "cpu", 2) is not None
    save_ceilings(ceilings(threads=1))
    assert load_ceilings(ELSEWHERE, "cpu", 2) is not None


def test_an_entry_under_another_machines_key_is_not_believed() -> None:
    save_ceilings(ceilings(ELSEWHERE))
    ceilings_path().write_text(ceilings_path().read_text().replace(f'"{ELSEWHERE} | cpu', f'"{HERE} | cpu'))
    assert load_ceilings(HERE, "cpu", 2) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_no_content_of_the_file_is_an_error(content: bytes) -> None:
    ceilings_path().parent.mkdir(exist_ok=True)
    ceilings_path().write_bytes(content)
    assert load_ceilings(HERE, "cpu", 2) is None


def test_ceilings_are_measured_once_and_then_found(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    assert cached_ceilings("cpu", 2) is None
    assert find_ceilings("cpu", 2) == find_ceilings("cpu", 2) == cached_ceilings("cpu", 2)
    assert measured.calls == [2]


def test_fresh_ones_and_given_cache_sizes_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    find_ceilings("cpu", 2)
    assert find_ceilings("cpu", 2, fresh=True).compute[0].flops_per_s == 2e9
    assert find_ceilings("cpu", 2, cache_sizes={"L1": 32768}).compute[0].flops_per_s == 3e9
    assert find_ceilings("cpu", 2).compute[0].flops_per_s == 2e9  # with the machine's own sizes
    monkeypatch.setattr(find, "told_caches", lambda _cpus: [])
    assert find_ceilings("cpu", 2, cache_sizes={"L1": 32768}).compute[0].flops_per_s == 4e9
    assert find_ceilings("cpu", 2).compute[0].flops_per_s == 4e9
    assert len(measured.calls) == 4


def test_more_threads_than_cores_are_as_many_as_cores_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    found = [find_ceilings("cpu", threads) for threads in (9, 9, 4)]
    assert measured.calls == [4]
    assert [one.threads for one in found] == [4, 4, 4]
    warned = ["with 9 threads. They are measured with 4, since" in " ".join(one.warnings) for one in found]
    assert warned == [True, True, False]
    assert cached_ceilings("cpu", 9) == cached_ceilings("cpu", 4) == found[2]


def test_those_with_all_cores_serve_one_thread_and_no_number_between(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    find_ceilings("cpu", 4)
    assert cached_ceilings("cpu", 1) == find_ceilings("cpu", 1) == find_ceilings("cpu", 4)
    assert cached_ceilings("cpu", 2) is None
    assert measured.calls == [4]


def test_old_ones_are_measured_again_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    save_ceilings(ceilings(days_old=29.5))
    find_ceilings("cpu", 2)
    assert measured.calls == []
    save_ceilings(ceilings(days_old=31.5))
    assert cached_ceilings("cpu", 2) is None
    said: list[str] = []
    find_ceilings("cpu", 2, progress=said.append)
    assert measured.calls == [2]
    assert said == ["The ceilings of cpu are measured again: those kept are 31 days old."]


def test_those_of_another_release_do_not_hold() -> None:
    other = msgspec.structs.replace(ceilings(), tool_version="0.0.1")
    assert why_stale(other) == f"are by release 0.0.1, and this is {__version__}"
    assert why_stale(msgspec.structs.replace(ceilings(), measured_utc="then")) == "do not say when they were measured"
    assert why_stale(ceilings()) is None


def test_those_dated_ahead_or_without_what_every_measurement_has_do_not_hold() -> None:
    assert why_stale(ceilings(days_old=-0.9)) is None
    assert re.fullmatch(r"are dated [0-9-]+, which is yet to come", why_stale(ceilings(days_old=-1.1)) or "")
    assert why_stale(msgspec.structs.replace(ceilings(), memory=[])) == "lack the memory's bandwidth"
    assert why_stale(msgspec.structs.replace(ceilings(), compute=[])) == "lack float32"


def test_machines_of_one_name_differ_by_instructions_and_caches(tmp_path: Path) -> None:
    def machine(flags: str, device: str = "cpu", **changed: object) -> str:
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cpuinfo").write_text(f"flags\t: {flags}\n")
        return ceilings_machine(device, msgspec.structs.replace(collect(), **changed), tmp_path)

    here = machine("avx2 fma")
    assert here == machine("fma avx2")
    assert here.startswith(machine_key(collect()) + " | ")
    assert len({here, machine("avx2 fma avx512f"), machine("avx2 fma", caches=[])}) == 3 - (not collect().caches)
    assert machine("avx2 fma", "cuda:0") == machine_key(collect())
    assert ceilings_machine("cpu") == ceilings_machine("cpu", collect())


def test_a_folder_that_cannot_be_written_to_costs_no_figures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Measured(monkeypatch)
    folder.write_text("a file")
    assert "could not be kept" in find_ceilings("cpu", 2).warnings[0]


@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cuda:x", "cuda:-1", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="There are cpu, and cuda:0"):
        find_ceilings(device, 1)


def test_the_first_gpu_is_found_by_either_name() -> None:
    save_ceilings(msgspec.structs.replace(ceilings(threads=1), device="cuda:0"))
    assert cached_ceilings("cuda", 8) == cached_ceilings("cuda:0", 1) == store.load_ceilings(HERE, "cuda:0", 1)
