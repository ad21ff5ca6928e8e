// The model of agents, played by @copilotkit/aimock. It uses 21 tokens in and 8 out for every answer.
//
// `write PATH` and `save a report` make it call the tool that writes, however the agent names it; any other text is answered with all that
// was said in the thread, and a question for a thread's name with one. It streams in small pieces.
const { LLMock } = require("@copilotkit/aimock");

const usage = { input_tokens: 21, output_tokens: 8, prompt_tokens: 21, completion_tokens: 8, total_tokens: 29 };

const texts = (message) =>
  typeof message.content === "string" ? message.content : (message.content ?? []).map((part) => part.text ?? "").join("");

function answer(request) {
  if (request.model === "gpt-5.4-mini") return { content: JSON.stringify({ thread_name: "Named by a model" }), usage };
  const last = request.messages.at(-1);
  const asked = last.role === "user" ? texts(last) : "";
  const path = asked.includes("save a report") ? "report.md" : /write (\S+\.md)/.exec(asked)?.[1];
  if (path) {
    const names = (request.tools ?? []).map((tool) => tool.function?.name ?? "");
    const name = names.find((each) => each === "storage__write_file") ?? "write_file";
    return { toolCalls: [{ name, arguments: JSON.stringify({ path, text: "by the model", overwrite: true }) }], usage };
  }
  const said = request.messages.filter((message) => message.role === "user").map(texts);
  const used = request.messages.filter((message) => message.role === "tool").length;
  return { content: `I was told: ${said.join(" | ")} (${used} tools used)`, usage };
}

async function main() {
  const mock = new LLMock({ port: 0, chunkSize: 10 });
  mock.addFixture({ match: { predicate: () => true }, response: answer });
  await mock.start();
  console.log(`listens on ${mock.url}`);
}

main();
