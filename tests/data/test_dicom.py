"""DICOM: what is read, how it is shown, what is refused."""

import csv
import io
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from scan42_jax.data import dicom, images


def _film(values: np.ndarray, **elements) -> Dataset:
  """A small DX film of integers; elements replace those of the header."""
  signed = np.issubdtype(values.dtype, np.signedinteger)
  dataset = Dataset()
  dataset.file_meta = FileMetaDataset()
  dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
  dataset.SOPInstanceUID = "1.2.3.4"
  dataset.Modality = "DX"
  dataset.PatientID = "SECRET-7"
  dataset.PatientName = "Doe^John"
  dataset.Rows, dataset.Columns = values.shape
  dataset.SamplesPerPixel = 1
  dataset.PhotometricInterpretation = "MONOCHROME2"
  dataset.BitsAllocated = values.dtype.itemsize * 8
  dataset.BitsStored = dataset.BitsAllocated
  dataset.HighBit = dataset.BitsStored - 1
  dataset.PixelRepresentation = int(signed)
  dataset.PixelData = values.tobytes()
  if values.size % 2 and values.dtype.itemsize == 1:
    dataset.PixelData += b"\0"
  for name, value in elements.items():
    setattr(dataset, name, value)
  return dataset


def _bytes(dataset: Dataset) -> bytes:
  stream = io.BytesIO()
  dataset.save_as(stream, enforce_file_format=True)
  return stream.getvalue()


def _pixels(dataset: Dataset, **options) -> np.ndarray:
  return dicom.read_dicom(_bytes(dataset), **options).pixels


def _refusal(data: bytes) -> images.RejectedFilm:
  with pytest.raises(images.RejectedFilm) as refusal:
    dicom.read_dicom(data)
  text = str(refusal.value)
  assert text and "\n" not in text
  assert not any(word in text for word in ("Doe", "John", "SECRET"))
  return refusal.value


def _table(first: int, entries: np.ndarray, bits: int) -> Dataset:
  item = Dataset()
  item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
  item.add_new("LUTData", "US", entries.tolist())
  return item


RAMP = np.arange(1000, 4000, 10, dtype=np.uint16).reshape(15, 20)


def _expected(low: float, high: float, values=RAMP) -> np.ndarray:
  share = (values.astype(float) - low) / (high - low)
  return np.rint(share.clip(0, 1) * 255)


def _near(pixels: np.ndarray, expected: np.ndarray, levels: int = 1):
  assert pixels.dtype == np.uint8
  np.testing.assert_allclose(pixels.astype(float), expected, atol=levels)


def test_without_a_window_minimum_to_maximum():
  _near(_pixels(_film(RAMP)), _expected(1000, 3990))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_depths_and_signs(dtype):
  values = (np.arange(100).reshape(10, 10) - 20 * (dtype == np.int16)).astype(
    dtype
  )
  _near(
    _pixels(_film(values)), _expected(values.min(), values.max(), values=values)
  )


def test_monochrome1_is_the_complement():
  shown = _pixels(_film(RAMP))
  inverted = _pixels(_film(RAMP, PhotometricInterpretation="MONOCHROME1"))
  np.testing.assert_array_equal(inverted, 255 - shown)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_comes_before_inversion(photometric):
  # Off-centre: inverting first would map other values to 0..255.
  dataset = _film(
    RAMP,
    WindowCenter=1500,
    WindowWidth=401,
    PhotometricInterpretation=photometric,
  )
  expected = _expected(1299.5, 1699.5)
  if photometric == "MONOCHROME1":
    expected = 255 - expected
  _near(_pixels(dataset), expected)


def test_first_window_and_rescaled_units():
  dataset = _film(
    RAMP,
    WindowCenter=["3000", "99"],
    WindowWidth=["1001", "5"],
    RescaleSlope="2",
    RescaleIntercept="-1000",
  )
  _near(
    _pixels(dataset), _expected(2499.5, 3499.5, 2 * RAMP.astype(int) - 1000)
  )


def test_window_functions():
  exact = _film(
    RAMP, WindowCenter=2000, WindowWidth=500, VOILUTFunction="LINEAR_EXACT"
  )
  _near(_pixels(exact), _expected(1750, 2250))
  sigmoid = _film(
    RAMP, WindowCenter=2000, WindowWidth=500, VOILUTFunction="SIGMOID"
  )
  logistic = 255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 500))
  _near(_pixels(sigmoid), logistic)


