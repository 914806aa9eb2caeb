"""Everything that may differ between two deployments of the service, and what of it does not go together."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from wm_api.errors import SettingsError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
TOKEN_VARIABLE = "WM_API_TOKEN"
"""Environment variable with the token; a file is the other way. A command line would show it to every user."""
_SHORTEST_TOKEN = 16
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """How the service is reached and what it takes.

    Attributes:
        host: Address to listen on; beyond loopback only with a token.
        port: TCP port; 0 lets the system choose.
        token: What callers must know; empty: none is asked for, and nothing can be written.
        allow_writes: Whether who knows the token may change the memory.
        allow_goals: Whether callers may have the robot drive; where there is a token, those who know it.
        allowed_hosts: Further names by which the service may be called; its address and those of loopback always are.
        tls_certificate: Certificate chain (PEM); None serves plain HTTP.
        tls_key: Its private key (PEM).
        most_json_bytes: Largest body of JSON.
        most_image_bytes: Largest body that carries pictures or tensors.
        queue_size: Computations that wait or run at a time; more are refused with 503.
        rate_per_s: Requests per second that one address may keep up; 0: any number.
        burst: Requests that one address may make at once.
        most_streams: Event streams open at a time.
        longest_rollout_s: Furthest ahead that may be imagined [s].

    Raises:
        SettingsError: Names what does not go together.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    token: str = field(default="", repr=False)
    allow_writes: bool = False
    allow_goals: bool = False
    allowed_hosts: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    most_json_bytes: int = 2 * _MIB
    most_image_bytes: int = 32 * _MIB
    queue_size: int = 16
    rate_per_s: float = 200.0
    burst: int = 400
    most_streams: int = 64
    longest_rollout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what is unsafe or makes no sense."""
        if self.token and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii()):
            raise SettingsError(f"the token is shorter than {_SHORTEST_TOKEN} characters, or not ASCII")
        if not self.is_loopback and not self.token:
            raise SettingsError(
                f"host {self.host} is beyond loopback and needs a token: set {TOKEN_VARIABLE}, or give a file with it"
            )
        if self.allow_writes and not self.token:
            raise SettingsError(f"writing needs a token: set {TOKEN_VARIABLE}, or give a file with it")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("TLS needs both a certificate and its key")
        for name in ("most_json_bytes", "most_image_bytes", "queue_size", "burst", "most_streams"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port} is not within 0..65535")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wants_token(self) -> bool:
        """Whether reading needs the token, too."""
        return not self.is_loopback


def read_token(file: Path | None) -> str:
    """Return the token of a file, or else of the environment; empty without either.

    Raises:
        SettingsError: The file cannot be read, or others of this machine can read it.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"token file {file} cannot be read: {error}") from error
    if mode & 0o077:
        raise SettingsError(f"token file {file} can be read by others: chmod 600 {file}")
    if not text:
        raise SettingsError(f"token file {file} is empty")
    return text
