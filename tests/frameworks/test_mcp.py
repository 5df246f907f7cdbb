"""An MCP server (streamable HTTP) with the SDK's own client: a whole session, on real sockets."""

from __future__ import annotations

import pytest

pytest.importorskip("mcp.server.mcpserver")  # of version 2 of the SDK
pytest.importorskip("httpx")

import mcp
from framework_tools import ours, served
from mcp.server import MCPServer


def make_server():
    server = MCPServer("a server")

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @server.tool()
    def multiply(a: int, b: int) -> int:
        """Multiplies, in a thread."""
        return a * b

    @server.resource("greeting://{name}")
    def greeting(name: str) -> str:
        return f"hello, {name}"

    return server


@pytest.mark.parametrize("json_response", [False, True])
async def test_a_whole_session(json_response, caplog):
    app = make_server().streamable_http_app(json_response=json_response)
    async with served(app, lifespan="on") as client, mcp.Client(f"{client.base}/mcp") as session:
        assert sorted(tool.name for tool in (await session.list_tools()).tools) == ["add", "multiply"]
        for number in range(20):
            result = await session.call_tool("add", {"a": number, "b": 1})
            assert result.content[0].text == str(number + 1)
        assert (await session.call_tool("multiply", {"a": 6, "b": 7})).content[0].text == "42"
        assert (await session.call_tool("add", {"a": "x"})).is_error
        [content] = (await session.read_resource("greeting://trio")).contents
        assert content.text == "hello, trio"
    assert ours(caplog) == []
