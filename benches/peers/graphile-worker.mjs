// Drain and wake-up of graphile-worker, in its default configuration or with local queue and batched completion.
import { readFileSync } from "node:fs";
import { Logger, makeWorkerUtils, run } from "graphile-worker";

const CONCURRENT_JOBS = 24; // as its own performance test
const PAYLOAD = { text: "x".repeat(230) };

const [url, jobsText, roundsText, mode] = process.argv.slice(2);
const jobs = Number(jobsText);
const rounds = Number(roundsText);
const connectionString = url.includes("://") ? url : fromKeywords(url);

// `host=/dir user=u dbname=d` as a URL; a socket directory goes in the query.
function fromKeywords(text) {
  const parts = Object.fromEntries(text.split(/\s+/).map((part) => part.split("=")));
  const host = encodeURIComponent(parts.host ?? "localhost");
  return `postgres://${parts.user ?? "postgres"}@/${parts.dbname ?? "postgres"}?host=${host}&port=${parts.port ?? 5432}`;
}

const quiet = new Logger(() => () => {});
const batched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const preset = {
  worker: {
    connectionString,
    concurrentJobs: CONCURRENT_JOBS,
    maxPoolSize: CONCURRENT_JOBS + 6,
    logger: quiet,
    ...(mode === "batched" ? batched : {}),
  },
};

const utils = await makeWorkerUtils({ connectionString, logger: quiet });
await utils.migrate();
await utils.withPgClient((client) => client.query("truncate graphile_worker._private_jobs"));
await utils.withPgClient((client) =>
  client.query("select graphile_worker.add_job('bench', $1::json) from generate_series(1, $2::int)", [
    JSON.stringify(PAYLOAD),
    jobs,
  ]),
);
await utils.withPgClient((client) => client.query("vacuum analyze graphile_worker._private_jobs"));

let done = 0;
let onJob = () => {};
const taskList = {
  bench: async () => {
    done += 1;
    onJob();
  },
};

const drained = new Promise((resolve) => (onJob = () => done === jobs && resolve()));
const begun = process.hrtime.bigint();
const cpu = process.cpuUsage();
const runner = await run({ preset, taskList });
await drained;
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
const used = process.cpuUsage(cpu);

const wakeMicros = [];
for (let round = 0; round < rounds; round += 1) {
  const started = new Promise((resolve) => (onJob = () => resolve(process.hrtime.bigint())));
  const added = process.hrtime.bigint();
  await utils.addJob("bench", PAYLOAD);
  wakeMicros.push(Number((await started) - added) / 1e3);
}
await runner.stop();
await utils.release();

const manifest = new URL("./node_modules/graphile-worker/package.json", import.meta.url);
const version = JSON.parse(readFileSync(manifest, "utf8")).version;
const own_cpu_us_per_item = (used.user + used.system) / jobs;
console.log(JSON.stringify({ version, per_second: jobs / seconds, own_cpu_us_per_item, wake_us: wakeMicros }));
