"""Where the page is served: checked beforehand, since the server by itself would silently take another port."""

from __future__ import annotations

import errno
import socket

from .._errors import InputError


def check_address(host: str, port: int) -> None:
    """Raises an InputError if nothing can be served there."""
    if not 0 <= port < 65536:
        raise InputError(f"--port must be between 0 (any that is free) and 65535, got {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host {host} is not known. Give a name or an address of this machine.") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise InputError(_remedy(error, host, port)) from None


def page_url(host: str, port: int) -> str:
    """What to open in a browser on this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _remedy(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken. Name another with --port; 0 takes any that is free."
    if error.errno == errno.EACCES:
        return f"Port {port} is not for everyone to take. Name one from 1024 on with --port."
    return f"--host {host} cannot be served at: {error.strerror or error}. Give an address of this machine."
