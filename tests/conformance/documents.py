"""A document that our agent writes while the Python SDK has it open: `documents.py`.

Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM. The agent `support-agent` plays the model `builtin/echo`, which
carries out the tool call that a prompt holds. Prints `done` at the end; any exception fails the run.
"""

import asyncio
import json

from meshagent.agents.widget_schema import widget_schema
from meshagent.api.messaging import JsonContent
from scaffold import join, say

STEP_SECONDS = 120
PATH = "ui/page.widget"
EDITS = 10


async def agent(client, tool: str, **arguments) -> str:
    """What the agent's tool answered its model."""
    call = json.dumps({"tool": tool, "arguments": arguments})
    answer = await asyncio.wait_for(
        client.agents.invoke_tool(
            toolkit="support-agent",
            tool="run_support-agent_task",
            input=JsonContent(json={"prompt": f"Go.\n```tool\n{call}\n```\n"}),
        ),
        STEP_SECONDS,
    )
    said = answer.text.rpartition("answered:\n\n")[2]
    said = "\n".join(line.removeprefix("> ") for line in said.splitlines())
    assert "unable to complete" not in said, said
    return said


class Watched:
    """A document, and waiting for what others do to it."""

    def __init__(self, doc):
        self.changed = asyncio.Event()
        receive = doc.receive_changes

        def received(message):
            receive(message)
            self.changed.set()

        doc.receive_changes = received

    async def until(self, there, what: str) -> None:
        async def wait():
            while not there():
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(wait(), STEP_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen") from None


async def main() -> None:
    async with join("py") as client:
        async def agent_is_there():
            while not any(kit.name == "support-agent" for kit in await client.agents.list_toolkits()):
                pass

        await asyncio.wait_for(agent_is_there(), STEP_SECONDS)
        doc = await client.sync.open(path=PATH, schema=widget_schema)
        watched = Watched(doc)
        page = doc.root.append_child("widgets", {})
        await agent(client, "meshagent.document.open", path=PATH)

        async def by_agent():
            for n in range(EDITS):
                await agent(
                    client,
                    "widget_insert_text",
                    path=PATH,
                    parent_element_id=page.id,
                    text={"text": f"agent {n}", "size": 12},
                )

        async def by_person():
            for n in range(EDITS):
                page.append_child("markdown", {"text": f"person {n}"})
                await client.storage.exists(path="anything")

        await asyncio.gather(by_agent(), by_person())

        def texts():
            return [child["text"] for child in page.get_children()]

        everything = {f"{who} {n}" for who in ("agent", "person") for n in range(EDITS)}
        await watched.until(lambda: set(texts()) == everything, f"all edits; there is {texts()}")
        say("both see what both wrote")
        shown = json.loads(await agent(client, "get_document", path=PATH))
        assert shown == doc.root.to_json(include_ids=True), (shown, doc.root.to_json(include_ids=True))
        say("the agent shows the document as the SDK does")

        target = page.get_children()[0]
        await agent(
            client, "set_attribute", path=PATH, id=target.id, attribute_name="visible", attribute_value="false"
        )
        await watched.until(lambda: target["visible"] is False, "the attribute at the SDK's")
        gone = page.get_children()[1].id
        await agent(client, "remove_element_by_id", path=PATH, id=gone)
        await watched.until(lambda: doc.root.get_node_by_id(gone) is None, "the removal at the SDK's")
        assert len(page.get_children()) == 2 * EDITS - 1
        # An element of the agent's is written on by the SDK.
        mine = next(child for child in page.get_children() if child.tag_name == "text")
        mine["text"] = "changed by a person"
        assert "changed by a person" in await agent(client, "get_document", path=PATH) or await seen(client)
        await agent(client, "meshagent.document.close", path=PATH)
        await asyncio.wait_for(client.sync.close(path=PATH), STEP_SECONDS)


async def seen(client) -> bool:
    async def wait():
        while "changed by a person" not in await agent(client, "get_document", path=PATH):
            pass
        return True

    return await asyncio.wait_for(wait(), STEP_SECONDS)


asyncio.run(main())
say("done")
