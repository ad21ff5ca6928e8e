// Our agent by the npm SDK, which has no chat client: the agent messages go through its messaging, tools and queues.
//
// Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM; the agent `support-agent` with the channels `chat`,
// `queue:jobs` and `toolkit:support-agent`, model `builtin/echo`, the storage tools and the room toolkit `queues` must be
// there or come. Prints one line per thing that holds and `done` at the end; any exception fails the run.

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { ApiScope, ParticipantToken, RoomClient, WebSocketClientProtocol, websocketRoomUrl } = require("@meshagent/meshagent");

const ROOM = process.env.MESHAGENT_ROOM;
const AGENT = "support-agent";
const STEP_MS = 60_000;
const PREFIX = "meshagent.agent.";
// The echo carries out a fenced block: this one hangs until somebody sends to the queue.
const call = (toolkit, tool, args) => `Wait.\n\`\`\`tool\n${JSON.stringify({ tool, toolkit, arguments: args })}\n\`\`\`\n`;
const HANG = call("queues", "receive", { name: "gate", create: true, wait: true });

const say = (text) => console.log(text);

/** One who chats: what the agent tells it is read one event after the other. */
class Chatter {
  #heard = [];
  #wake = () => {};

  static async join(name) {
    const token = new ParticipantToken({ name });
    token.addRoleGrant("user");
    token.addRoomGrant(ROOM);
    token.addApiGrant(ApiScope.full());
    const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
    const url = websocketRoomUrl({ roomName: ROOM, apiUrl: process.env.MESHAGENT_API_URL });
    const protocolFactory = WebSocketClientProtocol.createFactory({ url, token: jwt });
    const chatter = new Chatter();
    chatter.room = new RoomClient({ protocolFactory });
    await chatter.room.start();
    const { messaging } = chatter.room;
    messaging.on("message", ({ message }) => {
      if (message.type === "agent-message") {
        chatter.#heard.push(message.message);
        chatter.#wake();
      }
    });
    const ready = () => messaging.getParticipantByName(AGENT)?.getAttribute("supports_agent_messages");
    const there = new Promise((resolve) => {
      const look = () => ready() && resolve();
      ["participant_added", "participant_attributes_updated", "messaging_enabled"].forEach((kind) => messaging.on(kind, look));
    });
    messaging.enable();
    await within(there, () => "the agent");
    chatter.agent = messaging.getParticipantByName(AGENT);
    return chatter;
  }

  /** Sends an agent message; its id. */
  async send(type, fields = {}) {
    const message = { type: PREFIX + type, message_id: randomUUID(), ...fields };
    await this.room.messaging.sendMessage({ to: this.agent, type: "agent-message", message });
    return message.message_id;
  }

