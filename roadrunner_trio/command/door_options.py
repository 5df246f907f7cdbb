"""What a listener is given, made of its settings: addresses, TLS, proxies, the rate of one peer, timeouts, limits."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from ..answering.context import of_every_response
from ..answering.health import with_health
from ..answering.rate_limit import RateLimit
from ..messages.exchange import Exchange, Plan
from ..messages.request import Request
from ..processes.systemd import SCHEME, SERVICE
from ..protocol.trust import FORWARDED, X_FORWARDED, ProxyHeaders, ProxyProtocol
from ..server.listener_settings import PROTOCOLS, protocols
from ..settings import Contradiction, Limits, Timeouts
from ..telemetry.request_ids import RequestIds
from ..transport.bind import Bindable, adopted, listed
from ..transport.certificates import Certificates
from .configuration import Values
from .options import addresses, count, duration
from .setting_table import DEFAULT_FIELDS, OPTIONS

SERVER: Final = "roadrunner-trio"
"""What ``--server-header`` says; which version it is helps nobody but attackers."""


def addressed(values: Values) -> tuple[str, ...]:
    """The addresses to listen on.

    Raises:
        ValueError: they are said in two ways at once.
    """
    place = values.place()
    found = {name: given.value for name, given in place.items()}
    if found.get("bind") and len(found) > 1:
        host, port = (values.spell(name, like="bind") for name in ("host", "port"))
        both = f"it says host and port already: leave out {host} and {port}, or give only those"
        raise ValueError(f"{place['bind'].where}: {both}")
    return addresses(found.get("bind"), found.get("host"), found.get("port"))


def places(values: Values) -> list[Bindable]:
    """The same, looked at; where nothing is said of them, those that the service manager has opened, if any.

    Raises:
        ValueError: also when one is malformed.
    """
    addresses = addressed(values)
    if not values.place() and SERVICE.sockets:
        addresses = tuple(f"fd://{descriptor}" for _, descriptor in SERVICE.sockets)
    try:
        if plain := [address for address in addresses if not address.startswith(SCHEME)]:
            listed(plain)
        return list(addresses)
    except ValueError as exc:
        given = next(iter(values.place().values()), None)
        elsewhere = given is not None and given.source != "flag"  # on the command line it is there to be seen
        raise ValueError(f"{given.where}: {exc}" if given and elsewhere else str(exc)) from None


def opened(items: Sequence[Bindable]) -> list[Bindable]:
    """The same, those that the service manager has opened, or kept for us, as what they are.

    Raises:
        ValueError: it has opened none of that name.
    """
    found: list[Bindable] = []
    for item in items:
        if isinstance(item, str) and item.startswith(SCHEME):
            found += [f"fd://{descriptor}" for descriptor in SERVICE.named(item.removeprefix(SCHEME))]
        elif isinstance(item, str) and item in SERVICE.kept:
            found += [adopted(item, descriptor) for descriptor in SERVICE.kept[item]]
        else:
            found.append(item)
    return found


def names(listeners: Sequence[Values]) -> list[str]:
    """What listeners are called: no two the same. Those that only share a name for all are numbered: main, main-2.

    Raises:
        ValueError: two are given one name.
    """
    givers: dict[str, str] = {}
    for values in listeners:
        given = values.given("name")
        name: str = given.value
        if name in givers and givers[name] != given.where:
            raise ValueError(f"{given.where}: another listener is called {name!r}, too")
        number = 1
        while name in givers:
            number += 1
            name = f"{given.value}-{number}"
        givers[name] = given.where
    return list(givers)


def bounds(values: Values) -> tuple[Timeouts, Limits]:
    """Timeouts and limits.

    Raises:
        ValueError: two of them contradict each other; the message says who said so.
    """
    kinds: dict[type, dict[str, Any]] = {Timeouts: {}, Limits: {}}
    for option in OPTIONS:
        if option.field is not None:
            kind, name = option.field
            kinds[kind][name] = values[option.name]
    try:
        return Timeouts(**kinds[Timeouts]), Limits(**kinds[Limits])
    except Contradiction as exc:
        told = str(exc)
        for option in OPTIONS:
            if option.field is not None:
                kind, name = option.field
                told = re.sub(rf"\b{kind.__name__}\.{name}\b", values.where(option.name), told)
        raise ValueError(told) from None


def doors(values: Values) -> dict[str, Any]:
    """What stands before the application, as keyword arguments of a listener.

    Raises:
        ValueError: a value is bad, a file cannot be read, or a setting has no effect without another.
    """
    ready, live = _health_paths(values)
    return {
        "protocols": _protocols(values),
        "tls": _tls(values),
        "proxy_protocol": _proxy_protocol(values),
        "proxy_headers": _proxy_headers(values),
        "rate_limit": _rate_limit(values),
        "request_ids": _request_ids(values),
        "reuse_port": values["reuse-port"],
        "health_path": ready,
        "live_path": live,
        "tracebacks": _tracebacks(values),
        "evict_idle": values["evict-idle"],
        "log_context": values["log-context"],
        "fields": _fields(values),
        "date": values["date-header"],
        "preserve_case": values["preserve-case"],
    }


def _tls(values: Values) -> Certificates | None:
    if not values.has("tls-cert"):
        _alone(values, "tls-cert", "tls-key", "tls-client-ca", "tls-client-cert", "tls-password-file")
        return None
    if not values.has("tls-client-ca"):
        _alone(values, "tls-client-ca", "tls-client-cert")
    first, *others = _pairs(values)
    authority, secret = values["tls-client-ca"], values["tls-password-file"]
    password = partial(_read_password, secret) if secret else None
    asked = values["tls-client-cert"]
    try:
        return Certificates(*first, others=others, password=password, client_ca=authority, client_cert=asked)
    except (OSError, ValueError) as exc:
        files = [file for pair in (first, *others, (authority, secret)) for file in pair if file]
        alone = not values["tls-key"] and "no private key" in str(exc)
        hint = f" (is it in a file of its own? {values.spell('tls-key', like='tls-cert')})" if alone else ""
        raise ValueError(f"no TLS with {', '.join(files)}: {exc}{hint}") from None


def _pairs(values: Values) -> list[tuple[str, str | None]]:
    certificates: list[str] = values["tls-cert"]
    keys: list[str] = values["tls-key"] or []
    if not certificates:
        raise ValueError(f"{values.where('tls-cert')} names no file")
    if not keys:
        return [(certificate, None) for certificate in certificates]
    if len(keys) != len(certificates):
        counted = f"{len(certificates)} certificates and {len(keys)} keys"
        raise ValueError(f"{values.where('tls-key')}: there are {counted}; give each its own, in the same order")
    return list[tuple[str, str | None]](zip(certificates, keys, strict=True))


def _read_password(path: str) -> str:
    """What stands in a file, without the end of its line."""
    with open(path, encoding="utf-8") as file:
        return file.read().rstrip("\r\n")


def _fields(values: Values) -> list[tuple[str, str]]:
    fields = [("server", SERVER)] if values["server-header"] else []
    for line in values["header"] or ():
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"{values.where('header')}: {line!r} has no colon; write NAME:VALUE")
        fields.append((name.strip(), value.strip()))
    try:
        of_every_response(fields)
    except ValueError as exc:
        raise ValueError(f"{values.where('header')}: {exc}") from None
    return fields


def _protocols(values: Values) -> Sequence[str]:
    if not values.has("protocols"):
        return PROTOCOLS
    try:
        return protocols(_listed(values["protocols"]), None)
    except ValueError as exc:
        raise ValueError(f"{values.where('protocols')}: {exc}") from None


def _tracebacks(values: Values) -> bool:
    if values["dev"] and values.has("proxy-protocol"):
        other = values.spell("proxy-protocol", like="dev")
        known = f"shows tracebacks to who is on this machine, and with {other} nobody knows who is"
        raise ValueError(f"{values.where('dev')} {known}: write {values.spell('reload', like='dev')} instead")
    return bool(values["dev"])


def _proxy_protocol(values: Values) -> ProxyProtocol | None:
    if not values.has("proxy-protocol"):
        return None
    _named(values, "proxy-protocol", "that begin with a PROXY header")
    try:
        return ProxyProtocol(_listed(values["proxy-protocol"]))
    except ValueError as exc:
        raise ValueError(f"{values.where('proxy-protocol')}: {exc}") from None


def _health_paths(values: Values) -> tuple[str | None, str | None]:
    ready, live = values["health-path"], values["live-path"]
    try:
        with_health(_Nothing(), ready, live)
    except ValueError as exc:
        told, name = str(exc), "live-path" if str(exc).startswith("live_path") else "health-path"
        told = told.replace("health_path", values.spell("health-path", like=name))
        raise ValueError(re.sub(r"^\S+", values.where(name), told)) from None
    return ready, live


class _Nothing:
    """An app of which nothing is asked."""

    def plan(self, request: Request) -> Plan:
        return Plan("buffered", 0)

    async def __call__(self, exchange: Exchange) -> None: ...


def _proxy_headers(values: Values) -> ProxyHeaders | None:
    if not values.has("proxy-headers"):
        _alone(values, "proxy-headers", "proxy-fields")
        return None
    fields: Sequence[str] = DEFAULT_FIELDS
    if values.has("proxy-fields"):
        fields = [field.lower() for field in _listed(values["proxy-fields"])]
        if not fields or (set(fields) - set(X_FORWARDED) and fields != [FORWARDED]):
            right = f"{FORWARDED} alone, or some of {', '.join(X_FORWARDED)}"
            raise ValueError(f"{values.where('proxy-fields')}: fields are {right}, not {','.join(fields) or 'nothing'}")
    _named(values, "proxy-headers", "whose word is taken")
    try:
        return ProxyHeaders(_listed(values["proxy-headers"]), fields)
    except ValueError as exc:
        raise ValueError(f"{values.where('proxy-headers')}: {exc}") from None


def _named(values: Values, name: str, which: str) -> None:
    """Other servers have this flag alone, and believe this machine then; here somebody has to be named.

    Raises:
        ValueError: nobody is.
    """
    if not _listed(values[name]):
        raise ValueError(
            f"{values.where(name)}: name the proxies {which}: 127.0.0.1 for one on this machine, unix for one that "
            "comes by a Unix socket, or a network such as 10.0.0.0/8"
        )


def _rate_limit(values: Values) -> RateLimit | None:
    if not values.has("rate-limit"):
        _alone(values, "rate-limit", "rate-burst")
        return None
    rate, slash, period = values["rate-limit"].partition("/")
    try:
        seconds = duration(period) if slash else 1.0
        if seconds != seconds // 1:
            raise ValueError("the time is not a whole number of seconds")
        return RateLimit(count(rate), int(seconds), values["rate-burst"])
    except (ValueError, OverflowError, argparse.ArgumentTypeError) as exc:
        shown, why = f"{values.where('rate-limit')} {values['rate-limit']}", str(exc).removeprefix("RateLimit.")
        raise ValueError(f"{shown}: {why}; write 20 or 300/60s") from None


def _request_ids(values: Values) -> RequestIds | None:
    networks = _listed(values["request-ids-from"] or [])
    if not networks and not values["request-ids-echo"]:
        return None
    try:
        return RequestIds(trust=networks, echo=values["request-ids-echo"])
    except ValueError as exc:
        raise ValueError(f"{values.where('request-ids-from')}: {exc}") from None


def _alone(values: Values, needed: str, *names: str) -> None:
    for name in names:
        if values.has(name):
            raise ValueError(f"{values.where(name)} does nothing without {values.spell(needed, like=name)}")


def _listed(values: Sequence[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
