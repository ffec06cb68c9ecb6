# SPDX-License-Identifier: Apache-2.0
"""A result is written whole or not at all, and what cannot be read back says why."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import result_documents as made

from pyperf_infer.errors import InputError, MeasurementError
from pyperf_infer.results.files import check_writable, read_document, write_document, write_text

FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"pyperf_infer.results.atomic.os.{call}", refused)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_document_reads_back_as_it_was(tmp_path: Path) -> None:
    document = made.document()
    assert write_document(document, tmp_path / "run.json") == document
    assert read_document(tmp_path / "run.json") == document
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old and good")
    refuse(monkeypatch, call, code)
    with pytest.raises(InputError, match=os.strerror(code)) as caught:
        write_document(made.document(), path)
    monkeypatch.undo()
    assert "run.json" in str(caught.value)
    assert "elsewhere" in str(caught.value) or "disk" in str(caught.value) or "folder" in str(caught.value)
    assert caught.value.exit_code == 3
    assert path.read_text() == "old and good"
    assert names(tmp_path) == ["run.json"]


def test_a_file_that_grows_past_the_limit_is_not_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old and good")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the kernel cuts the write short, then refuses the rest
    try:
        with pytest.raises(InputError, match="ulimit"):
            write_document(made.document(), path)
        with pytest.raises(InputError, match="ulimit"):
            check_writable(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old and good"
    assert names(tmp_path) == ["run.json"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("pyperf_infer.results.atomic.os.write", lambda fd, data: write(fd, data[:100]))
    write_document(made.document(), tmp_path / "run.json")
    assert read_document(tmp_path / "run.json") == made.document()


def test_an_interrupt_while_writing_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pyperf_infer.results.atomic.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_document(made.document(), tmp_path / "run.json")
    assert names(tmp_path) == []


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(InputError):
        write_document(made.document(), tmp_path / "run.json")
    assert names(tmp_path) == []


def test_a_new_file_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    with umask(0o027):
        write_text(tmp_path / "report.md", "text")
    assert (tmp_path / "report.md").stat().st_mode & 0o777 == 0o640


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    path.chmod(0o600)
    with umask(0o022):
        write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "new"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "run.json"
    link.symlink_to("real/run.json")
    write_document(made.document(), link)
    assert link.is_symlink()
    assert read_document(tmp_path / "real" / "run.json") == made.document()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("folder", "is a folder: name a file in it"),
        ("missing/run.json", "folder is not there: create it first"),
        ("file/run.json", "is a file, not a folder|Not a directory"),
        ("n" * 300, "too long"),
        ("loop", "loop"),
        ("pipe", "device or a pipe"),
        ("a\0b", "no file can be called that"),
    ],
)
def test_a_place_that_cannot_take_a_file_is_refused_before_and_while_writing(
    tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    for attempt in (lambda path: check_writable(path), lambda path: write_document(made.document(), path)):
        with pytest.raises(InputError, match=message):
            attempt(tmp_path / place)
    assert names(tmp_path) == before


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(InputError, match="device"):
        write_text(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_folder_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("old")
    (tmp_path / "run.json").chmod(0o444)
    with pytest.raises(InputError, match="write-protected"):
        check_writable(tmp_path / "run.json")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="Permission"):
            check_writable(tmp_path / "new.json")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_the_check_finds_a_full_disk_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    refuse(monkeypatch, call, code)
    with pytest.raises(InputError, match=os.strerror(code)):
        check_writable(tmp_path / "run.json")
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_the_check_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("old")
    check_writable(tmp_path / "run.json")
    check_writable(tmp_path / "new.json")
    assert names(tmp_path) == ["run.json"]
    assert (tmp_path / "run.json").read_text() == "old"


def test_an_argument_that_is_not_utf8_does_not_lose_the_result(tmp_path: Path) -> None:
    write_document(made.document(command=["run", os.fsdecode(b"a\xff.onnx")]), tmp_path / "run.json")
    assert read_document(tmp_path / "run.json").command == ["run", r"a\udcff.onnx"]


def test_a_document_nobody_could_read_back_is_not_written(tmp_path: Path) -> None:
    document = made.document()
    document.results[0].summary.latency.mean_ms = float("nan")  # type: ignore[union-attr]
    with pytest.raises(MeasurementError, match="mean_ms"):
        write_document(document, tmp_path / "run.json")
    assert names(tmp_path) == []


def test_a_document_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    data = msgspec.json.encode(made.document())
    for length in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut short|empty"):
            read_document(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"model,p50\n", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not a result"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"[]", "not a result"),
        (b'{"tool": "pyperf-infer"}', "not a result of pyperf-infer: .*schema_version"),
        (b'{"tool": "hyperfine", "schema_version": 1}', "result of 'hyperfine'"),
        (b'{"tool": "pyperf-infer", "schema_version": 2}', "schema version 2; .* up to 1. Upgrade"),
        (b'{"tool": "pyperf-infer", "schema_version": 1}', "damaged: .*tool_version"),
        (b'{"tool": "pyperf-infer", "schema_version": 0}', "damaged"),
    ],
)
def test_what_is_not_a_result_is_refused_by_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_document(path)
    assert "run.json" in str(caught.value)


def test_a_damaged_field_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_document(made.document(), path)
    data = json.loads(path.read_text())
    data["results"][1]["summary"]["latency"]["p50_ms"] = "fast"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"run\.json.*results\[1\]\.summary\.latency\.p50_ms"):
        read_document(path)


def test_text_that_is_no_utf8_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_document(made.document(), path)
    path.write_bytes(path.read_bytes().replace(b"resnet", b"res\xffet", 1))
    with pytest.raises(InputError, match=r"run\.json' is damaged"):
        read_document(path)


@pytest.mark.parametrize(("place", "message"), [("none.json", "not there"), ("", "a folder"), ("pipe", "a pipe")])
def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, place: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message):
        read_document(tmp_path / place)
