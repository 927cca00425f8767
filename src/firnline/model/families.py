"""The families of Hugging Face that `ModelConfig` covers: `config.json` to a shape and back.

A family is a table, not a class: which options its models all have, which of its keys are choices,
and what `transformers` takes where a key is missing. A key that is none of these and could change
what is computed is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig, RopeScaling

Config = Mapping[str, Any]

END_OF_TEXT = 0  # its id in every Firnline tokenizer, docs/contracts.md

_SHAPE = {
    "vocabulary_size": "vocab_size",
    "hidden": "hidden_size",
    "ffn_hidden": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "context": "max_position_embeddings",
    "tied": "tie_word_embeddings",
    "norm_epsilon": "rms_norm_eps",
}
_ROPE = ("rope_theta", "rope_scaling")
_REQUIRED = tuple(
    _SHAPE[name] for name in ("vocabulary_size", "hidden", "ffn_hidden", "layers", "heads")
)


@dataclass(frozen=True)
class Family:
    """One `model_type` of transformers."""

    architecture: str
    fixed: Config = field(default_factory=dict)
    """Fields of ModelConfig that all its models have and a plain Llama has not."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Fields that differ between its models, with their keys in config.json."""
    only: Config = field(default_factory=dict)
    """Keys that transformers lets vary and the model here computes for this value alone."""
    defaults: Config = field(default_factory=dict)
    """What transformers takes where a key is missing."""
    layer_types: bool = False
    """Whether some layers may slide and others not."""
    interleaved: bool = False
    """Whether RoPE turns neighbouring elements, so that queries and keys are permuted."""

    def key(self, name: str) -> str:
        """The key of a field of the shape."""
        return self.choices.get(name) or _SHAPE[name]


_PLAIN = {"max_position_embeddings": 2048, "tie_word_embeddings": False, "rms_norm_eps": 1e-6}
_QWEN = _PLAIN | {"max_position_embeddings": 32_768, "use_sliding_window": False}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM",
        only={"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
        defaults=_PLAIN,
    ),
    "mistral": Family(
        "MistralForCausalLM",
        choices={"sliding_window": "sliding_window"},
        only={"hidden_act": "silu"},
        defaults=_PLAIN | {"max_position_embeddings": 131_072, "sliding_window": 4096},
    ),
    "qwen2": Family(
        "Qwen2ForCausalLM",
        fixed={"qkv_bias": True},
        choices={"sliding_window": "sliding_window"},
        only={"hidden_act": "silu"},
        defaults=_QWEN,
        layer_types=True,
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        fixed={"query_key_norm": "head"},
        choices={"sliding_window": "sliding_window"},
        only={"hidden_act": "silu", "attention_bias": False},
        defaults=_QWEN | {"head_dim": 128},
        layer_types=True,
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        fixed={
            "activation": "gelu",
            "embedding_scale": True,
            "norm_plus_one": True,
            "norms": "both",
        },
        choices={
            "sliding_window": "sliding_window",
            "query_scale": "query_pre_attn_scalar",
            "attention_softcap": "attn_logit_softcapping",
            "logit_softcap": "final_logit_softcapping",
        },
        only={
            "hidden_activation": "gelu_pytorch_tanh",
            "attention_bias": False,
            "use_bidirectional_attention": None,
        },
        defaults=_PLAIN
        | {
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        layer_types=True,
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        fixed={"norms": "post", "query_key_norm": "width"},
        only={"hidden_act": "silu", "attention_bias": False},
        defaults=_PLAIN | {"rms_norm_eps": 1e-5},
    ),
    "cohere": Family(
        "CohereForCausalLM",
        fixed={"parallel": True, "norm": "layer"},
        choices={
            "norm_epsilon": "layer_norm_eps",
            "logit_scale": "logit_scale",
            "query_key_norm": "use_qk_norm",
        },
        only={"hidden_act": "silu", "attention_bias": False},
        defaults={
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "layer_norm_eps": 1e-5,
            "logit_scale": 0.0625,
            "rope_theta": 500_000.0,
            "use_qk_norm": False,
        },
        interleaved=True,
    ),
}

