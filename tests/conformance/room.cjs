// The npm SDK's RoomClient against the server under test: `node room.cjs CASE`.
//
// Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM; finds the SDK through NODE_PATH. Prints one line per
// thing that holds and `done` at the end; any exception fails the run. Every wait has a deadline.
// (CommonJS: the package's ES module build cannot be imported by Node.)

const assert = require("node:assert/strict");
const { createHash } = require("node:crypto");
const {
  ApiScope,
  JsonContent,
  ParticipantToken,
  QueuesGrant,
  RoomClient,
  Tool,
  Toolkit,
  WebSocketClientProtocol,
  startHostedToolkit,
  websocketRoomUrl,
} = require("@meshagent/meshagent");

const ROOM = process.env.MESHAGENT_ROOM;
const STEP_MS = 60_000;
const LONG_MS = 300_000;
const BIG_BYTES = 50 * 1024 * 1024;
const BLOCK_BYTES = 256 * 1024;

const say = (text) => console.log(text);

/** The promise's value, or a failure that names what did not happen. */
async function within(promise, what, ms = STEP_MS) {
  const deadline = AbortSignal.timeout(ms);
  const late = new Promise((_, reject) =>
    deadline.addEventListener("abort", () => reject(new Error(`${what} did not happen within ${ms} ms`))),
  );
  return Promise.race([promise, late]);
}

async function join(name, scope = ApiScope.agentDefault()) {
  const token = new ParticipantToken({ name });
  token.addRoleGrant("agent");
  token.addRoomGrant(ROOM);
  token.addApiGrant(scope);
  const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
  const url = websocketRoomUrl({ roomName: ROOM, apiUrl: process.env.MESHAGENT_API_URL });
  const client = new RoomClient({ protocolFactory: WebSocketClientProtocol.createFactory({ url, token: jwt }) });
  await within(client.start(), `${name} joining`);
  return client;
}

/** Runs `body` with clients of these names and disposes of them. */
async function withClients(names, body) {
  const clients = [];
  try {
    for (const name of names) {
      clients.push(await join(name));
    }
    await body(...clients);
  } finally {
    clients.forEach((client) => client.dispose());
  }
}

async function expectError(promise, code) {
  try {
    await within(promise, "the refusal");
  } catch (error) {
    assert.equal(error.code, code, `${error.code}: ${error.message}`);
    return;
  }
  assert.fail(`expected error ${code}`);
}

async function queues() {
  await withClients(["sender", "receiver"], async (sender, receiver) => {
    await sender.queues.send("jobs", { n: 1, text: "grüße" }, {});
    assert.deepEqual(await receiver.queues.receive("jobs", { wait: false }), { n: 1, text: "grüße" });
    assert.equal(await receiver.queues.receive("jobs", { wait: false }), null);
    say("an item arrives as it was sent");

    const waiting = receiver.queues.receive("jobs", {});
    await sender.queues.send("jobs", { n: 2 }, {});
    assert.deepEqual(await within(waiting, "the waiting receive"), { n: 2 });
    say("a waiting receive is woken");

    for (let n = 0; n < 20; n += 1) {
      await sender.queues.send("order", { n }, {});
    }
    const sizes = Object.fromEntries((await sender.queues.list()).map((queue) => [queue.name, queue.size]));
    assert.equal(sizes.order, 20);
    for (let n = 0; n < 20; n += 1) {
      assert.deepEqual(await receiver.queues.receive("order", { wait: false }), { n });
    }
    say("items come in the order they were sent");
  });
  const narrow = await join("narrow", new ApiScope({ queues: new QueuesGrant({ send: ["jobs"], receive: [] }) }));
  await narrow.queues.send("jobs", { n: 3 }, {});
  await expectError(narrow.queues.receive("jobs", { wait: false }), 1001);
  narrow.dispose();
  say("the grants of a token are kept");
}