def test_window_of_width_one_is_a_step():
  shown = _pixels(_film(RAMP, WindowCenter=2000, WindowWidth=1))
  np.testing.assert_array_equal(shown, 255 * (RAMP >= 2000))


@pytest.mark.parametrize("width", ["0", "-5", "nan"])
def test_impossible_window_is_ignored(width):
  with pydicom.config.disable_value_validation():
    data = _bytes(_film(RAMP, WindowCenter="2000", WindowWidth=width))
  _near(dicom.read_dicom(data).pixels, _expected(1000, 3990))


def test_rescale_that_is_no_number_is_refused():
  with pydicom.config.disable_value_validation():
    data = _bytes(_film(RAMP, RescaleSlope="nan", RescaleIntercept="0"))
  assert "rescale" in str(_refusal(data))


def test_voi_table_wins_over_the_window():
  entries = np.linspace(0, 1023, 1000).astype(np.uint16)[::-1]
  dataset = _film(
    RAMP,
    VOILUTSequence=[_table(2000, entries, 10)],
    WindowCenter=10,
    WindowWidth=5,
  )
  looked_up = entries[(RAMP.astype(int) - 2000).clip(0, 999)]
  _near(_pixels(dataset), _expected(0, 1023, looked_up))


def test_voi_table_with_too_deep_a_descriptor_still_fills_the_range():
  entries = np.arange(0, 4000, dtype=np.uint16)
  shown = _pixels(_film(RAMP, VOILUTSequence=[_table(0, entries, 16)]))
  _near(shown, _expected(0, 3999))


def test_eight_bit_table_packed_in_words():
  entries = np.arange(256, dtype=np.uint8)
  item = _table(0, np.zeros(256, int), 8)
  item.add_new("LUTData", "OW", entries.tobytes())
  values = np.arange(256, dtype=np.uint16).reshape(16, 16)
  shown = _pixels(_film(values, VOILUTSequence=[item]))
  np.testing.assert_array_equal(shown, values)


