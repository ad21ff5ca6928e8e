// The npm SDK's ContainersClient against the server under test with an engine: `node containers.cjs CASE`.
//
// Reads what `room.cjs` reads, and MESHAGENT_TEST_IMAGE (an image with busybox) and MESHAGENT_TEST_CONTEXT (a tar archive
// that builds). Prints one line per thing that holds and `done` at the end; any exception fails the run.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const {
  ApiScope,
  ParticipantToken,
  RoomClient,
  WebSocketClientProtocol,
  websocketRoomUrl,
} = require("@meshagent/meshagent");

const ROOM = process.env.MESHAGENT_ROOM;
const IMAGE = process.env.MESHAGENT_TEST_IMAGE;
const STEP_MS = 120_000;

const say = (text) => console.log(text);

/** The promise's value, or a failure that names what did not happen. */
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

async function textOf(log) {
  const parts = [];
  for await (const part of log.stream) parts.push(part);
  await log.result;
  return parts.join("");
}

async function collected(stream) {
  const parts = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString();
}

async function runAndLook(containers) {
  assert.deepEqual(await containers.list({ all: true }), []);
  const id = await within(
    containers.run({ image: IMAGE, command: "sh -c 'echo hello $WHO; sleep 1000'", env: { WHO: "npm" }, mountPath: "/data" }),
    "the start",
  );
  // The SDK takes ports as numbers where its sibling takes pairs: a container without any is the same to both.
  const [listed] = await containers.list();
  assert.equal(listed.id, id);
  assert.equal(listed.startedBy.name, "nina");
  const followed = containers.logs({ containerId: id, follow: true });
  for await (const part of followed.stream) {
    assert.match(part, /hello npm/);
    break;
  }
  await followed.cancel();
  const shell = containers.exec({ containerId: id, command: ["sh", "-c", "echo out; echo err >&2; cat; exit 3"], tty: false });
  const [out, err] = [collected(shell.output), collected(shell.stderr)];
  await shell.write(Buffer.from("in\n"));
  await within(
    (async () => {
      while (!Buffer.concat(shell.previousOutput.map((part) => Buffer.from(part))).toString().includes("in\n")) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    })(),
    "the echo",
  );
  await shell.kill();
  assert.equal(await within(shell.result, "the kill"), 137);
  assert.equal(await out, "out\nin\n");
  assert.equal(await err, "err\n");
  await within(containers.stop({ containerId: id, force: true }), "the stop");
  assert.equal(await within(containers.waitForExit({ containerId: id }), "the end"), 137);
  await containers.deleteContainer({ containerId: id });
  say("a container runs, logs, runs programs, ends and is deleted");
}

async function* blocks(data) {
  for (let at = 0; at < data.length; at += 64 * 1024) yield data.subarray(at, at + 64 * 1024);
}

async function images(containers) {
  const tag = "local/npm:1";
  const data = fs.readFileSync(process.env.MESHAGENT_TEST_CONTEXT);
  const buildId = await within(
    containers.build({ tag, mountPath: "/context", contextPath: "/context", chunks: blocks(data) }),
    "the build's begin",
  );
  const log = containers.getBuildLogs({ buildId });
  assert.match(await within(textOf(log), "the build's log"), /COPY/);
  assert.equal(await log.result, 0);
  const [build] = await containers.listBuilds();
  assert.deepEqual([build.id, build.status, build.exitCode], [buildId, "succeeded", 0]);
  const image = (await containers.listImages()).find((found) => found.references.some((ref) => ref.includes(tag)));
  const inspected = await containers.inspectImage({ imageId: image.id });
  assert.ok(inspected.layers.length > 0);
  const mounts = [{ room: [{ path: "/w", subpath: "npm-images" }] }];
  const save = await containers.saveImage({ tag, mounts, archivePath: "/w/npm.tar" });
  assert.equal(await within(containers.waitForExit({ containerId: save }), "the save"), 0);
  await containers.deleteImage({ image: tag });
  assert.match((await within(containers.load({ archivePath: "/npm-images/npm.tar" }), "the load")).resolvedRef, /npm:1/);
  const load = await containers.loadImage({ mounts, archivePath: "/w/npm.tar" });
  assert.equal(await within(containers.waitForExit({ containerId: load }), "the load job"), 0);
  await containers.deleteImage({ image: tag });
  await assert.rejects(within(containers.pullImage({ tag: "127.0.0.1:9/no/image:1" }), "the pull"), /pull/);
  const push = await containers.pushImage({ tag: IMAGE });
  assert.equal(await within(containers.waitForExit({ containerId: push }), "the push"), 1);
  await containers.cancelBuild({ buildId });
  await containers.deleteBuild({ buildId });
  assert.deepEqual(await containers.listBuilds(), []);
  say("images are built, listed, inspected, saved, loaded and deleted");
}

const CASES = {
  async everything(client) {
    await runAndLook(client.containers);
    await images(client.containers);
  },
  async services(client) {
    const id = await within(client.containers.runService({ serviceId: "job", env: { WHO: "npm" } }), "the start");
    assert.equal(await within(client.containers.waitForExit({ containerId: id }), "its end"), 4);
    say("a service on demand runs");
  },
};

(async () => {
  const client = await join("nina");
  await CASES[process.argv[2]](client);
  client.dispose();
  say("done");
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
