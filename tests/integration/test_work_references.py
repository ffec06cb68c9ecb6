# SPDX-License-Identifier: Apache-2.0
"""Counts against the figures that timm and torchvision publish of their own models: a few rows of each kind here, all
of them in benchmarks/counts.py."""

from __future__ import annotations

import pytest
from reference_counts import count_timm, count_torchvision, timm_rows, torchvision_rows

TIMM = ("resnet18", "hrnet_w18", "dm_nfnet_f0", "vit_tiny_patch16_224", "crossvit_15_240", "mobilenetv3_large_100")
TORCHVISION = ("ResNet18", "ViT_B_16", "MNASNet0_75", "ShuffleNet_V2_X2_0", "Inception_V3")


@pytest.mark.parametrize("row", [one for one in timm_rows() if one.model in TIMM], ids=lambda one: one.model)
def test_timms_figures(row) -> None:  # type: ignore[no-untyped-def]
    work = count_timm(row)
    assert row.fits(work)
    assert not work.unknown_ops


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "crossvit_15_240"])
def test_without_attention_the_flagged_rows_land_on_the_wrong_column(model: str) -> None:
    (row,) = (one for one in timm_rows() if one.model == model)
    work = count_timm(row)
    attention = sum(one.work.macs for one in work.operations if "attention" in one.op)
    assert not row.fits(work, less_macs=attention)
    assert row.lost_attention(work.fvcore_flops - attention)


@pytest.mark.parametrize(
    "row", [one for one in torchvision_rows() if one.model in TORCHVISION], ids=lambda one: f"{one.model} {one.crop}"
)
def test_torchvisions_figures(row) -> None:  # type: ignore[no-untyped-def]
    work = count_torchvision(row)
    assert row.fits(work)
    assert work.params == row.parameters
    assert not work.unknown_ops