# Keys that say nothing of what a forward or backward pass computes.
_HARMLESS = frozenset(
    (
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "auto_map",
        "bos_token_id",
        "cache_implementation",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "hidden_act",
        "id2label",
        "initializer_range",
        "is_encoder_decoder",
        "label2id",
        "max_window_layers",
        "model_type",
        "name_or_path",
        "output_attentions",
        "output_hidden_states",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "return_dict",
        "sliding_window_size",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    )
)


def family_of(config: ModelConfig) -> str:
    """The first family that has this shape; raises FirnlineError where none has."""
    for name, family in FAMILIES.items():
        free = {*_SHAPE, *_ROPE, *family.choices}
        if family.layer_types:
            free.add("full_attention_every")
        if all(
            value == family.fixed.get(option, ModelConfig.model_fields[option].default)
            for option, value in config
            if option not in free
        ) and not (name == "cohere" and config.query_key_norm not in (None, "heads")):
            return name
    options = [
        f"{option}: {value}"
        for option, value in config
        if option not in (*_SHAPE, *_ROPE) and value != ModelConfig.model_fields[option].default
    ]
    raise FirnlineError(
        f"no family of Hugging Face has the options {', '.join(options)} together",
        mend="change the model's options to those of a row in docs/models.md",
    )


def to_hugging_face(
    config: ModelConfig, *, end_of_text: int = END_OF_TEXT, dtype: str = "float32"
) -> dict[str, Any]:
    """`config.json` of the family that has this shape.

    RoPE is written both as transformers 4 reads it (`rope_theta`, `rope_scaling`) and as 5 does
    (`rope_parameters`). Raises FirnlineError where no family has the shape.
    """
    name = family_of(config)
    family = FAMILIES[name]
    values = {
        family.key(option): value
        for option, value in config
        if option in _SHAPE or option in family.choices
    }
    values["head_dim"] = config.head_size
    match name:
        case "gemma2":
            scale = config.query_scale or config.head_size
            values["query_pre_attn_scalar"] = int(scale) if scale == int(scale) else scale
            # A window as long as the context is none, and transformers must have one.
            values["sliding_window"] = config.sliding_window or config.context
        case "cohere":
            values["use_qk_norm"] = config.query_key_norm == "heads"
        case "qwen2" | "qwen3":
            values["use_sliding_window"] = config.sliding_window is not None
            values["max_window_layers"] = config.layers if config.sliding_window is None else 0
    if family.layer_types:
        kinds = ("full_attention", "sliding_attention")
        values["layer_types"] = [kinds[config.slides(layer)] for layer in range(config.layers)]
    rope = _rope(config.rope_scaling)
    old_spelling = {} if config.rope_scaling is None else {"rope_scaling": rope}
    return {
        **{key: value for key, value in family.only.items() if value is not None},
        **values,
        **old_spelling,
        "architectures": [family.architecture],
        "bos_token_id": end_of_text,
        "dtype": dtype,
        "eos_token_id": end_of_text,
        "model_type": name,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,
        "torch_dtype": dtype,
    }