async function messaging() {
  await withClients(["alice", "bob"], async (alice, bob) => {
    const bobIsThere = new Promise((resolve) => {
      const look = () => alice.messaging.getParticipantByName("bob") && resolve();
      alice.messaging.on("participant_added", look);
      alice.messaging.on("messaging_enabled", look);
    });
    const came = [];
    let wake = () => {};
    bob.messaging.on("message", (event) => {
      came.push(event.message);
      wake();
    });
    const next = async (type) => {
      for (;;) {
        const found = came.findIndex((message) => message.type === type);
        if (found >= 0) {
          return came.splice(found, 1)[0];
        }
        await new Promise((resolve) => (wake = resolve));
      }
    };
    alice.messaging.enable();
    bob.messaging.enable();
    await within(bobIsThere, "bob's presence");
    say("presence is announced");

    const to = alice.messaging.getParticipantByName("bob");
    await alice.messaging.sendMessage({
      to,
      type: "greeting",
      message: { hello: "bob" },
      attachment: new Uint8Array([0, 1]),
    });
    const greeting = await within(next("greeting"), "the message");
    assert.deepEqual(greeting.message, { hello: "bob" });
    assert.deepEqual([...greeting.attachment], [0, 1]);
    assert.equal(greeting.fromParticipantId, alice.localParticipant.id);
    say("a message reaches one participant");

    await alice.messaging.broadcastMessage({ type: "news", message: { all: true } });
    assert.deepEqual((await within(next("news"), "the broadcast")).message, { all: true });
    say("a broadcast reaches the others");

    await alice.localParticipant.setAttribute("mood", "calm");
    await within(next("participant.attributes"), "the changed attribute");
    assert.equal(bob.messaging.getParticipantByName("alice").getAttribute("mood"), "calm");
    say("attributes are passed on");
  });
}

function* blocks() {
  const block = Buffer.alloc(BLOCK_BYTES, createHash("sha256").update("seed").digest());
  for (let at = 0; at < BIG_BYTES; at += BLOCK_BYTES) {
    const next = Buffer.from(block);
    next.writeUInt32BE(at, 0);
    yield next;
  }
}

async function storage() {
  await withClients(["writer", "reader"], async (writer, reader) => {
    const announced = new Promise((resolve) => reader.storage.on("file.updated", (event) => resolve(event.path)));
    const sent = createHash("sha256");
    async function* chunks() {
      for (const block of blocks()) {
        sent.update(block);
        yield block;
      }
    }
    const upload = writer.storage.uploadStream("big/file.bin", chunks(), { size: BIG_BYTES });
    await within(upload, "the upload", LONG_MS);
    say("50 MB went up");
    assert.equal(await within(announced, "the notice of the new file"), "big/file.bin");
    say("a new file is announced");

    const received = createHash("sha256");
    let count = 0;
    const download = (async () => {
      for await (const chunk of await reader.storage.downloadStream("big/file.bin")) {
        received.update(chunk.data);
        count += chunk.data.length;
      }
    })();
    await within(download, "the download", LONG_MS);
    assert.equal(count, BIG_BYTES);
    assert.equal(received.digest("hex"), sent.digest("hex"));
    say("50 MB came down unchanged");

    await writer.storage.upload("empty.txt", new Uint8Array(0));
    assert.equal((await reader.storage.download("empty.txt")).data.length, 0);
    await expectError(writer.storage.upload("empty.txt", new Uint8Array([1])), 3005);
    await writer.storage.upload("empty.txt", new TextEncoder().encode("new"), { overwrite: true });
    const file = await reader.storage.download("empty.txt");
    assert.equal(new TextDecoder().decode(file.data), "new");
    assert.equal(file.mimeType, "text/plain");
    say("an existing file is kept unless overwrite is asked for");

    const names = (await reader.storage.list("")).map((entry) => [entry.name, entry.isFolder]);
    assert.deepEqual(names, [["big", true], ["empty.txt", false]]);
    assert.equal((await reader.storage.stat("big/file.bin")).size, BIG_BYTES);
    assert.equal(await reader.storage.stat("nowhere"), null);
    await writer.storage.move("empty.txt", "moved/there.txt");
    assert.equal(await reader.storage.exists("empty.txt"), false);
    await writer.storage.delete("big", { recursive: true });
    assert.equal(await reader.storage.exists("big/file.bin"), false);
    await expectError(reader.storage.download("big/file.bin"), 3001);
    say("list, stat, move and delete agree");
  });
}

