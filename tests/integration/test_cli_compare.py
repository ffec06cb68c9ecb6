# SPDX-License-Identifier: Apache-2.0
"""`pyperf-infer compare` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import overhead_documents
import profile_documents
import pytest
import stored_documents as stored
from command_line import COMMAND, Running, environment, run_command

from pyperf_infer.cli.app import run_app
from pyperf_infer.results.files import read_document, write_document


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Paths of a baseline, and of results that are the same, 10% slower, and of one process."""
    levels = {"main": 50.0, "same": 50.01, "slow": 55.0}
    found = {
        name: stored.save(tmp_path / f"{name}.json", stored.row(stored.medians(level, seed=seed)))
        for seed, (name, level) in enumerate(levels.items())
    }
    found["single"] = stored.save(tmp_path / "single.json", stored.row(70.0))
    return {name: str(path) for name, path in found.items()}


def test_imports_nothing_that_runs_a_model(files: dict[str, str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pyperf_infer.cli.app import run_app\n"
        f"code = run_app(['compare', {files['main']!r}, {files['slow']!r}, '--fail-if-slower', '3%'])\n"
        "names = ('torch', 'onnxruntime', 'onnx', 'onnxscript', 'timm', 'ruptures', 'cuda')\n"
        "print('LOADED', code, [one for one in names if one in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "LOADED 1 []"


def test_the_console_script_compares(files: dict[str, str], tmp_path: Path) -> None:
    done = run_command("compare", files["main"], files["same"], cwd=tmp_path)
    assert "x same" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("contender", "code", "said"),
    [
        ("same", 0, ""),
        ("slow", 1, "torch of {}: slower, 0.9"),
        ("single", 0, "could not judge torch of {}: 5 and 1 processes cannot tell"),
    ],
)
def test_the_gates_exit_code_and_what_it_says_on_standard_error(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], contender: str, code: int, said: str
) -> None:
    path = files[contender]
    assert run_app(["compare", files["main"], path, "--fail-if-slower", "3%"]) == code
    err = capsys.readouterr().err
    assert said.format(path) in err
    assert bool(err) == bool(said)


