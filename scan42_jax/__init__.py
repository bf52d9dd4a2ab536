"""Self-supervised vision foundation models for chest X-rays, in JAX.

Nothing heavy is imported here, so `import scan42_jax` costs milliseconds; each
room of the package is imported by its own name.
"""

__version__ = "0.1.0"