def from_hugging_face(config: object, path: Path) -> ModelConfig:
    """The shape in a Hugging Face config; refuses what the model here would compute differently.

    `path` is the file, for the message of the FirnlineError.
    """

    def refuse(what: str) -> FirnlineError:
        return FirnlineError(
            f"{path}: {what}", mend="use a checkpoint of a family and options in docs/models.md"
        )

    name = config.get("model_type") if isinstance(config, Mapping) else type(config).__name__
    if not isinstance(config, Mapping) or name not in FAMILIES:
        raise refuse(f"model_type is {name!r}, not one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    for key in _REQUIRED:
        if config.get(key) is None:
            raise refuse(f"{key} is missing")
    for key, only in family.only.items():
        if key in config and config[key] != only and not (only is None and not config[key]):
            raise refuse(f"{key} is {config[key]!r}, only {only!r} is supported")
    if config.get("attention_dropout"):
        raise refuse(f"attention_dropout is {config['attention_dropout']}, only 0 is supported")
    keys = {family.key(option) for option in (*_SHAPE, *family.choices)} | {"num_key_value_heads"}
    known = {*keys, *family.only, *family.defaults, *_HARMLESS, *_ROPE, "rope_parameters"}
    known |= {"attention_dropout", *(["layer_types"] if family.layer_types else [])}
    for key, value in config.items():
        if key not in known and value not in (None, False, [], {}):
            raise refuse(f"{key} ({value!r:.60}) is not known and may change what is computed")
    values: dict[str, Any] = dict(family.fixed)
    for option in (*_SHAPE, *family.choices):
        key = family.key(option)
        if key in config or key in family.defaults:
            values[option] = config.get(key, family.defaults.get(key))
    values["kv_heads"] = values.get("kv_heads") or (
        values["heads"] if name in ("llama", "olmo2", "cohere") else None
    )
    if values["kv_heads"] is None:
        raise refuse("num_key_value_heads is missing")
    if name == "cohere":
        values["query_key_norm"] = "heads" if values["query_key_norm"] else None
    try:
        values |= _read_rope(config, family.defaults.get("rope_theta", 10_000.0))
        values |= _read_windows(config, family, values)
        return ModelConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise refuse(f"{where} {first['msg']}".strip()) from None
    except (TypeError, ValueError) as error:
        raise refuse(str(error)) from None


_LLAMA3 = {
    "low_frequency_factor": "low_freq_factor",
    "high_frequency_factor": "high_freq_factor",
    "original_context": "original_max_position_embeddings",
}


def _rope(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    rope: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "llama3":
        rope |= {key: getattr(scaling, option) for option, key in _LLAMA3.items()}
    return rope


def _read_rope(config: Config, default_theta: float) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`, in the spelling of transformers 4 or 5."""
    rope: Config = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        raise ValueError(f"the parameters of RoPE are {rope!r:.60}, not a mapping")
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta") or config.get("rope_theta") or default_theta
    if kind not in ("default", "linear", "llama3"):
        raise ValueError(f"rope_type is {kind!r}, only 'default', 'linear' and 'llama3' are")
    known = {"rope_type", "type", "rope_theta"}
    known |= {"factor"} if kind != "default" else set()
    known |= {*_LLAMA3.values()} if kind == "llama3" else set()
    for key, value in rope.items():
        plain = value is None or (key == "partial_rotary_factor" and value == 1)
        if key not in known and not plain:
            raise ValueError(f"{key} of RoPE is {value!r}, which is not supported")
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    try:
        scaling: dict[str, Any] = {"kind": kind, "factor": rope["factor"]}
        if kind == "llama3":
            length = config.get("max_position_embeddings")
            rope = {"original_max_position_embeddings": length} | dict(rope)
            scaling |= {option: rope[key] for option, key in _LLAMA3.items()}
    except KeyError as error:
        raise ValueError(f"{error.args[0]} of RoPE is missing") from None
    return {"rope_theta": theta, "rope_scaling": scaling}


def _read_windows(config: Config, family: Family, values: Config) -> dict[str, Any]:
    """`sliding_window` and `full_attention_every` of families whose layers differ."""
    if not family.layer_types:
        return {}
    window, layers = values.get("sliding_window"), values["layers"]
    slides: list[bool]
    if "use_sliding_window" in family.defaults:  # Qwen
        if not config.get("use_sliding_window"):
            window = None
        first = config.get("max_window_layers", 28)
        slides = [layer >= first for layer in range(layers)]
    else:
        slides = [layer % 2 == 0 for layer in range(layers)]
    types = config.get("layer_types")
    if types is not None:
        slides = [kind == "sliding_attention" for kind in types]
        if len(types) != layers or not {*types} <= {"sliding_attention", "full_attention"}:
            raise ValueError(f"layer_types {types!r:.60} do not fit {layers} layers")
    if window is None or not any(slides):
        return {"sliding_window": None, "full_attention_every": 0}
    every = 0 if all(slides) else slides.index(False) + 1
    if slides != [not every or (layer + 1) % every != 0 for layer in range(layers)]:
        raise ValueError("layer_types is not of the form 'every n-th layer sees everything'")
    return {"sliding_window": window, "full_attention_every": every}
