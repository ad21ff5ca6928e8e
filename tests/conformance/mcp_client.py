"""An MCP client made with the official Python SDK: `mcp_client.py TOOL ARGUMENTS http|sse URL` or `… stdio COMMAND WORD…`.

`MCP_BEARER` is sent as a bearer. Prints `tools NAME…`, then `error TEXT` or `text TEXT` for what the tool answered, then `done`.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

tool, arguments, kind, *where = sys.argv[1:]


async def use(read, write) -> None:
    async with ClientSession(read, write) as session:
        await session.initialize()
        print("tools", *sorted(t.name for t in (await session.list_tools()).tools), flush=True)
        result = await session.call_tool(tool, json.loads(arguments))
        text = " ".join(block.text for block in result.content if block.type == "text")
        print("error" if result.isError else "text", " ".join(text.split()), flush=True)


async def main() -> None:
    if kind == "stdio":
        parameters = StdioServerParameters(command=where[0], args=where[1:], env=dict(os.environ))
        async with stdio_client(parameters) as (read, write):
            await use(read, write)
    else:
        bearer = os.environ.get("MCP_BEARER")
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        if kind == "sse":
            async with sse_client(where[0], headers=headers) as (read, write):
                await use(read, write)
        else:
            async with streamablehttp_client(where[0], headers=headers) as (read, write, _):
                await use(read, write)
    print("done", flush=True)


asyncio.run(main())
