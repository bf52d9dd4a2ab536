"""Checkpoints: exact, verified, and never silently wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from scan42_jax.checkpoint import Checkpoints, read_checkpoint
from scan42_jax.sharding import make_mesh


def _state(value):
  place = NamedSharding(make_mesh((1, 8, 1)), PartitionSpec("fsdp"))
  return {
    "w": jax.device_put(jnp.arange(16.0) + value, place),
    "h": jax.device_put(jnp.full(8, value, jnp.bfloat16), place),
  }


def _template():
  place = NamedSharding(make_mesh((8, 1, 1)), PartitionSpec())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), _state(0)
  )


def _accept(config):
  del config


def _write(workdir, steps, keep=5):
  checkpoints = Checkpoints(workdir, keep=keep)
  for step in steps:
    checkpoints.save(step, _state(step), {"step": step})
    checkpoints.wait()
  checkpoints.close()


def _restore(workdir, accept=_accept):
  checkpoints = Checkpoints(workdir, keep=5)
  try:
    return checkpoints.restore(_template(), accept)
  finally:
    checkpoints.close()


def _step_of(state):
  return float(state["w"][0])


def test_restores_bit_for_bit_on_another_mesh(tmp_path):
  _write(tmp_path, [1, 2])
  state = _restore(tmp_path)
  jax.tree.map(np.testing.assert_array_equal, state, _state(2))
  assert state["h"].dtype == jnp.bfloat16
  assert state["w"].sharding.mesh.shape["data"] == 8


def test_keeps_only_the_newest(tmp_path):
  _write(tmp_path, [1, 2, 3, 4], keep=2)
  names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
  assert names == {"3", "4"}


def test_new_folder_has_no_checkpoint(tmp_path):
  assert _restore(tmp_path) is None


def _largest_file(folder):
  files = [p for p in folder.rglob("*") if p.is_file()]
  return max(files, key=lambda p: p.stat().st_size)


def _flip_a_byte(folder):
  path = _largest_file(folder)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def _truncate(folder):
  path = _largest_file(folder)
  path.write_bytes(path.read_bytes()[:-7])


def _empty(folder):
  for path in folder.rglob("*"):
    if path.is_file():
      path.unlink()


@pytest.mark.parametrize("damage", [_flip_a_byte, _truncate, _empty])
def test_falls_back_past_a_damaged_step_and_saves_again(
  tmp_path, damage, caplog
):
  _write(tmp_path, [1, 2])
  damage(tmp_path / "checkpoints" / "2")
  assert _step_of(_restore(tmp_path)) == 1
  assert "checkpoint 2 is damaged" in caplog.text
  # What was damaged is kept for inspection, out of the way of the next save.
  assert (tmp_path / "damaged_checkpoint_2").is_dir()
  _write(tmp_path, [2])
  assert _step_of(_restore(tmp_path)) == 2


def test_only_damaged_steps_is_an_error_not_a_fresh_start(tmp_path):
  _write(tmp_path, [1])
  _truncate(tmp_path / "checkpoints" / "1")
  with pytest.raises(ValueError, match="none of the checkpoints"):
    _restore(tmp_path)


def test_a_refused_configuration_leaves_the_step_in_place(tmp_path):
  _write(tmp_path, [1])

  def refuse(config):
    raise ValueError(f"not {config['step']}")

  with pytest.raises(ValueError, match="not 1"):
    _restore(tmp_path, refuse)
  assert _step_of(_restore(tmp_path)) == 1


def test_an_unfinished_save_is_swept(tmp_path):
  _write(tmp_path, [1])
  leftover = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
  leftover.mkdir()
  assert _step_of(_restore(tmp_path)) == 1
  assert not leftover.exists()


def test_a_good_step_outlives_newer_ones_and_the_process(tmp_path):
  checkpoints = Checkpoints(tmp_path, keep=1)
  assert checkpoints.good_step is None
  checkpoints.mark_good(1)
  for step in (1, 2):
    checkpoints.save(step, _state(step), {"step": step})
  checkpoints.close()
  _write(tmp_path, [3, 4], keep=1)
  names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
  assert names == {"1", "4"}
  assert Checkpoints(tmp_path, keep=1).good_step == 1


def _write_networks(workdir, steps):
  """Checkpoints with two networks, as training writes them."""
  checkpoints = Checkpoints(workdir, keep=5)
  for step in steps:
    networks = {"teacher": _state(step), "student": _state(-step)}
    checkpoints.save(step, networks, {"step": step})
    checkpoints.wait()
  checkpoints.close()


def test_networks_are_read_by_step_and_name(tmp_path, caplog):
  _write_networks(tmp_path, [1, 2])
  for arguments, step, value in [
    ({}, 2, 2.0),
    ({"step": 1}, 1, 1.0),
    ({"which": "student"}, 2, -2.0),
    ({"step": 1, "which": "student"}, 1, -1.0),
  ]:
    stored = read_checkpoint(tmp_path, **arguments)
    assert stored.step == step and stored.config == {"step": step}
    assert stored.params["w"][0] == value
    assert isinstance(stored.params["w"], np.ndarray)
  # Orbax warns where it misses metadata; a reader has nothing to worry about.
  assert caplog.text == ""


def test_only_the_newest_may_be_replaced_when_it_is_damaged(tmp_path, caplog):
  _write_networks(tmp_path, [1, 2])
  _flip_a_byte(tmp_path / "checkpoints" / "2")
  assert read_checkpoint(tmp_path).step == 1
  assert "checkpoint 2 is left out" in caplog.text
  with pytest.raises(ValueError, match="is not what was written"):
    read_checkpoint(tmp_path, step=2)
  _flip_a_byte(tmp_path / "checkpoints" / "1")
  with pytest.raises(ValueError, match="no checkpoint that can be read"):
    read_checkpoint(tmp_path)


def test_what_is_absent_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="absent: no such work folder"):
    read_checkpoint(tmp_path / "absent")
  with pytest.raises(FileNotFoundError, match="holds no checkpoint; name the"):
    read_checkpoint(tmp_path)
  _write_networks(tmp_path, [3, 10])
  with pytest.raises(FileNotFoundError) as caught:
    read_checkpoint(tmp_path, step=4)
  assert str(caught.value) == (
    f"{tmp_path / 'checkpoints'} has no step 4; it has 3, 10"
  )