  /** The events up to the first one of this type with these fields. */
  async until(type, fields = {}) {
    const seen = [];
    const all = async () => {
      for (;;) {
        const event = this.#heard.shift();
        if (event === undefined) {
          await new Promise((resolve) => (this.#wake = resolve));
          continue;
        }
        seen.push(event);
        if (event.type === PREFIX + type && Object.entries(fields).every(([key, value]) => event[key] === value)) return seen;
      }
    };
    return within(all(), () => `${type} after ${kinds(seen)}`);
  }

  /** A turn on a thread, whole. */
  async turn(thread_id, text) {
    const id = await this.send("turn.start", { thread_id, content: [{ type: "text", text }] });
    await this.until("turn.started", { source_message_id: id });
    return this.until("turn.ended");
  }

  async list() {
    const id = await this.send("thread.list");
    return (await this.until("thread.listed", { source_message_id: id })).at(-1).threads;
  }
}

async function within(promise, what) {
  const late = new Promise((_, reject) =>
    AbortSignal.timeout(STEP_MS).addEventListener("abort", () => reject(new Error(`${what()} did not come`))),
  );
  return Promise.race([promise, late]);
}

const kinds = (events) => events.map((event) => event.type.slice(PREFIX.length));
const text = (events) => events.filter((event) => event.type === `${PREFIX}text_content.delta`).map((event) => event.text).join("");

async function chat(ann, bob) {
  const id = await ann.send("thread.start", { content: [{ type: "text", text: "hello" }] });
  const started = (await ann.until("thread.started", { source_message_id: id })).at(-1);
  const thread_id = started.thread_id;
  let events = await ann.until("turn.ended", { thread_id });
  assert.match(text(events), /> hello/);
  const order = ["turn.start.accepted", "turn.started", "text_content.started", "text_content.delta", "text_content.ended", "turn.ended"];
  assert.deepEqual([...new Set(kinds(events))].filter((kind) => order.includes(kind)), order);
  say("a thread starts with a turn, and its answer streams");
  assert.match(text(await ann.turn(thread_id, "again")), /> again/);

  await bob.send("thread.open", { thread_id, load: true });
  events = await bob.until("thread.loaded", { thread_id });
  const inputs = events.filter((event) => event.type === `${PREFIX}turn.start`);
  assert.deepEqual(inputs.map((event) => [event.content[0].text, event.sender_name]), [["hello", "ann"], ["again", "ann"]]);
  assert.match(text(events), /> hello[^]*> again/);
  say("another one opens it, and what was said is replayed");

  const source = await ann.send("turn.start", { thread_id, content: [{ type: "text", text: HANG }] });
  const { turn_id } = (await ann.until("turn.started", { source_message_id: source })).at(-1);
  await ann.until("tool_call.started", { turn_id });
  await bob.until("tool_call.started", { turn_id });
  await bob.send("turn.steer", { thread_id, turn_id, content: [{ type: "text", text: "and this too" }] });
  await bob.until("turn.steer.accepted", { turn_id });
  await ann.room.queues.send("gate", { go: 1 }, {});
  events = await ann.until("turn.ended", { turn_id });
  assert.ok(kinds(events).includes("turn.steered"), kinds(events));
  assert.match(text(events), /> and this too/);
  await bob.until("turn.ended", { turn_id });
  say("a turn is steered by the other one, who follows it");

  const next = await ann.send("turn.start", { thread_id, content: [{ type: "text", text: HANG }] });
  const running = (await ann.until("turn.started", { source_message_id: next })).at(-1).turn_id;
  await ann.until("tool_call.started", { turn_id: running });
  await ann.send("turn.interrupt", { thread_id, turn_id: running });
  events = await ann.until("turn.ended", { turn_id: running });
  assert.ok(kinds(events).includes("turn.interrupted"), kinds(events));
  assert.equal(events.at(-1).error.code, "cancelled");
  assert.match(text(await ann.turn(thread_id, "still here?")), /> still here\?/);
  say("a turn is interrupted, and the thread goes on");

  await bob.send("thread.watch");
  const listed = (await ann.list()).filter((thread) => thread.path === thread_id);
  assert.deepEqual(listed.map((thread) => thread.name), ["Hello"]);
  await ann.send("thread.rename", { thread_id, name: "  The   party " });
  const renamed = async () => (await bob.until("thread.updated")).at(-1).thread.name === "The party";
  while (!(await renamed()));
  assert.equal((await ann.list()).find((thread) => thread.path === thread_id).name, "The party");
  await ann.send("thread.delete", { thread_id });
  assert.equal((await bob.until("thread.deleted")).at(-1).path, thread_id);
  assert.ok(!(await ann.list()).some((thread) => thread.path === thread_id));
  say("threads are listed, renamed and deleted, and who watches hears of it");
}

async function works({ room }) {
  const written = new Promise((resolve) => room.storage.on("file.updated", resolve));
  const prompt = call("storage", "write_file", { path: "npm.md", text: "by a job", overwrite: true });
  await room.queues.send("jobs", { prompt }, {});
  await within(written, () => "the file");
  assert.equal(new TextDecoder().decode((await room.storage.download("npm.md")).data), "by a job");
  say("a job of the queue is done");
  const answer = await within(
    room.agents.invokeTool({ toolkit: AGENT, tool: `run_${AGENT}_task`, arguments: { prompt: "forty-two" } }),
    () => "the answer",
  );
  assert.match(answer.text, /> forty-two/);
  say("the agent is called as a tool");
}

async function main() {
  const [ann, bob] = [await Chatter.join("ann"), await Chatter.join("bob")];
  await chat(ann, bob);
  await works(ann);
  ann.room.dispose();
  bob.room.dispose();
  say("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
