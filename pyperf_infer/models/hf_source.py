# SPDX-License-Identifier: Apache-2.0
"""`hf:NAME`: an architecture of Hugging Face's transformers, with random weights or the user's own file.

NAME is a published model whose sizes are known here (hf_names), a model type of transformers, which stands for that
type's default configuration, or the path of a folder with a config.json. Nothing is downloaded, and no code runs but
that of the installed transformers: none from the folder, and no kernels from the hub.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.models.config import nearest
from pyperf_infer.models.hf_names import NOT_BUILT, PUBLISHED
from pyperf_infer.models.spec import InputSpec, LoadedModel, ModelInfo, ModelListing, ModelStructure

if TYPE_CHECKING:
    from torch import nn

PREFIX = "hf:"
TOKENS = 128  # of a text's length, where `--shape` does not say another
# The classes that a model type alone is built as, by the first that knows it: a language model where there is one.
_TASKS = {
    "MaskedLM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "CausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "ImageClassification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
}
# Of a config.json: what would fetch code from elsewhere, or quantise, or choose for us.
_DROPPED = (
    "auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "quantization_config", "model_type", "dtype", "torch_dtype",
    "use_kernels", "use_pretrained_backbone", "_name_or_path", "name_or_path",
)  # fmt: skip
_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class HfSource:
    """A model of transformers; `name` begins with "hf:"."""

    name: str
    source: str = "hf"

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        import torch

        from pyperf_infer.models import torch_model
        from pyperf_infer.models.hf_weights import fitted

        meta = self._on_meta()
        torch_model.check_memory(self.name, torch_model.count_parameters(meta))
        own = self._inputs(meta)
        specs, changed = torch_model.with_shapes(own, shapes)
        self._check_length(meta, specs)
        # transformers' own initialisation stays where `randomize` has nothing to say, so it is seeded as well.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = self._create()
        info = torch_model.set_weights(self.name, module, own, seed, weights, adapt=lambda found: fitted(module, found))
        if changed:
            torch_model.check_forward(self.name, module, torch_model.example_inputs(specs, seed))
        return torch_model.finished(self.name, self.source, module, specs, info, has_run=changed or weights is None)

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        from pyperf_infer.models import torch_model

        module = self._on_meta()
        specs, _ = torch_model.with_shapes(self._inputs(module), shapes)
        self._check_length(module, specs)
        return ModelStructure(self.name, specs, torch_model.count_parameters(module), module, None)

    def info(self) -> ModelInfo:
        from pyperf_infer.models.torch_model import count_parameters

        module = self._on_meta()
        description = f"{type(module).__name__} of transformers, {self._configuration()}"
        return ModelInfo(self.name, self.source, count_parameters(module), self._inputs(module), description)

    @property
    def _bare(self) -> str:
        return self.name.removeprefix(PREFIX)

    def _configuration(self) -> str:
        if _is_folder(self._bare):
            return f"as {self._bare.rstrip('/')}/config.json says"
        if self._bare in PUBLISHED:
            return f"the sizes of {self._bare}"
        return f"the default configuration of model type {self._bare}"

    def _on_meta(self) -> nn.Module:
        import torch

        with torch.device("meta"):
            module: nn.Module = self._create()
        return module

    def _create(self) -> Any:
        """In eval mode, float32, without a cache of keys and values; InputError where it cannot be built."""
        transformers = import_transformers()
        with _offline():
            config, architecture = self._config(transformers)
            if getattr(config, "is_encoder_decoder", False):
                raise InputError(
                    f"{self.name}: models of an encoder and a decoder take two inputs and are not supported as "
                    "hf:NAME. Build the one, or both, in a factory: package.module:factory."
                )
            config.use_cache = False  # one call is one forward pass over the whole sequence
            config.return_dict = True
            try:
                module = _built(architecture, config)
            except InputError:
                raise
            except Exception as error:  # whatever an architecture's constructor raises
                raise InputError(
                    f"{self.name}: transformers cannot build it: {type(error).__name__}: {_first_line(error)}"
                ) from error
        # Without a mask every call would look into its ids for padding, to warn: on a GPU that waits for the device.
        # Set past the configuration's own check, as some types of it refuse None.
        if getattr(module.config, "pad_token_id", None) is not None:
            vars(module.config)["pad_token_id"] = None
        module.eval()
        return module

    def _config(self, transformers: Any) -> tuple[Any, type]:
        """The configuration, and the class that it is of."""
        from transformers import CONFIG_MAPPING

        if _is_folder(self._bare):
            return self._of_folder(transformers, CONFIG_MAPPING)
        model_type, changes = PUBLISHED.get(self._bare, (self._bare, {}))
        architecture = _class_name(model_type)
        if architecture is None:
            known = [*PUBLISHED, *_model_types()]
            here = f" The folder is hf:./{self._bare}." if (Path(self._bare) / "config.json").is_file() else ""
            raise UnknownHfModelError(
                f"{self._bare!r} is no model that is known here{nearest(self._bare.rpartition('/')[2], known)}.{here} "
                "Nothing is downloaded: name one of `pyperf-infer models list 'hf:*'` (transformers "
                f"{transformers.__version__}), or hf:./FOLDER with a config.json in it."
            )
        try:
            return CONFIG_MAPPING[model_type](**changes), getattr(transformers, architecture)
        except Exception as error:  # a configuration that has no defaults, or that lacks a package
            raise InputError(f"{self.name}: {type(error).__name__}: {_first_line(error)}") from error

    def _of_folder(self, transformers: Any, configs: Any) -> tuple[Any, type]:
        path = Path(self._bare) / "config.json"
        found = _read_config(path)
        model_type = _text(found.get("model_type", ""))
        if model_type not in configs:
            raise InputError(
                f"{path}: transformers {transformers.__version__} has no model type {model_type!r}"
                f"{nearest(model_type, configs.keys())}; code that comes with a model is never run."
            )
        listed = found.get("architectures")
        name = _text(listed[0]) if isinstance(listed, list) and listed else _class_name(model_type)
        kept = {key: value for key, value in found.items() if key not in _DROPPED}
        try:
            config = configs[model_type](**kept)
            architecture = getattr(transformers, str(name), None)
        except Exception as error:  # sizes that contradict each other, and whatever else a file may say
            raise InputError(f"{path}: {type(error).__name__}: {_first_line(error)}") from error
        if not (isinstance(architecture, type) and issubclass(architecture, transformers.PreTrainedModel)):
            raise InputError(f"{path}: transformers {transformers.__version__} has no model class {name!r}.")
        return config, architecture

    def _inputs(self, module: nn.Module) -> tuple[InputSpec, ...]:
        config: Any = module.config
        name = str(getattr(module, "main_input_name", ""))
        if name == "input_ids":
            text = config.get_text_config()
            vocabulary = int(text.vocab_size)
            return (InputSpec(name, ("batch", min(TOKENS, _positions(config) or TOKENS)), "int64", below=vocabulary),)
        if name == "pixel_values":
            size = getattr(config, "image_size", None) or 224
            height, width = size if isinstance(size, list | tuple) else (size, size)
            return (InputSpec(name, ("batch", int(getattr(config, "num_channels", 3)), height, width), "float32"),)
        raise InputError(
            f"{self.name}: {type(module).__name__} takes {name or 'inputs that are not known'}; models of text "
            "(input_ids) and of images (pixel_values) are supported as hf:NAME. Others: package.module:factory."
        )

    def _check_length(self, module: nn.Module, specs: tuple[InputSpec, ...]) -> None:
        most = _positions(module.config)
        for spec in specs:
            length = spec.shape[1] if spec.name == "input_ids" else None
            if most is not None and isinstance(length, int) and length > most:
                raise InputError(
                    f"--shape {spec.name}:1x{length}: {self.name} is made for at most {most} tokens in a row."
                )


class UnknownHfModelError(InputError):
    """Neither transformers nor the table of published models has this name."""


def hf_models() -> list[ModelListing]:
    """Published models, then the types of transformers that can be built, with the prefix."""
    import_transformers()
    listings = [ModelListing(PREFIX + name, "hf", f"the sizes of {name}") for name in sorted(PUBLISHED)]
    for name in _model_types():
        if name not in PUBLISHED:
            description = f"{_class_name(name)}, default configuration"
            listings.append(ModelListing(PREFIX + name, "hf", description))
    return listings


def import_transformers() -> Any:
    """The module transformers. BackendError where it is not installed, or does not load."""
    os.environ.setdefault("USE_HUB_KERNELS", "NO")  # some models would fetch compiled code when they are built
    try:
        found = importlib.import_module("transformers")
        importlib.import_module("transformers.models.auto.modeling_auto")  # it has no torch where that is too old
        _ = found.PreTrainedModel, found.CONFIG_MAPPING
    except ModuleNotFoundError as error:
        if error.name == "transformers":
            raise BackendError(
                "models named hf:NAME need the package transformers, which is not installed: "
                "pip install 'pyperf-infer[hf]'"
            ) from error
        raise _broken(error) from error
    except Exception as error:  # a tokenizers of another version raises ImportError, for instance
        raise _broken(error) from error
    return found


def _broken(error: Exception) -> BackendError:
    return BackendError(
        f"transformers is installed and does not load: {type(error).__name__}: {_first_line(error)}. "
        "Reinstall it: pip install --force-reinstall 'pyperf-infer[hf]'"
    )


@contextmanager
def _offline() -> Iterator[None]:
    """The hub's client refuses every request meanwhile, and transformers keeps its advice on generation to itself."""
    from huggingface_hub import constants

    logging: Any = importlib.import_module("transformers.utils.logging")  # of which few names have a type
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.set_verbosity(verbosity)


