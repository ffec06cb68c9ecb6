# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pyperf_infer.results.schema import Cache, Environment
from pyperf_infer.system import cgroup, cpu, files
from pyperf_infer.system.environment import collect
from pyperf_infer.system.memory import available_memory_bytes

TREES = Path(__file__).parent.parent / "data" / "system"
GIB = 2**30


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "affinity", lambda: [0, 1])


def test_a_bare_machine() -> None:
    environment = collect(TREES / "bare_metal")
    assert environment.cpu_model == "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz"
    assert (environment.physical_cores, environment.logical_cores, environment.affinity) == (2, 4, [0, 1])
    assert environment.caches == [
        Cache(level=1, kind="data", size_bytes=48 * 1024, shared_by_cpus=2),
        Cache(level=1, kind="instruction", size_bytes=32 * 1024, shared_by_cpus=2),
        Cache(level=2, kind="unified", size_bytes=1280 * 1024, shared_by_cpus=2),
        Cache(level=3, kind="unified", size_bytes=54 * 2**20, shared_by_cpus=4),
    ]
    assert environment.governor == "performance, powersave"
    assert environment.frequency_mhz == 3100
    assert (environment.frequency_min_mhz, environment.frequency_max_mhz) == (800, 3500)
    assert environment.memory_total_bytes == 65536000 * 1024
    assert (environment.memory_limit_bytes, environment.cpu_limit_cores) == (None, None)
    assert (environment.os, environment.kernel) == ("Debian GNU/Linux 12 (bookworm)", "6.1.0-18-amd64")
    assert (environment.virtualised, environment.hypervisor) == (False, None)
    assert environment.python.split()[1] == sys.version.split()[0]
    assert "numpy" in environment.libraries


def test_only_usable_cpus_count_for_the_governor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "affinity", lambda: [2, 3])
    assert collect(TREES / "bare_metal").governor == "powersave"


def test_cgroup_v2_limits_of_all_ancestors_hold() -> None:
    environment = collect(TREES / "cgroup_v2")
    assert environment.memory_limit_bytes == 4 * GIB
    assert environment.cpu_limit_cores == 1.5
    assert (environment.virtualised, environment.hypervisor) == (True, "Amazon EC2")
    assert environment.governor is None


def test_cgroup_v1_in_a_container_that_sees_the_hosts_path() -> None:
    environment = collect(TREES / "cgroup_v1")
    assert (environment.memory_limit_bytes, environment.cpu_limit_cores) == (2 * GIB, 0.5)
    assert (environment.virtualised, environment.cpu_model, environment.physical_cores) == (None, None, None)


def test_groups_without_limits_and_a_cpu_without_a_name() -> None:
    environment = collect(TREES / "unlimited_arm")
    assert (environment.memory_limit_bytes, environment.cpu_limit_cores) == (None, None)
    assert environment.cpu_model == "Arm implementer 0x41, part 0xd0c"
    assert (environment.virtualised, environment.hypervisor) == (True, "KVM/QEMU")


def test_available_memory_is_the_tightest_bound_and_page_cache_is_not_in_the_way() -> None:
    assert available_memory_bytes(TREES / "bare_metal") == 32768000 * 1024
    # 4 GiB limit, 3 GiB in use, 0.75 GiB of that given up when asked for.
    assert available_memory_bytes(TREES / "cgroup_v2") == 1.75 * GIB
    assert available_memory_bytes(TREES / "cgroup_v1") == 0.75 * GIB


def test_a_system_that_tells_nothing_still_makes_a_document(tmp_path: Path) -> None:
    environment = collect(tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(environment), type=Environment) == environment
    assert environment.memory_total_bytes > 0
    assert environment.logical_cores > 0
    assert (environment.cpu_model, environment.caches, environment.virtualised) == (None, [], None)
    assert available_memory_bytes(tmp_path) > 0


def test_this_machine() -> None:
    environment = collect()
    assert msgspec.json.decode(msgspec.json.encode(environment), type=Environment) == environment


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from pyperf_infer.system import environment, memory, advice; environment.collect(); "
        "assert not {'torch', 'onnx', 'onnxruntime', 'numpy', 'psutil', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_path_that_leads_out_of_the_mount_is_the_mount_itself(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "cg").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/../../host\n")
    (tmp_path / "proc/self/mountinfo").write_text("1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cg/memory.max").write_text("1000\n")
    (tmp_path / "memory.max").write_text("1\n")
    assert cgroup.memory_limit_bytes(tmp_path) == 1000


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8", [0, 1, 2, 3, 8]), ("5", [5]), ("", []), (None, []), ("nonsense", [])]
)
def test_cpu_lists(text: str | None, cpus: list[int]) -> None:
    assert files.parse_cpu_list(text) == cpus


@pytest.mark.parametrize(("text", "size"), [("512K", 2**19), ("2M", 2**21), ("64", 64), ("", None), ("K", None)])
def test_sizes(text: str, size: int | None) -> None:
    assert files.parse_size(text) == size
