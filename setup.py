"""Packs the configs with the package; pyproject.toml says the rest.

They lie beside the package, where people edit them, and are installed inside
it, so that --config=configs/vitb.py is found without a checkout.
"""

import setuptools

setuptools.setup(
  packages=[
    *setuptools.find_packages(include=["scan42_jax*"]),
    "scan42_jax.configs",
    "scan42_jax.configs.eval",
  ],
  package_dir={
    "scan42_jax.configs": "configs",
    "scan42_jax.configs.eval": "configs/eval",
  },
)
