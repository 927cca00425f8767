"""Each family of Hugging Face against transformers: logits both ways, generation, gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig, RopeScaling, parameter_count
from firnline.model.families import FAMILIES, family_of, from_hugging_face, to_hugging_face
from firnline.model.llama import KVCache, Llama
from firnline.model.vocabulary import resize_vocabulary

transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")

LENGTH = 40
SHAPE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": None,  # transformers gives the row of a padding token no gradient
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
# transformers' class and what its config says beyond the shape.
THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True}),
    "llama, wide heads": ("Llama", {"head_dim": 20}),
    "deepseek-coder": (
        "Llama",
        {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 100_000.0},
    ),
    "llama 3.1": ("Llama", {"rope_parameters": LLAMA3 | {"rope_theta": 500.0}}),
    "mistral": ("Mistral", {"sliding_window": 7}),
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2, window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0},
    ),
    "qwen3": ("Qwen3", {"head_dim": 16, "rms_norm_eps": 1e-5}),
    "qwen3, layer types": (
        "Qwen3",
        {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 6,
            "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
        },
    ),
    "gemma 2": ("Gemma2", {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 9}),
    "gemma 2, no caps": (
        "Gemma2",
        {
            "head_dim": 16,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention"] * 4,
        },
    ),
    "olmo 2": ("Olmo2", {}),
    "cohere": ("Cohere", {"logit_scale": 0.25}),
    "cohere, free, normed": ("Cohere", {"tie_word_embeddings": False, "use_qk_norm": True}),
}


def tokens(batch: int = 2, length: int = LENGTH, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 97, (batch, length), generator=generator)


def theirs(name: str) -> Any:
    """A random model of transformers whose gains and biases are not the initial ones either."""
    kind, more = THEIRS[name]
    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}Config")(**SHAPE | more)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


@pytest.fixture(scope="module", params=list(THEIRS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of transformers, saved by it, and what we load."""
    folder = tmp_path_factory.mktemp("theirs")
    model = theirs(request.param)
    model.save_pretrained(folder)
    return model, checkpoint.load(folder)


def test_import_gives_the_logits_of_transformers(pair: Any) -> None:
    model, ours = pair
    logits = model(tokens()).logits
    assert logits.std() > 0.1
    assert (ours(tokens()) - logits).abs().max() <= 1e-4
    assert parameter_count(ours.config) == sum(weight.numel() for weight in model.parameters())


def test_training_goes_on_from_an_import(pair: Any) -> None:
    """Equal loss and equal gradients everywhere, but for the order of permuted rows."""
    model, ours = pair
    model.zero_grad(), ours.zero_grad()
    inputs, targets = tokens()[:, :-1], tokens()[:, 1:].clone()
    targets[1, 5:9] = -100
    expected = F.cross_entropy(model(inputs).logits.flatten(0, 1), targets.flatten())
    loss = ours.loss(inputs, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    found = ours.token_losses(inputs, targets).sum() / (targets != -100).sum()
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    expected.backward()
    loss.backward()
    permuted = model.config.model_type == "cohere"
    gradients = dict(model.named_parameters())
    for name, weight in ours.named_parameters():
        wanted = gradients[name].grad
        assert weight.grad is not None and weight.grad.abs().max() > 0
        one, other = weight.grad, wanted
        if permuted and name.endswith(("q_proj.weight", "k_proj.weight", "_norm.weight")):
            one, other = one.flatten().sort().values, other.flatten().sort().values
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-3)


def test_export_gives_transformers_our_logits(pair: Any, tmp_path: Path) -> None:
    model, ours = pair
    checkpoint.save(ours, tmp_path)
    assert checkpoint.read_config(tmp_path) == ours.config
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert (again.eval()(tokens()).logits - ours(tokens())).abs().max() <= 1e-4
    for name, weight in checkpoint.load(tmp_path).state_dict().items():
        assert torch.equal(weight, ours.state_dict()[name])  # there and back in the same bits


def test_the_cache_gives_what_no_cache_gives(pair: Any) -> None:
    _, ours = pair
    batch = tokens(3)
    lengths = torch.tensor([25, 30, 28])
    with torch.inference_mode():
        expected = ours(batch)
        cache = KVCache(ours.config, 3, capacity=LENGTH)
        ours(batch[:, :30], cache)
        cache.lengths = lengths
        for _ in range(10):
            at = cache.lengths
            logits = ours(batch.gather(1, at[:, None]), cache)[:, 0]
            wanted = expected[torch.arange(3), at]
            torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)


