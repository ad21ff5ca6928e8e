"""What the scripts for the Python SDK share: a client in the room under test, calls that must be refused, and lines that
the test waits for. Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshagent.api import ParticipantToken, RoomClient, RoomException, WebSocketClientProtocol
from meshagent.api.helpers import websocket_room_url
from meshagent.api.participant_token import ApiScope

ROOM = os.environ["MESHAGENT_ROOM"]
REFUSAL_SECONDS = 120


def say(text: str) -> None:
    print(text, flush=True)


def ok(method: str) -> None:
    say(f"{method} ok")


def token(name: str, *, role: str = "agent", scope: ApiScope | None = None) -> str:
    """A participant token signed here with the API key, as services do it."""
    minted = ParticipantToken(name=name)
    minted.add_role_grant(role)
    minted.add_room_grant(ROOM)
    minted.add_api_grant(scope or ApiScope.agent_default())
    return minted.to_jwt(api_key=os.environ["MESHAGENT_API_KEY"])


@asynccontextmanager
async def join(name: str, scope: ApiScope | None = None, role: str = "agent") -> AsyncIterator[RoomClient]:
    protocol = WebSocketClientProtocol(
        url=websocket_room_url(room_name=ROOM), token=token(name, role=role, scope=scope)
    )
    async with RoomClient(protocol_factory=protocol.create_factory()) as client:
        yield client


async def refused(awaitable, code: int, text: str = "") -> RoomException:
    """The error; fails unless it has the code and its message the text."""
    try:
        result = await asyncio.wait_for(awaitable, REFUSAL_SECONDS)
    except RoomException as error:
        assert int(error.code or 0) == code and text in str(error), f"{error.code}: {error}"
        return error
    raise AssertionError(f"expected error {code}, got {result}")
