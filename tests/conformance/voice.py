"""The Python SDK's chat client speaks with our agent: `voice.py streams|unary`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM; the agent `support-agent` with channel `chat` and model
`gpt-realtime` must be there or come, its provider played by `support/realtime.rs`. Prints one line per thing that holds and
`done` at the end; any exception fails the run.
"""

import asyncio
import sys
import uuid

from chat import AGENT, STEP_SECONDS, chat, kinds, say, start, text, until
from meshagent.agents.chat_client import LegacyMessagingChatClient, MessagingChatClient
from meshagent.agents.messages import (
    AgentAudioFormat,
    AgentRealtimeAudioChunk,
    AgentRealtimeAudioCommit,
    TurnStart,
    parse_agent_message,
)

KINDS = {"streams": MessagingChatClient, "unary": LegacyMessagingChatClient}
PREFIX = "meshagent.agent."
HEARD, SAID, SOUND = "Good morning.", "Good morning to you.", bytes([0, 255, 7, 128, 9, 254])


async def speaks(kind) -> None:
    async with chat("ann", kind) as (room, client):
        attachments = asyncio.Queue()
        room.messaging.on("message", lambda message: attachments.put_nowait(message.attachment) if message.attachment else None)
        session = await client.start_thread(start("hello"))
        events = await until(client, "turn.ended")
        assert "You said: " in text(events) and "hello" in text(events), text(events)
        say("a thread with a model that speaks is written to")
        models = (await session.request_models()).providers[0].models
        model = models[0]
        assert (model.name, model.modalities) == ("gpt-realtime", ["text", "audio"]), model
        assert model.default_output_voice == "echo" and "coral" in model.available_voices, model
        assert model.input_format == model.output_format == AgentAudioFormat(), model
        assert model.turn_detection == "none", model
        say("its voices and forms of audio are listed")
        changed = await session.change_model(provider=None, model=None, voice="coral")
        assert changed.voice == "coral", changed
        say("a voice is chosen")

        thread, turn = session.thread_path, str(uuid.uuid4())
        agent = next(p for p in room.messaging.remote_participants if p.get_attribute("name") == AGENT)

        async def tell(message, attachment=None) -> None:
            body = message.model_dump(mode="json", exclude={"data"}, exclude_none=True)
            await room.messaging.send_message(to=agent, type="agent-message", message=body, attachment=attachment)

        for _ in range(3):
            chunk = AgentRealtimeAudioChunk(type=f"{PREFIX}realtime_audio.chunk", thread_id=thread)
            await tell(chunk, b"\x00\xff" * 480)
        await tell(AgentRealtimeAudioCommit(type=f"{PREFIX}realtime_audio.commit", thread_id=thread, turn_id=turn))
        aloud = {"content": [], "output_modalities": ["audio"]}
        await tell(TurnStart(type=f"{PREFIX}turn.start", thread_id=thread, turn_id=turn, **aloud))
        events = await until(client, "turn.ended", turn_id=turn)
        assert events[-1].get("error") is None, events[-1]
        for event in events:
            parse_agent_message(event)
        assert {"audio_generation.started", "audio_generation.delta", "audio_generation.completed"} <= set(kinds(events)), kinds(events)
        written = [e for e in events if e["type"] == f"{PREFIX}audio_transcription.completed"]
        assert sorted((e["role"], e["text"]) for e in written) == [("assistant", SAID), ("user", HEARD)], written
        assert [e["sender_name"] for e in written if e["role"] == "user"] == ["ann"], written
        say("speech is heard and answered aloud, and both are written down")
        if kind is LegacyMessagingChatClient:
            assert await asyncio.wait_for(attachments.get(), STEP_SECONDS) == SOUND
            say("the bytes of speech arrive beside their message")

        async with chat("bob", kind) as (_, other):
            await other.open_thread(thread, load=True)
            events = await until(other, "thread.loaded")
            for event in events:
                parse_agent_message(event)
            commit = next(e for e in events if e["type"] == f"{PREFIX}realtime_audio.commit")
            assert (commit["text"], commit["status"], commit["sender_name"]) == (HEARD, "completed", "ann"), commit
            said = next(e for e in events if e["type"] == f"{PREFIX}audio_transcription.completed")
            assert (said["text"], said["role"]) == (SAID, "assistant"), said
            assert not [k for k in kinds(events) if k.startswith("audio_generation")], kinds(events)
            changed = [e for e in events if e["type"] == f"{PREFIX}model.changed"][-1]
            assert (changed["voice"], changed["output_modalities"]) == ("coral", ["audio"]), changed
            say("who opens the thread reads what was said")


async def main() -> None:
    await speaks(KINDS[sys.argv[1]])
    say("done")


asyncio.run(main())
