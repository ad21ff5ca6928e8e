// Hocuspocus with its Database extension: each document a file that is synced and put in place whole. When it stores is
// its own default (2 seconds after a change, 10 at the latest), so an update is acknowledged long before it is on disk.
// (Its SQLite extension wants a compiled module; a file is cheaper for it.)
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { Database } from "@hocuspocus/extension-database";
import { Server } from "@hocuspocus/server";

const folder = mkdtempSync(new URL("./documents-", import.meta.url).pathname);
const place = (name) => `${folder}/${encodeURIComponent(name)}`;
let stored = 0;

async function store({ documentName, state }) {
  stored += 1;
  const unfinished = `${place(documentName)}.${stored}`;
  const file = await open(unfinished, "w");
  await file.writeFile(state);
  await file.datasync();
  await file.close();
  await rename(unfinished, place(documentName));
}

const fetch = async ({ documentName }) => readFile(place(documentName)).catch(() => null);
const server = new Server({
  address: "127.0.0.1",
  port: 0,
  quiet: true,
  extensions: [new Database({ fetch, store })],
});
await server.listen();
const manifest = new URL("./node_modules/@hocuspocus/server/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8"));
console.log(JSON.stringify({ version, port: server.address.port, pid: process.pid }));
process.stdin.on("end", () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});
process.stdin.resume();
