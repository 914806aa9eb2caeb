"""Pictures and depth by fields alone, against layouts worked out by hand."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.errors import MessageError
from wm_core.images import compressed, compressed_image_from_msg, depth_from_msg, image_from_msg, picture_from_msg
from wm_core.images.compressed import declared_size
from wm_core.images.depth import decode_rvl

RNG = np.random.default_rng(1)


def image(encoding, height, width, step, data, big=0):
    return SimpleNamespace(height=height, width=width, encoding=encoding, step=step, is_bigendian=big, data=data)


def planes(encoding, luma, u, v, padding=0):
    """Packs one luma and one chroma per picture: [H, W] each, the chroma halved where the encoding wants it."""
    if encoding != "nv24":
        u, v = u[::2, ::2], v[::2, ::2]
    pairs = np.stack([v, u] if encoding == "nv21" else [u, v], 2).reshape(len(u), -1)
    # The stride of full chroma is twice that of the luma (V4L2).
    pads = padding, padding * pairs.shape[1] // luma.shape[1]
    padded = [np.pad(rows, ((0, 0), (0, pad)), constant_values=170) for rows, pad in zip((luma, pairs), pads)]
    return b"".join(rows.tobytes() for rows in padded)


def bt601(luma, u, v):
    """Returns RGB of studio-range YUV, by the textbook."""
    y, cb, cr = 1.164383 * (luma.astype(float) - 16), u.astype(float) - 128, v.astype(float) - 128
    rgb = np.stack([y + 1.596027 * cr, y - 0.391762 * cb - 0.812968 * cr, y + 2.017232 * cb], 2)
    return rgb.clip(0, 255)


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
@pytest.mark.parametrize("padding", [0, 10])
def test_planar_yuv_has_the_colours_of_the_standard(encoding, padding):
    luma = RNG.integers(16, 236, (6, 8), np.uint8)
    # One chroma per 2x2 pixels, so that halving loses nothing.
    u, v = (RNG.integers(16, 241, (3, 4), np.uint8).repeat(2, 0).repeat(2, 1) for _ in range(2))
    msg = image(encoding, 6, 8, 8 + padding, planes(encoding, luma, u, v, padding))
    assert np.abs(image_from_msg(msg).astype(float) - bt601(luma, u, v)).max() <= 2.0


@pytest.mark.parametrize(("encoding", "step"), [("nv12", 16), ("nv12", 12), ("nv24", 16), ("nv24", 24)])
def test_a_step_of_whole_pixels_is_understood_where_rows_are_not_padded(encoding, step):
    luma = RNG.integers(16, 236, (6, 8), np.uint8)
    gray = np.full((6, 8), 128, np.uint8)
    data = planes(encoding, luma, gray, gray)
    expected = image_from_msg(image(encoding, 6, 8, 8, data))
    np.testing.assert_array_equal(image_from_msg(image(encoding, 6, 8, step, data)), expected)


@pytest.mark.parametrize(
    ("height", "width", "step", "size", "reason"),
    [
        (6, 7, 7, 63, "image-step"),
        (5, 8, 8, 60, "image-step"),
        (6, 8, 7, 72, "image-step"),
        (6, 8, 8, 71, "image-truncated"),
    ],
)
def test_half_filled_planes_are_named(height, width, step, size, reason):
    with pytest.raises(MessageError) as caught:
        image_from_msg(image("nv12", height, width, step, bytes(size)))
    assert caught.value.reason == reason


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG of one row's data that declares any size; it decodes to nothing."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    declared = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", declared) + chunk(b"IDAT", zlib.compress(bytes(16))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_an_image_larger_than_the_limit_is_refused_by_its_header(extension, monkeypatch):
    data = cv2.imencode(extension, np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    assert declared_size(memoryview(data)) == (30, 20)
    assert compressed_image_from_msg(SimpleNamespace(format=extension, data=data), pixel_limit=600).shape == (20, 30, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(MessageError, match=r"image-too-large.*30x20 pixels, at most 599"):
        compressed_image_from_msg(SimpleNamespace(format=extension, data=data), pixel_limit=599)


def test_a_png_of_forty_thousand_a_side_never_reaches_the_decoder(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(MessageError, match=r"image-too-large.*40000x40000"):
        picture_from_msg(SimpleNamespace(format="png", data=png_header(40000, 40000)))


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0", b"RIFF", b"BM", b"II*\0\xff\xff\xff\xff"]
)
def test_half_a_header_is_named(data):
    with pytest.raises(MessageError) as caught:
        compressed_image_from_msg(SimpleNamespace(format="x", data=data))
    assert caught.value.reason == "image-truncated"


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\0"]))
def test_whatever_bytes_come_the_answer_is_a_size_or_a_reason(data, magic):
    reason = ""
    try:
        assert len(declared_size(memoryview(magic + data))) == 2
    except MessageError as error:
        reason = error.reason
    assert reason in ("", "image-truncated", "image-encoding")


def encode_rvl(image_HW: np.ndarray) -> bytes:
    """Returns an RVL stream, nibble by nibble as its paper writes it."""
    nibbles: list[int] = []

    def put(value):
        while True:
            rest = value >> 3
            nibbles.append(value & 7 | (8 if rest else 0))
            value = rest
            if not value:
                return

    flat, at, previous = image_HW.ravel().astype(int).tolist(), 0, 0
    while at < len(flat):
        zeros = 0
        while at < len(flat) and flat[at] == 0:
            zeros, at = zeros + 1, at + 1
        put(zeros)
        run = at
        while run < len(flat) and flat[run]:
            run += 1
        put(run - at)
        for value in flat[at:run]:
            delta = value - previous
            put(delta << 1 if delta >= 0 else (-delta << 1) - 1)
            previous = value
        at = run
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)]
    return struct.pack("<II", image_HW.shape[1], image_HW.shape[0]) + struct.pack(f"<{len(words)}I", *words)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.floats(0.0, 1.0))
def test_rvl_comes_back(seed, height, width, share):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 65536, (height, width)).astype(np.uint16) * (random.random((height, width)) < share)
    np.testing.assert_array_equal(decode_rvl(encode_rvl(pixels.astype(np.uint16))), pixels)


@pytest.mark.slow
@given(st.binary(min_size=0, max_size=64))
def test_a_damaged_rvl_stream_is_named(data):
    reason = ""
    try:
        assert decode_rvl(struct.pack("<II", 4, 4) + data).shape == (4, 4)
    except MessageError as error:
        reason = error.reason
    assert reason in ("", "image-truncated")


def compressed_depth(encoding, codes, codec, a=0.0, b=0.0):
    body = encode_rvl(codes) if codec == "rvl" else cv2.imencode(".png", codes)[1].tobytes()
    return SimpleNamespace(
        format=f"{encoding}; compressedDepth {codec}".rstrip(), data=struct.pack("<iff", 0, a, b) + body
    )


@pytest.mark.parametrize("codec", ["png", "rvl", ""])
def test_compressed_depth_is_metres(codec):
    codes = np.array([[0, 1500], [65535, 20]], np.uint16)
    np.testing.assert_allclose(
        depth_from_msg(compressed_depth("16UC1", codes, codec)), [[0, 1.5], [65.535, 0.02]], rtol=1e-6
    )
    # image_transport stores A / depth + B: 10 / (20 - 10) = 1 m, 10 / (15 - 10) = 2 m.
    inverse = np.array([[0, 20], [15, 20]], np.uint16)
    np.testing.assert_allclose(
        depth_from_msg(compressed_depth("32FC1", inverse, codec, 10.0, 10.0)), [[0, 1], [2, 1]], rtol=1e-6
    )


def test_a_picture_is_no_depth():
    data = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
    with pytest.raises(MessageError, match="depth-encoding"):
        depth_from_msg(SimpleNamespace(format="rgb8; png", data=data))
    with pytest.raises(MessageError, match="image-empty"):
        depth_from_msg(SimpleNamespace(format="16UC1; compressedDepth png", data=b"1234"))


def jpeg_of(scans: int, side: int = 64) -> bytes:
    """Returns a JPEG header of some size, and as many scans as asked for; never to be decoded."""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg_of(200, 2000), "image-too-large"),
        (b"\xff\xd8" + bytes(1_000_000), "image-encoding"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "image-encoding"),
        (b"\xff\xd8" + b"\xff\x01" * 100_000, "image-encoding"),
    ],
    ids=["scans", "padding", "fill", "segments"],
)
def test_a_jpeg_that_costs_more_than_its_pixels_never_reaches_the_decoder(monkeypatch, data, reason):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(MessageError, match=reason):
        picture_from_msg(SimpleNamespace(format="jpeg", data=data))


def test_a_tag_that_is_there_twice_counts_by_its_larger_value():
    entries = [(256, 4), (256, 50_000), (257, 50_000), (257, 4)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
    assert declared_size(memoryview(b"II*\0" + struct.pack("<I", 8) + directory)) == (50_000, 50_000)


def test_bytes_are_bounded(monkeypatch):
    class Endless(bytes):
        def __len__(self) -> int:
            return 10**12

    with pytest.raises(MessageError, match=r"image-too-large.*1000000000000 bytes"):
        picture_from_msg(SimpleNamespace(format="png", data=Endless()))


@pytest.mark.parametrize(
    ("whole", "shape"), [(2400, (40, 60)), (2399, (20, 30)), (600, (20, 30)), (599, (10, 15)), (9, (5, 8))]
)
def test_a_large_jpeg_comes_out_smaller_and_looks_the_same(monkeypatch, whole, shape):
    monkeypatch.setattr(compressed, "WHOLE_LIMIT", whole)
    ramp_HW3 = np.dstack([np.tile(np.linspace(0, 250, 60), (40, 1)), np.full((40, 60), 40.0), np.full((40, 60), 200.0)])
    data = cv2.imencode(".jpg", ramp_HW3.astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

    found = picture_from_msg(SimpleNamespace(format="jpeg", data=data))

    assert found.shape == (*shape, 3)
    wanted = cv2.resize(ramp_HW3, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(found - wanted).max() < 16  # the sides of an eighth do not divide by eight


def test_a_large_png_which_can_only_be_decoded_whole_is_refused():
    with pytest.raises(MessageError, match=r"image-too-large.*7300x5400 pixels, at most 12600000"):
        picture_from_msg(SimpleNamespace(format="png", data=png_header(7300, 5400)))
