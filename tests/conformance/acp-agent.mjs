// An agent made with the official SDK of the Agent Client Protocol (npm `@agentclientprotocol/sdk`, stable v1): it thinks,
// asks, reads and writes a file of its folder, and says what it heard. NODE_MODULES names the folder of the package.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";

const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { agent, methods, ndJsonStream, PROTOCOL_VERSION } = await import(
  pathToFileURL(require.resolve("@agentclientprotocol/sdk")).href
);

const sessions = new Map();

const app = agent({ name: "tryout" })
  .onRequest(methods.agent.initialize, () => ({
    protocolVersion: PROTOCOL_VERSION,
    agentCapabilities: { loadSession: false, promptCapabilities: { embeddedContext: true } },
  }))
  .onRequest(methods.agent.session.new, ({ params }) => {
    const sessionId = `sdk-${sessions.size + 1}`;
    sessions.set(sessionId, { cwd: params.cwd, stop: null });
    return { sessionId };
  })
  .onNotification(methods.agent.session.cancel, ({ params }) => sessions.get(params.sessionId)?.stop?.())
  .onRequest(methods.agent.session.prompt, async ({ params, client }) => {
    const { sessionId, prompt } = params;
    const session = sessions.get(sessionId);
    const update = (update) => client.notify(methods.client.session.update, { sessionId, update });
    const say = (text) => update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });
    const text = prompt.map((block) => block.text ?? "").join("\n");
    await update({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: "hm" } });
    if (text.includes("wait")) {
      await say("waiting");
      await new Promise((resolve) => (session.stop = resolve));
      return { stopReason: "cancelled" };
    }
    const path = join(session.cwd, "note.txt");
    const toolCallId = "call-1";
    await update({ sessionUpdate: "tool_call", toolCallId, title: "Write note.txt", kind: "edit", status: "pending" });
    const { outcome } = await client.request(methods.client.session.requestPermission, {
      sessionId,
      toolCall: { toolCallId },
      options: [
        { optionId: "y", name: "Yes", kind: "allow_once" },
        { optionId: "n", name: "No", kind: "reject_once" },
      ],
    });
    if (outcome.outcome !== "selected" || outcome.optionId !== "y") {
      await update({ sessionUpdate: "tool_call_update", toolCallId, status: "failed" });
      await say(`not allowed: ${outcome.outcome}`);
      return { stopReason: "end_turn" };
    }
    await client.request(methods.client.fs.writeTextFile, { sessionId, path, content: `heard ${text}` });
    const { content } = await client.request(methods.client.fs.readTextFile, { sessionId, path });
    await update({ sessionUpdate: "tool_call_update", toolCallId, status: "completed" });
    const outside = await client
      .request(methods.client.fs.readTextFile, { sessionId, path: "/etc/passwd" })
      .then(() => "read", () => "refused");
    await say(`${content}; outside ${outside}`);
    return { stopReason: "end_turn" };
  });

app.connect(ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));
