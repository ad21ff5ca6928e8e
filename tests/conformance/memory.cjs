// Every method of the npm SDK's MemoryClient against the server under test: `node memory.cjs CASE`.
//
// Reads MESHAGENT_API_URL, MESHAGENT_API_KEY and MESHAGENT_ROOM; finds the SDK through NODE_PATH. Prints one line per
// thing that holds and `done` at the end; any exception fails the run.

const assert = require("node:assert/strict");
const {
  ApiScope,
  ParticipantToken,
  RoomClient,
  WebSocketClientProtocol,
  websocketRoomUrl,
} = require("@meshagent/meshagent");

const ROOM = process.env.MESHAGENT_ROOM;
const say = (text) => console.log(text);

async function join(name) {
  const token = new ParticipantToken({ name });
  token.addRoleGrant("agent");
  token.addRoomGrant(ROOM);
  token.addApiGrant(ApiScope.agentDefault());
  const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
  const url = websocketRoomUrl({ roomName: ROOM, apiUrl: process.env.MESHAGENT_API_URL });
  const client = new RoomClient({ protocolFactory: WebSocketClientProtocol.createFactory({ url, token: jwt }) });
  await client.start();
  return client;
}

async function expectError(promise, code, text) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, `${error.code}: ${error.message}`);
    assert.ok(error.message.includes(text), error.message);
    return;
  }
  assert.fail(`not refused with ${code}`);
}

async function methods() {
  const room = await join("writer");
  const memory = room.memory;
  await memory.create({ name: "graph" });
  await expectError(memory.create({ name: "graph" }), 2002, "graph");
  await memory.create({ name: "graph", ignoreExists: true });
  assert.deepEqual(await memory.list(), ["graph"]);
  assert.deepEqual(await memory.list({ namespace: ["other"] }), []);
  say("memories are made and listed");

  await memory.upsertNodes({
    name: "graph",
    records: [
      { entityId: "alice", name: "Alice", entityType: "PERSON", context: "likes tea", metadata: { role: "admin" } },
      { entityId: "bob", name: "Bob" },
    ],
  });
  const knows = { sourceEntityId: "alice", targetEntityId: "bob", relationshipType: "KNOWS" };
  await memory.upsertRelationships({ name: "graph", records: [knows] });
  const records = [{ id: 1, bytes: new TextEncoder().encode("hi"), tags: ["a", "b"], at: new Date(0), more: { x: 1 } }];
  await memory.upsertTable({ name: "graph", table: "Thing", records });
  const statement = "MATCH (a)-[:KNOWS]->(b) RETURN a.name AS a, b.name AS b";
  assert.deepEqual(await memory.query({ name: "graph", statement }), [{ a: "Alice", b: "Bob" }]);
  const things = await memory.query({ name: "graph", statement: "MATCH (t:Thing) RETURN size(t.tags) AS n, t.more.x AS x" });
  assert.deepEqual(things, [{ n: 2, x: 1 }]);
  await expectError(memory.query({ name: "graph", statement: "MERGE (n)" }), 1002, "line 1, column 1");
  const details = await memory.inspect({ name: "graph" });
  assert.deepEqual(details.datasets.map((d) => [d.name, d.rows]), [["Entity", 2], ["Relationship", 1], ["Thing", 1]]);
  say("records are written and queried");

  const found = await memory.recall({ name: "graph", query: "tea" });
  assert.deepEqual(found.items.map((item) => item.name), ["Alice"]);
  assert.equal(found.items[0].relationships[0].relationshipType, "KNOWS");

  const text = await memory.ingestText({ name: "graph", text: "Cleo likes jazz." });
  assert.deepEqual(text.stats, { entities: 3, relationships: 3, sources: 1 });
  const data = new Uint8Array([137, 80, 78, 71]);
  await memory.ingestImage({ name: "graph", caption: "Dan met Eve.", data, annotations: { by: "Fay" } });
  await memory.ingestFile({ name: "graph", text: "Gus lives in Rome." });
  await room.storage.upload("c.txt", new TextEncoder().encode("Hal plays chess."), { overwrite: true });
  const stored = await memory.ingestFromStorage({ name: "graph", paths: ["c.txt"] });
  assert.equal(stored.stats.sources, 1);
  await expectError(memory.ingestFromTable({ name: "graph", table: "missing" }), 1003, "missing");
  await room.datasets.createTableFromJsonData({ name: "texts", data: [{ text: "Ida lives in Oslo." }] });
  const fromTable = await memory.ingestFromTable({ name: "graph", table: "texts", textColumns: ["text"] });
  assert.equal(fromTable.stats.sources, 1);
  await expectError(memory.ingestText({ name: "graph", text: "x", strategy: "llm" }), 1007, "OPENAI_API_KEY");
  say("texts are remembered and recalled");

  const between = { sourceEntityId: "alice", targetEntityId: "bob" };
  assert.equal((await memory.deleteRelationships({ name: "graph", relationships: [between] })).deletedRelationships, 1);
  assert.equal((await memory.deleteEntities({ name: "graph", entityIds: ["bob"] })).deletedEntities, 1);
  const optimized = await memory.optimize({ name: "graph" });
  assert.ok(optimized.datasets.some((d) => d.dataset === "Entity"));
  await memory.drop({ name: "graph" });
  await expectError(memory.inspect({ name: "graph" }), 2001, "memory does not exist");
  await memory.drop({ name: "graph", ignoreMissing: true });
  say("all of it is deleted");
  room.dispose();
}

const cases = { methods };

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
