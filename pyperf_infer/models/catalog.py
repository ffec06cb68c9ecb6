# SPDX-License-Identifier: Apache-2.0
"""From a model's name to where it comes from. Nothing here imports torch, onnx or timm before a model is built."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from pyperf_infer.errors import InputError
from pyperf_infer.models.config import nearest, read_config
from pyperf_infer.models.config_source import ConfigSource
from pyperf_infer.models.factory_source import FactorySource
from pyperf_infer.models.hf_source import PREFIX as HF
from pyperf_infer.models.hf_source import HfSource, hf_models
from pyperf_infer.models.onnx_source import OnnxSource
from pyperf_infer.models.spec import ModelListing, ModelSource
from pyperf_infer.models.timm_source import PREFIX as TIMM
from pyperf_infer.models.timm_source import TimmSource, timm_names

_CONFIGS = Path(__file__).parent / "configs"
_YAML = (".yaml", ".yml")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FORMS = (
    "A model is a built-in name, timm:NAME, hf:NAME, a path to an .onnx or .yaml file, or package.module:factory; "
    "`pyperf-infer models list` lists the built-in ones."
)


def builtin_names() -> list[str]:
    """The built-in models, resnet18 before resnet101."""
    return sorted((path.stem for path in _CONFIGS.glob("*.yaml")), key=_natural)


def resolve(name: str) -> ModelSource:
    """Where the model called `name` comes from. InputError, with the nearest names, where there is none.

    timm's and transformers' names and a factory are looked up only by `load` and `info`, as that means importing them.
    """
    path = Path(name)
    suffix = path.suffix.lower()
    if name in builtin_names():
        return ConfigSource(name, "built-in", _CONFIGS / f"{name}.yaml")
    if name.startswith(TIMM) and name != TIMM:
        return TimmSource(name)
    if name.startswith(HF) and name != HF:
        return HfSource(name)
    if suffix == ".onnx":
        return OnnxSource(name, _existing(path))
    if suffix in _YAML:
        return ConfigSource(name, "config", _existing(path))
    if _FACTORY.fullmatch(name) and ".py:" not in name:
        return FactorySource(name)
    raise InputError(_unknown(name, path, suffix))


def list_models(pattern: str | None = None) -> list[ModelListing]:
    """Built-in models; timm's where `pattern` begins with "timm:", transformers' where it begins with "hf:".

    A pattern with `*`, `?` or `[` is matched as a whole, any other is looked for anywhere in the name; case does not
    matter. InputError where nothing matches.
    """
    if pattern is not None and pattern.startswith(TIMM):
        rest = pattern.removeprefix(TIMM)
        listings = [ModelListing(name, "timm", "") for name in timm_names() if _matches(name.removeprefix(TIMM), rest)]
    elif pattern is not None and pattern.startswith(HF):
        rest = pattern.removeprefix(HF)
        listings = [one for one in hf_models() if _matches(one.name.removeprefix(HF), rest)]
    else:
        listings = [
            ModelListing(name, "built-in", read_config(_CONFIGS / f"{name}.yaml").description)
            for name in builtin_names()
            if _matches(name, pattern or "")
        ]
    if not listings:
        elsewhere = (pattern or "").startswith((TIMM, HF))
        known = [] if elsewhere else builtin_names()
        advice = "" if elsewhere else f" For timm's write 'timm:*{pattern}*', for transformers' 'hf:*{pattern}*'."
        raise InputError(f"no model matches {pattern!r}{nearest(pattern or '', known)}.{advice}")
    return listings


def _matches(name: str, pattern: str) -> bool:
    if re.search(r"[*?\[]", pattern):
        return fnmatch.fnmatchcase(name.lower(), pattern.lower())
    return pattern.lower() in name.lower()


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    what = "it is a folder, not a file" if path.is_dir() else "there is no such file"
    beside = [p.name for p in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
    raise InputError(f"{path}: {what}{nearest(path.name, beside)}.")


def _unknown(name: str, path: Path, suffix: str) -> str:
    if suffix in (".pt", ".pth", ".safetensors"):
        return f"{name}: this is a weights file; name its model and give the file with --weights. {_FORMS}"
    if ".py:" in name:
        module = name.replace(".py:", ":").removeprefix("./").replace("/", ".")
        return f"{name}: write the module as Python imports it: {module}"
    if path.is_file():
        return f"{name}: a file of this kind is not read. {_FORMS}"
    return f"unknown model {name!r}{nearest(name, builtin_names())}. {_FORMS}"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