def _built(architecture: Any, config: Any) -> Any:
    import torch

    # Fused attention where the architecture has it, and never one whose kernels come from elsewhere.
    for implementation in ("sdpa", "eager"):
        config._attn_implementation = implementation
        try:
            return architecture._from_config(config, dtype=torch.float32, attn_implementation=implementation)
        except ValueError as error:
            if implementation == "eager" or "attention" not in str(error):
                raise
    raise AssertionError


def _class_name(model_type: str) -> str | None:
    from transformers.models.auto import modeling_auto

    for mapping in _TASKS.values():
        found = getattr(modeling_auto, mapping).get(model_type)
        if found is not None:
            return str(found if isinstance(found, str) else found[0])
    return None


def _model_types() -> list[str]:
    from transformers.models.auto import modeling_auto

    found = {name for mapping in _TASKS.values() for name in getattr(modeling_auto, mapping)}
    return sorted(found - NOT_BUILT)


def _positions(config: Any) -> int | None:
    """How many tokens the model is made for; None where it does not say."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _is_folder(name: str) -> bool:
    """By its name alone, so that no folder that happens to be here stands in a published model's place."""
    return name.startswith((".", "/", "~"))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(_CONFIG_BYTES)
        found = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: the configuration cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file, or a damaged one: {_first_line(error)}.") from error
    except RecursionError as error:
        raise InputError(f"{path}: its brackets are nested deeper than any configuration's.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: a configuration is a JSON object, and this is {type(found).__name__}.")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"of {type(value).__name__}"  # which may be too deep to be printed


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
