# SPDX-License-Identifier: Apache-2.0
""".onnx files: inputs and parameters, and every way in which a file cannot be used."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.spec import InputSpec

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)


def model(inputs: list[Any] | None = None, **more: Any) -> onnx.ModelProto:
    values = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        values,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.array([1, 2]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **more)


def save(path: Path, proto: onnx.ModelProto | None = None) -> Path:
    path.write_bytes((proto or model()).SerializeToString())
    return path


def save_external(folder: Path, location: str = "weights.bin", **entries: str) -> Path:
    """A model whose weight is said to lie at `location`; the data itself is not written."""
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return save(folder / "model.onnx", proto)


def load(path: Path, **arguments: Any) -> Any:
    return resolve(str(path)).load(seed=0, **arguments)


def test_inputs_and_parameters(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", model(producer_name="maker"))
    loaded = load(path)
    assert loaded.inputs == (InputSpec("x", ("N", 4), "float32"),)
    assert loaded.parameters == 12  # the int64 initializer is a shape
    assert (loaded.module, loaded.onnx_path, loaded.source) == (None, path, "onnx")
    assert (loaded.weights.source, loaded.weights.seed) == ("embedded", None)
    info = resolve(str(path)).info()
    assert (info.parameters, info.inputs) == (12, loaded.inputs)
    assert "opset ai.onnx 17, 1 nodes, by maker" in info.description


TYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "BOOL": "bool",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
}  # fmt: skip


@pytest.mark.parametrize(("element", "dtype"), TYPES.items())
def test_element_types(tmp_path: Path, element: str, dtype: str) -> None:
    value = helper.make_tensor_value_info("x", getattr(TensorProto, element), [2])
    assert load(save(tmp_path / "m.onnx", model([value]))).inputs[0].dtype == dtype


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (helper.make_tensor_value_info("text", TensorProto.STRING, [1]), "input 'text' has elements of type string"),
        (helper.make_tensor_value_info("x", TensorProto.FLOAT8E4M3FN, [1]), "elements of type float8e4m3fn"),
        (helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [1]), "elements of type complex64"),
        (helper.make_tensor_value_info("x", 999, [1]), "elements of type unknown"),
        (helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None), "input 's' is a sequence"),
        (onnx.ValueInfoProto(name="u"), "input 'u' is a untyped"),
    ],
)
def test_inputs_that_cannot_be_fed_are_named(tmp_path: Path, value: onnx.ValueInfoProto, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(save(tmp_path / "m.onnx", model([value])))


def test_dimensions_are_fixed_named_or_open(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None, 0, -1])
    assert load(save(tmp_path / "m.onnx", model([value]))).inputs[0].shape == ("batch", 3, None, None, None)
    scalar = helper.make_tensor_value_info("x", TensorProto.FLOAT, [])
    assert load(save(tmp_path / "m.onnx", model([scalar]))).inputs[0].shape == ()


def test_an_input_without_a_shape_takes_its_rank_from_the_flag(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", model([helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]))
    with pytest.raises(InputError, match=r"no shape for input 'x'; give it: --shape x:"):
        load(path)
    assert load(path, shapes={"": (2, 4)}).inputs[0].shape == (None, None)
    assert resolve(str(path)).info().inputs[0].shape == ("...",)


def test_inputs_with_an_initializer_are_not_asked_for(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 3]) for name in ("x", "w")]
    assert [spec.name for spec in load(save(tmp_path / "m.onnx", model(values))).inputs] == ["x"]


def test_weights_and_unknown_shapes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"brings its own weights; leave out --weights w.pth"):
        load(path, weights=Path("w.pth"))
    with pytest.raises(InputError, match="no input 'z'"):
        load(path, shapes={"z": (1, 4)})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text file\n" * 10, "not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        # What protobuf takes without complaint: unknown fields, and a graph with nothing in it.
        (bytes([0xF8, 0x07, 0x01]), "has not got an IR version, an opset, a graph, nodes, outputs"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "has not got an opset, a graph"),
        (
            onnx.ModelProto(
                ir_version=8, opset_import=[helper.make_opsetid("", 17)], graph=onnx.GraphProto(name="g")
            ).SerializeToString(),
            "has not got nodes, outputs",
        ),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    for call in (lambda: load(path), lambda: resolve(str(path)).info()):
        with pytest.raises(InputError, match=said):
            call()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = model().SerializeToString()
    path = tmp_path / "m.onnx"
    # The opset stands last in the file and is required, so that no shorter file is a whole one.
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"m\.onnx: (the file is empty|not an ONNX model)"):
            load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="may be cut short"):
        load(path)


def test_flipped_bytes_never_end_in_anything_but_an_input_error(tmp_path: Path) -> None:
    content = model().SerializeToString()
    path = tmp_path / "m.onnx"
    dice = random.Random(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except InputError:
            refused += 1
    assert refused > 50


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match="there is no such file"):
        resolve(str(tmp_path / "pipe.onnx"))
    path = save(tmp_path / "m.onnx")
    source = resolve(str(path))
    path.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        source.load(seed=0)


def test_a_file_of_two_gib_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match="2 GiB or more"):
        load(path)


def test_external_data_counts_for_the_hash_and_is_not_loaded(tmp_path: Path) -> None:
    path = save_external(tmp_path, "sub/weights.bin")
    (tmp_path / "sub").mkdir()
    data = tmp_path / "sub/weights.bin"
    data.write_bytes(WEIGHT.tobytes())
    first = load(path)
    assert first.parameters == 12
    assert load(path).weights.sha256 == first.weights.sha256
    data.write_bytes((WEIGHT + 1).tobytes())
    assert load(path).weights.sha256 != first.weights.sha256
    data.write_bytes(WEIGHT.tobytes())
    save(path, onnx.load_model(path, load_external_data=False))
    assert load(path).weights.sha256 == first.weights.sha256


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    with pytest.raises(InputError, match=r"'weights.bin' is missing; it belongs at .*/weights.bin"):
        load(path)
    # Parameters and inputs are in the .onnx file itself.
    assert resolve(str(path)).info().parameters == 12


@pytest.mark.parametrize("entries", [{}, {"offset": "0", "length": "48"}, {"offset": "4096"}])
def test_external_data_that_is_cut_short_is_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    path = save_external(tmp_path, **entries)
    needed = int(entries.get("offset", "0")) + 48
    (tmp_path / "weights.bin").write_bytes(bytes(needed - 1))
    with pytest.raises(InputError, match=rf"weights.bin is cut short: .* the model needs {needed:,}"):
        load(path)
    (tmp_path / "weights.bin").write_bytes(bytes(needed))
    assert load(path).parameters == 12


@pytest.mark.parametrize("entries", [{"offset": "-1"}, {"length": "1e3"}, {"location": ""}])
def test_a_damaged_description_of_external_data_is_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(InputError, match="tensor 'w' has external data with a damaged description"):
        load(save_external(tmp_path, **entries))


def absolute(folder: Path) -> str:
    return str(folder.parent / "secret")


def dots(folder: Path) -> str:
    return "../secret"


def hidden_dots(folder: Path) -> str:
    return "inner/../../secret"


def backslashes(folder: Path) -> str:
    return "..\\secret"


def drive(folder: Path) -> str:
    return "C:\\secret"


def link(folder: Path) -> str:
    (folder / "link.bin").symlink_to(folder.parent / "secret")
    return "link.bin"


def linked_folder(folder: Path) -> str:
    (folder / "inner2").symlink_to(folder.parent)
    return "inner2/secret"


def loop(folder: Path) -> str:
    (folder / "loop").symlink_to(folder / "loop")
    return "loop"


def null(folder: Path) -> str:
    return "a\0b"


@pytest.mark.parametrize("place", [absolute, dots, hidden_dots, backslashes, drive, link, linked_folder, null, loop])
def test_external_data_outside_the_folder_is_refused_and_not_opened(
    tmp_path: Path, place: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(48))
    path = save_external(folder, place(folder))
    opened: list[str] = []
    original = Path.open

    def spy(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self.name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", spy)
    said = "lies outside the model's folder|is missing" if place is loop else "lies outside the model's folder"
    with pytest.raises(InputError, match=said):
        load(path)
    assert set(opened) <= {"model.onnx"}


def test_a_link_that_stays_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "weights.bin").symlink_to("real.bin")
    assert load(save_external(tmp_path)).parameters == 12


def test_external_data_deep_inside_is_checked_too(tmp_path: Path) -> None:
    """In a constant of a branch of an If, in a function, in a sparse initializer."""

    def external() -> onnx.TensorProto:
        tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/hostname")
        return tensor

    constant = helper.make_node("Constant", [], ["c"], value=external())
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])])
    in_branch, in_function, in_sparse = model(), model(), model()
    in_branch.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))
    function = helper.make_function("own", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    in_function.functions.append(function)
    in_sparse.graph.sparse_initializer.add(values=external())
    for proto in (in_branch, in_function, in_sparse):
        with pytest.raises(InputError, match=r"'/etc/hostname' lies outside"):
            load(save(tmp_path / "m.onnx", proto))
