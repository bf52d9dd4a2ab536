"""Tiny random language models in Hugging Face's layout, one of each family."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
import safetensors.numpy
import tokenizers

from scan42_jax.eval.reports.templates import TEMPLATES

_SHAPE = {
  "vocab_size": 40,
  "hidden_size": 16,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "intermediate_size": 24,
  "rms_norm_eps": 1e-5,
  "hidden_act": "silu",
  "max_position_embeddings": 512,
  "torch_dtype": "float32",
}
_LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
_LLAMA3_ROPE = {
  "rope_type": "llama3",
  "rope_theta": 500.0,
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 16,
}
FAMILIES = {
  "vicuna": {**_LLAMA, **_SHAPE, "num_key_value_heads": 4},
  "tinyllama": {**_LLAMA, **_SHAPE, "num_key_value_heads": 1},
  "llama3": {
    **_LLAMA,
    **_SHAPE,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "rope_parameters": _LLAMA3_ROPE,
  },
  "qwen2": {
    **_SHAPE,
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "num_key_value_heads": 2,
    "head_dim": 4,
    "tie_word_embeddings": True,
    "rope_theta": 1000.0,
  },
  "stretched": {
    **_LLAMA,
    **_SHAPE,
    "num_key_value_heads": 2,
    "attention_bias": True,
    "mlp_bias": True,
    "rope_scaling": {"type": "linear", "factor": 2.0},
  },
}


def write_language_model(
  folder: pathlib.Path,
  family: str,
  *,
  seed: int = 0,
  shards: int = 1,
  **changes,
) -> pathlib.Path:
  """Writes config and weights; the weights follow from the seed alone."""
  folder.mkdir(parents=True, exist_ok=True)
  config = {**FAMILIES[family], **changes}
  (folder / "config.json").write_text(json.dumps(config))
  rng = np.random.default_rng(seed)
  weights = {
    name: (rng.normal(size=shape) * 0.3).astype(np.float32)
    for name, shape in _shapes(config).items()
  }
  if shards == 1:
    safetensors.numpy.save_file(
      weights, folder / "model.safetensors", metadata={"format": "pt"}
    )
    return folder
  places = {}
  for i in range(shards):
    name = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
    part = dict(list(weights.items())[i::shards])
    safetensors.numpy.save_file(part, folder / name, metadata={"format": "pt"})
    places |= dict.fromkeys(part, name)
  index = {"metadata": {}, "weight_map": places}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  return folder


def write_tokenizer(
  folder: pathlib.Path, texts: Sequence[str], *, template: str
) -> None:
  """Writes byte-level tokens of some texts, with those of a template."""
  chosen = TEMPLATES[template]
  byte_level = tokenizers.pre_tokenizers.ByteLevel
  inner = tokenizers.Tokenizer(tokenizers.models.BPE())
  inner.pre_tokenizer = byte_level(add_prefix_space=False)
  inner.decoder = tokenizers.decoders.ByteLevel()
  inner.train_from_iterator(
    texts,
    tokenizers.trainers.BpeTrainer(
      vocab_size=300,
      special_tokens=sorted({*chosen.ends, chosen.pad, "<|im_start|>"}),
      initial_alphabet=byte_level.alphabet(),
      show_progress=False,
    ),
  )
  inner.save(str(folder / "tokenizer.json"))


def _shapes(config):
  width, hidden = config["hidden_size"], config["intermediate_size"]
  heads = config["num_attention_heads"]
  dim = config.get("head_dim", width // heads)
  keys = config["num_key_value_heads"] * dim
  queries = heads * dim
  qwen, bias = config["model_type"] == "qwen2", config.get("attention_bias")
  dense = {
    "self_attn.q_proj": (queries, width, qwen or bias),
    "self_attn.k_proj": (keys, width, qwen or bias),
    "self_attn.v_proj": (keys, width, qwen or bias),
    "self_attn.o_proj": (width, queries, bias),
    "mlp.gate_proj": (hidden, width, config.get("mlp_bias")),
    "mlp.up_proj": (hidden, width, config.get("mlp_bias")),
    "mlp.down_proj": (width, hidden, config.get("mlp_bias")),
  }
  shapes = {"model.embed_tokens.weight": (config["vocab_size"], width)}
  for i in range(config["num_hidden_layers"]):
    layer = f"model.layers.{i}"
    for name in ("input_layernorm", "post_attention_layernorm"):
      shapes[f"{layer}.{name}.weight"] = (width,)
    for name, (out, into, with_bias) in dense.items():
      shapes[f"{layer}.{name}.weight"] = (out, into)
      if with_bias:
        shapes[f"{layer}.{name}.bias"] = (out,)
  shapes["model.norm.weight"] = (width,)
  if not config.get("tie_word_embeddings"):
    shapes["lm_head.weight"] = (config["vocab_size"], width)
  return shapes
