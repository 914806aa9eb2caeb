"""Serves a policy out of its own environment: ``python server.py openvla|lerobot CHECKPOINT [--port 8600]``.

Copy this file and ``wire.py`` beside it, or run it where it lies: it needs numpy, msgpack, and what the policy needs.
It listens on this machine only.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

try:
    from wm_policy.adapters import wire
except ModuleNotFoundError:
    wire = import_module("wire")

Infer = Callable[[Mapping[str, Any]], np.ndarray]


def serve(
    infer: Infer,
    metadata: Mapping[str, Any],
    port: int = 0,
    *,
    ready: Callable[[int], None] = lambda _: None,
    connections: int | None = None,
) -> None:
    """Answer one client after the other.

    Args:
        infer: Observation -> chunk of actions [K, A].
        metadata: What is told to a client that comes.
        port: Where to listen; 0: any that is free.
        ready: Told the port once it listens.
        connections: End after so many clients; None: never.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        ready(listener.getsockname()[1])
        while connections is None or connections > 0:
            connection, _ = listener.accept()
            # A client that goes away, or talks nonsense, ends its own connection and nothing else.
            with connection, contextlib.suppress(wire.WireError, OSError):
                _answer(connection, infer, metadata)
            connections = None if connections is None else connections - 1


def _answer(connection: socket.socket, infer: Infer, metadata: Mapping[str, Any]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.send(connection, dict(metadata))
    while True:
        observation = wire.receive(connection)
        try:
            answer: object = {"actions": np.asarray(infer(observation), np.float32)}
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            # The robot hears of it; the server goes on.
            answer = f"{type(error).__name__}: {error}"
        wire.send(connection, answer)


def openvla(checkpoint: str) -> tuple[Infer, dict[str, Any]]:
    """Return an OpenVLA policy: ``image`` uint8 [H, W, 3], ``instruction``, ``unnorm_key`` to one action."""
    torch, transformers = import_module("torch"), import_module("transformers")
    processor = transformers.AutoProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    model = transformers.AutoModelForVision2Seq.from_pretrained(
        checkpoint, torch_dtype=torch.bfloat16, trust_remote_code=True
    )
    pictures = import_module("PIL.Image")

    def infer(observation: Mapping[str, Any]) -> np.ndarray:
        prompt = f"In: What action should the robot take to {observation['instruction'].lower()}?\nOut:"
        inputs = processor(prompt, pictures.fromarray(observation["image"])).to(model.device, dtype=torch.bfloat16)
        action_A = model.predict_action(**inputs, unnorm_key=observation.get("unnorm_key"), do_sample=False)
        return np.atleast_2d(np.asarray(action_A))

    return infer, {"policy": "openvla", "checkpoint": checkpoint}


def lerobot(checkpoint: str) -> tuple[Infer, dict[str, Any]]:
    """Return a policy of lerobot (SmolVLA, pi0, ACT, ...): its own observation names to a chunk."""
    torch = import_module("torch")
    configs, factory = import_module("lerobot.configs.policies"), import_module("lerobot.policies.factory")
    config = configs.PreTrainedConfig.from_pretrained(checkpoint)
    policy = factory.get_policy_class(config.type).from_pretrained(checkpoint).eval()
    before, after = factory.make_pre_post_processors(policy_cfg=config, pretrained_path=checkpoint)

    def infer(observation: Mapping[str, Any]) -> np.ndarray:
        batch = {key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                 for key, value in observation.items()}  # fmt: skip
        with torch.inference_mode():
            chunk = after(policy.predict_action_chunk(before(batch)))
        return np.asarray(chunk.float().cpu().numpy()).reshape(-1, chunk.shape[-1])

    return infer, {"policy": config.type, "checkpoint": checkpoint}


KINDS = {"openvla": openvla, "lerobot": lerobot}


def _say(port: int) -> None:
    sys.stdout.write(f"listening on port {port}\n")


def main() -> None:
    """Serve what the command line names, until it is ended."""
    parser = argparse.ArgumentParser(description="Serve a policy to robots on this machine.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("checkpoint", help="folder, or name on the hub")
    parser.add_argument("--port", type=int, default=8600)
    options = parser.parse_args()
    infer, metadata = KINDS[options.kind](options.checkpoint)
    serve(infer, metadata, options.port, ready=_say)


if __name__ == "__main__":
    main()
