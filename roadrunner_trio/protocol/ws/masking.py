"""The masking of a peer's frames (RFC 6455 section 5.3): the only work on payloads that has to be done octet by octet.

In Python the cheapest way is chosen by size (measured, µs, on Python 3.13): as one large integer 0.4 for 64 octets, 1.1
for 512, 20 for 16 KiB; by four translation tables, one a stride, 0.7, 1.0 and 13. Integers this large are slower than
linear. For a short one the key is made as long as the payload by one multiplication, which takes 0.2 for 64 octets.

The library *websockets* has a function in C that takes 0.1, 0.1 and 0.4. Where it is installed, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final, TypeAlias

Unmask: TypeAlias = Callable[[bytes, bytes], bytes]

BY_INTEGER: Final = 512
"""Up to so many octets an integer unmasks faster than four translations."""
BY_PRODUCT: Final = 125
"""Up to so many octets the key is made longer by multiplication."""

_REPEATED: Final = [sum(1 << 32 * at for at in range((size + 3) // 4)) for size in range(BY_PRODUCT + 1)]
"""What makes a masking key as long as a short payload, or a bit longer."""
_ONES: Final = [(1 << 8 * size) - 1 for size in range(BY_PRODUCT + 1)]
"""What cuts it to that length."""
_TABLES: Final = [bytes(a ^ b for a in range(256)) for b in range(256)]

from_bytes = int.from_bytes


def unmask_in_python(data: bytes, key: bytes) -> bytes:
    """``data`` with the masking key taken off, or put on."""
    size = len(data)
    if size <= BY_PRODUCT:
        mask = from_bytes(key, "little") * _REPEATED[size] & _ONES[size]
        return (from_bytes(data, "little") ^ mask).to_bytes(size, "little")
    if size <= BY_INTEGER:
        mask = from_bytes((key * ((size >> 2) + 1))[:size], "little")
        return (from_bytes(data, "little") ^ mask).to_bytes(size, "little")
    out = bytearray(data)
    for at in range(4):
        out[at::4] = out[at::4].translate(_TABLES[key[at]])
    return bytes(out)


def quickest() -> Unmask:
    """The function in C, if it is here and does what ours does; else ours."""
    try:
        found: Unmask = import_module("websockets.speedups").apply_mask
        fits = all(_does_the_same(found, bytes(range(size))) for size in (0, 1, 3, 64, 255))
    except Exception:  # it is not installed, or not for this Python, or not as we know it
        return unmask_in_python
    return found if fits else unmask_in_python


def _does_the_same(found: Unmask, sample: bytes, key: bytes = b"\x01\x23\xab\xff") -> bool:
    octets = found(sample, key)
    return type(octets) is bytes and octets == unmask_in_python(sample, key)


unmask: Final = quickest()
"""Takes a masking key off, or puts it on."""
