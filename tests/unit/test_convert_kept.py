# SPDX-License-Identifier: Apache-2.0
"""Folders that are kept between runs. What is built here takes no time; what a real build adds is tested elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.convert import cache_folder
from pyperf_infer.convert.kept import Kept, Shelf, kept, key_of
from pyperf_infer.errors import InputError

SHELF = Shelf("compiled", surroundings=("versions", "cpu"))
DESCRIPTION: dict[str, Any] = {"model": "tiny", "versions": {"torch": "2.13.0"}, "cpu": {"flags": "a" * 64}}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


def build(folder: Path) -> dict[str, Any]:
    (folder / "model.pt2").write_bytes(b"a library")
    return {"outputs": ["output"]}


def never(folder: Path) -> dict[str, Any]:
    raise AssertionError("built again")


def ask(description: Mapping[str, Any] = DESCRIPTION, how: Callable[[Path], Mapping[str, Any]] = build) -> Kept:
    return kept(SHELF, "The compiled model of tiny", description, how)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != "locks")


def test_the_second_call_finds_what_the_first_has_left(root: Path) -> None:
    first, second = ask(), ask(how=never)
    assert (first.hit, first.rebuilt, second.hit, second.rebuilt) == (False, None, True, None)
    assert (first.folder, first.facts) == (second.folder, second.facts)
    assert (second.folder / "model.pt2").read_bytes() == b"a library"
    assert names(root) == [second.folder.name]
    assert root.stat().st_mode & 0o777 == 0o700


def flip(entry: Path) -> None:
    (entry / "model.pt2").write_bytes(b"A library")


def truncate(entry: Path) -> None:
    os.truncate(entry / "model.pt2", 2)


def drop(entry: Path) -> None:
    (entry / "model.pt2").unlink()


def empty_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text("")


def manifest_of_something_else(entry: Path) -> None:
    manifest = entry / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"huge"'))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip, "it is damaged: model.pt2 is not what was written"),
        (truncate, "it is damaged: model.pt2 is not what was written"),
        (drop, "it is damaged: model.pt2 cannot be read: No such file or directory"),
        (empty_manifest, "it is damaged: its manifest cannot be read"),
        (manifest_of_something_else, "it is damaged: it was made for something else"),
    ],
)
def test_a_damaged_entry_is_rebuilt_and_said_once(root: Path, damage: Callable[[Path], None], says: str) -> None:
    first = ask()
    damage(first.folder)
    again = ask()
    assert (again.hit, again.rebuilt, again.folder) == (False, says, first.folder)
    assert (again.folder / "model.pt2").read_bytes() == b"a library"
    third = ask(how=never)
    assert (third.hit, third.rebuilt) == (True, None)
    assert names(root) == [first.folder.name]


def test_an_outdated_entry_is_not_used_and_what_changed_is_said_once(root: Path) -> None:
    old = ask()
    newer = {**DESCRIPTION, "versions": {"torch": "2.14.1"}, "cpu": {"flags": "b" * 64}}
    first = ask(newer)
    assert (first.hit, first.rebuilt) == (False, "torch was 2.13.0 and is 2.14.1, flags changed")
    assert first.folder != old.folder
    assert ask(newer, never).rebuilt is None
    assert ask({**newer, "model": "other"}).rebuilt is None


def test_a_failed_build_leaves_nothing_behind_and_its_error_is_the_callers(root: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("of it")
        raise InputError("no such operator")

    with pytest.raises(InputError, match="no such operator"):
        ask(how=fail)
    assert names(root) == []


def test_a_full_disk_names_what_did_not_fit_and_the_variable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=f"compiled model of tiny.*No space left.*{cache_folder.ENVIRONMENT_VARIABLE}"):
        ask()
    assert names(root) == []


def test_the_entry_used_longest_ago_leaves_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [ask({"model": str(number)}).folder for number in range(3)]
    long_ago = time.time() - 10 * cache_folder.IN_USE_SECONDS
    for age, folder in enumerate(folders):
        os.utime(folder / "manifest.json", (long_ago - age, long_ago - age))
    assert ask({"model": "2"}, never).hit  # the oldest becomes the newest
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    monkeypatch.setattr(cache_folder, "SIZE_LIMIT_BYTES", size)
    newest = ask({"model": "3"}).folder
    assert [folder.exists() for folder in (*folders, newest)] == [True, False, True, True]


def test_entries_in_use_are_spared_whatever_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "SIZE_LIMIT_BYTES", 0)
    folders = [ask({"model": str(number)}).folder for number in range(2)]
    assert all(folder.exists() for folder in folders)


def test_a_folder_that_cannot_be_made_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache_folder.ENVIRONMENT_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match=f"compiled models.*{cache_folder.ENVIRONMENT_VARIABLE}"):
        ask()


# Two or more processes. None imports torch: they only have to stand in each other's way.
CHILD = """
import sys, time
from pathlib import Path
from pyperf_infer.convert.kept import Shelf, kept
name, pause = sys.argv[1], float(sys.argv[2])
def build(folder):
    (folder / "model.pt2").write_bytes(b"a lib")  # half of it
    Path("half-" + name).touch()
    time.sleep(pause)
    (folder / "model.pt2").write_bytes(b"a library")
    return {"outputs": ["output"]}
Path("ready-" + name).touch()
while not Path("go").exists():
    time.sleep(0.005)
found = kept(Shelf("compiled"), "It", {"model": "tiny"}, build)
assert (found.folder / "model.pt2").read_bytes() == b"a library"
print(found.hit)
"""


def start(folder: Path, name: str, pause_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", CHILD, name, str(pause_s)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def wait_for(*files: Path, child: subprocess.Popen[str]) -> None:
    while not all(file.exists() for file in files):
        assert child.poll() is None, "the child ended before its time"
        time.sleep(0.01)


def test_of_processes_at_once_one_builds_and_none_reads_half(root: Path, tmp_path: Path) -> None:
    children = [start(tmp_path, name, pause_s=0.3) for name in "abc"]
    wait_for(*(tmp_path / f"ready-{name}" for name in "abc"), child=children[0])
    (tmp_path / "go").touch()
    answers = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert answers == ["False", "True", "True"]
    assert len(names(root)) == 1


def test_what_a_killed_build_has_left_is_never_used(root: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    child = start(tmp_path, "a", pause_s=300.0)
    wait_for(tmp_path / "half-a", child=child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (remains,) = names(root)
    assert (root / remains / "model.pt2").read_bytes() == b"a lib"
    begin = time.monotonic()
    found = ask({"model": "tiny"})
    assert time.monotonic() - begin < cache_folder.LOCK_TIMEOUT_SECONDS / 10, "the lock of the dead is still held"
    assert (found.hit, (found.folder / "model.pt2").read_bytes()) == (False, b"a library")
    assert remains in names(root)  # a young one may belong to a live process
    old = time.time() - 2 * cache_folder.STALE_SECONDS
    os.utime(root / remains, (old, old))
    ask({"model": "other"})
    assert remains not in names(root)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.text(max_size=5), JSON)
def test_a_key_depends_on_everything_and_on_no_order(description: dict[str, Any], name: str, value: object) -> None:
    backwards = dict(reversed(description.items()))
    assert key_of(description) == key_of(backwards)
    if name not in description:
        assert key_of({**description, name: value}) != key_of(description)
