// The fan-out of the `ws` package as its documentation writes it: a message goes to every other open client.
import { readFileSync } from "node:fs";
import { WebSocketServer, WebSocket } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    for (const client of server.clients) {
      if (client !== socket && client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: isBinary });
      }
    }
  });
});
server.on("listening", () => {
  const manifest = new URL("./node_modules/ws/package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  console.log(JSON.stringify({ version, port: server.address().port, pid: process.pid }));
});
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
