"""Huffman-coded strings (RFC 7541 section 5.2), decoded by whole octets.

A decoder stands at one of the 256 inner nodes of the code's tree. For each there is a row that says, for every octet of
input, which octets are passed on the way from there, and in which row that way ends. A row is filled when somebody
comes to it first: text needs a few dozen of them, and all 256 take two megabytes.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast

from .tables import CODE_LENGTHS

END: Final = 256
NEXT: Final = 256
"""Where, in a row, the rows begin that follow on the octets."""
MAY_END: Final = 512
"""Where a row says whether a string may end at its node: after fewer than eight bits of padding, all ones."""

Node: TypeAlias = "list[Node | int]"
Row: TypeAlias = list[Any]
"""256 times what is passed, 256 times the next row, and whether a string may end here; empty before it is needed."""


def _codes() -> list[tuple[int, int]]:
    """Code and number of bits of each octet, and of the end."""
    codes = [(0, 0)] * len(CODE_LENGTHS)
    code = bits = 0
    for length, octet in sorted((length, octet) for octet, length in enumerate(CODE_LENGTHS)):
        code <<= length - bits
        bits = length
        codes[octet] = code, bits
        code += 1
    return codes


CODES: Final = _codes()
_BITS: Final = [f"{code:0{bits}b}" for code, bits in CODES[:END]]


def _grow() -> tuple[Node, set[int]]:
    """The tree, and which of its nodes may be the last."""
    tree: Node = [END, END]
    last = {id(tree)}
    for octet, (code, bits) in enumerate(CODES):
        node = tree
        for shift in range(bits - 1, 0, -1):
            step = code >> shift
            if isinstance(node[step & 1], int):
                node[step & 1] = [END, END]
            node = cast("Node", node[step & 1])
            if bits - shift < 8 and step == (1 << bits - shift) - 1:
                last.add(id(node))
        node[code & 1] = octet
    return tree, last


_TREE, _LAST = _grow()
_ROOT: Final[Row] = []
_DEAD: Final[Row] = []
"""Behind the code of the end, which no string may have in it: it leads nowhere."""
_DEAD.extend([b""] * 256 + [_DEAD] * 256 + [False])

_rows: Final[dict[int, tuple[Row, Node]]] = {id(_TREE): (_ROOT, _TREE)}
_nodes: Final[dict[int, Node]] = {id(_ROOT): _TREE}


def _row_of(node: Node) -> Row:
    """The row of a node, which may be empty as yet."""
    if id(node) not in _rows:
        row: Row = []
        _rows[id(node)] = row, node
        _nodes[id(row)] = node
    return _rows[id(node)][0]


def _fill(row: Row) -> None:
    start = _nodes[id(row)]
    ways = [_way(start, octet) for octet in range(256)]
    row += [passed for passed, _ in ways] + [after for _, after in ways] + [id(start) in _LAST]


def _way(node: Node, octet: int) -> tuple[bytes, Row]:
    passed = bytearray()
    for shift in range(7, -1, -1):
        step = node[octet >> shift & 1]
        if isinstance(step, int):
            if step == END:
                return b"", _DEAD
            passed.append(step)
            step = _TREE
        node = step
    return bytes(passed), _row_of(node)


def decode(data: bytes) -> bytes:
    """The octets for which ``data`` is the code.

    Raises:
        ValueError: the end of a string is coded in it, or what it is padded with is eight bits or more or not all ones.
    """
    row = _ROOT
    pieces: list[bytes] = []
    try:
        for octet in data:
            pieces.append(row[octet])
            row = row[octet + NEXT]
        may_end = row[MAY_END]
    except IndexError:  # nobody has been there before
        return _explore(data)
    if not may_end:
        raise ValueError("the Huffman code is cut short or padded otherwise than with ones")
    return b"".join(pieces)


def _explore(data: bytes) -> bytes:
    row = _ROOT
    for octet in data:
        if not row:
            _fill(row)
        row = row[octet + NEXT]
    if not row:
        _fill(row)
    return decode(data)


def encode(data: bytes) -> bytes:
    """The code of ``data``, padded with ones."""
    bits = "".join([_BITS[octet] for octet in data])
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8)