def test_documents_are_as_if_run_apart(pair: Any) -> None:
    _, ours = pair
    batch, targets = tokens(), tokens(seed=1)
    documents = torch.zeros(2, LENGTH, dtype=torch.int32)
    documents[0, 17:], documents[0, 22:], documents[1, 1:] = 1, 2, 1
    ours.zero_grad()
    ours.loss(batch, targets, documents).backward()
    gradients = [weight.grad.clone() for weight in ours.parameters()]
    ours.zero_grad()
    spans = ((0, 0, 17), (0, 17, 22), (0, 22, LENGTH), (1, 0, 1), (1, 1, LENGTH))
    for row, start, end in spans:
        part = (slice(row, row + 1), slice(start, end))
        logits = ours(batch, documents=documents)[part]
        torch.testing.assert_close(logits, ours(batch[part]), atol=1e-4, rtol=1e-4)
        (ours.loss(batch[part], targets[part]) * (end - start) / (2 * LENGTH)).backward()
    for weight, gradient in zip(ours.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient, atol=2e-5, rtol=1e-3)


def test_bfloat16_under_autocast(pair: Any) -> None:
    _, ours = pair
    ours.zero_grad()
    plain = ours.loss(tokens(), tokens(seed=1)).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ours.loss(tokens(), tokens(seed=1), torch.zeros(2, LENGTH, dtype=torch.int32))
    loss.backward()
    assert loss.item() == pytest.approx(plain, rel=0.05)
    assert all(weight.grad.isfinite().all() for weight in ours.parameters())


