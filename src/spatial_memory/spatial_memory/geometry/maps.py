"""From map coordinates to latitude and longitude, and distances in between.

A map says what x and y mean. ``LocalMap`` is a metric map frame (REP-105) laid on the globe at a datum, only so that
H3 can cut it into cells; distances stay plain metres. ``Wgs84Map`` takes longitude and latitude themselves.

Shape suffix: N = places.
"""

from __future__ import annotations

import math

import numpy as np

from wm_core.bounds import LARGEST_POSITION_M
from wm_core.memory.errors import PlaceError
from wm_core.memory.frames import Floats, Planar

EARTH_RADIUS_M = 6371007.180918475
METRES_PER_DEGREE = EARTH_RADIUS_M * math.pi / 180.0

# Centre of an icosahedron face: 4100 km from the nearest pentagon, and low enough that a metric map hardly bends.
DEFAULT_DATUM_LAT = 4.530
DEFAULT_DATUM_LNG = 137.977


class LocalMap(Planar):
    """A metric map frame whose origin lies at a datum, x east and y north.

    Laid out equirectangularly: good for cells, and never used for distances. Coordinates beyond ``extent_m`` (of a UTM
    zone, say) are folded back and forth into it, as a strip of paper is: what is near stays near, so no cell is
    missed, and what comes to lie there from elsewhere is told apart by its distance.

    Args:
        datum_lat: Latitude of the origin [deg].
        datum_lng: Longitude of the origin [deg].

    Raises:
        PlaceError: A datum that lies nowhere, or so near a pole that the map would tear.
    """

    def __init__(self, datum_lat: float = DEFAULT_DATUM_LAT, datum_lng: float = DEFAULT_DATUM_LNG) -> None:
        if not (abs(datum_lat) <= 85.0 and abs(datum_lng) <= 180.0):
            raise PlaceError(f"datum {datum_lat}, {datum_lng} is not within latitude 85 and longitude 180")
        self.datum_lat = datum_lat
        self.datum_lng = datum_lng
        self.extent_m = 100e3 if abs(datum_lat) <= 60.0 else 10e3
        self._metres_per_lng = METRES_PER_DEGREE * math.cos(math.radians(datum_lat))

    def to_latlng(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return latitudes and longitudes [deg]."""
        for name, values in (("x", x_N), ("y", y_N)):
            if not np.all(np.abs(values) < LARGEST_POSITION_M):
                raise PlaceError(f"{name} is not within {LARGEST_POSITION_M:.0f} m of the map's origin")
        x_N, y_N = self._folded(x_N), self._folded(y_N)
        lng_N = self.datum_lng + x_N / self._metres_per_lng
        return self.datum_lat + y_N / METRES_PER_DEGREE, (lng_N + 180.0) % 360.0 - 180.0

    def place_to_latlng(self, x: float, y: float) -> tuple[float, float]:
        """Return latitude and longitude of one place [deg]."""
        if not (abs(x) < LARGEST_POSITION_M and abs(y) < LARGEST_POSITION_M):
            raise PlaceError(f"place {x}, {y} is not within {LARGEST_POSITION_M:.0f} m of the map's origin")
        if abs(x) > self.extent_m or abs(y) > self.extent_m:
            x, y = self._folded(np.array((x, y), np.float64)).tolist()
        lng = self.datum_lng + x / self._metres_per_lng
        return self.datum_lat + y / METRES_PER_DEGREE, (lng + 180.0) % 360.0 - 180.0

    def from_latlng(
        self, lat_N: np.ndarray, lng_N: np.ndarray, near: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return map coordinates [m]: of all places that lie there, those on the same folds as a place nearby."""
        dlng_N = (np.asarray(lng_N) - self.datum_lng + 180.0) % 360.0 - 180.0
        x_N, y_N = dlng_N * self._metres_per_lng, (np.asarray(lat_N) - self.datum_lat) * METRES_PER_DEGREE
        return self._unfolded(x_N, near[0]), self._unfolded(y_N, near[1])

    def _folded(self, value_N: np.ndarray) -> np.ndarray:
        """Return coordinates within the extent, every second fold turned over."""
        fold_N = np.rint(value_N / (2.0 * self.extent_m))
        folded_N: np.ndarray = np.where(fold_N % 2.0, -1.0, 1.0) * (value_N - 2.0 * self.extent_m * fold_N)
        return folded_N

    def _unfolded(self, folded_N: np.ndarray, near: float) -> np.ndarray:
        fold = round(near / (2.0 * self.extent_m))
        return (-folded_N if fold % 2 else folded_N) + 2.0 * self.extent_m * fold

    def box_distance2(self, box_N4: np.ndarray, x: float, y: float) -> np.ndarray:
        """Return squared distances to boxes (min x, min y, max x, max y) [m^2]."""
        point = np.array((x, y))
        outside_N2 = np.maximum(box_N4[:, :2] - point, point - box_N4[:, 2:])
        np.maximum(outside_N2, 0.0, out=outside_N2)
        result: np.ndarray = np.einsum("ij,ij->i", outside_N2, outside_N2)
        return result


class Wgs84Map:
    """Longitude as x and latitude as y [deg]; distances along great circles [m]."""

    name = "wgs84"

    def to_latlng(self, x_N: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return latitudes and longitudes [deg]; H3 itself would wrap a latitude of 91 without a word."""
        if not np.all(np.abs(y_N) <= 90.0):
            raise PlaceError("latitude (y) is not within 90 degrees")
        if not np.all(np.abs(x_N) <= 180.0):
            raise PlaceError("longitude (x) is not within 180 degrees")
        return y_N, x_N

    def place_to_latlng(self, x: float, y: float) -> tuple[float, float]:
        """Return latitude and longitude of one place [deg]."""
        if not (abs(y) <= 90.0 and abs(x) <= 180.0):
            raise PlaceError(f"longitude {x}, latitude {y} is not within 180 and 90 degrees")
        return y, x

    def from_latlng(
        self, lat_N: np.ndarray, lng_N: np.ndarray, near: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return map coordinates [deg]; each place of this map lies at one only."""
        return np.asarray(lng_N), np.asarray(lat_N)

    def distance2(self, x_N: np.ndarray, y_N: np.ndarray, x: Floats, y: Floats) -> np.ndarray:
        """Return squared great-circle distances to one place [m^2]."""
        lat_N, lat = np.radians(y_N), np.radians(y)
        half_N = np.sin((lat_N - lat) / 2) ** 2
        half_N += np.cos(lat_N) * np.cos(lat) * np.sin(np.radians(x_N - x) / 2) ** 2
        result: np.ndarray = (2.0 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(half_N, 1.0)))) ** 2
        return result

    def box_distance2(self, box_N4: np.ndarray, x: float, y: float) -> np.ndarray:
        """Return zeros: a lower bound that costs nothing and leaves the exact check to decide."""
        return np.zeros(len(box_N4))
