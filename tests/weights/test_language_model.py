"""Language models from folders: numbers of transformers, sharded reading."""

import dataclasses
import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from language_folders import FAMILIES, write_language_model

from scan42_jax import paths
from scan42_jax.models import cached_attention as cache
from scan42_jax.models.language_model import LanguageModel
from scan42_jax.sharding import make_mesh, replicated
from scan42_jax.weights.language_model import (
  load_language_model,
  read_language_config,
)

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "language_models.npz"


def _apply(net, variables, tokens):
  def run(module, tokens):
    slots = cache.whole_text(jnp.ones(tokens.shape, bool))
    x, _ = module(module.embed(tokens), slots)
    return module.logits(x)

  return net.apply(variables, tokens, method=run)


def _shapes(net):
  tokens = jnp.zeros((1, 2), jnp.int32)

  def run(module, tokens):
    slots = cache.whole_text(jnp.ones(tokens.shape, bool))
    x, _ = module(module.embed(tokens), slots)
    return module.logits(x)

  made = jax.eval_shape(
    lambda key: net.init(key, tokens, method=run), jax.random.key(0)
  )
  return made["params"]


def _load(folder, *, place=None, dtype="float32", **changes):
  config = dataclasses.replace(read_language_config(folder), **changes)
  net = LanguageModel(config)
  mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
  params = load_language_model(
    folder,
    _shapes(net),
    place=place or (lambda path: replicated(mesh)),
    dtype=dtype,
  )
  return net, params


def _check(expected, family, folder):
  net, params = _load(folder)
  found = _apply(net, {"params": params}, jnp.asarray(expected["tokens"]))
  np.testing.assert_allclose(found, expected[family], rtol=1e-4, atol=1e-4)
  # Numbers large enough for the tolerance to mean something.
  assert np.abs(expected[family]).max() > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_the_stored_ones_of_transformers(family, tmp_path):
  _check(np.load(GOLDEN), family, write_language_model(tmp_path, family))


@pytest.mark.skipif(
  "SCAN42_TORCH_PYTHON" not in os.environ,
  reason="set SCAN42_TORCH_PYTHON to a Python with torch and transformers",
)
def test_logits_equal_those_of_transformers(tmp_path):
  folders = {
    family: write_language_model(
      tmp_path / family, family, seed=5, num_hidden_layers=3
    )
    for family in FAMILIES
  }
  out = tmp_path / "logits.npz"
  subprocess.run(
    [
      os.environ["SCAN42_TORCH_PYTHON"],
      HERE / "transformers_logits.py",
      out,
      *(f"{family}={folder}" for family, folder in folders.items()),
    ],
    check=True,
    env={**os.environ, "HF_HUB_OFFLINE": "1"},
  )
  for family, folder in folders.items():
    _check(np.load(out), family, folder)


def test_shards_and_devices_hold_the_same_numbers(tmp_path):
  one = write_language_model(tmp_path / "one", "llama3")
  many = write_language_model(tmp_path / "many", "llama3", shards=3)
  mesh = make_mesh((1, 2, 4), jax.devices())
  _, whole = _load(one)

  def place(path):
    split = path.endswith("kernel")
    spec = jax.sharding.PartitionSpec(*(["fsdp", "tensor"] if split else []))
    return jax.sharding.NamedSharding(mesh, spec)

  _, parted = _load(many, place=place)
  jax.tree.map(np.testing.assert_array_equal, whole, parted)
  leaf = paths.flatten(parted)["block_00/mlp/gate/kernel"]
  assert leaf.addressable_shards[0].data.shape == (8, 6)


def test_low_rank_updates_start_at_the_model_itself(tmp_path):
  folder = write_language_model(tmp_path, "tinyllama")
  tokens = jnp.asarray(np.load(GOLDEN)["tokens"])
  plain, params = _load(folder)
  adapted, same = _load(folder, lora_rank=2)
  assert paths.flatten(same).keys() == paths.flatten(params).keys()
  fresh = paths.flatten(
    adapted.init(
      jax.random.key(0),
      tokens,
      method=lambda module, t: module.logits(
        module(module.embed(t), cache.whole_text(jnp.ones(t.shape, bool)))[0]
      ),
    )["params"]
  )
  low = {k: v for k, v in fresh.items() if "/lora_" in k}
  assert len(low) == 2 * 2 * 7
  both = paths.unflatten({**paths.flatten(params), **low})
  before = _apply(plain, {"params": params}, tokens)
  np.testing.assert_array_equal(
    _apply(adapted, {"params": both}, tokens), before
  )
  low = {k: v + 0.1 for k, v in low.items()}
  moved = paths.unflatten({**paths.flatten(params), **low})
  merged = _merged(params, low, gain=adapted.config.lora_alpha / 2)
  np.testing.assert_allclose(
    _apply(adapted, {"params": moved}, tokens),
    _apply(plain, {"params": merged}, tokens),
    rtol=1e-4,
    atol=1e-4,
  )


def _merged(params, low, *, gain):
  leaves = dict(paths.flatten(params))
  for path in low:
    if path.endswith("lora_a"):
      stem = path.removesuffix("lora_a")
      update = low[path] @ low[f"{stem}lora_b"]
      leaves[f"{stem}kernel"] += gain * update
  return paths.unflatten(leaves)


def test_bfloat16_is_read_as_stored(tmp_path):
  folder = write_language_model(tmp_path, "vicuna")
  path = folder / "model.safetensors"
  weights = {
    name: array.astype(jnp.bfloat16)
    for name, array in safetensors.numpy.load_file(path).items()
  }
  safetensors.numpy.save_file(weights, path)
  _, params = _load(folder, dtype="bfloat16")
  leaf = params["token_embedding"]["embedding"]
  assert leaf.dtype == jnp.bfloat16
  np.testing.assert_array_equal(leaf, weights["model.embed_tokens.weight"])


def _broken_config(folder, **changes):
  values = json.loads((folder / "config.json").read_text())
  values = {k: v for k, v in {**values, **changes}.items() if v is not ...}
  (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"model_type": "gpt2"}, "model_type 'gpt2' is none of"),
    ({"hidden_size": ...}, "'hidden_size' is missing"),
    ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not 'silu'"),
    ({"rope_scaling": {"type": "yarn"}}, "rotary scaling 'yarn'"),
    ({"use_sliding_window": True}, "use_sliding_window is not done"),
    (
      {"vocab_size": 41},
      r"lm_head.weight is \(40, 16\), config.json says",
    ),
    ({"num_hidden_layers": 3}, r"no array model.layers.2.*\(9 missing\)"),
    ({"num_hidden_layers": 1}, r"belongs to no parameter \(9 such\)"),
  ],
)
def test_a_config_that_does_not_fit_is_named(tmp_path, changes, message):
  folder = write_language_model(tmp_path, "tinyllama")
  _broken_config(folder, **changes)
  with pytest.raises(ValueError, match=message):
    _load(folder)


def test_missing_and_damaged_files_are_named(tmp_path):
  folder = write_language_model(tmp_path / "a", "vicuna", shards=2)
  (folder / "model-00002-of-00002.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match=r"00002-of-00002.*not complete"):
    _load(folder)
  folder = write_language_model(tmp_path / "b", "vicuna")
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError, match="damaged safetensors file"):
    _load(folder)
  path.unlink()
  (folder / "pytorch_model.bin").touch()
  with pytest.raises(FileNotFoundError, match=r"convert them once"):
    _load(folder)
  with pytest.raises(FileNotFoundError, match=r"name the Hugging Face folder"):
    read_language_config(tmp_path / "nowhere")
