"""Tokens for calls, read by a reader of tokens that others wrote (PyJWT): `livekit.py`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY, MESHAGENT_ROOM, and LIVEKIT_API_KEY and LIVEKIT_API_SECRET as the server has them.
Prints `done` at the end; any exception fails the run.
"""

import asyncio
import os
import time

import jwt
from meshagent.api.participant_token import ApiScope, LivekitGrant
from scaffold import join, refused, say

KEY, SECRET = os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"]


def claims(token: str) -> dict:
    options = {"require": ["exp", "nbf", "iss", "sub"]}
    return jwt.decode(token, SECRET, algorithms=["HS256"], issuer=KEY, options=options)


async def main() -> None:
    only = ApiScope.agent_default()
    only.livekit = LivekitGrant(breakout_rooms=["kitchen"])
    async with join("ann") as ann, join("bob", only) as bob:
        whole = await ann.livekit.get_connection_info()
        assert whole.url == "wss://calls.example:7880", whole.url
        read = claims(whole.token)
        assert read["sub"] == read["name"] == "ann", read
        assert 0 < read["exp"] - time.time() <= 24 * 3600, read
        grants = read["video"]
        assert grants["roomJoin"] is True and grants["room"], grants
        assert not {"roomAdmin", "roomCreate", "roomList", "roomRecord"} & grants.keys(), grants
        say("a token is for one call and joins it only")
        kitchen = claims((await bob.livekit.get_connection_info(breakout_room="kitchen")).token)
        assert kitchen["sub"] == "bob" and kitchen["video"]["room"] == f"{grants['room']}.kitchen", kitchen
        await refused(bob.livekit.get_connection_info(breakout_room="cellar"), code=1001)
        say("smaller calls are for those who may")
        try:
            jwt.decode(whole.token, "another secret of another livekit server", algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            say("it is signed with the server's secret")
        else:
            raise AssertionError("the token was signed with another secret")
        assert SECRET not in whole.token and SECRET not in str(whole.url)


asyncio.run(main())
say("done")
