# SPDX-License-Identifier: Apache-2.0
"""Figures that timm and torchvision publish of their models (tests/data/reference), and our counts of the same."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.spec import InputSpec, ModelStructure
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.counts import ModelWork  # noqa: TC001

DATA = Path(__file__).resolve().parents[1] / "data" / "reference"


@dataclass(frozen=True)
class TimmRow:
    """`gmacs` in fvcore's convention, `macts` in millions; `wrong_gmacs` is an older column without fused attention."""

    model: str
    size: int
    gmacs: float
    macts: float
    params_m: float
    wrong_gmacs: float | None
    note: str

    @property
    def fused(self) -> bool:
        """Measured after timm had merged the branches that are for training only."""
        return self.note.startswith("reparam")

    def fits(self, work: ModelWork, less_macs: int = 0) -> bool:
        """Within 0.5% or 0.006, of what is rounded to two places."""
        return near((work.fvcore_flops - less_macs) / 1e9, self.gmacs) and near(work.activations / 1e6, self.macts)

    def lost_attention(self, fvcore_flops: int) -> bool:
        return self.wrong_gmacs is not None and near(fvcore_flops / 1e9, self.wrong_gmacs)


@dataclass(frozen=True)
class TorchvisionRow:
    model: str
    crop: int
    gmacs: float
    parameters: int

    def fits(self, work: ModelWork) -> bool:
        """Within 0.1% or 0.0005, of what is rounded to three places."""
        return abs(work.macs / 1e9 - self.gmacs) <= max(0.0005, 0.001 * self.gmacs) + 1e-12


def near(found: float, stated: float) -> bool:
    return abs(found - stated) <= max(0.006, 0.005 * stated)


def timm_rows() -> list[TimmRow]:
    with (DATA / "timm.csv").open(newline="") as file:
        return [
            TimmRow(
                one["model"], int(one["img_size"]), float(one["gmacs"]), float(one["macts_m"]), float(one["params_m"]),
                float(one["gmacs_pt210"]) if "drops SDPA" in one["note"] else None, one["note"],
            )
            for one in csv.DictReader(file)
        ]  # fmt: skip


def torchvision_rows() -> list[TorchvisionRow]:
    """The rows of classifiers, which state their input; each model and size once."""
    with (DATA / "torchvision.csv").open(newline="") as file:
        rows = [
            TorchvisionRow(one["model"], int(one["crop"]), float(one["gops_macs"]), int(one["num_params"]))
            for one in csv.DictReader(file)
            if one["task"] == "classification"
        ]
    return list(dict.fromkeys(rows))


def count_timm(row: TimmRow) -> ModelWork:
    shape = (1, 3, row.size, row.size)
    if not row.fused:
        structure = resolve(f"timm:{row.model}").structure(shapes={"": shape})
        return count(structure, {structure.inputs[0].name: shape})
    import timm
    from timm.utils.model import reparameterize_model

    return _counted(row.model, reparameterize_model(timm.create_model(row.model).eval()), shape)


def count_torchvision(row: TorchvisionRow) -> ModelWork:
    return _counted(row.model, _torchvision(row.model, row.crop), (1, 3, row.crop, row.crop))


@functools.lru_cache(maxsize=1)
def _torchvision(model: str, crop: int) -> nn.Module:
    from torchvision.models import get_model_builder, list_models

    name, known = model.lower(), list_models()
    if name not in known:  # MNASNet0_75 is mnasnet0_75, but ShuffleNet_V2_X2_0 is shufflenet_v2_x2_0
        (name,) = (one for one in known if one.replace("_", "") == name.replace("_", ""))
    builder = get_model_builder(name)
    options = {"init_weights": False} if model == "Inception_V3" else {"image_size": crop} if model[:3] == "ViT" else {}
    try:
        with torch.device("meta"):
            module: nn.Module = builder(weights=None, **options)
    except NotImplementedError:  # it computes with values as it is built
        module = builder(weights=None, **options)
    return module.eval()


def _counted(name: str, module: nn.Module, shape: tuple[int, ...]) -> ModelWork:
    parameters = sum(one.numel() for one in module.parameters())
    return count(ModelStructure(name, (InputSpec("x", shape, "float32"),), parameters, module, None), {"x": shape})
