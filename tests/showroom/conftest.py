"""A small encoder and a writer on its tokens, for all tests of the demo."""

import pytest
import small_reports
import tiny_encoder

from scan42_jax import load_encoder

# Would run in a page that takes it for HTML.
TEXT = "<img src=x onerror=\"document.title='run'\"> Clear & well."


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
  return tiny_encoder.write_encoder(tmp_path_factory.mktemp("e") / "encoder")


@pytest.fixture(scope="session")
def encoder(encoder_folder):
  return load_encoder(encoder_folder)


@pytest.fixture(scope="session")
def writer(encoder, tmp_path_factory):
  """Returns a work folder of report generation, and all that it writes."""
  folder = tmp_path_factory.mktemp("r") / "reports"
  return small_reports.write_reporter(folder, encoder, TEXT), TEXT
