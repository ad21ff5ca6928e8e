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
  SecretsGrant,
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

async function join(name, scope = ApiScope.agentDefault(), handlers = {}) {
  const token = new ParticipantToken({ name });
  token.addRoleGrant("agent");
  token.addRoomGrant(ROOM);
  token.addApiGrant(scope);
  const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
  const url = websocketRoomUrl({ roomName: ROOM, apiUrl: process.env.MESHAGENT_API_URL });
  const protocolFactory = WebSocketClientProtocol.createFactory({ url, token: jwt });
  const client = new RoomClient({ protocolFactory, ...handlers });
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

/** What is left of the small toolkits and of the client itself. */
async function others() {
  await withClients(["one", "two"], async (one, two) => {
    await within(one.waitUntilConnected(), "the connection");
    assert.equal(one.roomName, ROOM);
    assert.ok(one.roomUrl && one.sessionId && !one.isClosing);
    assert.ok((await one.agents.listToolkits()).some((toolkit) => toolkit.name === "queues"));
    const input = { name: "q", create: true, message: { a: 1 } };
    await one.agents.invokeTool({ toolkit: "queues", tool: "send", input });
    await one.queues.open("opened");
    await one.queues.drain("q");
    assert.equal(await one.queues.receive("q", { wait: false }), null);
    await one.queues.close("opened");
    assert.ok(!(await one.queues.list()).some((queue) => queue.name === "opened"));
    say("queues are opened, drained and closed");

    await one.storage.upload("a b/ü.txt", new TextEncoder().encode("text"), { overwrite: true });
    assert.equal((await one.storage.stat("a b/ü.txt")).size, 4);
    await one.storage.move("a b/ü.txt", "moved.txt", { overwrite: true });
    assert.ok(!(await one.storage.exists("a b/ü.txt")) && (await one.storage.exists("moved.txt")));
    const answer = await fetch(await one.storage.downloadUrl("moved.txt"));
    assert.equal(await answer.text(), "text");
    await one.storage.delete("moved.txt");
    assert.equal(await one.storage.stat("moved.txt"), null);
    say("files are moved, linked and deleted");

    const logs = one.developer.logs()[Symbol.asyncIterator]();
    const line = (async () => {
      for (;;) {
        const { value } = await logs.next();
        if (value.data.n === 1) return value;
      }
    })();
    await two.developer.log("t", { n: 1 });
    assert.equal((await within(line, "the line")).type, "t");
    await logs.return();
    say("the log is followed");

    const events = one.listen()[Symbol.asyncIterator]();
    const event = events.next();
    await two.storage.upload("event.txt", new Uint8Array([1]), { overwrite: true });
    assert.ok((await within(event, "the event")).value);
    say("events are pushed");

    two.messaging.enable();
    await within(new Promise((resolve) => two.messaging.on("messaging_enabled", resolve)), "messaging");
    assert.ok(two.messaging.isEnabled && two.messaging.online);
    one.messaging.enable();
    await within(new Promise((resolve) => two.messaging.on("participant_added", resolve)), "the other");
    const [other] = two.messaging.getParticipants();
    assert.equal(two.messaging.getParticipant(other.id).id, other.id);
    const came = new Promise((resolve) => one.messaging.on("message", resolve));
    two.messaging.sendMessageNowait({ to: other, type: "t", message: { n: 1 } });
    await within(came, "the message");
    two.messaging.disable();
    await two.messaging.stop();
    two.messaging.dispose();
    say("messages without waiting are sent");

    const closed = two.waitForClose();
    two.dispose();
    await within(closed, "the end of the client");
    say("a client that is left is closed");
  });
}

async function services() {
  const api = (path) => `${process.env.MESHAGENT_API_URL}/accounts/projects/${process.env.MESHAGENT_PROJECT_ID}/${path}`;
  const headers = { authorization: `Bearer ${process.env.MESHAGENT_API_KEY}`, "content-type": "application/json" };
  const post = async (path, body) => {
    const answer = await fetch(api(path), { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, await answer.text());
  };
  await post("rooms", { name: ROOM, if_not_exists: true, metadata: null, annotations: null, permissions: null });
  const container = { image: "meshagent/cli:default", command: "meshagent process join --agent-name x" };
  await post(`rooms/${ROOM}/services`, { version: "v1", kind: "Service", metadata: { name: "web" }, container });
  const one = await join("one", ApiScope.full());
  assert.deepEqual((await one.services.list()).map((service) => service.metadata.name), ["web"]);
  const { services: listed, serviceStates } = await one.services.listWithState();
  assert.deepEqual(Object.keys(serviceStates), [listed[0].id]);
  await one.services.restart({ serviceId: listed[0].id });
  await expectError(one.services.restart({ serviceId: "nobody" }), 7001);
  one.dispose();
  say("services are listed and restarted");
}

async function secrets() {
  const scope = ApiScope.full();
  scope.secrets = new SecretsGrant();
  const bytes = (text) => new TextEncoder().encode(text);
  const text = (data) => new TextDecoder().decode(data);
  let person;
  let asked = 0;
  const answer = async (give, refuse) => {
    asked += 1;
    await (asked === 1 ? give() : refuse());
  };
  person = await join("person", scope, {
    secretRequestHandler: ({ requestId, url, type }) => {
      assert.deepEqual([url, type], ["https://example.com", "password"]);
      const data = bytes("given");
      return answer(
        () => person.secrets.provideSecret({ requestId, data }),
        () => person.secrets.rejectSecret({ requestId, error: "not today" }),
      );
    },
    oauthTokenRequestHandler: ({ requestId }) =>
      person.secrets.rejectOAuthAuthorization({ requestId, error: "not today" }),
  });
  const agent = await join("agent", scope);

  await person.secrets.setSecret({ secretId: "own", type: "text/plain", name: "mine", data: bytes("s1") });
  await person.secrets.setSecret({ secretId: "shared", type: "t", name: "ours", delegatedTo: "agent", data: bytes("s2") });
  assert.equal(text((await person.secrets.getSecret({ secretId: "own" })).data), "s1");
  assert.equal(await agent.secrets.getSecret({ secretId: "own" }), null);
  assert.equal(text((await agent.secrets.getSecret({ secretId: "shared" })).data), "s2");
  assert.deepEqual((await person.secrets.listSecrets()).map((s) => s.id).sort(), ["own", "shared"]);
  assert.deepEqual(await agent.secrets.listSecrets(), []);
  assert.ok(await person.secrets.exists({ secretId: "own" }));
  await person.secrets.deleteSecret({ id: "own", secretId: "own" });
  assert.ok(!(await person.secrets.exists({ secretId: "own" })));
  say("secrets are kept for their owner and those it trusts");

  const request = {
    fromParticipantId: person.localParticipant.id,
    url: "https://example.com",
    type: "password",
    delegateTo: "agent",
  };
  assert.equal(text(await within(agent.secrets.requestSecret(request), "the secret")), "given");
  assert.equal(text(await within(agent.secrets.requestSecret(request), "the kept secret")), "given");
  assert.equal(asked, 1);
  await person.secrets.deleteRequestedSecret({ url: request.url, type: "password", delegatedTo: "agent" });
  await expectError(agent.secrets.requestSecret(request), 1001);
  say("a person is asked for a secret, once");

  const oauth = {
    client_id: "client",
    authorization_endpoint: "https://example.com/authorize",
    token_endpoint: "https://example.com/token",
    scopes: ["mail"],
  };
  const consent = { oauth, fromParticipantId: person.localParticipant.id, redirectUri: "https://example.com/back" };
  await expectError(agent.secrets.requestOAuthToken(consent), 1001);
  assert.equal(await agent.secrets.getOfflineOAuthToken({ oauth, delegatedTo: "agent" }), null);
  say("consent can be refused");
  person.dispose();
  agent.dispose();
}

const cases = { queues, messaging, storage, hosted, others, services, secrets, reconnect };

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
