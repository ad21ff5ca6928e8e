// OpenAI's and Anthropic's own npm SDKs through the proxy of models.
const assert = require("node:assert");
const OpenAI = require("openai").default;
const Anthropic = require("@anthropic-ai/sdk").default;

const { MESHAGENT_API_URL: url, MESHAGENT_API_KEY: key, MESHAGENT_PROJECT_ID: project, STAND_IN: standIn } = process.env;
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const limits = { timeout: 60000, maxRetries: 0 };

async function rest(method, path, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const answer = await fetch(`${url}/accounts/projects/${project}${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

// Four answers.
async function withOpenai(apiKey) {
  const client = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey, ...limits });
  const answer = await client.responses.create({ model: "gpt-4o", input: "hello" });
  assert.match(answer.output_text, /^Hi there/);
  let text = "";
  for await (const event of await client.responses.create({ model: "gpt-4o", input: "hello", stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(text, answer.output_text);
  const tools = [{ type: "function", name: "weather", parameters: schema, strict: false }];
  const called = await client.responses.create({ model: "gpt-4o", input: "weather?", tools });
  assert.deepEqual(JSON.parse(called.output[0].arguments), { city: "Oslo" });
  const messages = [{ role: "user", content: "hello" }];
  for await (const chunk of await client.chat.completions.create({ model: "gpt-4o", messages, stream: true })) {
    assert.equal(chunk.choices.length, 1);
  }
  await assert.rejects(client.responses.create({ model: "o3", input: "hello" }), OpenAI.PermissionDeniedError);
}

// Three answers.
async function withAnthropic(apiKey) {
  const client = new Anthropic({ baseURL: `${url}/anthropic`, apiKey, ...limits });
  const messages = [{ role: "user", content: "hello" }];
  const asked = { model: "claude-x", max_tokens: 100, messages };
  const answer = await client.messages.create(asked);
  assert.match(answer.content[0].text, /^Hi there/);
  assert.equal(await client.messages.stream(asked).finalText(), answer.content[0].text);
  const weather = [{ role: "user", content: "weather?" }];
  const tools = [{ name: "weather", input_schema: schema }];
  const called = await client.messages.create({ ...asked, messages: weather, tools });
  assert.deepEqual(called.content.at(-1).input, { city: "Oslo" });
  await assert.rejects(client.messages.create({ ...asked, model: "claude-y" }), Anthropic.PermissionDeniedError);
}

async function main() {
  await rest("POST", "/rooms", { name: "models" });
  await rest("PUT", "/settings/openai", { api_key: "sk-needle", base_url: `${standIn}/v1` });
  await rest("PUT", "/settings/anthropic", { api_key: "sk-needle", base_url: standIn });
  const api = { llm: { models: ["openai/gpt-4*", "anthropic/claude-x"] } };
  const { token } = await rest("POST", "/participant-tokens", { name: "ann", room_name: "models", role: "agent", api });
  await withOpenai(token);
  await withAnthropic(token);
  const { usage } = await rest("GET", "/usage?users=ann");
  const total = (name) => usage.reduce((sum, row) => sum + row[name], 0);
  assert.deepEqual([total("requests"), total("input_tokens"), total("output_tokens")], [7, 7 * 21, 7 * 8]);
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
