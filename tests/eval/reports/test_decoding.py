"""Decoding: cached equals uncached, beams equal exhaustive search, limits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scan42_jax.eval.reports import decoding
from scan42_jax.eval.reports.decoding import DecodingSettings, Ending
from scan42_jax.models.report_decoder import ReportDecoder, ReportDecoderConfig

VOCABULARY, PAD, END = 6, 0, 1
ENDING = Ending(ends=(END,), pad=PAD)
DECODER = ReportDecoder(
  ReportDecoderConfig(
    vocab_size=VOCABULARY, width=16, depth=1, num_heads=2, max_tokens=16
  )
)
APPLY = jax.jit(DECODER.apply)
PROMPT = np.array([[PAD, 2, 3], [4, 2, 3]], np.int32)
VALID = PROMPT != PAD
PATCHES = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
  shapes = jax.eval_shape(
    DECODER.init, jax.random.key(0), PATCHES, PROMPT, VALID
  )
  rng = np.random.default_rng(3)
  return jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32) * 0.5, shapes
  )


def _write(params, settings, *, keys=None, prompt=PROMPT, patches=PATCHES):
  @jax.jit
  def run(params, patches, prompt):
    logits, state = DECODER.apply(
      params,
      patches,
      prompt,
      prompt != PAD,
      room=settings.max_tokens,
      method="prefill",
    )

    def extend(tokens, state, step):
      offset = prompt.shape[1] + step
      return DECODER.apply(params, tokens, state, offset, method="extend")

    return decoding.generate(
      extend, logits, state, settings=settings, ending=ENDING, keys=keys
    )

  return np.array(run(params, patches, prompt))


def _whole_logits(params, row, text):
  """Logits of the next token, everything computed from the beginning."""
  tokens = np.full((1, 12), PAD, np.int32)
  length = PROMPT.shape[1] + len(text)
  tokens[0, :length] = np.concatenate([PROMPT[row], np.array(text, np.int32)])
  valid = np.arange(12)[None] < length
  valid[:, : PROMPT.shape[1]] = VALID[row]
  logits = APPLY(params, PATCHES[row : row + 1], tokens, valid)
  return np.array(logits[0, length - 1].at[PAD].set(-jnp.inf))


def test_greedy_equals_uncached_decoding(params):
  settings = DecodingSettings(max_tokens=8, min_tokens=0)
  for row, found in enumerate(_write(params, settings)):
    text = []
    while len(text) < 8 and END not in text:
      text.append(int(np.argmax(_whole_logits(params, row, text))))
    assert found.tolist() == text + [PAD] * (8 - len(text))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("min_tokens", [0, 2])
def test_beams_equal_exhaustive_search(params, length_penalty, min_tokens):
  length = 3
  settings = DecodingSettings(
    method="beam",
    beams=VOCABULARY**length,
    length_penalty=length_penalty,
    min_tokens=min_tokens,
    max_tokens=length,
  )
  found = _write(params, settings)
  for row in range(len(PROMPT)):
    best = max(
      _all_texts(length, min_tokens),
      key=lambda text, row=row: _score(
        params, row, text, length_penalty, min_tokens
      ),
    )
    assert found[row].tolist() == [*best, *[PAD] * (length - len(best))]


def _all_texts(length, min_tokens):
  words = [t for t in range(VOCABULARY) if t not in (PAD, END)]
  for number in range(min_tokens, length):
    for text in itertools.product(words, repeat=number):
      yield (*text, END)
  yield from itertools.product(words, repeat=length)


_KNOWN = {}


def _score(params, row, text, length_penalty, min_tokens):
  total = 0.0
  for step, token in enumerate(text):
    key = row, text[:step]
    if key not in _KNOWN:
      _KNOWN[key] = _whole_logits(params, row, text[:step])
    logits = _KNOWN[key]
    if step < min_tokens:
      logits = np.where(np.arange(VOCABULARY) == END, -np.inf, logits)
    total += float(jax.nn.log_softmax(logits)[token])
  return total / len(text) ** length_penalty


def test_a_beam_is_no_less_likely_than_greedy(params):
  beam = DecodingSettings(
    method="beam", beams=1, max_tokens=6, length_penalty=0.0
  )
  greedy = DecodingSettings(max_tokens=6)
  for row, texts in enumerate(
    zip(_write(params, beam), _write(params, greedy), strict=True)
  ):
    # One beam follows the greedy text, and may end it earlier.
    ended = [[t for t in text.tolist() if t != PAD] for text in texts]
    scores = [_score(params, row, tuple(text), 0.0, 1) for text in ended]
    assert scores[0] >= scores[1] - 1e-6


def test_sampling_follows_the_probabilities(params):
  number = 4000
  rows = np.repeat(PROMPT[1:], number, axis=0)
  patches = np.repeat(PATCHES[1:], number, axis=0)
  settings = DecodingSettings(
    method="sample", temperature=1.5, max_tokens=1, min_tokens=0
  )
  keys = jax.random.split(jax.random.key(5), number)
  found = _write(params, settings, keys=keys, prompt=rows, patches=patches)
  shares = np.bincount(found[:, 0], minlength=VOCABULARY) / number
  expected = jax.nn.softmax(_whole_logits(params, 1, []) / 1.5)
  # Four standard deviations of a share.
  np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / number**0.5)


def test_a_sampled_text_depends_on_its_own_key_alone(params):
  settings = DecodingSettings(method="sample", temperature=2.0, max_tokens=8)
  keys = jax.random.split(jax.random.key(1), 2)
  together = _write(params, settings, keys=keys)
  alone = _write(
    params, settings, keys=keys[1:], prompt=PROMPT[1:], patches=PATCHES[1:]
  )
  np.testing.assert_array_equal(together[1:], alone)


def test_nucleus_keeps_the_likeliest_tokens():
  logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
  kept = {
    p: jnp.isfinite(decoding.nucleus(logits, p))[0].tolist()
    for p in (0.4, 0.6, 0.85, 1.0)
  }
  assert kept[0.4] == [True, False, False, False]
  assert kept[0.6] == [True, True, False, False]
  assert kept[0.85] == [True, True, True, False]
  assert kept[1.0] == [True] * 4


def test_no_ngram_comes_twice(params):
  free = DecodingSettings(max_tokens=12, min_tokens=11)
  limited = DecodingSettings(max_tokens=12, min_tokens=11, no_repeat_ngram=2)

  def repeats(text):
    pairs = list(itertools.pairwise(t for t in text.tolist() if t != PAD))
    return len(pairs) - len(set(pairs))

  assert all(repeats(text) for text in _write(params, free))
  assert not any(repeats(text) for text in _write(params, limited))


def test_a_text_that_cannot_go_on_ends():
  settings = DecodingSettings(min_tokens=9, no_repeat_ngram=1)
  written = jnp.array([[2, 3, 4, 5, PAD]])
  found = decoding.restrict(
    jnp.ones((1, VOCABULARY)),
    written,
    jnp.int32(4),
    settings=settings,
    ending=ENDING,
  )
  assert jnp.isfinite(found)[0].tolist() == [t == END for t in range(6)]


def test_repetition_is_penalized():
  settings = DecodingSettings(repetition_penalty=2.0, min_tokens=0)
  logits = jnp.array([[0.0, 1.0, 4.0, 4.0, -4.0, -4.0]])
  written = jnp.array([[2, 4, 3]])
  found = decoding.restrict(
    logits, written, jnp.int32(2), settings=settings, ending=ENDING
  )
  assert found[0, 1:].tolist() == [1.0, 2.0, 4.0, -8.0, -4.0]


def test_texts_are_as_long_as_allowed(params):
  settings = DecodingSettings(max_tokens=6, min_tokens=5)
  for text in _write(params, settings):
    assert END not in text[:5].tolist()


@pytest.mark.parametrize(
  "field",
  [
    {"beams": 0},
    {"temperature": 0.0},
    {"top_p": 0.0},
    {"min_tokens": 160},
    {"no_repeat_ngram": -1},
    {"repetition_penalty": 0.5},
  ],
)
def test_settings_out_of_range_are_named(field):
  with pytest.raises(ValueError, match=f"decoding.{next(iter(field))}="):
    DecodingSettings(**field)
