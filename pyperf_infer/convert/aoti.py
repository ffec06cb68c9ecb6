# SPDX-License-Identifier: Apache-2.0
"""An exported program as a package (.pt2) of a library that runs it, through AOTInductor and the C++ compiler."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pyperf_infer.convert import cxx
from pyperf_infer.convert.aoti_export import REMEDY
from pyperf_infer.convert.cache_folder import ENVIRONMENT_VARIABLE
from pyperf_infer.convert.cuda_toolchain import cuda_toolchain
from pyperf_infer.convert.failure import chain, explain, last_lines
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import BackendError, InputError, OutOfMemoryError, PyperfInferError
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from pyperf_infer.results.schema import Setting

# Variables that change what Inductor writes. Where it keeps what it has made is not among them: here it keeps nothing.
_PREFIXES = ("TORCHINDUCTOR_", "AOT_INDUCTOR_", "AOTINDUCTOR_", "ATEN_CPU_CAPABILITY")
_OF_NO_EFFECT = ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS", "TORCHINDUCTOR_WORKER_START")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the file system, a quota, a limit of the process


@dataclass(frozen=True)
class Compiled:
    """`seconds`: of Inductor and the C++ compiler, without trying out, once a process, what instructions it knows."""

    seconds: float
    settings: Mapping[str, Setting]


def compile_to_package(name: str, program: ExportedProgram, path: Path, *, threads: int, device: str) -> Compiled:
    """Compiles `program` into `path`, which ends in .pt2.

    At one thread the count is compiled in; at two and more it stays open, and loops are split with `threads` in mind.
    Nothing of an earlier compile is used and none of this one's is left, so that one that was killed does no harm.

    Raises:
        BackendError: no C++ compiler, one that fails, or CUDA's headers are not there; with what to install.
        InputError: Inductor cannot compile the model, with the operator and the line; or `path` cannot be written.
        OutOfMemoryError: it does not fit in memory.
    """
    compiler = cxx.require()
    with contextlib.ExitStack() as stack:
        # Beside the package, where what a killed process leaves is cleared away one day; but Inductor's commands know
        # no blanks in a path.
        place = None if any(letter.isspace() for letter in str(path.parent)) else path.parent
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="inductor-", dir=place))
        if device != "cpu":
            stack.enter_context(cuda_toolchain())
        _import_inductor()
        chatter = stack.enter_context(captured_chatter())
        try:
            return _compile(program, path, Path(scratch), inductor_options(compiler, threads))
        except PyperfInferError:
            raise
        except Exception as error:
            _raise_explained(name, path, error, chatter.getvalue())


def inductor_options(compiler: str, threads: int) -> dict[str, Any]:
    """What is asked of Inductor beside its defaults; the environment (`inductor_environment`) changes those."""
    return {
        "cpp.cxx": (compiler,),
        "cpp.threads": threads,
        # Left open, every kernel, however small, would begin with a parallel region, which costs microseconds each.
        "cpp.dynamic_threads": False,
        # In this process: a pool of others, which are slow to start, would still be there when something is timed.
        "compile_threads": 1,
        # These are kept outside of the fresh folder, where a compile that was killed may have left half of one.
        "aot_inductor.precompile_headers": False,
        "cpp_cache_precompile_headers": False,
    }


def inductor_environment() -> dict[str, str]:
    """The variables that change what Inductor writes, by name."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIXES) and name not in _OF_NO_EFFECT
    }


def _import_inductor() -> None:
    """Before the time is taken, and so that what it says of the machine stands in no message about a model."""
    with captured_chatter():
        import torch._inductor.compile_fx

        with contextlib.suppress(ImportError):  # it needs setuptools, whose absence a compile would report
            import torch.utils.cpp_extension  # noqa: F401


def _compile(program: ExportedProgram, path: Path, scratch: Path, options: Mapping[str, Any]) -> Compiled:
    import torch
    from torch._inductor import config
    from torch._inductor.cpu_vec_isa import pick_vec_isa
    from torch._inductor.utils import fresh_cache

    known = {name: value for name, value in options.items() if _has(config, name)}
    failure: Exception | None = None
    with fresh_cache(dir=str(scratch)), _no_thread_left(), torch.no_grad():
        try:
            with config.patch(known):
                instructions = str(pick_vec_isa())
                freezing = bool(config.freezing)
            start = time.perf_counter()
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=dict(known))
            seconds = time.perf_counter() - start
        except Exception as error:
            failure = error  # raised past the fresh cache, which would print that it keeps its folder
    if failure is not None:
        raise failure
    settings: dict[str, Setting] = {
        "compiled_threads": options["cpp.threads"],
        "compiled_isa": "none" if instructions == "INVALID_VEC_ISA" else instructions,
        "compiler": cxx.version(),
        "freezing": freezing,
        "inductor_environment": " ".join(f"{name}={value}" for name, value in inductor_environment().items()) or None,
    }
    return Compiled(seconds, settings)


def _has(config: Any, name: str) -> bool:
    """Whether this version of torch has the option."""
    for part in name.split("."):
        if not hasattr(config, part):
            return False
        config = getattr(config, part)
    return True


@contextlib.contextmanager
def _no_thread_left() -> Iterator[None]:
    """Ends the thread that watches over progress bars, which Inductor's hidden ones start."""
    before = _monitor()
    try:
        yield
    finally:
        monitor = _monitor()
        if monitor is not None and monitor is not before:
            monitor.exit()
            sys.modules["tqdm"].tqdm.monitor = None  # another bar starts another


def _monitor() -> Any:
    return getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "monitor", None)


def _raise_explained(name: str, path: Path, error: Exception, chatter: str) -> NoReturn:
    output = _compilers_output(error)
    full = next((said for said in map(os.strerror, _FULL) if said in (output or "")), None)
    if full is not None:  # no fault of the compiler's, whose other words only say that it failed
        raise _unwritten(name, path, full) from error
    if output is not None:
        raise cxx.failed(f"what AOTInductor made of {name}", output) from error
    if is_out_of_memory(error):
        raise OutOfMemoryError(f"{name} does not fit in memory while AOTInductor compiles it.") from error
    for link in chain(error, contexts=True):  # some of torch's wrappers name no cause
        if isinstance(link, OSError) and link.errno in (*_FULL, errno.EACCES, errno.EROFS):
            raise _unwritten(name, path, link.strerror or str(link)) from error
        if type(link).__name__ in ("TritonMissing", "TritonMissingError"):
            raise BackendError(
                f"AOTInductor needs Triton to compile {name} for a GPU, and it is not there: pip install triton"
            ) from error
    raise InputError(
        f"AOTInductor cannot compile {name}: {explain(error)}\n{REMEDY}" + last_lines(chatter, "AOTInductor")
    ) from error


def _unwritten(name: str, path: Path, why: str) -> InputError:
    return InputError(
        f"The compiled model of {name} cannot be written to {path.parent}: {why}. Free space there and in "
        f"{tempfile.gettempdir()}, or set {ENVIRONMENT_VARIABLE} and TMPDIR to folders elsewhere."
    )


def _compilers_output(error: BaseException) -> str | None:
    """What the C++ compiler printed, where it is what failed."""
    from torch._inductor.exc import CppCompileError

    return next((str(link.output) for link in chain(error, contexts=True) if isinstance(link, CppCompileError)), None)
