// A provider of models, played by @copilotkit/aimock: every answer uses 21 tokens in and 8 out.
const { LLMock } = require("@copilotkit/aimock");

const usage = { input_tokens: 21, output_tokens: 8, prompt_tokens: 21, completion_tokens: 8, total_tokens: 29 };
const call = { toolCalls: [{ name: "weather", arguments: '{"city":"Oslo"}' }], usage };

async function main() {
  const mock = new LLMock({ port: 0 });
  mock.onMessage("hello", { content: "Hi there, this is a whole sentence.", usage });
  mock.addFixture({ match: { userMessage: "weather", hasToolResult: false }, response: call });
  mock.addFixture({ match: { userMessage: "weather", hasToolResult: true }, response: { content: "Sunny in Oslo.", usage } });
  await mock.start();
  console.log(`listens on ${mock.url}`);
}

main();
