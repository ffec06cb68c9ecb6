# SPDX-License-Identifier: Apache-2.0
"""Which differences of machines and software are said to be able to explain a difference of times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import stored_documents as stored
from msgspec.structs import replace

from pyperf_infer.stored.environment import differences
from pyperf_infer.stored.sources import read_sides

if TYPE_CHECKING:
    from pyperf_infer.results import schema
    from pyperf_infer.stored.rows import Pool


def pools(folder: Path, mine: dict[str, Any], theirs: dict[str, Any], *rows: schema.Result) -> tuple[Pool, Pool]:
    first, second = rows or (stored.row(), stored.row())
    paths = [
        stored.save(folder / "a.json", first, environment=mine),
        stored.save(folder / "b.json", second, environment=theirs),
    ]
    sides = read_sides(paths, last=1, progress=lambda _done, _total: None)
    return sides[0].pools[0], sides[1].pools[0]


def found(
    folder: Path, mine: dict[str, Any], theirs: dict[str, Any], *rows: schema.Result
) -> dict[str, tuple[Any, ...]]:
    listed = differences(*pools(folder, mine, theirs, *rows))
    assert [one.weight for one in listed] == sorted((one.weight for one in listed), key=["likely", "possible"].index)
    return {one.field: (one.baseline, one.contender, one.weight) for one in listed}


def test_the_same_machine_has_no_differences(tmp_path: Path) -> None:
    assert found(tmp_path, {}, {}) == {}


def test_every_difference_of_a_cpu_machine_is_named_with_both_values(tmp_path: Path) -> None:
    theirs = {
        "cpu_model": "Intel Xeon 6972P",
        "physical_cores": 8,
        "logical_cores": 16,
        "affinity": [0],
        "governor": "powersave",
        "frequency_max_mhz": 3900.0,
        "cpu_limit_cores": None,
        "memory_limit_bytes": 1 << 30,
        "kernel": "6.13.0",
        "hypervisor": "firecracker",
        "python": "3.12.1",
    }
    listed = found(tmp_path, {"governor": "performance"}, theirs)
    assert listed == {
        "CPU": ("AMD EPYC 9654", "Intel Xeon 6972P", "likely"),
        "physical cores": ("2", "8", "likely"),
        "logical cores": ("4", "16", "likely"),
        "CPUs allowed": ("2", "1", "likely"),
        "CPU limit": ("2 cores", None, "likely"),
        "governor": ("performance", "powersave", "likely"),
        "highest clock": ("3700 MHz", "3900 MHz", "likely"),
        "memory limit": (None, "1.000 GiB", "possible"),
        "hypervisor": ("kvm", "firecracker", "possible"),
        "kernel": ("6.12.0", "6.13.0", "possible"),
        "python": ("3.11.2", "3.12.1", "likely"),  # the loop calls Python
    }


def test_a_figure_that_one_system_does_not_tell_is_no_difference(tmp_path: Path) -> None:
    assert found(tmp_path, {"governor": None, "frequency_max_mhz": None}, {"governor": "performance"}) == {}


def test_the_backends_own_libraries_are_the_likely_ones(tmp_path: Path) -> None:
    mine = {"libraries": {"torch": "2.9.0", "onnxruntime-gpu": "1.30.0"}}
    theirs = {"libraries": {"torch": "2.10.0", "onnxruntime-gpu": "1.31.0", "timm": "1.0"}}
    assert found(tmp_path, mine, theirs) == {
        "libraries.torch": ("2.9.0", "2.10.0", "likely"),
        "libraries.onnxruntime-gpu": ("1.30.0", "1.31.0", "possible"),
        "libraries.timm": (None, "1.0", "possible"),
    }
    rows = stored.row(backend="onnxruntime"), stored.row(backend="onnxruntime")
    assert found(tmp_path, mine, theirs, *rows)["libraries.onnxruntime-gpu"][2] == "likely"


def test_across_vendors_the_gpu_its_vendor_and_its_driver_are_named(tmp_path: Path) -> None:
    mine = {"gpus": [stored.gpu()]}
    theirs = {"gpus": [stored.gpu("AMD Instinct MI300X", driver="6.12.12")]}
    listed = found(tmp_path, mine, theirs, stored.gpu_row(), stored.gpu_row("AMD Instinct MI300X"))
    assert listed["gpu"] == ("NVIDIA H100 80GB HBM3", "AMD Instinct MI300X", "likely")
    assert listed["GPU vendor"] == ("NVIDIA", "AMD", "likely")
    assert listed["GPU driver"] == ("580.65.06", "6.12.12", "likely")


def test_a_gpu_against_a_cpu_is_a_difference_of_the_device(tmp_path: Path) -> None:
    listed = found(tmp_path, {"gpus": [stored.gpu()]}, {}, stored.gpu_row(), stored.row())
    assert listed["device"] == ("GPU", "CPU", "likely")
    assert listed["gpu"] == ("NVIDIA H100 80GB HBM3", None, "likely")
    assert "GPU driver" not in listed


def test_the_cpu_of_a_machine_whose_gpu_did_the_work_is_less_likely(tmp_path: Path) -> None:
    gpus = {"gpus": [stored.gpu()]}
    listed = found(tmp_path, gpus, {**gpus, "cpu_model": "other"}, stored.gpu_row(), stored.gpu_row())
    assert listed == {"CPU": ("AMD EPYC 9654", "other", "possible")}


def test_a_busy_neighbour_is_told_in_steps_and_noise_is_not(tmp_path: Path) -> None:
    def busy(share: float) -> schema.Result:
        row = stored.row()
        assert row.activity is not None
        whole = row.activity.wall_ns * row.activity.cpus
        row.activity = replace(row.activity, other_cpu_ns=int(whole * share))
        return row

    assert found(tmp_path, {}, {}, busy(0.001), busy(0.012)) == {}
    assert found(tmp_path, {}, {}, busy(0.001), busy(0.4)) == {
        "CPU time of others": ("none to speak of", "more than 30%", "likely")
    }


def test_several_documents_of_a_side_tell_all_their_values(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number, kernel in enumerate(("6.1", "6.2", "6.2")):
        stored.save(folder / f"{number}.json", stored.row(50.0 + number), environment={"kernel": kernel})
    other = stored.save(tmp_path / "new.json", stored.row(), environment={"kernel": "6.2"})
    mine, theirs = read_sides([folder, other], last=3, progress=lambda _done, _total: None)
    (only,) = differences(mine.pools[0], theirs.pools[0])
    assert (only.field, only.baseline, only.contender) == ("kernel", "6.1, 6.2", "6.2")
