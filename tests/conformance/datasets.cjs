// Every method of the npm SDK's `RoomClient.datasets` against the server under test: `node datasets.cjs datasets`.
//
// Reads what `room.cjs` reads. Prints `METHOD ok` for each method and `done` at the end; any exception fails the run.

const assert = require("node:assert/strict");
const arrow = require("apache-arrow");
const { ApiScope, ParticipantToken, RoomClient, WebSocketClientProtocol, websocketRoomUrl } = require("@meshagent/meshagent");
const { DatasetExpression, DatasetJson, DatasetUuid } = require("@meshagent/meshagent");

const STEP_MS = 60_000;
const ok = (method) => console.log(`${method} ok`);

async function join(name) {
  const token = new ParticipantToken({ name });
  token.addRoleGrant("agent");
  token.addRoomGrant(process.env.MESHAGENT_ROOM);
  token.addApiGrant(ApiScope.agentDefault());
  const jwt = await token.toJwt({ apiKey: process.env.MESHAGENT_API_KEY });
  const url = websocketRoomUrl({ roomName: process.env.MESHAGENT_ROOM, apiUrl: process.env.MESHAGENT_API_URL });
  const client = new RoomClient({ protocolFactory: WebSocketClientProtocol.createFactory({ url, token: jwt }) });
  await client.start();
  return client;
}

const table = (ids) => arrow.tableFromArrays({ id: Int32Array.from(ids), name: ids.map((id) => `n${id}`) });
const count = (tables) => tables.reduce((sum, t) => sum + t.numRows, 0);

async function tables(d) {
  await d.createTableFromData({ name: "t", data: table([1, 2]) });
  ok("createTableFromData");
  await d.createTableWithSchema({ name: "empty", schema: table([1]).schema });
  ok("createTableWithSchema");
  await d.createTableFromDataStream({ name: "streamed", chunks: [table([1]), table([2])] });
  ok("createTableFromDataStream");
  const uuid = new DatasetUuid("7f6c9a52-8c7e-4b8e-8d0a-0d9b6f0f7c11");
  await d.createTableFromJsonData({ name: "json", data: [{ id: 1, key: uuid, any: new DatasetJson({ a: [1] }) }], metadata: { k: "v" } });
  ok("createTableFromJsonData");
  await d.insert({ table: "t", records: table([3]) });
  ok("insert");
  await d.insertStream({ table: "t", chunks: [table([4]), table([5])] });
  ok("insertStream");
  await d.merge({ table: "t", on: "id", records: table([5, 6]) });
  ok("merge");
  await d.mergeStream({ table: "t", on: "id", chunks: [table([6])] });
  ok("mergeStream");
  assert.equal(await d.count({ table: "t" }), 6);
  ok("count");
  assert.equal(count(await d.search({ table: "t", where: { id: 3 } })), 1);
  assert.equal(count(await d.search({ table: "t", where: "id > 99" })), 0);
  ok("search");
  let seen = 0;
  for await (const block of d.searchStream({ table: "t", where: "id > 2", limit: 3 })) seen += block.numRows;
  assert.equal(seen, 3);
  ok("searchStream");
  await d.update({ table: "t", where: "id = 1", values: { name: "new", id: new DatasetExpression("id + 10") } });
  assert.equal((await d.search({ table: "t", where: "id = 11" }))[0].get(0).name, "new");
  ok("update");
  await d.delete({ table: "t", where: "id = 11" });
  ok("delete");
  assert.deepEqual((await d.inspect({ table: "t" })).names, ["id", "name"]);
  ok("inspect");
  await d.addColumns({ table: "t", newColumns: { twice: "id * 2" } });
  ok("addColumns");
  await d.dropColumns({ table: "t", columns: ["twice"] });
  ok("dropColumns");
  await d.dropTable({ name: "empty" });
  ok("dropTable");
  assert.deepEqual(await d.listTables(), ["json", "streamed", "t"]);
  ok("listTables");
}

async function sql(d) {
  const rows = await d.sql({ query: "SELECT count(*) AS n FROM t", tables: ["t"] });
  assert.equal(Number(rows[0].get(0).n), 5);
  ok("sql");
  for await (const block of d.sqlStream({ query: "SELECT id FROM t" })) assert.equal(block.numRows, 5);
  ok("sqlStream");
  const opened = await d.executeSql({ query: "SELECT id FROM t" });
  ok("executeSql");
  for await (const block of d.readSqlQuery({ queryId: opened.queryId })) assert.equal(block.numRows, 5);
  ok("readSqlQuery");
  await d.closeSqlQuery({ queryId: opened.queryId });
  ok("closeSqlQuery");
  const other = await d.openSqlQuery({ query: "SELECT id FROM t" });
  ok("openSqlQuery");
  assert.equal((await d.cancelSqlQuery({ queryId: other.queryId })).status, "cancelled");
  ok("cancelSqlQuery");
  assert.equal(await d.executeSqlStatement({ query: "DELETE FROM t WHERE id = 2" }), 1);
  ok("executeSqlStatement");
}

async function rest(d) {
  assert.ok((await d.listVersions({ table: "t" })).length > 1);
  ok("listVersions");
  assert.equal((await d.stats({ table: "t" })).dataset.num_rows, 4);
  ok("stats");
  await d.restore({ table: "streamed", version: 1 });
  ok("restore");
  await d.optimize({ table: "t" });
  ok("optimize");
  await d.createIndex({ table: "t", config: { column: "id", index_type: "BTREE", name: "by_id" } });
  ok("createIndex");
  assert.ok((await d.listIndexes({ table: "t" })).some((index) => index.name === "by_id"));
  ok("listIndexes");
  await d.dropIndex({ table: "t", name: "by_id" });
  ok("dropIndex");
  await d.createBranch({ branch: "work" });
  ok("createBranch");
  assert.ok((await d.listBranches()).some((branch) => branch.name === "work"));
  ok("listBranches");
  await d.deleteBranch({ branch: "work" });
  ok("deleteBranch");
  await d.exportToStorage({ table: "t", path: "out/t.csv", format: "csv" });
  ok("exportToStorage");
  await d.importFromStorage({ table: "back", path: "out/t.csv" });
  assert.equal(await d.count({ table: "back" }), 4);
  ok("importFromStorage");
  const changes = [];
  for await (const event of d.watchTable({ table: "t" })) {
    changes.push(event);
    if (event.kind === "ready") await d.insert({ table: "t", records: table([77]) });
    if (event.phase === "delta") break;
  }
  assert.equal(changes.at(-1).changeType, "inserted");
  assert.equal(changes.at(-1).table.numRows, 1);
  ok("watchTable");
}

async function main() {
  assert.equal(process.argv[2], "datasets", "usage: datasets.cjs datasets");
  AbortSignal.timeout(STEP_MS).addEventListener("abort", () => {
    console.error("the run took too long");
    process.exit(1);
  });
  const client = await join("datasets");
  await tables(client.datasets);
  await sql(client.datasets);
  await rest(client.datasets);
  client.dispose();
  console.log("done");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
