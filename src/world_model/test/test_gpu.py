"""What runs on a GPU: every part lies there and says what it says on the CPU. Skipped by name where there is none."""

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from world_model.evaluation.bank import MemoryBank
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.predictor import Observation, Predictor

pytestmark = pytest.mark.training

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
PARTS = ("encoder", "transition", "without_memory", "decoder", "world_action")


@needs_cuda
def test_every_part_of_the_shipped_artifact_lies_on_the_gpu():
    artifact = load_artifact("artifact://tiny", "cuda")
    for part in PARTS:
        state = getattr(artifact, part)().state_dict()
        assert {value.device.type for value in state.values()} <= {"cuda"}, part
    assert artifact.transition().initial(2).device.type == "cuda"


@needs_cuda
def test_predictions_on_the_gpu_are_those_on_the_cpu():
    """A minute on a circle of ten seconds: after twenty all of it is a revisit, and evidence has its say."""
    rng = np.random.default_rng(0)
    image_TSSC = rng.integers(0, 256, (200, 64, 64, 3), dtype=np.uint8)
    made = {}
    for device in ("cpu", "cuda"):
        artifact = load_artifact("artifact://tiny", device)
        with torch.inference_mode():
            latent_TD = artifact.encoder()(torch.from_numpy(image_TSSC).to(device), None, None).cpu().numpy()
        predictor, bank, rows = Predictor(artifact), MemoryBank(), []
        for t in range(1200):
            angle = t * 0.05 * 2 * np.pi / 10
            pose = Pose2(2 * np.sin(angle), 2 - 2 * np.cos(angle) + 1e-4 * t, 0.0, angle)
            item = Observation(t * 50_000_000, latent_TD[t % 200], pose, np.array([1.2, 0.6], np.float32))
            prediction = predictor.predict(bank.answer(predictor.observe(item)))
            bank.observe(item)
            rows.append([forecast.latent_D for forecast in prediction.forecasts])
        assert prediction.forecasts[1].revisit
        made[device] = np.array(rows)
    unit = np.sqrt(np.array(artifact.manifest.latent_variance)).mean()
    # TF32 is off by default for what runs here; single precision in another order is what remains.
    assert np.abs(made["cuda"] - made["cpu"]).max() / unit < 0.02
    assert np.isfinite(made["cuda"]).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_asking_for_one_is_refused_by_name():
    from world_model.errors import ArtifactError

    with pytest.raises(ArtifactError, match="device 'cuda' was asked for"):
        load_artifact("artifact://tiny", "cuda")
