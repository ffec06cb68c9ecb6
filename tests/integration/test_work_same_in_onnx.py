# SPDX-License-Identifier: Apache-2.0
"""A module and the .onnx file that PyTorch exports of it have the same multiply-accumulates, exactly."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
import torch
from counted_modules import MODELS, counted, counted_file


@pytest.mark.parametrize("name", MODELS)
def test_the_macs_are_the_same(tmp_path: Path, name: str) -> None:
    make, shape = MODELS[name]
    module = make().eval()
    work = counted(module, shape)
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        torch.onnx.export(module, (torch.ones(shape),), str(tmp_path / "m.onnx"), dynamo=True, input_names=["x"])
    same = counted_file(tmp_path / "m.onnx", {"x": shape})
    assert same.macs == work.macs > 0
    assert same.activations == work.activations
    assert not work.unknown_ops
    assert not same.unknown_ops
