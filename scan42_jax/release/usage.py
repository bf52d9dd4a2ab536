"""How the model card says to use the weights: code, films, image sizes."""

from __future__ import annotations

from scan42_jax.models.vit import ViTConfig
from scan42_jax.release.sources import Release


def square(side: int) -> str:
  """Returns 'side x side'."""
  return f"{side} x {side}"


def use_section(release: Release) -> str:
  """Returns the card's section on use, with a snippet for either library."""
  first_patch = 1 + release.config.num_registers
  return f"""## Use

With transformers, after the films are prepared as below:

```python
from transformers import AutoModel

model = AutoModel.from_pretrained("FOLDER")
tokens = model(pixel_values=pixels).last_hidden_state
cls, patches = tokens[:, 0], tokens[:, {first_patch}:]
```

With scan42_jax, which prepares DICOM, PNG and JPEG files by itself:

```python
import scan42_jax

encoder = scan42_jax.load_encoder("FOLDER")
features = encoder("film.dcm")
```

{_preparation(release)}

{_position_note(release.config)}"""


def _preparation(release: Release) -> str:
  how = release.preprocessing
  text = (
    f"Preparation of a film, grey, bones bright: {how}"
    f" ({release.origin['preparation']})."
  )
  if how.equalize:
    text += (
      " The image processor of transformers does not equalise histograms: do"
      " it before (OpenCV's `equalizeHist` on the whole film)."
    )
  return text


def _position_note(config: ViTConfig) -> str:
  size = square(config.image_size)
  own = (
    f"offset {config.position_offset:g},"
    f" {'with' if config.position_antialias else 'without'} antialias"
  )
  theirs = (
    f"offset 0, {'with' if config.num_registers else 'without'} antialias"
  )
  if own == theirs:
    return (
      "At other sizes the position table is resized bicubically"
      f" ({own}), by transformers and scan42_jax alike."
    )
  return (
    f"At {size} px the position table is used as it is. At other sizes it is"
    f" resized bicubically, and not alike: {own} as these weights expect it,"
    f" which scan42_jax does; {theirs} in transformers, whose features"
    " therefore differ there."
  )
