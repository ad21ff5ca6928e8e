// The npm SDK's half of `sync.py`: `node sync.cjs CASE`.
//
// What this SDK is told while it has no connection it does not send later, so this half edits only while it is connected.

const assert = require("node:assert/strict");
const { createHash } = require("node:crypto");
const {
  ApiScope,
  MeshSchema,
  ParticipantToken,
  RoomClient,
  WebSocketClientProtocol,
  websocketRoomUrl,
} = require("@meshagent/meshagent");

const ROOM = process.env.MESHAGENT_ROOM;
const STEP_MS = 120_000;
const EDITS = 25;
const [ME, OTHER] = ["npm", "py"];

const say = (text) => process.stdout.write(`${text}\n`);
console.log = () => {}; // the SDK tells of every change

const reference = (tag) => ({ $ref: `#/$defs/${tag}` });
const element = (tag, properties) => ({
  type: "object",
  additionalProperties: false,
  required: [tag],
  properties: {
    [tag]: { type: "object", additionalProperties: false, required: Object.keys(properties), properties },
  },
});
const notes = element("notes", { children: { type: "array", items: { anyOf: [reference("note"), reference("text")] } } });
const SCHEMA = MeshSchema.fromJson({
  $root_tag_ref: "#/$defs/notes",
  ...notes,
  $defs: {
    notes,
    note: element("note", {
      v: { type: ["string", "null"] },
      n: { type: ["number", "null"] },
      notes: { type: "array", items: { anyOf: [reference("note")] } },
    }),
    text: element("text", {}),
  },
});

async function within(promise, what) {
  const deadline = AbortSignal.timeout(STEP_MS);
  const late = new Promise((_, reject) =>
    deadline.addEventListener("abort", () => reject(new Error(`${what} did not happen within ${STEP_MS} ms`))),
  );
  return Promise.race([promise, late]);
}

async function join(name) {
  const token = new ParticipantToken({ name });
  token.addRoleGrant("agent");
  token.addRoomGrant(ROOM);
  token.addApiGrant(ApiScope.agentDefault());
  const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
  const url = websocketRoomUrl({ roomName: ROOM, apiUrl: process.env.MESHAGENT_API_URL });
  const client = new RoomClient({ protocolFactory: WebSocketClientProtocol.createFactory({ url, token: jwt }) });
  await within(client.start(), `${name} joining`);
  return client;
}

/** A document, and waiting for what others do to it. */
class Watched {
  constructor(doc) {
    this.doc = doc;
    this.wake = () => {};
    const receive = doc.receiveChanges.bind(doc);
    doc.receiveChanges = (message) => {
      receive(message);
      this.wake();
    };
  }

  values() {
    return this.doc.root.getChildren().filter((note) => note.tagName === "note").map((note) => note.getAttribute("v"));
  }

  add(value) {
    this.doc.root.createChildElement("note", { v: value, n: value.length });
  }

  async until(there, what) {
    const wait = async () => {
      while (!there(this.values())) {
        await new Promise((resolve) => (this.wake = resolve));
      }
    };
    await within(wait(), what);
  }

  /** Returns when both halves have seen all of a phase, so that all of it is on the server's disk. */
  async meet(phase) {
    const everything = [ME, OTHER].flatMap((half) => Array.from({ length: EDITS }, (_, n) => `${half}-${phase}-${n}`));
    await this.until((values) => everything.every((value) => values.includes(value)), `phase ${phase}`);
    this.add(`${ME}-saw-${phase}`);
    await this.until((values) => values.includes(`${OTHER}-saw-${phase}`), `the other half's phase ${phase}`);
  }

  state() {
    return createHash("sha256").update(JSON.stringify(this.values())).digest("hex");
  }
}

async function shared() {
  const client = await join("npm");
  const back = new Promise((resolve) => client.on("reconnected", resolve));
  const watched = new Watched(await within(client.sync.open("shared.note", { schema: SCHEMA }), "the opening"));
  for (let n = 0; n < EDITS; n += 1) {
    watched.add(`${ME}-first-${n}`);
    await new Promise(setImmediate);
  }
  await watched.meet("first");
  say("up");
  await within(back, "the reconnection");
  for (let n = 0; n < EDITS; n += 1) {
    watched.add(`${ME}-second-${n}`);
    await new Promise(setImmediate);
  }
  await watched.meet("second");
  assert.equal(watched.values().filter((value) => value.startsWith(`${OTHER}-offline-`)).length, EDITS);
  say(`state ${watched.state()}`);
  await within(client.sync.close("shared.note"), "the close");
  client.dispose();
}

async function basics() {
  const [one, two] = [await join("one"), await join("two")];
  const mine = new Watched(await one.sync.open("n.note", { schema: SCHEMA }));
  const theirs = new Watched(await two.sync.open("./n.note"));
  mine.add("a");
  await theirs.until((values) => values.join() === "a", "the change");
  theirs.add("b");
  await mine.until((values) => values.join() === "a,b", "the answer");
  await within(one.sync.close("n.note"), "the close");
  theirs.add("c");
  await within(two.sync.close("n.note"), "the other close");
  const again = new Watched(await one.sync.open("n.note", { create: false }));
  assert.deepEqual(again.values(), ["a", "b", "c"]);
  say("what was closed is kept");
  await one.storage.upload(".schemas/made.json", new TextEncoder().encode(JSON.stringify(SCHEMA.toJson())));
  await one.sync.create("by.made", { notes: { children: [{ note: { v: "x" } }] } });
  const made = new Watched(await two.sync.open("by.made"));
  assert.deepEqual(made.values(), ["x"]);
  // An update without any change, as base64.
  await two.sync.sync("by.made", new TextEncoder().encode("AAA="));
  say("documents are made by a schema of the room");
  await assert.rejects(within(one.sync.open("missing.note", { create: false }), "the refusal"), (error) => error.code === 1003);
  say("refusals have their codes");
  one.dispose();
  two.dispose();
}

({ basics, shared })[process.argv[2]]().then(
  () => {
    say("done");
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
