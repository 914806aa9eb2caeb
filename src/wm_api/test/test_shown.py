"""What there is to show: without a decoder a forecast looks like the memories that it used, and else like nothing."""

from __future__ import annotations

import numpy as np

from wm_api.pictures import Gallery
from wm_api.showing import Showing
from wm_api.testing import START_NS, STEP_NS, Z_DIM
from world_model.runtime.prediction import Observation

RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)


def test_what_cannot_be_drawn_has_no_number():
    gallery, latent_D = Gallery(), np.zeros(4, np.float32)
    assert gallery.shown("foreseen") == 0
    gallery.put_latent("foreseen", latent_D, (7,))
    assert (gallery.shown("foreseen"), gallery.newest("foreseen")) == (0, None)
    gallery.remember(7, RED)
    gallery.put_latent("foreseen", latent_D, (3, 7))
    found = gallery.newest("foreseen")
    assert found is not None
    assert gallery.shown("foreseen") == found[0] == 2
    gallery.put("camera", RED)
    assert gallery.shown("camera") == 1
    decoding = Gallery(lambda latents: np.zeros((len(latents), 8, 8, 3), np.uint8))
    decoding.put_latent("foreseen", latent_D, ())
    assert decoding.shown("foreseen") == 1


def test_a_rate_is_told_once_it_is_one(world, monkeypatch):
    times_s = iter([0.0, 0.0001, 0.0002, 0.25, 0.5, 0.75])
    monkeypatch.setattr("wm_api.showing.monotonic", lambda: next(times_s))
    showing, rates = Showing(world), []
    for at in range(6):
        showing.show(Observation(START_NS + at * STEP_NS, np.zeros(Z_DIM, np.float32), None), [])
        assert world.live.newest is not None
        rates.append(world.live.newest["rates"]["latent_hz"])
    assert rates == [None, None, None, None, 8.0, 6.67]


def test_who_was_told_a_number_gets_a_picture_though_memories_were_forgotten_meanwhile():
    gallery, latent_D = Gallery(), np.zeros(4, np.float32)
    gallery.remember(7, RED)
    gallery.put_latent("foreseen", latent_D, (7,))
    seen = gallery.newest("foreseen")
    gallery.put_latent("foreseen", latent_D, (7,))
    assert gallery.shown("foreseen") == 2
    gallery.forget()
    assert gallery.newest("foreseen") == seen is not None
    assert gallery.shown("foreseen") == 0


def test_what_was_foreseen_from_memories_is_shown_when_its_time_comes(world, monkeypatch):
    monkeypatch.setattr(world, "gallery", Gallery())
    world.gallery.remember(5, RED)
    showing, latent_D = Showing(world), np.zeros(Z_DIM, np.float32)
    seen = []
    for at in range(5):
        ids = [5] if at == 0 else []
        forecast = {"horizon_s": 0.1, "latent": latent_D.tolist(), "pose": None, "memory_ids": ids}
        showing.show(Observation(START_NS + at * STEP_NS, latent_D, None), [forecast])
        assert world.live.newest is not None
        seen.append(bool(world.live.newest["pictures"]["foreseen"]))
    assert seen == [False, False, True, False, False]
    assert world.models.identity().items() <= world.live.newest.items()
