"""Somebody in the room, by the Python SDK: has messaging on, hosts the tool `greet` of the toolkit `greeter`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM. Prints `id ID` once it is ready, then `got TYPE JSON` for
each message, until it is killed.
"""

import asyncio
import json
import os

from meshagent.api import ParticipantToken, RoomClient, WebSocketClientProtocol
from meshagent.api.helpers import websocket_room_url
from meshagent.api.messaging import TextContent
from meshagent.api.participant_token import ApiScope
from meshagent.tools import ToolContext, Toolkit, start_hosted_toolkit, tool

ROOM = os.environ["MESHAGENT_ROOM"]


def say(text: str) -> None:
    print(text, flush=True)


@tool(name="greet", title="greet", description="greets by name")
async def greet(context: ToolContext, name: str) -> TextContent:
    return TextContent(text=f"hello {name}")


def token() -> str:
    minted = ParticipantToken(name="other")
    minted.add_role_grant("agent")
    minted.add_room_grant(ROOM)
    minted.add_api_grant(ApiScope.agent_default())
    return minted.to_jwt(api_key=os.environ["MESHAGENT_API_KEY"])


async def main() -> None:
    protocol = WebSocketClientProtocol(url=websocket_room_url(room_name=ROOM), token=token())
    async with RoomClient(protocol_factory=protocol.create_factory()) as client:
        client.messaging.on(
            "message", lambda message: say(f"got {message.type} {json.dumps(message.message)}")
        )
        await client.messaging.enable()
        toolkit = Toolkit(name="greeter", tools=[greet])
        hosted = await start_hosted_toolkit(room=client, toolkit=toolkit)
        say(f"id {client.local_participant.id}")
        try:
            await asyncio.Event().wait()
        finally:
            await hosted.stop()


asyncio.run(main())
