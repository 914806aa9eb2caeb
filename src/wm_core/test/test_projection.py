"""Features to latents: against principal components worked out by singular values, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.errors import ProjectionError
from wm_core.projection import FeatureSpace, Projection

SPACE = FeatureSpace("0123456789abcdef", 12, 2, 0.05, -7)


def features(seed: int, count: int = 300) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(count, 5)) * [40.0, 20.0, 10.0, 5.0, 2.0] @ random.normal(size=(5, SPACE.size))
    return np.clip(np.rint(mixed + random.normal(size=(count, SPACE.size))), -128, 127).astype(np.int8)


def test_codes_by_hand():
    values = FeatureSpace("id", 4, 2, 0.5, 2).dequantise(np.array([-128, 2, 3, 127], np.int8))
    np.testing.assert_array_equal(values, np.array([-65.0, 0.0, 0.5, 62.5], np.float32))


def test_projection_by_hand():
    space = FeatureSpace("id", 4, 1, 0.5, 0)
    projection = Projection(space, np.array([1.0, 0.0, 0.0, 2.0]), np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 1.0]]))
    latents = projection.project(np.array([[4, 2, 9, 6]], np.int8))
    np.testing.assert_array_equal(latents, np.array([[1.0, 2.0]], np.float32))


@given(st.integers(0, 1000), st.integers(1, 5))
def test_fit_is_the_plain_principal_components(seed, z_dim):
    codes = features(seed)
    projection = Projection.fit(SPACE, codes, z_dim)
    real = SPACE.dequantise(codes).astype(np.float64)
    _, singular, vectors = np.linalg.svd(real - real.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(projection.mean, real.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.abs((projection.components * vectors[:z_dim]).sum(axis=1)), 1.0, atol=1e-3)
    assert projection.variance == pytest.approx(np.square(singular[:z_dim]).sum() / len(codes) / z_dim, rel=1e-4)
    largest = np.abs(projection.components).argmax(axis=1)
    assert (projection.components[np.arange(z_dim), largest] > 0).all()


def test_fit_does_not_depend_on_the_order_of_pictures():
    codes = features(3)
    one, other = (Projection.fit(SPACE, rows, 4) for rows in (codes, codes[::-1]))
    np.testing.assert_allclose(one.project(codes), other.project(codes), atol=1e-4)


def test_many_rows_are_projected_as_few():
    codes = np.tile(features(1), (30, 1))
    projection = Projection.fit(SPACE, codes, 4)
    np.testing.assert_allclose(projection.project(codes)[-7:], projection.project(codes[-7:]), atol=1e-5)


def test_whatever_byte_of_a_file_is_damaged_it_is_refused_or_read(tmp_path):
    """Each byte of the archive's headers names another method, version, flag or size of something."""
    path = tmp_path / "projection.npz"
    random = np.random.default_rng(0)
    Projection(FeatureSpace("net", 8, 2, 0.1, 0), random.normal(size=8), random.normal(size=(2, 8))).save(path)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ int(random.integers(1, 256))]) + whole[at + 1 :])
        try:
            Projection.load(path)
        except ProjectionError:
            refused += 1
    assert refused > len(whole) // 4


def test_saved_and_loaded(tmp_path):
    fitted = Projection.fit(SPACE, features(5), 4)
    for projection in (fitted, Projection(SPACE, fitted.mean, fitted.components)):
        projection.save(tmp_path / "robot" / "projection.npz")
        loaded = Projection.load(tmp_path / "robot" / "projection.npz")
        assert (loaded.space, loaded.encoder_id, loaded.variance) == (SPACE, fitted.encoder_id, projection.variance)
        np.testing.assert_array_equal(loaded.components, projection.components)
    assert [path.name for path in (tmp_path / "robot").iterdir()] == ["projection.npz"]


def test_its_id_names_features_mean_and_components():
    fitted = Projection.fit(SPACE, features(5), 4)
    others = [
        Projection(FeatureSpace("another", 12, 2, 0.05, -7), fitted.mean, fitted.components),
        Projection(SPACE, fitted.mean + 1e-3, fitted.components),
        Projection(SPACE, fitted.mean, fitted.components[::-1]),
    ]
    assert len({fitted.encoder_id, *(other.encoder_id for other in others)}) == 4
    assert len(fitted.encoder_id) == 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        lambda: FeatureSpace("", 12, 2, 0.1, 0),
        lambda: FeatureSpace("id", 10, 4, 0.1, 0),
        lambda: FeatureSpace("id", 12, 2, 0.0, 0),
        lambda: FeatureSpace("id", 12, 2, 0.1, 200),
        lambda: SPACE.dequantise(np.zeros(12, np.uint8)),
        lambda: SPACE.dequantise(np.zeros((3, 11), np.int8)),
        lambda: Projection.fit(SPACE, np.zeros((300, 12), np.int8), 4),
        lambda: Projection.fit(SPACE, features(1, 4), 4),
        lambda: Projection(SPACE, np.zeros(11), np.zeros((4, 12))),
        lambda: Projection(SPACE, np.zeros(12), np.full((4, 12), np.nan)),
        lambda: Projection(SPACE, np.zeros(12), np.zeros((4, 12)), variance=-1.0),
        lambda: Projection.fit(SPACE, features(1), 4).project(np.zeros(12, np.int8)),
    ],
)
def test_refused(broken):
    with pytest.raises(ProjectionError):
        broken()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00"])
def test_what_is_no_projection_is_refused(tmp_path, content):
    path = tmp_path / "projection.npz"
    path.write_bytes(content)
    with pytest.raises(ProjectionError, match="no projection"):
        Projection.load(path)
    with pytest.raises(ProjectionError, match="no projection"):
        Projection.load(tmp_path / "missing.npz")
