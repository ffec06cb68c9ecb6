# SPDX-License-Identifier: Apache-2.0
"""Read the tensors of a weights file. A weights file is data: nothing in it is ever run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".pth", ".pt", ".safetensors")
# Under which training scripts keep the weights beside the optimizer's state and the like.
_NESTED = ("state_dict", "model_state_dict", "model")
_GIT_LFS = b"version https://git-lfs"


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Names and tensors of `path`, on the CPU. InputError where it is missing, corrupt or something else."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: weights are read from {', '.join(SUFFIXES)} files, not from {path.suffix or 'this'!r}."
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(_GIT_LFS))
    except OSError as error:
        raise InputError(f"{path}: the weights cannot be read: {error.strerror or error}.") from error
    if start == _GIT_LFS:
        raise InputError(f"{path}: this is Git LFS's pointer to the file, not the file; run `git lfs pull`.")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    return _state_dict(path, _read_pickle(path))


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a safetensors file, or a damaged one: {_first_line(error)}.") from error
    return tensors


def _read_pickle(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise InputError(
                    f"{path}: this is a TorchScript program, not weights. Save `module.state_dict()` with torch.save."
                )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles it does not know; the error that follows says more
            # mmap: tensors are read once, when they are copied into the module. Only the zip format has it.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise InputError(
                f"{path}: it holds Python objects and not only tensors ({_unsupported(error)}); loading those would "
                "run code from the file. Save the weights and not the model: torch.save(model.state_dict(), PATH)."
            ) from error
        raise InputError(f"{path}: not a PyTorch weights file, or a damaged one: {_first_line(error)}.") from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to lead to
        raise InputError(f"{path}: not a PyTorch weights file, or a damaged one: {_first_line(error)}.") from error


def _state_dict(path: Path, content: Any) -> Mapping[str, Tensor]:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path}: a state_dict (names and tensors) is expected, and it holds {_describe(content)}.")
    others = [
        str(name) for name, value in content.items() if not isinstance(value, Tensor) or not isinstance(name, str)
    ]
    if others:
        are = "is not a tensor" if len(others) == 1 else "are not tensors"
        raise InputError(
            f"{path}: not a state_dict: {', '.join(others[:5])} {are}. "
            f"Weights may also lie under one of the keys {', '.join(_NESTED)}."
        )
    return content


def _describe(content: Any) -> str:
    return "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"


def _unsupported(error: BaseException) -> str:
    """The object that was refused: torch writes `... GLOBAL package.name was not an allowed global ...`."""
    return str(error).partition("GLOBAL ")[2].split()[0]


def _first_line(error: BaseException) -> str:
    # torch begins by advising to load the file unsafely; what is wrong with it comes after this.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    if isinstance(error, KeyError) or not text:  # its text is a byte that means nothing to anybody
        return type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".: ")
