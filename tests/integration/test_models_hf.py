# SPDX-License-Identifier: Apache-2.0
"""`hf:NAME`: published sizes, counts by hand, tokens of the vocabulary, folders, weights, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from pyperf_infer.convert.export import export_to_onnx
from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.models.catalog import list_models, resolve
from pyperf_infer.models.hf_names import NOT_BUILT
from pyperf_infer.models.hf_source import _offline
from pyperf_infer.models.inputs import make_inputs, resolve_shapes
from pyperf_infer.roofline.work.count import count

if TYPE_CHECKING:
    from pyperf_infer.roofline.work.counts import ModelWork

transformers = pytest.importorskip("transformers", exc_type=ModuleNotFoundError)

TINY = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 300, "n_positions": 32, "n_embd": 16,
    "n_layer": 2, "n_head": 4,
}  # fmt: skip


def folder_of(path: Path, **changes: Any) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({**TINY, **changes}))
    return f"hf:{path}"


def counted(name: str, **shapes: tuple[int, ...]) -> ModelWork:
    structure = resolve(name).structure(shapes=shapes)
    return count(structure, resolve_shapes(structure.inputs))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("distilgpt2", 81_912_576),
        ("bert-base-uncased", 109_514_298),
        ("bert-large-uncased", 335_174_458),
        ("distilbert-base-uncased", 66_985_530),
        ("roberta-base", 124_697_433),
        ("albert-base-v2", 11_221_680),
        ("opt-125m", 125_239_296),
        ("llama-2-7b", 6_738_415_616),
        ("tinyllama-1.1b", 1_100_048_384),
        ("qwen2.5-0.5b", 494_032_768),
        ("smollm2-135m", 134_515_008),
        ("vit-base-patch16-224", 86_567_656),
    ],
)
def test_published_models_have_their_published_parameters(name: str, parameters: int) -> None:
    assert resolve(f"hf:{name}").info().parameters == parameters


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("qwen2.5-0.5b", {"theta": 1e6, "rms_norm_eps": 1e-6, "max_position_embeddings": 32768}),
        ("smollm2-135m", {"theta": 1e5, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192}),
        ("tinyllama-1.1b", {"theta": 1e4, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048}),
        ("llama-2-7b", {"theta": 1e4, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096}),
        ("roberta-base", {"layer_norm_eps": 1e-5}),
        ("roberta-large", {"layer_norm_eps": 1e-5}),
        ("bert-base-uncased", {"layer_norm_eps": 1e-12}),
        ("vit-base-patch16-224", {"layer_norm_eps": 1e-12}),
        ("gpt2", {"layer_norm_epsilon": 1e-5}),
    ],
)
def test_published_models_have_their_published_constants(name: str, constants: dict[str, float]) -> None:
    module: Any = resolve(f"hf:{name}").structure().module
    found = {"theta": (getattr(module.config, "rope_parameters", None) or {}).get("rope_theta")}
    assert constants == {key: found.get(key, getattr(module.config, key, None)) for key in constants}


# `nomic_bert` and `modernbert-decoder`: their configurations refuse a padding token that is None.
@pytest.mark.parametrize("name", ["nomic_bert", "modernbert-decoder", "xlnet", "mamba2", "swin", "mpt", "zamba"])
def test_types_that_are_listed_are_built(name: str) -> None:
    (row,) = [row for row in list_models("hf:*") if row.name == f"hf:{name}"]
    structure = resolve(row.name).structure()
    assert structure.parameters > 0
    config: Any = structure.module.config  # type: ignore[union-attr]
    assert getattr(config, "pad_token_id", None) is None


def test_a_model_without_a_padding_token_runs(tmp_path: Path) -> None:
    name = folder_of(
        tmp_path, model_type="nomic_bert", architectures=["NomicBertForMaskedLM"], hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    loaded = resolve(name).load(seed=1)
    assert loaded.module is not None
    with torch.no_grad():
        assert loaded.module(torch.zeros(1, 8, dtype=torch.int64))["logits"].shape == (1, 8, 300)


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_types_that_are_not_built_are_not_listed_and_say_why(name: str) -> None:
    assert f"hf:{name}" not in {row.name for row in list_models("hf:*")}
    with pytest.raises(InputError, match=name):
        resolve(f"hf:{name}").info()


def test_a_folder_of_a_models_name_does_not_stand_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "gpt2")
    folder_of(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert resolve("hf:gpt2").info().parameters == 124_439_808
    assert resolve("hf:./gpt2").info().parameters < 20_000
    with pytest.raises(InputError, match=r"The folder is hf:\./mine\."):
        resolve("hf:mine").info()


def test_gpt2s_count_by_hand() -> None:
    tokens, width, layers, heads, vocabulary = 64, 768, 12, 12, 50257
    projections = tokens * width * (3 * width + width + 4 * width + 4 * width)
    attention = heads * tokens * tokens * 2 * (width // heads)
    found = counted("hf:gpt2", input_ids=(1, tokens))
    assert found.macs == layers * (projections + attention) + tokens * width * vocabulary
    assert not found.unknown_ops
    assert found.params == 124_439_808
    # The head's matrix is the embedding's: it is read once, and no more of the model is there than its parameters.
    assert found.bytes_min_model == 4 * found.params + 8 * tokens + 4 * tokens * vocabulary


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_attention_is_counted_whichever_way_it_is_written(implementation: str) -> None:
    structure = resolve("hf:gpt2").structure(shapes={"input_ids": (1, 16)})
    module: Any = structure.module
    module.set_attn_implementation(implementation)
    found = count(structure, resolve_shapes(structure.inputs))
    assert found.macs == counted("hf:gpt2", input_ids=(1, 16)).macs
    fused = [one.op for one in found.operations if "attention" in one.op]
    assert len(fused) == (12 if implementation == "sdpa" else 0)


def test_tokens_are_drawn_from_the_whole_vocabulary_and_not_beyond(tmp_path: Path) -> None:
    loaded = resolve(folder_of(tmp_path)).load(seed=1)
    (spec,) = loaded.inputs
    assert (spec.name, spec.shape, spec.dtype) == ("input_ids", ("batch", 32), "int64")
    drawn = make_inputs(loaded.inputs, {"input_ids": (64, 32)}, seed=3)["input_ids"]
    assert drawn.min() >= 0
    assert 256 < drawn.max() < 300  # 2048 of 300
    shaped = resolve(folder_of(tmp_path)).load(seed=1, shapes={"": (2, 8)})
    assert shaped.inputs[0].shape == ("batch", 8)
    assert make_inputs(shaped.inputs, {"input_ids": (2, 8)}, seed=3)["input_ids"].max() > 1


def test_the_seed_decides_the_weights_and_the_output_depends_on_the_input(tmp_path: Path) -> None:
    source = resolve(folder_of(tmp_path))
    first, again, other = (source.load(seed=seed) for seed in (1, 1, 2))
    assert first.weights.sha256 == again.weights.sha256 != other.weights.sha256
    assert first.module is not None
    ids = torch.randint(0, 300, (2, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = first.module(ids)["logits"]
    assert (logits[0] - logits[1]).abs().mean() > 0.1 * logits.abs().mean()


def test_it_exports_to_onnx(tmp_path: Path) -> None:
    loaded = resolve(folder_of(tmp_path / "tiny")).load(seed=1)
    export_to_onnx(loaded, tmp_path / "tiny.onnx")
    structure = resolve(str(tmp_path / "tiny.onnx")).structure()
    from_onnx = count(structure, {"input_ids": (1, 32)})
    assert from_onnx.macs == counted(f"hf:{tmp_path / 'tiny'}").macs


def test_weights_by_the_modules_names_and_by_the_published_ones(tmp_path: Path) -> None:
    name = folder_of(tmp_path)
    random = resolve(name).load(seed=1)
    assert random.module is not None
    state = random.module.state_dict()
    # As the hub has gpt2: no prefix, no head beside the embedding, and masks that nobody reads any more.
    published = {
        key.removeprefix("transformer."): value.clone() for key, value in state.items() if key != "lm_head.weight"
    }
    published["h.0.attn.bias"] = torch.ones(1, 1, 32, 32)
    save_file(published, tmp_path / "published.safetensors")
    torch.save(state, tmp_path / "own.pth")
    for file in ("published.safetensors", "own.pth"):
        loaded = resolve(name).load(seed=2, weights=tmp_path / file)
        assert loaded.weights.sha256 == random.weights.sha256
    save_file({**published, "h.2.ln_1.weight": torch.ones(16)}, tmp_path / "more.safetensors")
    with pytest.raises(InputError, match=r"1 unexpected: h\.2\.ln_1\.weight"):
        resolve(name).load(seed=1, weights=tmp_path / "more.safetensors")


def test_berts_weights_have_tensorflows_names_for_layer_norm(tmp_path: Path) -> None:
    name = folder_of(
        tmp_path, model_type="bert", architectures=["BertForMaskedLM"], hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    random = resolve(name).load(seed=1)
    assert random.module is not None
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value.clone()
        for key, value in random.module.state_dict().items()
        if "decoder" not in key
    }
    old |= {"cls.seq_relationship.weight": torch.ones(2, 16), "bert.pooler.dense.bias": torch.ones(16)}
    save_file(old, tmp_path / "old.safetensors")
    loaded = resolve(name).load(seed=2, weights=tmp_path / "old.safetensors")
    assert loaded.weights.sha256 == random.weights.sha256


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:gpt3", r"'gpt3' is no model that is known here \(did you mean .*gpt2.*models list 'hf:\*'"),
        ("hf:openai-community/gpt2", r"did you mean gpt2.*Nothing is downloaded"),
        ("hf:bart", "an encoder and a decoder"),
        ("hf:./nowhere", r"nowhere/config\.json: the configuration cannot be read: No such file"),
    ],
)
def test_what_is_not_known_or_not_supported_is_said(name: str, said: str) -> None:
    for call in (lambda: resolve(name).load(seed=1), lambda: resolve(name).info()):
        with pytest.raises(InputError, match=said):
            call()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "no-such"}, r"has no model type 'no-such'.*code that comes with a model is never run"),
        ({"architectures": ["NoSuchModel"]}, "has no model class 'NoSuchModel'"),
        ({"architectures": ["AutoTokenizer"]}, "has no model class 'AutoTokenizer'"),
        ({"n_embd": 15}, "transformers cannot build it: ValueError"),
        ({"n_embd": "wide"}, "config"),
    ],
)
def test_a_folder_that_cannot_be_built_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(folder_of(tmp_path, **changes)).info()


def test_a_folder_brings_no_code_and_no_kernels_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    name = folder_of(
        tmp_path,
        auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"},
        attn_implementation="kernels-community/flash-attn",
        _attn_implementation="kernels-community/flash-attn",
    )
    module: Any = resolve(name).structure().module
    assert type(module) is transformers.GPT2LMHeadModel
    assert module.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[1]", "\xff", "[" * 200_000, '{"model_type": ' + "[" * 200_000),
        f'{{"model_type": "gpt2", "architectures": [{"[" * 300 + "]" * 300}]}}',
        f'{{"model_type": "gpt2", "n_embd": {"[" * 300 + "]" * 300}}}',
        f'{{"model_type": {"[" * 900 + "]" * 900}}}',
    ],
    ids=lambda content: f"{content[:9]} of {len(content)}",
)
def test_a_damaged_configuration_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.json: "):
        resolve(f"hf:{tmp_path}").info()


def test_more_tokens_than_the_model_has_places_for_are_refused() -> None:
    with pytest.raises(InputError, match="at most 1024 tokens"):
        resolve("hf:gpt2").structure(shapes={"input_ids": (1, 2048)})


def test_a_model_larger_than_the_memory_is_refused_before_it_is_built() -> None:
    with pytest.raises(InputError, match="this machine has"):
        resolve("hf:gpt_neox").load(seed=1)


def test_the_hubs_client_asks_nobody_while_a_model_is_built() -> None:
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    with _offline(), pytest.raises(OfflineModeIsEnabled):
        get_session().get("http://localhost:9")


def test_listing() -> None:
    rows = list_models("hf:*")
    names = [row.name for row in rows]
    assert {"hf:gpt2", "hf:bert", "hf:vit", "hf:llama-2-7b"} <= set(names)
    assert len(names) == len(set(names))
    assert all(row.source == "hf" and row.description for row in rows)
    assert [row.name for row in list_models("hf:gpt2-x*")] == ["hf:gpt2-xl"]
    with pytest.raises(InputError, match="no model matches"):
        list_models("hf:no such thing")


def test_without_transformers_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendError, match=r"pip install 'pyperf-infer\[hf\]'"):
        resolve("hf:gpt2").info()


def test_transformers_that_do_not_load_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ImportError("tokenizers>=0.22 is required\nmore")

    monkeypatch.setattr("pyperf_infer.models.hf_source.importlib.import_module", fail)
    with pytest.raises(BackendError, match=r"installed and does not load: ImportError: tokenizers>=0\.22"):
        resolve("hf:gpt2").info()