class Add extends Tool {
  constructor() {
    super({
      name: "add",
      title: "Add",
      description: "adds two numbers",
      inputSchema: {
        type: "object",
        additionalProperties: false,
        required: ["a", "b"],
        properties: { a: { type: "number" }, b: { type: "number" } },
      },
    });
  }

  async execute({ a, b }) {
    return new JsonContent({ json: { sum: a + b } });
  }
}

class Fail extends Tool {
  constructor() {
    super({ name: "fail", title: "Fail", description: "raises", inputSchema: { type: "object" } });
  }

  async execute() {
    throw new Error("broken on purpose");
  }
}

const sums = () =>
  new Toolkit({ name: "sums", title: "Sums", description: "arithmetic", tools: [new Add(), new Fail()] });

const isListed = async (client) => (await client.listToolkits()).some((kit) => kit.name === "sums");

async function hosted() {
  await withClients(["host", "caller"], async (host, caller) => {
    const running = await startHostedToolkit({ room: host, toolkit: sums(), public_: true });
    const described = (await caller.listToolkits()).find((kit) => kit.name === "sums");
    assert.deepEqual(described.getTool("add").inputSchema.required, ["a", "b"]);
    say("a hosted toolkit is listed with its schemas");

    const invoke = (tool, input) => within(caller.invoke({ toolkit: "sums", tool, input }), `sums.${tool}`);
    assert.deepEqual((await invoke("add", { a: 2, b: 3 })).json, { sum: 5 });
    say("a unary call is answered by the other client");

    await assert.rejects(invoke("fail", {}), /broken on purpose/);
    await expectError(caller.invoke({ toolkit: "sums", tool: "absent", input: {} }), 1003);
    await expectError(caller.invoke({ toolkit: "absent", tool: "absent", input: {} }), 1003);
    say("errors come back");

    const many = await Promise.all(Array.from({ length: 200 }, (_, n) => invoke("add", { a: n, b: n })));
    assert.deepEqual(many.map((each) => each.json.sum), Array.from({ length: 200 }, (_, n) => 2 * n));
    say("200 calls at once find their answers");

    await running.stop();
    assert.equal(await isListed(caller), false);
    say("a stopped toolkit is gone");
  });
}

/** Prints `up`, waits for the server to be killed and started again, and finds everything as it was. */
async function reconnect() {
  await withClients(["host", "caller"], async (host, caller) => {
    const back = [host, caller].map((client) => new Promise((resolve) => client.on("reconnected", resolve)));
    await startHostedToolkit({ room: host, toolkit: sums(), public_: true });
    await caller.queues.send("kept", { acknowledged: true }, {});
    await caller.storage.upload("kept.txt", new TextEncoder().encode("acknowledged"));
    const waiting = caller.queues.receive("later", {});
    const failed = assert.rejects(waiting);
    say("up");
    await within(Promise.all(back), "the reconnection");
    say("both clients came back by themselves");
    await within(failed, "the end of the interrupted call");
    say("the interrupted call failed");
    assert.deepEqual(await caller.queues.receive("kept", { wait: false }), { acknowledged: true });
    const file = await caller.storage.download("kept.txt");
    assert.equal(new TextDecoder().decode(file.data), "acknowledged");
    say("nothing acknowledged is lost");
    const registered = (async () => {
      while (!(await isListed(caller)));
    })();
    await within(registered, "the toolkit's registration");
    const answer = await within(caller.invoke({ toolkit: "sums", tool: "add", input: { a: 1, b: 1 } }), "the sum");
    assert.deepEqual(answer.json, { sum: 2 });
    say("the hosted toolkit is back");
  });
}

const cases = { queues, messaging, storage, hosted, reconnect };

cases[process.argv[2]]().then(
  () => {
    say("done");
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
