"""The flags for what stands before the application: TLS, proxies, the rate of one peer, shared ports."""

from __future__ import annotations

import argparse
import ssl
from typing import Any, Final

from .options import count, duration
from .rate_limit import RateLimit
from .tls import server_context
from .trust import FORWARDED, X_FORWARDED, ProxyHeaders, ProxyProtocol

DEFAULT_FIELDS: Final = X_FORWARDED[:2]


def add_doors(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; those that are not given stay absent, or None."""
    group = parser.add_argument_group(
        "TLS and proxies", "NETWORK is 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 or unix; again, or with commas, for more"
    )
    add = group.add_argument
    add("--tls-cert", metavar="FILE", help="serve over TLS with this certificate, and intermediate ones after it (PEM)")
    add("--tls-key", metavar="FILE", help="its private key (default in the same file)")
    add("--tls-client-ca", metavar="FILE", help="who may vouch for clients, which then need a certificate (PEM)")
    add("--tls-client-cert", choices=("optional", "required"), help="whether they need it (default required)")
    add("--proxy-protocol", action="append", metavar="NETWORK", help="peers that begin with a PROXY header")
    add("--proxy-headers", action="append", metavar="NETWORK", help="proxies whose --proxy-fields are believed")
    add(
        "--proxy-fields",
        metavar="NAMES",
        help=f"what each of them writes: {FORWARDED}, or some of {', '.join(X_FORWARDED)} "
        f"(default {','.join(DEFAULT_FIELDS)})",
    )
    add("--rate-limit", metavar="N[/TIME]", help="requests of one peer, such as 20 a second or 300/60s, else 429")
    add("--rate-burst", type=count, metavar="N", help="how many of them at once (default N)")
    add("--reuse-port", action="store_true", help="share TCP ports with other processes that do")


def doors(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the flags of :func:`add_doors` ask of a listener, as its keyword arguments.

    Raises:
        ValueError: a value is bad, a file cannot be read, or a flag has no effect without another.
    """
    return {
        "tls": _tls(chosen),
        "proxy_protocol": _proxy_protocol(chosen),
        "proxy_headers": _proxy_headers(chosen),
        "rate_limit": _rate_limit(chosen),
        "reuse_port": chosen.reuse_port,
    }


def _tls(chosen: argparse.Namespace) -> ssl.SSLContext | None:
    if chosen.tls_cert is None:
        _alone(chosen, "--tls-cert", "--tls-key", "--tls-client-ca", "--tls-client-cert")
        return None
    if chosen.tls_client_ca is None:
        _alone(chosen, "--tls-client-ca", "--tls-client-cert")
    wanted = {"client_ca": chosen.tls_client_ca, "client_cert": chosen.tls_client_cert}
    try:
        return server_context(chosen.tls_cert, chosen.tls_key, **wanted)
    except (OSError, ValueError) as exc:  # OpenSSL does not say which of the files it is
        files = (chosen.tls_cert, chosen.tls_key, chosen.tls_client_ca)
        raise ValueError(f"no TLS with {', '.join(file for file in files if file)}: {exc}") from None


def _proxy_protocol(chosen: argparse.Namespace) -> ProxyProtocol | None:
    if chosen.proxy_protocol is None:
        return None
    try:
        return ProxyProtocol(_listed(chosen.proxy_protocol))
    except ValueError as exc:
        raise ValueError(f"--proxy-protocol: {exc}") from None


def _proxy_headers(chosen: argparse.Namespace) -> ProxyHeaders | None:
    if chosen.proxy_headers is None:
        _alone(chosen, "--proxy-headers", "--proxy-fields")
        return None
    fields = DEFAULT_FIELDS if chosen.proxy_fields is None else _listed([chosen.proxy_fields])
    try:
        return ProxyHeaders(_listed(chosen.proxy_headers), fields)
    except ValueError as exc:
        raise ValueError(f"--proxy-headers, --proxy-fields: {exc}") from None


def _rate_limit(chosen: argparse.Namespace) -> RateLimit | None:
    if chosen.rate_limit is None:
        _alone(chosen, "--rate-limit", "--rate-burst")
        return None
    rate, slash, period = chosen.rate_limit.partition("/")
    try:
        seconds = duration(period) if slash else 1.0
        if seconds != seconds // 1:
            raise ValueError("the time is not a whole number of seconds")
        return RateLimit(count(rate), int(seconds), chosen.rate_burst)
    except (ValueError, OverflowError, argparse.ArgumentTypeError) as exc:
        raise ValueError(f"--rate-limit {chosen.rate_limit}: {exc}; write 20 or 300/60s") from None


def _alone(chosen: argparse.Namespace, needed: str, *flags: str) -> None:
    for flag in flags:
        if getattr(chosen, flag.removeprefix("--").replace("-", "_")) is not None:
            raise ValueError(f"{flag} does nothing without {needed}")


def _listed(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
