"""Addresses on the network, and what the environment says of the way there."""

from __future__ import annotations

import os
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from ..errors import DanqingError, InvalidInput

PROXIES = ("http", "https", "socks5", "socks5h")


def split_address(url: str) -> SplitResult:
    """The parts of an address, among which a port is a number.

    Raises:
        InvalidInput: it is none.
    """
    try:
        parts = urlsplit(url)
        url.encode()
        _ = parts.port, (parts.hostname or "").encode("idna")  # which are judged when they are asked for
    except ValueError as error:
        raise InvalidInput(f"{url[:200]!r} is no address: {error}") from None
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise InvalidInput(f"{url[:200]!r} is no address: it names no server")
    return parts


def check_way() -> None:
    """Refuse what the environment says of proxies and certificates, where it leads nowhere.

    Raises:
        DanqingError: the variable, and what to do.
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (path := os.environ.get(name)) and not os.path.exists(path):
            raise DanqingError(f"{name} is {path!r}, and nothing is there: unset it, or name certificates that are")
    for name, url in os.environ.items():
        kind, named, _ = url.partition("://")
        if not named or not name.lower().endswith("_proxy") or name.lower() == "no_proxy":
            continue
        if kind.lower() not in PROXIES:
            raise DanqingError(
                f"{name} names a proxy of the kind {kind}://; possible are {', '.join(PROXIES)}: write one of these "
                "before ://, or unset it"
            )
        if kind.lower().startswith("socks") and find_spec("socksio") is None:
            raise DanqingError(
                f"{name} names a proxy of the kind {kind}, for which a package is not installed: run "
                "`pip install socksio`, or name a proxy of the kind http"
            )
