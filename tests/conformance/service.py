"""A service on the official SDK: it waits to be called into rooms, by a POST or over a socket.

Usage: service.py PORT; the secret of the calls is in MESHAGENT_WEBHOOK_SECRET.
"""

import asyncio
import os
import sys

from meshagent.api.services import ServiceHost

host = ServiceHost(
    host="127.0.0.1",
    port=int(sys.argv[1]),
    webhook_secret=os.environ["MESHAGENT_WEBHOOK_SECRET"],
)


def say(text: str) -> None:
    print(text, flush=True)


@host.path("/agent")
class Agent:
    async def start(self, *, room) -> None:
        name = room.local_participant.get_attribute("name")
        await room.queues.send(name="joined", message={"name": name})
        say(f"joined {name}")

    async def stop(self) -> None:
        say("stopped")


asyncio.run(host.run())
