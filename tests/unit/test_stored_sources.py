# SPDX-License-Identifier: Apache-2.0
"""Files and folders as the sides of a comparison: which rows count, and what becomes of files that are no results."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import overhead_documents
import pytest
import result_documents as made
import stored_documents as stored

from pyperf_infer.errors import InputError
from pyperf_infer.results.files import write_document
from pyperf_infer.stored.sources import Side, read_sides


def sides(*paths: Path, last: int = 1) -> list[Side]:
    return read_sides(paths, last=last, progress=lambda _done, _total: None)


def newest(day: int, *rows: object, folder: Path, **fields: object) -> Path:
    """A document of that day in January."""
    created = f"2026-01-{day:02}T00:00:00Z"
    return stored.save(folder / f"{day:02}.json", *rows, created_utc=created, **fields)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "runs"
    path.mkdir()
    return path


@pytest.fixture
def contender(tmp_path: Path) -> Path:
    return stored.save(tmp_path / "new.json", stored.row(60.0))


def times(side: Side) -> list[list[float]]:
    return [one.medians_ms for one in side.pools]


def test_a_file_gives_its_rows_and_says_where_they_are_from(contender: Path, tmp_path: Path) -> None:
    other = stored.save(tmp_path / "a.json", stored.row([50.0, 51.0]), stored.row(20.0, "onnxruntime"))
    side, _ = sides(other, contender)
    assert times(side) == [[50.0, 51.0], [20.0]]
    file = side.pools[0].rows[0].file
    assert (file.path, file.status, file.created_utc) == (str(other), "complete", "2026-01-02T03:04:05Z")
    assert len(file.sha256) == 64


def test_samples_are_not_kept(contender: Path, tmp_path: Path) -> None:
    data = made.schema.SampleData(count=3, latency_ns=[1, 2, 3])
    side, _ = sides(stored.save(tmp_path / "a.json", stored.row(samples=data)), contender)
    assert side.pools[0].result.samples is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"nonsense", "it is not JSON"),
        (b'{"tool": "pyperf-infer", "schema_vers', "cut short"),
        (b'{"tool": "other", "schema_version": 1}', "not of pyperf-infer"),
        (b"[1, 2]", "is not a result of pyperf-infer"),
        (b'{"tool": "pyperf-infer", "schema_version": 99}', "schema version 99"),
        (b'{"tool": "pyperf-infer", "schema_version": 1}', "damaged"),
    ],
)
def test_a_named_file_that_is_no_result_is_refused_with_its_name(
    tmp_path: Path, contender: Path, content: bytes, said: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    for order in ((bad, contender), (contender, bad)):
        with pytest.raises(InputError, match=said) as caught:
            sides(*order)
        assert "bad.json" in str(caught.value)


def test_a_result_cut_short_anywhere_is_refused(tmp_path: Path, contender: Path) -> None:
    whole = contender.read_bytes().rstrip()
    for part in (0.1, 0.5, 0.9, 0.9999):
        cut = tmp_path / "cut.json"
        cut.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=r"cut\.json"):
            sides(cut, contender)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, contender: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json' is not there\. Name a file"):
        sides(tmp_path / "missing.json", contender)


def test_a_document_of_another_command_has_no_rows_to_compare(tmp_path: Path, contender: Path) -> None:
    path = tmp_path / "overhead.json"
    write_document(overhead_documents.document(overhead_documents.overhead()), path)
    with pytest.raises(InputError, match="it is what `pyperf-infer overhead` wrote"):
        sides(path, contender)


def test_a_run_that_was_interrupted_at_once_has_no_rows_to_compare(tmp_path: Path, contender: Path) -> None:
    with pytest.raises(InputError, match="interrupted before anything was measured"):
        sides(stored.save(tmp_path / "none.json", status="interrupted"), contender)


def test_the_same_file_twice_is_refused(tmp_path: Path, contender: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(contender)
    for again in (contender, link):
        with pytest.raises(InputError, match="the same twice"):
            sides(contender, again)


def test_of_a_folder_the_newest_row_of_each_subject_and_method_counts(folder: Path, contender: Path) -> None:
    newest(3, stored.row(53.0), folder=folder)
    newest(1, stored.row(51.0), stored.row(21.0, "onnxruntime"), folder=folder)
    newest(2, stored.row(52.0), stored.row(42.0, method={"threads": 1}), folder=folder)
    side, _ = sides(folder, contender)
    assert sorted(times(side)) == [[21.0], [42.0], [53.0]]
    assert (side.folder, side.looked_at, side.skipped) == (True, 3, 0)


def test_last_pools_the_newest_one_of_a_file(folder: Path, contender: Path) -> None:
    for day in range(1, 6):
        newest(day, stored.row(50.0 + day), stored.row(99.0), folder=folder)
    side, _ = sides(folder, contender, last=3)
    assert times(side) == [[55.0, 54.0, 53.0]]
    assert times(sides(folder, contender, last=99)[0]) == [[55.0, 54.0, 53.0, 52.0, 51.0]]


def test_processes_of_pooled_rows_are_pooled_too(folder: Path, contender: Path) -> None:
    newest(1, stored.row([50.0, 51.0]), folder=folder)
    newest(2, stored.row([52.0, 53.0, 54.0]), folder=folder)
    assert times(sides(folder, contender, last=2)[0]) == [[52.0, 53.0, 54.0, 50.0, 51.0]]


def test_rows_without_numbers_and_interrupted_runs_do_not_count_in_a_folder(folder: Path, contender: Path) -> None:
    newest(1, stored.row(51.0), folder=folder)
    newest(2, made.failed(), folder=folder, status="failed")
    newest(3, stored.row(53.0), folder=folder, status="interrupted")
    newest(4, stored.row(54.0, batch_size=8), made.failed(), folder=folder, status="failed")
    side, _ = sides(folder, contender)
    assert sorted(times(side)) == [[51.0], [54.0]]
    assert side.skipped == 2
    assert any("interrupted" in one for one in side.skipped_because)


def test_files_of_a_folder_that_are_no_results_are_skipped_and_counted(folder: Path, contender: Path) -> None:
    newest(1, stored.row(51.0), folder=folder)
    for number, content in enumerate([b"", b"{", b"[]", b'{"tool": "x", "schema_version": 1}', b'{"a": 1}']):
        (folder / f"bad{number}.json").write_bytes(content)
    (folder / "newer.json").write_bytes(b'{"tool": "pyperf-infer", "schema_version": 99, "status": "complete"}')
    (folder / "page.md").write_text("no JSON at all")
    (folder / "within.json").mkdir()
    (folder / ".hidden.json").write_text("{")
    side, _ = sides(folder, contender)
    assert times(side) == [[51.0]]
    assert (side.looked_at, side.skipped) == (7, 6)
    assert len(side.skipped_because) == 3
    assert "bad0.json" in side.skipped_because[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"complete"', b'"wat"'),
        (b'"2026-01-09T00:00:00Z"', b'"yesterday"'),
        (b'"physical_cores": ', b'"physical_cores": -'),
        (b'"asked": 2', b'"asked": "two"'),
        (b'"p50_ms": 51.5', b'"p50_ms": -1'),
        (b'"torch"', b'"tor\xffch"'),
    ],
)
def test_a_newest_file_that_is_damaged_anywhere_makes_room_for_the_next(
    folder: Path, contender: Path, old: bytes, new: bytes
) -> None:
    newest(1, stored.row(51.0), folder=folder)
    newest(2, stored.row(52.0), folder=folder)
    bad = newest(9, stored.row([50.5, 51.5]), folder=folder)
    whole = bad.read_bytes()
    bad.write_bytes(whole.replace(old, new))
    assert bad.read_bytes() != whole
    side, _ = sides(folder, contender)
    assert times(side) == [[52.0]]
    assert (side.looked_at, side.skipped) == (3, 1)
    assert "09.json" in side.skipped_because[0]


def test_a_copy_of_another_argument_is_no_part_of_the_folder_and_told_first(folder: Path, contender: Path) -> None:
    newest(1, stored.row(51.0), folder=folder)
    for number in range(5):
        (folder / f"bad{number}.json").write_text("{")
    shutil.copy(contender, folder / "copy.json")
    side, _ = sides(folder, contender)
    assert times(side) == [[51.0]]
    assert side.skipped == 6
    assert side.skipped_because[0] == f"{str(folder / 'copy.json')!r} is a copy of {str(contender)!r}"


def test_a_folder_that_holds_but_a_copy_of_the_contender_is_refused(folder: Path, contender: Path) -> None:
    shutil.copy(contender, folder / "copy.json")
    with pytest.raises(InputError, match=r"holds no result to compare .*is a copy of"):
        sides(folder, contender)


def test_copies_within_a_folder_are_not_pooled_as_so_many_processes(folder: Path, contender: Path) -> None:
    for day in (1, 2, 3):
        path = newest(day, stored.row(50.0 + day), folder=folder)
        for number in range(3):
            shutil.copy(path, folder / f"copy{day}{number}.json")
    side, _ = sides(folder, contender, last=5)
    assert times(side) == [[53.0, 52.0, 51.0]]
    assert side.skipped == 9


def test_a_file_that_cannot_be_read_is_skipped(folder: Path, contender: Path) -> None:
    newest(1, stored.row(51.0), folder=folder)
    (folder / "gone.json").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.json")
    assert times(sides(folder, contender)[0]) == [[51.0]]


@pytest.mark.parametrize("names", [(), ("bad.json",)])
def test_a_folder_without_results_is_refused(folder: Path, contender: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).write_text("{")
    with pytest.raises(InputError, match="holds no result to compare"):
        sides(folder, contender)


def test_an_argument_is_no_part_of_the_folder_it_lies_in(folder: Path) -> None:
    newest(1, stored.row(51.0), folder=folder)
    mine = newest(9, stored.row(59.0), folder=folder)
    side, new = sides(folder, mine)
    assert times(side) == [[51.0]]
    assert times(new) == [[59.0]]


def test_thousands_of_files_are_looked_at_one_by_one_with_progress(folder: Path, contender: Path) -> None:
    """What is kept grows with subjects and methods, not with files."""
    count, template = 3000, json.loads(newest(1, stored.row(51.0), folder=folder).read_bytes())
    for number in range(count - 1):
        template["created_utc"] = f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}T00:00:00Z"
        (folder / f"old{number}.json").write_text(json.dumps(template))
    seen: list[tuple[int, int]] = []
    tracemalloc.start()
    side, _ = read_sides([folder, contender], last=2, progress=lambda done, total: seen.append((done, total)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert side.looked_at == count
    assert seen == [(done, count) for done in range(1, count + 1)]
    assert [one.rows[0].file.path for one in side.pools] == [str(folder / "01.json")]
    content = sum(one.stat().st_size for one in folder.iterdir())
    assert peak < content / 4


def test_a_result_copied_elsewhere_has_the_same_hash(tmp_path: Path, contender: Path) -> None:
    copy = tmp_path / "copy.json"
    shutil.copy(contender, copy)
    mine, theirs = sides(contender, copy)
    assert mine.pools[0].rows[0].file.sha256 == theirs.pools[0].rows[0].file.sha256
