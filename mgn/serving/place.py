"""Where a model is served: address, name, TLS, headers."""

import ipaddress
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """A model on a server."""

    server: str  # HOST:PORT
    model: str
    tls: bool = False
    ca_file: Path | None = None  # PEM certificates to trust; None: the system's
    headers: tuple[tuple[str, str], ...] = ()  # sent with each request; may be secret

    @property
    def where(self) -> str:
        """The flag that named it, for messages."""
        return f"--server {self.server}"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is this machine: no proxy is on the way to it."""
        host = self.server.rpartition(":")[0].strip("[]").lower()
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
