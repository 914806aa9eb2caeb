"""Options of the commands that listen: where, by which names, to whom, and with which certificate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wm_api.settings import DEFAULT_HOST, TOKEN_VARIABLE, read_token


def add_listening(options: argparse.ArgumentParser, port: int, what: str, token: str = "the token") -> None:
    """Add the options to a command.

    Args:
        options: Of the command.
        port: Listened to unless another one is given.
        what: What is called: "the service".
        token: What the token is.
    """
    add = options.add_argument
    add(
        "--host",
        default=DEFAULT_HOST,
        help=f"address to listen on; beyond loopback only with a token ({TOKEN_VARIABLE}, or --token-file)",
    )
    add("--port", type=int, default=port, help="TCP port; 0 lets the system choose")
    add("--name", action="append", default=[], help=f"further host name by which {what} may be called")
    add("--token-file", type=Path, help=f"file with {token}, readable by its owner only")
    add("--certificate", type=Path, help="TLS certificate chain (PEM)")
    add("--key", type=Path, help="TLS private key (PEM)")


def listening(given: argparse.Namespace) -> dict[str, Any]:
    """Return what of ``ApiSettings`` those options say.

    Raises:
        SettingsError: The token's file cannot be read, or others can read it.
    """
    return {
        "host": given.host,
        "port": given.port,
        "token": read_token(given.token_file),
        "allowed_hosts": tuple(given.name),
        "tls_certificate": given.certificate,
        "tls_key": given.key,
    }
