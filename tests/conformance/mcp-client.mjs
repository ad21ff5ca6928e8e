// An MCP client made with the official TypeScript SDK: `mcp-client.mjs TOOL ARGUMENTS http URL` or `… stdio COMMAND WORD…`.
// Prints `tools NAME…`, then `error TEXT` or `text TEXT` for what the tool answered, then `done`.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MODULES + "/");
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [tool, args, kind, ...where] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: where[0], args: where.slice(1), env: process.env })
    : new StreamableHTTPClientTransport(new URL(where[0]));
const client = new Client({ name: "test", version: "1.0.0" });
await client.connect(transport);
console.log("tools", (await client.listTools()).tools.map((tool) => tool.name).sort().join(" "));
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
const text = result.content.filter((block) => block.type === "text").map((block) => block.text);
console.log(result.isError ? "error" : "text", text.join(" ").split(/\s+/).join(" "));
await client.close();
console.log("done");
