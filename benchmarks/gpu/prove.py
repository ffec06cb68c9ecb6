# SPDX-License-Identifier: Apache-2.0
"""Proves on the GPU of this machine what only a GPU can show: builds the package, runs tests/gpu and the rows of this
folder, each in a process of its own with a hard limit, and writes one JSON and one Markdown page.

Exit codes: 0 every row passed, or is not yet there for a reason that it gives; 1 a row failed; 2 usage; 3 nothing
failed, and rows are left: call again with --resume; 4 no GPU, or something is missing; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gpu import build
from gpu.common import last_lines
from gpu.figures import RowResult
from gpu.page import Page, PageError, load, new_stem, newest_unfinished, save, verdict
from gpu.plan import Mode, PlannedRow, rows
from gpu.runner import run_planned

PASSED, FAILED, USAGE, ROWS_LEFT, NOT_THERE, INTERRUPTED = 0, 1, 2, 3, 4, 130
LIMIT_S = 530.0
LOOK_TIMEOUT_S = 60.0
RESULTS = build.REPOSITORY / "benchmarks" / "results"


class NotThereError(Exception):
    """There is no GPU, or its driver does not work."""


def main(arguments: Sequence[str] | None = None) -> int:
    begin = time.monotonic()
    options = _parser().parse_args(arguments)
    mode: Mode = "full" if options.full else "core"
    plan = rows(mode)
    if options.dry_run:
        return _dry_run(mode, plan, options.out or build.WORK)
    options.out = options.out or RESULTS
    try:
        device = look_for_gpu()
        library = build.find_ort_library(options.ort_capi) if options.ort_capi else None
        stem, page = _open_page(mode, plan, device, options)
    except (NotThereError, build.BuildError) as error:
        print(f"{error}\nNothing was measured.", file=sys.stderr)
        return NOT_THERE
    except PageError as error:
        print(error, file=sys.stderr)
        return USAGE
    page.calls.append({"begin_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "seconds": 0.0})
    code = None
    try:
        if _build(page, options.wheels, library):
            page.machine = describe_machine(library)
            save(page, stem)
            run_rows(page, plan, stem, begin=begin, limit_s=options.limit, library=library)
    except KeyboardInterrupt:
        code = INTERRUPTED
    page.calls[-1]["seconds"] = time.monotonic() - begin
    save(page, stem)
    print(f"\n{verdict(page)}\nwritten: {stem}.md and {stem}.json")
    if page.left:
        print(f"left: {', '.join(page.left)}. The same command with --resume goes on.")
    return exit_code(page) if code is None else code


def exit_code(page: Page) -> int:
    """Of a page, as the docstring of this module has it."""
    if page.failed:
        return FAILED
    return ROWS_LEFT if page.left else PASSED


def run_rows(
    page: Page, plan: Sequence[PlannedRow], stem: Path, *, begin: float, limit_s: float, library: Path | None
) -> None:
    """Runs the rows that are left, one after the other, while there is time for the next; saves after each."""
    variables = build.environment(library)
    for row in plan:
        if row.name not in page.left:
            continue
        left_s = limit_s - (time.monotonic() - begin)
        if left_s < row.budget_s:
            print(f"\n{left_s:.0f} s are left, and {row.name} takes {row.budget_s:g} s")
            return
        print(f"\n== {row.name}: {row.what} ({time.monotonic() - begin:.0f} s)", flush=True)
        result = run_planned(row, variables, within_s=left_s)
        status = f"{result.status}{result.missing_text}"
        print(f"-- {result.name}: {status} ({result.seconds or 0:.0f} s) {result.reason}".rstrip(), flush=True)
        page.set(result)
        page.calls[-1]["seconds"] = time.monotonic() - begin
        save(page, stem)


def look_for_gpu() -> str:
    """The name of the first GPU. In another process: a driver that is stuck does not answer.

    Raises:
        NotThereError: there is none, or its driver does not work.
    """
    program = build.REPOSITORY / "tests" / "helpers" / "gpu_presence.py"
    try:
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotThereError(f"the NVIDIA driver does not answer: cuInit took more than {LOOK_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        raise NotThereError(last_lines(done.stderr, 1))
    seen = json.loads(done.stdout)
    if seen["why_none"] is not None:
        raise NotThereError(f"No GPU: {seen['why_none']}.")
    return str(seen["gpus"][0])


def describe_machine(library: Path | None) -> dict[str, object]:
    """Device, driver and versions; where that fails, why."""
    command = [sys.executable, "-P", "-m", "gpu.machine"]
    try:
        done = subprocess.run(
            command, env=build.environment(library), capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=True
        )
        described: dict[str, object] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"not known": f"describing the machine took more than {LOOK_TIMEOUT_S:g} s"}
    except subprocess.CalledProcessError as error:
        return {"not known": last_lines(error.stderr, 1)}
    except ValueError:
        return {"not known": "describing the machine printed something else"}
    return described


def _build(page: Page, wheels: Path | None, library: Path | None) -> bool:
    what = "the package, built for this machine"
    print(f"== build: {what}", flush=True)
    try:
        seconds = build.build(wheels, library)
    except build.BuildError as error:
        print(error, file=sys.stderr)
        first, *rest = str(error).splitlines()
        page.set(RowResult(name="build", what=what, status="fail", reason=first, lines=tuple(rest)))
        return False
    page.set(RowResult(name="build", what=what, status="pass", seconds=seconds))
    return True


def _open_page(mode: Mode, plan: Sequence[PlannedRow], device: str, options: argparse.Namespace) -> tuple[Path, Page]:
    source = build.source_hash()
    if not options.resume:
        page = Page.of_plan(mode, plan, device=device, source=source)
        return new_stem(options.out, page), page
    stem, page = newest_unfinished(options.out, mode)
    for what, before, now in (("GPU", page.device, device), ("source", page.source, source)):
        if before != now:
            raise PageError(f"{stem}.json is of another {what} ({before}, now {now}); leave --resume away")
    return stem, page


def _dry_run(mode: Mode, plan: Sequence[PlannedRow], out: Path) -> int:
    page = Page.of_plan(mode, plan, device="dry run", source=build.source_hash())
    page.dry()
    stem = new_stem(out, page)
    save(page, stem)
    for row in plan:
        print(f"{row.name:20} up to {row.timeout_s:4.0f} s  {row.what}")
    print(f"{verdict(load(stem.with_name(stem.name + '.json')))}\nwritten: {stem}.md and {stem}.json")
    return PASSED


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="benchmarks/gpu/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--full", action="store_true", help="every row, in parts: each call runs what its time allows")
    made.add_argument("--resume", action="store_true", help="go on with the newest page in --out that has rows left")
    made.add_argument("--out", type=Path, metavar="DIR", help="of the pages [default: benchmarks/results]")
    made.add_argument(
        "--ort-capi", type=Path, metavar="DIR", help="unpacked libraries of ONNX Runtime with CUDA provider"
    )
    made.add_argument("--wheels", type=Path, metavar="DIR", help="wheels of packages that this machine lacks")
    made.add_argument("--limit", type=float, default=LIMIT_S, metavar="S", help="of this call [default: %(default)s]")
    made.add_argument("--dry-run", action="store_true", help="write a page that says of every row that it was not run")
    return made


if __name__ == "__main__":
    sys.exit(main())