def test_modality_table_comes_before_the_window():
  entries = (np.arange(4000) // 2).astype(np.uint16)
  dataset = _film(
    RAMP,
    ModalityLUTSequence=[_table(0, entries, 16)],
    WindowCenter=1000,
    WindowWidth=501,
  )
  _near(_pixels(dataset), _expected(749.5, 1249.5, RAMP // 2))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_outside_the_range(photometric):
  values = RAMP.copy()
  values[:3] = 65000
  values[3] = 64990
  dataset = _film(
    values,
    PixelPaddingValue=65000,
    PixelPaddingRangeLimit=64990,
    PhotometricInterpretation=photometric,
  )
  shown = _pixels(dataset)
  assert (shown[:4] == 0).all()
  expected = _expected(values[4:].min(), values[4:].max(), values[4:])
  if photometric == "MONOCHROME1":
    expected = 255 - expected
  _near(shown[4:], expected)


def test_signed_padding_written_unsigned():
  values = np.arange(-100, 100, dtype=np.int16).reshape(10, 20)
  values[0] = -2000
  dataset = _film(values)
  dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
  _near(_pixels(dataset)[1:], _expected(-80, 99, values[1:]))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("published", [False, True])
def test_constant_film(photometric, published):
  values = np.full((6, 5), 700, np.uint16)
  dataset = _film(values, PhotometricInterpretation=photometric)
  shown = _pixels(dataset, published=published)
  assert shown.shape == (6, 5) and len(np.unique(shown)) == 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_overlay_in_unused_bits_is_removed(dtype):
  values = np.arange(0, 2000, 10, dtype=dtype).reshape(10, 20)
  marked = values | (np.indices(values.shape).sum(0) % 2 << 14).astype(dtype)
  shown = _pixels(_film(marked, BitsStored=12, HighBit=11))
  _near(shown, _expected(0, 1990, values))


def test_negative_values_that_lack_sign_extension():
  values = np.arange(-1000, 1000, 10, dtype=np.int16).reshape(10, 20)
  shown = _pixels(_film(values & 0xFFF, BitsStored=12, HighBit=11))
  _near(shown, _expected(-1000, 990, values))


def test_colour_becomes_luminance():
  rgb = np.zeros((4, 6, 3), np.uint8)
  rgb[:, :2, 0] = rgb[:, 2:4, 1] = rgb[:, 4:, 2] = 255
  dataset = _film(
    rgb[..., 0],
    PhotometricInterpretation="RGB",
    SamplesPerPixel=3,
    PlanarConfiguration=0,
    PixelData=rgb.tobytes(),
  )
  assert _pixels(dataset)[0].tolist() == [76, 76, 150, 150, 29, 29]


def test_published_ignores_the_rescale_and_truncates():
  dataset = _film(RAMP, RescaleSlope="-1", RescaleIntercept="5000")
  _near(_pixels(dataset), 255 - _expected(1000, 3990))
  expected = np.floor((RAMP - 1000.0) / 2990 * 255)
  np.testing.assert_array_equal(_pixels(dataset, published=True), expected)


def test_published_inverts_monochrome1_after_the_window_and_stretches():
  dataset = _film(
    RAMP,
    WindowCenter=500,
    WindowWidth=3001,
    PhotometricInterpretation="MONOCHROME1",
  )
  _near(_pixels(dataset), 255 - _expected(-1000.5, 1999.5))
  published = _pixels(dataset, published=True)
  inside = np.minimum(RAMP, 2000)
  _near(published, 255 - _expected(1000, 2000, inside))
  assert published.max() == 255


def test_published_inverts_ybr():
  noise = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
  smooth = Image.fromarray(noise).resize((64, 48), Image.BICUBIC)
  stream = io.BytesIO()
  smooth.convert("RGB").save(stream, "JPEG", quality=95, subsampling=1)
  dataset = _film(
    np.asarray(smooth),
    PhotometricInterpretation="YBR_FULL_422",
    SamplesPerPixel=3,
    PlanarConfiguration=0,
  )
  dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
  dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
  dataset["PixelData"].is_undefined_length = True
  _near(_pixels(dataset), np.asarray(smooth), levels=8)
  published = _pixels(dataset, published=True)
  assert np.corrcoef(published.ravel(), np.asarray(smooth).ravel())[0, 1] < -0.9


@pytest.mark.parametrize(
  ("age", "years"),
  [("045Y", 45), ("006M", 0.5), ("010D", 10 / 365.25), ("52", 52), ("", None)],
)
def test_header(age, years):
  with pydicom.config.disable_value_validation():
    data = _bytes(
      _film(
        RAMP,
        PatientAge=age,
        PatientSex="F",
        ViewPosition="pa",
        BurnedInAnnotation="YES",
      )
    )
  read = dicom.read_dicom(data)
  assert (read.view, read.sex, read.patient_id) == ("PA", "F", "SECRET-7")
  assert read.burned_in is True
  assert isinstance(read.age_years, float)
  np.testing.assert_allclose(read.age_years, years or np.nan)


def test_view_from_the_code_then_the_description():
  code = Dataset()
  code.CodeMeaning = "antero-posterior"
  dataset = _film(RAMP, ViewPosition="", SeriesDescription="Chest lateral")
  assert dicom.read_dicom(_bytes(dataset)).view == "LATERAL"
  dataset.ViewCodeSequence = [code]
  assert dicom.read_dicom(_bytes(dataset)).view == "AP"


@pytest.mark.parametrize(
  ("elements", "reason"),
  [
    ({"Modality": "CT"}, "modality CT"),
    ({"Modality": "SC"}, "modality SC"),
    ({"Modality": "PR"}, "modality PR"),
    ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
    ({"NumberOfFrames": 3}, "frames"),
  ],
)
def test_what_is_no_film_is_skipped(elements, reason):
  refusal = _refusal(_bytes(_film(RAMP, **elements)))
  assert refusal.kind == "skipped" and reason in str(refusal)


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", ""])
def test_radiographs_are_taken(modality):
  dataset = _film(RAMP, Modality=modality, NumberOfFrames=1)
  dataset.PresentationIntentType = "FOR PRESENTATION"
  assert _pixels(dataset).shape == RAMP.shape


@pytest.mark.parametrize(
  ("elements", "reason"),
  [
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "Photometric"),
    ({"BitsAllocated": 32}, "bits"),
    ({"BitsStored": 17}, "bits"),
    ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
    ({"Rows": 0}, "pixels"),
    ({"Rows": 30000, "Columns": 30000}, "pixels"),
    ({"Rows": 16}, "damaged"),
    ({"PixelData": b""}, "damaged"),
  ],
)
def test_what_cannot_be_decoded_is_unreadable(elements, reason):
  refusal = _refusal(_bytes(_film(RAMP, **elements)))
  assert refusal.kind == "unreadable" and reason in str(refusal)


def test_missing_pixels_and_foreign_syntax_are_unreadable():
  dataset = _film(RAMP)
  del dataset.PixelData
  assert "no pixel data" in str(_refusal(_bytes(dataset)))
  dataset = _film(RAMP)
  data = _bytes(dataset).replace(
    b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.7\0"
  )
  refusal = _refusal(data)
  assert refusal.kind == "unreadable"
  assert "1.2.840.10008.1.2.7" in str(refusal)


def test_dicomdir_is_never_opened():
  dataset = _film(RAMP)
  dataset.SOPClassUID = uid.MediaStorageDirectoryStorage
  refusal = _refusal(_bytes(dataset))
  assert refusal.kind == "skipped" and "DICOMDIR" in str(refusal)


def _deflated(body: bytes) -> bytes:
  dataset = _film(RAMP)
  dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
  data = _bytes(dataset)
  length = int.from_bytes(data[140:144], "little")
  return data[: 144 + length] + body


def test_deflate_bomb_is_refused(monkeypatch):
  deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
  bomb = deflater.compress(bytes(2**21)) + deflater.flush()
  monkeypatch.setattr(dicom, "MAX_FILE_BYTES", 2**20)
  monkeypatch.setattr(
    pydicom, "dcmread", lambda *_, **__: pytest.fail("it was inflated")
  )
  assert "inflates" in str(_refusal(_deflated(bomb)))


def test_damaged_deflate_stream_is_refused():
  assert "deflate" in str(_refusal(_deflated(b"\xff" * 50)))


def test_reads_without_preamble_meta_or_high_bit(tmp_path):
  dataset = _film(RAMP)
  shown = _pixels(dataset)
  del dataset.HighBit
  with pydicom.config.disable_value_validation():
    dataset.StudyDate = "2001.02.03"
    dataset.ImagerPixelSpacing = [0, 0]
  for implicit in (False, True):
    writer = pydicom.filebase.DicomBytesIO()
    writer.is_implicit_VR, writer.is_little_endian = implicit, True
    pydicom.filewriter.write_dataset(writer, dataset)
    path = tmp_path / "no_suffix"
    path.write_bytes(writer.getvalue())
    np.testing.assert_array_equal(images.read_film(path).pixels, shown)


def test_big_endian():
  dataset = _film(RAMP, WindowCenter=2000, WindowWidth=1001)
  dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
  dataset.PixelData = RAMP.astype(">u2").tobytes()
  _near(_pixels(dataset), _expected(1499.5, 2499.5))


def test_mutations_read_or_are_refused(recwarn):
  rng = np.random.default_rng(0)
  item = _table(0, np.arange(64), 8)
  dataset = _film(
    RAMP[:4, :4] // 8,
    PatientAge="045Y",
    VOILUTSequence=[item],
    RescaleSlope="1",
    RescaleIntercept="0",
  )
  sound = np.frombuffer(_bytes(dataset), np.uint8)
  outcomes = []
  for _ in range(200):
    damaged = sound.copy()
    places = rng.integers(132, len(sound), 4)
    damaged[places] = rng.integers(0, 256, 4)
    try:
      outcomes.append(dicom.read_dicom(damaged.tobytes()).pixels.ndim)
    except images.RejectedFilm as refusal:
      outcomes.append(refusal.kind)
      assert "Doe" not in str(refusal) and "SECRET" not in str(refusal)
  assert {2, "unreadable", "skipped"} == set(outcomes)
  assert not recwarn.list  # they would quote the header


def test_damaged_compressed_pixels_are_refused_and_the_next_film_reads():
  dataset = _film((RAMP // 16).astype(np.uint8))
  dataset.compress(uid.RLELossless)
  sound = _bytes(dataset)
  shown = dicom.read_dicom(sound).pixels
  dataset.PixelData = pydicom.encaps.encapsulate([b"\xff" * 40])
  dataset.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
  refusal = _refusal(_bytes(dataset))
  assert refusal.kind == "unreadable" and "pixel data" in str(refusal)
  np.testing.assert_array_equal(dicom.read_dicom(sound).pixels, shown)


def _manifest(folder):
  with (folder / "manifest.csv").open(newline="") as stream:
    return list(csv.DictReader(stream))


def _likeness(pixels: np.ndarray, reference_path) -> float:
  """Correlation with a reference picture, resized to the film's shape."""
  reference = Image.open(reference_path).convert("L")
  height, width = pixels.shape
  reference = np.asarray(reference.resize((width, height), Image.BOX))
  return np.corrcoef(pixels.ravel(), reference.ravel())[0, 1]


def test_manifest_of_real_films(real_data_dir):
  folder = real_data_dir / "dicom"
  for row in _manifest(folder):
    path = folder / row["file"]
    if row["expected"] == "error":
      with pytest.raises(images.RejectedFilm) as refusal:
        images.read_film(path)
      assert refusal.value.kind == "unreadable", row["file"]
      continue
    pixels = images.read_film(path).pixels
    assert pixels.shape == (int(row["rows"]), int(row["columns"]))
    likeness = _likeness(pixels, folder / row["reference"])
    # Measured: 0.998 and more; 0.93 where a steep VOI table was put in.
    assert likeness > (0.9 if "VOI LUT" in row["note"] else 0.995), row["file"]


def test_equal_stored_values_give_equal_films(real_data_dir):
  folder = real_data_dir / "dicom" / "derived"
  first, *others = (
    images.read_film(folder / f"rg1_{name}.dcm").pixels.astype(int)
    for name in (
      "explicit_le",
      "rle",
      "jpegls_lossless",
      "j2k_lossless",
      "deflated",
      "jpeg_lossless_sv1",
      "two_windows",
      "signed_rescale",
      "monochrome2",
    )
  )
  for other in others:
    assert np.abs(first - other).max() <= 1
  stored = np.load(folder.parent / "reference" / "rg1_small_pixels.npz")
  # Window 15000/30000 of MONOCHROME1.
  expected = 255 - _expected(-0.5, 29998.5, stored["stored"])
  _near(first.astype(np.uint8), expected)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_cut_real_films_are_unreadable(real_data_dir, share):
  folder = real_data_dir / "dicom"
  for row in _manifest(folder):
    data = (folder / row["file"]).read_bytes()
    refusal = _refusal(data[: int(len(data) * share)])
    assert refusal.kind == "unreadable", row["file"]


def test_size_from_the_header_alone(tmp_path):
  path = tmp_path / "film.dcm"
  data = _bytes(_film(np.zeros((3, 5), np.uint16)))
  path.write_bytes(data)
  assert dicom.read_size(path) == (3, 5)
  path.write_bytes(data[: len(data) - 20])  # Pixels are cut off.
  assert dicom.read_size(path) == (3, 5)
  for damaged in (b"", b"no film", data[:200]):
    path.write_bytes(damaged)
    with pytest.raises(images.RejectedFilm, match="damaged DICOM"):
      dicom.read_size(path)
  path.write_bytes(_deflated(b"anything"))
  with pytest.raises(images.RejectedFilm, match="deflated, so it has no size"):
    dicom.read_size(path)


SMOOTH = np.add.outer(np.arange(60) * 13, np.arange(80) * 7).astype(np.uint16)
WINDOW = {"WindowCenter": 700, "WindowWidth": 1500}


def test_values_that_will_be_shrunk_are_averaged_before_they_are_shown():
  for photometric in ("MONOCHROME1", "MONOCHROME2"):
    film = _film(SMOOTH, **WINDOW, PhotometricInterpretation=photometric)
    full, short = _pixels(film), _pixels(film, short_side_px=30)
    assert short.shape == (30, 40)
    # Thirds would leave a rest of 80 columns.
    assert _pixels(film, short_side_px=20).shape == (60, 80)
    blocks = full.reshape(30, 2, 40, 2).astype(float).mean((1, 3))
    _near(short, blocks)


@pytest.mark.parametrize(
  "elements",
  [
    {},  # No window: its range is that of single values.
    {**WINDOW, "VOILUTFunction": "SIGMOID"},
    {**WINDOW, "PixelPaddingValue": 0},
    {"VOILUTSequence": [_table(0, np.arange(1400), 16)]},
    {**WINDOW, "ModalityLUTSequence": [_table(0, np.arange(1400), 16)]},
  ],
)
def test_what_is_not_linear_is_shown_in_full(elements):
  film = _film(SMOOTH, **elements)
  np.testing.assert_array_equal(_pixels(film, short_side_px=30), _pixels(film))


def test_published_films_are_never_averaged():
  shown = _pixels(_film(SMOOTH, **WINDOW), published=True, short_side_px=30)
  assert shown.shape == SMOOTH.shape
