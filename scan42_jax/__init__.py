"""Self-supervised vision foundation models for chest X-rays, in JAX.

  encoder = scan42_jax.load_encoder("microsoft/rad-dino")
  features = encoder("film.dcm")

Nothing heavy is imported until it is used, so `import scan42_jax` costs
milliseconds; each room of the package is imported by its own name.
"""

__version__ = "0.1.0"

_HOMES = {
  "Encoder": "scan42_jax.encoder",
  "EncoderFeatures": "scan42_jax.encoder",
  "Preprocessing": "scan42_jax.weights.preprocessing",
  "load_encoder": "scan42_jax.encoder",
}


def __getattr__(name: str):
  if name not in _HOMES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  import importlib

  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_HOMES])