@pytest.mark.parametrize("name", ["llama", "gemma 2", "cohere"])
def test_a_layer_compiles_alone_and_whole(name: str, tmp_path: Path) -> None:
    """Traced without a break in the graph, masks and documents included."""
    theirs(name).save_pretrained(tmp_path)
    ours = checkpoint.load(tmp_path)
    documents = torch.arange(LENGTH).div(13, rounding_mode="floor").expand(2, -1)
    expected = ours.loss(tokens(), tokens(seed=1), documents)
    for layer in ours.model.layers:
        layer.compile(fullgraph=True, backend="aot_eager")
    found = ours.loss(tokens(), tokens(seed=1), documents)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shards_in_either_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    model = theirs("qwen2").to(dtype)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="60KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    ours = checkpoint.load(tmp_path / "theirs")
    assert {weight.dtype for weight in ours.parameters()} == {torch.float32}
    checkpoint.save(ours, tmp_path / "one")
    checkpoint.save(ours, tmp_path / "many", dtype=dtype, shard_bytes=60_000)
    files = sorted((tmp_path / "many").glob("*.safetensors"))
    assert len(files) > 2 and f"-of-{len(files):05}" in files[0].name
    assert all(path.stat().st_size < 64_000 for path in files)
    index = json.loads((tmp_path / "many/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == parameter_count(ours.config) * dtype.itemsize
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "many")
    assert loaded.dtype == dtype
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    checkpoint.save(ours, tmp_path / "many")  # what is no longer part of it goes
    one, many = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "many"))
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    theirs("llama").save_pretrained(tmp_path, max_shard_size="60KB")
    index = tmp_path / "model.safetensors.index.json"
    whole = index.read_text()
    one = sorted(tmp_path.glob("*.safetensors"))[1]
    tensors = load_file(one)
    one.unlink()
    with pytest.raises(FirnlineError, match=rf"no such file: .*{one.name}"):
        checkpoint.load(tmp_path)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, one, metadata={"format": "pt"})
    with pytest.raises(FirnlineError, match="is missing"):
        checkpoint.load(tmp_path)
    index.write_text(whole.replace(one.name, "../" + one.name))
    with pytest.raises(FirnlineError, match="no weight_map of files beside it"):
        checkpoint.load(tmp_path)
    index.write_text(whole[:50])
    with pytest.raises(FirnlineError, match=r"index\.json cannot be read"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("Gemma2", {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
        ("Gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("Qwen2", {"layer_types": ["full_attention"]}, "do not fit 4 layers"),
        ("Qwen2", {"num_key_value_heads": None}, "num_key_value_heads is missing"),
        (
            "Qwen3",
            {
                "use_sliding_window": True,
                "sliding_window": 5,
                "layer_types": ["full_attention"] + ["sliding_attention"] * 3,
            },
            "full_attention_every 1|not of the form",
        ),
        ("Cohere", {"attention_bias": True}, "attention_bias is True"),
        ("Olmo2", {"clip_qkv": 8.0}, r"clip_qkv \(8.0\) is not known"),
        ("Mistral", {"layer_types": ["full_attention"] * 4}, "layer_types .* is not known"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(
    kind: str, changes: dict[str, Any], words: str
) -> None:
    config = getattr(transformers, f"{kind}Config")(**SHAPE).to_dict()
    with pytest.raises(FirnlineError, match=words) as caught:
        from_hugging_face(config | changes, Path("there/config.json"))
    assert "there/config.json" in str(caught.value) and "\n" not in str(caught.value)


def test_published_configs_are_read_as_they_are_on_the_hub() -> None:
    """As in the repositories of deepseek-ai, google and Qwen, with their older spellings."""
    from firnline.model.presets import PRESETS

    coder = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 32013,
        "eos_token_id": 32014,
        "hidden_act": "silu",
        "hidden_size": 7168,
        "initializer_range": 0.02,
        "intermediate_size": 19200,
        "max_position_embeddings": 16384,
        "model_type": "llama",
        "num_attention_heads": 56,
        "num_hidden_layers": 62,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"factor": 4.0, "type": "linear"},
        "rope_theta": 100000,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.33.1",
        "use_cache": True,
        "vocab_size": 32256,
    }
    assert from_hugging_face(coder, Path()) == PRESETS["deepseek-coder-33b"]
    gemma = {
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "head_dim": 128,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 4608,
        "intermediate_size": 36864,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "num_attention_heads": 32,
        "num_hidden_layers": 46,
        "num_key_value_heads": 16,
        "query_pre_attn_scalar": 144,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "sliding_window_size": 4096,
        "vocab_size": 256000,
    }
    assert from_hugging_face(gemma, Path()) == PRESETS["gemma-2-27b"]
    qwen = SHAPE | {
        "model_type": "qwen2",
        "max_window_layers": 28,
        "sliding_window": 131072,
        "use_mrope": False,
        "use_sliding_window": False,
    }
    assert from_hugging_face(qwen, Path()).sliding_window is None


def test_every_preset_has_a_family_and_comes_back() -> None:
    from firnline.model.presets import PRESETS

    for config in PRESETS.values():
        assert from_hugging_face(to_hugging_face(config), Path()) == config
    assert {family_of(config) for config in PRESETS.values()} == {"llama", "gemma2", "cohere"}
    assert {kind.lower() for kind, _ in THEIRS.values()} == set(FAMILIES)


def test_a_shape_without_a_family_is_not_exported(tmp_path: Path) -> None:
    config = ModelConfig(
        vocabulary_size=97,
        hidden=48,
        ffn_hidden=80,
        layers=2,
        heads=4,
        kv_heads=2,
        context=64,
        parallel=True,
        qkv_bias=True,
        rope_scaling=RopeScaling(kind="linear", factor=2),
    )
    model = Llama(config).initialise(0)
    with pytest.raises(FirnlineError, match="parallel: True, qkv_bias: True together"):
        checkpoint.save(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["llama", "olmo 2"])
def test_a_larger_vocabulary(name: str, tmp_path: Path) -> None:
    theirs(name).save_pretrained(tmp_path)
    model = checkpoint.load(tmp_path)
    before = model(tokens()).detach()
    old = model.output_weight.detach().clone()
    assert resize_vocabulary(model, 103) is model
    logits = model(tokens())
    torch.testing.assert_close(logits[..., :97], before)
    mean = before.mean(-1)  # of the old logits, as Hewitt derives
    torch.testing.assert_close(logits[..., 100], mean, atol=1e-4, rtol=1e-4)
    assert torch.equal(model.output_weight[:97], old)
    model.loss(tokens() + 6, tokens()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    checkpoint.save(model, tmp_path / "larger")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "larger")
    assert (again(tokens() + 6).logits - model(tokens() + 6)).abs().max() <= 1e-4
    with pytest.raises(FirnlineError, match="cannot shrink to 90"):
        resize_vocabulary(model, 90)
