"""Everything that may differ between two deployments of the service's node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wm_api.settings import DEFAULT_HOST, DEFAULT_PORT, ApiSettings, read_token
from wm_ros import TRANSPORTS, ModelParams, param


@dataclass(frozen=True, kw_only=True)
class WmApiParams(ModelParams):
    """Parameters of ``wm_api``."""

    processors: int = param(1, "Processors that a service in a process of its own keeps to at most, the last of those"
                            " that it may run on; 0: all. Read when it starts.", low=0)  # fmt: skip
    host: str = param(DEFAULT_HOST, "Address to listen on; beyond loopback only with a token.")
    port: int = param(DEFAULT_PORT, "TCP port; 0 lets the system choose.", low=0, high=65535)
    allowed_hosts: list[str] = param([""], "Further names by which the service may be called.")
    token_file: str = param(
        "", "File with the token, that its owner alone can read; empty: the environment's WM_API_TOKEN."
    )
    allow_writes: bool = param(False, "Whether who knows the token may change the memory.")
    allow_goals: bool = param(False, "Whether callers may have the robot drive; where there is a token, who knows it.")
    tls_certificate: str = param("", "TLS certificate chain (PEM); empty: plain HTTP.")
    tls_key: str = param("", "TLS private key (PEM).")
    queue_size: int = param(16, "Computations that wait or run; more are refused with 503.", low=1, high=1000)
    rate_per_s: float = param(200.0, "Requests per second that one address may keep up; 0: any.", low=0.0, high=1e5)
    most_streams: int = param(64, "Event streams open at a time.", low=1, high=10_000)
    longest_rollout_s: float = param(5.0, "Furthest ahead that may be imagined [s].", low=0.05, high=20.0)
    image_topic: str = param("camera/image_raw", "Camera to show; listened to only while somebody looks.")
    image_transport: str = param("auto", "raw, compressed, foxglove_video, ffmpeg, or auto: raw, else compressed.",
                                 choices=TRANSPORTS)  # fmt: skip
    memory_wait_s: float = param(2.0, "Longest wait for an answer of the memory [s].", low=0.05, high=30.0)
    silent_after_s: float = param(1.0, "Without a latent for this long the graph counts as silent [s].", low=0.1,
                                  high=60.0)  # fmt: skip

    def settings(self) -> ApiSettings:
        """Return how the service is reached.

        Raises:
            SettingsError: What does not go together, or is unsafe.
        """
        return ApiSettings(
            host=self.host, port=self.port, token=read_token(Path(self.token_file) if self.token_file else None),
            allow_writes=self.allow_writes, allow_goals=self.allow_goals,
            allowed_hosts=tuple(name for name in self.allowed_hosts if name),
            tls_certificate=Path(self.tls_certificate) if self.tls_certificate else None,
            tls_key=Path(self.tls_key) if self.tls_key else None, queue_size=self.queue_size,
            rate_per_s=self.rate_per_s, burst=max(int(2 * self.rate_per_s), 1), most_streams=self.most_streams,
            longest_rollout_s=self.longest_rollout_s,
        )  # fmt: skip
