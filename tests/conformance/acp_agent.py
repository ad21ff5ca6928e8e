"""An agent that speaks the Agent Client Protocol on its standard streams, and does what its prompt says.

Each line of a prompt's last text is a command: `say TEXT`, `think TEXT`, `read PATH`, `write PATH TEXT`, `open PATH`
(by itself), `ask TITLE`, `env NAME`, `count`, `noise`, `garbage`, `die`, `hang`, `flood`, `long`, `orphan`. Sessions are
kept in `.acp-sessions` in its folder, unless it is started with `--forgetful`.
"""

import json
import os
import subprocess
import sys

KEPT = ".acp-sessions"
next_id = 0
cancelled = set()


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(session, what, **fields):
    send({"method": "session/update", "params": {"sessionId": session, "update": {"sessionUpdate": what, **fields}}})


def say(session, text, kind="agent_message_chunk"):
    update(session, kind, content={"type": "text", "text": text})


def heard():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def ask(session, method, params):
    """The answer to a request of ours; None where the turn was stopped meanwhile."""
    global next_id
    next_id += 1
    own = f"own-{next_id}"
    send({"id": own, "method": method, "params": {"sessionId": session, **params}})
    while True:
        message = heard()
        if message.get("id") == own:
            return message
        if message.get("method") == "session/cancel":
            cancelled.add(message["params"]["sessionId"])


def sessions():
    try:
        with open(KEPT, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def remember(session, text):
    kept = sessions()
    kept.setdefault(session, []).append(text)
    with open(KEPT, "w", encoding="utf-8") as file:
        json.dump(kept, file)


def file_answer(session, answer):
    error = answer.get("error")
    say(session, f"refused: {error['message']}" if error else f"[{answer['result'].get('content', 'written')}]")


def command(session, line, prompt):
    word, _, rest = line.partition(" ")
    if word == "say":
        say(session, rest)
    elif word == "think":
        say(session, rest, "agent_thought_chunk")
    elif word == "read":
        file_answer(session, ask(session, "fs/read_text_file", {"path": os.path.abspath(rest)}))
    elif word == "write":
        path, _, text = rest.partition(" ")
        answer = ask(session, "fs/write_text_file", {"path": os.path.abspath(path), "content": text})
        file_answer(session, answer)
    elif word == "open":
        try:
            with open(rest, encoding="utf-8") as file:
                say(session, f"[{file.read()}]")
        except OSError as error:
            say(session, f"cannot: {error.strerror}")
    elif word == "ask":
        call = {"toolCallId": "call-1", "title": rest, "kind": "execute", "rawInput": {"command": rest}}
        update(session, "tool_call", status="pending", **call)
        options = [
            {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
            {"optionId": "no", "name": "Reject", "kind": "reject_once"},
        ]
        answer = ask(session, "session/request_permission", {"toolCall": {"toolCallId": "call-1"}, "options": options})
        outcome = answer["result"]["outcome"]
        if outcome.get("optionId") == "yes":
            content = [{"type": "content", "content": {"type": "text", "text": "ran"}}]
            update(session, "tool_call_update", toolCallId="call-1", status="completed", content=content)
            say(session, f"did {rest}")
        else:
            update(session, "tool_call_update", toolCallId="call-1", status="failed")
            say(session, f"may not {rest}: {outcome['outcome']}")
    elif word == "env":
        say(session, f"{rest}={os.environ.get(rest, 'unset')}")
    elif word == "count":
        say(session, f"{len(sessions().get(session, []))} before; told: {str('began earlier' in prompt).lower()}")
    elif word == "noise":
        sys.stdout.write("just saying\n")
    elif word == "garbage":
        sys.stdout.write('{"jsonrpc": "2.0", "method\n')
        sys.stdout.flush()
    elif word == "die":
        sys.stderr.write(f"out of luck {os.environ.get('SECRET_WORD', '')}\n")
        sys.stderr.flush()
        os._exit(3)
    elif word == "hang":
        while True:
            message = heard()
            if message.get("method") == "session/cancel" and rest != "hard":
                cancelled.add(message["params"]["sessionId"])
                return
    elif word == "flood":
        for _ in range(100_001):
            update(session, "current_mode_update", currentModeId="x")
    elif word == "long":
        say(session, "x" * (9 * 1024 * 1024))
    elif word == "orphan":
        child = subprocess.Popen(["sleep", "600"])
        with open("orphan.pid.new", "w", encoding="utf-8") as file:
            file.write(str(child.pid))
        os.rename("orphan.pid.new", "orphan.pid")
    else:
        say(session, f"unknown: {line}")


def prompted(message):
    params = message["params"]
    session = params["sessionId"]
    texts = [block.get("text", "") for block in params["prompt"]]
    cancelled.discard(session)
    for line in texts[-1].splitlines():
        command(session, line, "\n".join(texts))
        if session in cancelled:
            send({"id": message["id"], "result": {"stopReason": "cancelled"}})
            return
    remember(session, texts[-1])
    send({"id": message["id"], "result": {"stopReason": "end_turn"}})


def main():
    forgetful = "--forgetful" in sys.argv
    while True:
        message = heard()
        method, params = message.get("method"), message.get("params", {})
        answer = {"id": message.get("id")}
        if method == "initialize":
            assert params["protocolVersion"] == 1 and not params["clientCapabilities"]["terminal"]
            can = {"loadSession": not forgetful}
            send({**answer, "result": {"protocolVersion": 1, "agentCapabilities": can, "authMethods": []}})
        elif method == "session/new":
            assert os.path.samefile(params["cwd"], os.getcwd()) and params["mcpServers"] == []
            session = f"s-{len(sessions()) + 1}-{os.getpid()}"
            remember(session, "")
            send({**answer, "result": {"sessionId": session}})
        elif method == "session/load":
            session = params["sessionId"]
            if session not in sessions():
                send({**answer, "error": {"code": -32002, "message": "no such session"}})
                continue
            for text in sessions()[session]:
                say(session, text)
            send({**answer, "result": None})
        elif method == "session/prompt":
            prompted(message)
        elif method == "session/cancel":
            pass
        elif "id" in message and method:
            send({**answer, "error": {"code": -32601, "message": "unknown method"}})


if __name__ == "__main__":
    main()