def test_the_gate_tells_what_has_no_counterpart(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = stored.save(tmp_path / "more.json", stored.row(50.0), stored.row(9.0, batch_size=8))
    assert run_app(["compare", str(more), files["main"], "--fail-if-slower", "3%"]) == 0
    seen = capsys.readouterr()
    assert "could not judge resnet50 batch 8 torch: only in the baseline" in seen.err
    assert "The gate did not fire: " in seen.out
    assert "1 of 2 not judged: not on both sides with a time" in seen.out


def test_margin_and_gate_are_told_as_they_were_asked_for(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ["--margin", "0.04%", "--fail-if-slower", "0.25%"]
    assert run_app(["compare", files["main"], files["slow"], *limits]) == 1
    seen = capsys.readouterr()
    assert "differences up to 0.04% count as the same" in seen.out
    assert "slower by more than 0.25%" in seen.out
    assert "--fail-if-slower 0.25%" in seen.err


@pytest.mark.parametrize("form", ["", "--results-format json", "--results-format markdown"])
@pytest.mark.parametrize("pipe", ["| true", "2>&1 | true", "2>&1 >/dev/null | true"])
def test_a_reader_that_goes_away_does_not_take_the_gates_exit_code_with_it(
    files: dict[str, str], tmp_path: Path, form: str, pipe: str
) -> None:
    # The command starts after the reader has gone: `true` reads nothing, and the import alone takes longer than it.
    compare = f"{COMMAND} compare {files['main']} {files['slow']} --fail-if-slower 3% {form}"
    command = f"set -o pipefail; (sleep 0.3; {compare}) {pipe}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_without_the_gate_a_slower_result_is_no_failure(files: dict[str, str]) -> None:
    assert run_app(["compare", files["main"], files["slow"]]) == 0


def test_json_for_a_pull_request_states_the_gate_and_both_sides(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", files["main"], files["slow"], "--fail-if-slower", "3%", "--results-format", "json"]
    assert run_app(arguments) == 1
    whole = json.loads(capsys.readouterr().out)
    assert (whole["tool"], whole["results"], whole["gate"]["fired"]) == ("pyperf-infer", [], True)
    (comparison,) = whole["stored"]
    assert [comparison[side]["name"] for side in ("baseline", "contender")] == [files["main"], files["slow"]]
    assert (comparison["rows"][0]["verdict"], comparison["rows"][0]["gate"]) == ("slower", "fired")


def test_a_file_gets_what_was_asked_for_and_the_terminal_the_table(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", files["main"], files["slow"], "--results-file"]
    assert run_app([*arguments, str(tmp_path / "out.json")]) == 0
    assert read_document(tmp_path / "out.json").stored[0].rows[0].verdict == "slower"
    assert run_app([*arguments, str(tmp_path / "out.md"), "--results-format", "markdown"]) == 0
    assert "slower" in (tmp_path / "out.md").read_text()
    seen = capsys.readouterr()
    assert "slower" in seen.out
    assert f"Written to {tmp_path / 'out.md'}" in seen.err


def test_a_folder_is_the_baseline_of_a_result_that_lies_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for day in range(1, 7):
        created = f"2026-01-{day:02}T00:00:00Z"
        stored.save(folder / f"{day}.json", stored.row(50.0 + day / 100), created_utc=created)
    new = stored.save(folder / "new.json", stored.row(stored.medians(60.0)), created_utc="2026-01-09T00:00:00Z")
    assert run_app(["compare", str(folder), str(new), "--last", "5"]) == 0
    out = capsys.readouterr().out
    assert "slower" in out
    assert "5 / 5" in out
    assert "5 of 6 files used" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["main"], 2, "two results or more"),
        ([], 2, "two results or more"),
        (["main", "same", "--margin", "0%"], 2, "--margin 0%"),
        (["main", "same", "--margin", "2"], 2, "not a percentage"),
        (["main", "same", "--fail-if-slower", "-3%"], 2, "not a percentage"),
        (["main", "same", "--last", "2"], 2, "no folder is named"),
        (["main", "same", "--last", "0"], 2, "--last"),
        (["main", "same", "--results-file", "main"], 2, "would overwrite it"),
        (["", "main"], 2, "an empty path names no result"),
        (["main", " "], 2, "an empty path names no result"),
        (["main", "main"], 3, "the same twice"),
        (["main", "missing.json"], 3, "missing.json"),
    ],
)
def test_a_call_that_is_off_says_what_to_do(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run_app(["compare", *(files.get(one, one) for one in arguments)]) == code
    seen = capsys.readouterr()
    assert said in seen.err
    assert seen.out == ""


def test_a_file_of_a_folder_that_is_compared_is_not_overwritten(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    kept = stored.save(folder / "a.json", stored.row(stored.medians(50.0)))
    before = kept.read_bytes()
    assert run_app(["compare", str(folder), files["slow"], "--results-file", str(kept)]) == 2
    assert "would overwrite it" in capsys.readouterr().err
    assert kept.read_bytes() == before
    assert run_app(["compare", str(folder), files["slow"], "--results-file", str(folder / "new.json")]) == 0


def test_results_of_two_models_are_refused(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = stored.save(tmp_path / "other.json", stored.row(10.0, model="resnet18"))
    assert run_app(["compare", files["main"], str(other)]) == 3
    assert "model resnet50 against resnet18" in capsys.readouterr().err
    assert run_app(["compare", files["main"], str(other), "--force"]) == 3  # --force is about methods


def test_unlike_methods_are_refused_unless_forced(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(stored.save(tmp_path / "other.json", stored.row(stored.medians(50.0), method={"threads": 8})))
    assert run_app(["compare", files["main"], other]) == 3
    assert "threads is 2 in the baseline and 8 in the contender" in capsys.readouterr().err
    assert run_app(["compare", files["main"], other, "--force"]) == 0
    assert "FORCED although methods differ: threads 2 -> 8" in capsys.readouterr().out


def test_documents_of_other_commands_hold_nothing_to_compare(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overhead, profile = tmp_path / "overhead.json", tmp_path / "profile.json"
    write_document(overhead_documents.document(overhead_documents.overhead()), overhead)
    write_document(profile_documents.document(), profile)
    assert run_app(["compare", files["main"], files["same"], "-q", "--results-file", str(tmp_path / "c.json")]) == 0
    for path, command in ((overhead, "overhead"), (profile, "profile"), (tmp_path / "c.json", "")):
        assert run_app(["compare", files["main"], str(path)]) == 3
        assert f"holds no rows to compare: it is what `pyperf-infer {command}" in capsys.readouterr().err or not command


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b'{"tool": "pyperf-infer", "sche', "cut short"),
        (b'{"tool": "pyperf-infer", "schema_version": 99}', "Upgrade"),
        (b'{"a": 1}', "not a result"),
        (b"\x00\xff\xfe", "not JSON"),
    ],
)
def test_a_file_that_is_no_result_is_told_in_a_sentence(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    assert run_app(["compare", files["main"], str(tmp_path / "bad.json")]) == 3
    err = capsys.readouterr().err
    assert said in err
    assert "bug" not in err


def test_ctrl_c_while_files_are_looked_at_ends_with_130(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    stored.save(folder / "0.json", stored.row(50.0))
    for number in range(1, 40_000):
        (folder / f"{number}.json").hardlink_to(folder / "0.json")
    new = stored.save(tmp_path / "new.json", stored.row(50.0))
    running = Running("compare", folder, new, cwd=tmp_path)
    try:
        running.wait_until_shown("looking at files")
        running.press_ctrl_c()
        done = running.finish(130)
    finally:
        running.stop()
    assert "Interrupted." in done.err
    assert done.out == ""


def test_is_listed_among_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["--help"]) == 0
    assert "compare" in capsys.readouterr().out
