// A real model, small: an endpoint of Chat Completions over node-llama-cpp. `small-model.mjs MODEL.gguf FOLDER`, where
// FOLDER has the node_modules. Says where it listens; one request at a time.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const CONTEXT_TOKENS = 2048;
const ANSWER_TOKENS = 64;
const BODY_BYTES_MAX = 1024 * 1024;

const [modelPath, folder] = process.argv.slice(2);
const found = createRequire(join(folder, "package.json")).resolve("node-llama-cpp");
const { getLlama, LlamaChatSession } = await import(pathToFileURL(found));

const llama = await getLlama({ gpu: false, build: "never", maxThreads: 2 });
const model = await llama.loadModel({ modelPath });

async function body(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new Error("the request is too large");
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString());
}

const text = (content) =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");

async function answer(messages, onTextChunk) {
  const context = await model.createContext({ contextSize: CONTEXT_TOKENS });
  const session = new LlamaChatSession({ contextSequence: context.getSequence() });
  const said = {
    system: (message) => ({ type: "system", text: text(message.content) }),
    user: (message) => ({ type: "user", text: text(message.content) }),
    assistant: (message) => ({ type: "model", response: [text(message.content)] }),
  };
  const last = messages.at(-1);
  session.setChatHistory(messages.slice(0, -1).map((message) => said[message.role](message)));
  try {
    return await session.prompt(text(last.content), { maxTokens: ANSWER_TOKENS, temperature: 0, onTextChunk });
  } finally {
    await context.dispose();
  }
}

let busy = Promise.resolve();

const server = createServer(async (request, response) => {
  const before = busy;
  let free;
  busy = new Promise((resolve) => (free = resolve));
  await before;
  try {
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      response.writeHead(404).end();
      return;
    }
    const asked = await body(request);
    const chunk = (delta, finish_reason = null, more = {}) =>
      `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", model: asked.model, choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`;
    response.writeHead(200, { "content-type": "text/event-stream" });
    const whole = await answer(asked.messages, (piece) => response.write(chunk({ content: piece })));
    const tokens = (text) => model.tokenize(text).length;
    const prompt_tokens = asked.messages.reduce((sum, message) => sum + tokens(text(message.content)), 0);
    const completion_tokens = tokens(whole);
    const usage = { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
    response.end(`${chunk({}, "stop", { usage })}data: [DONE]\n\n`);
  } catch (error) {
    console.error(error);
    response.destroy();
  } finally {
    free();
  }
});

server.listen(0, "127.0.0.1", () => console.log(`listens on http://127.0.0.1:${server.address().port}`));
