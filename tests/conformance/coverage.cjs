// Runs a conformance script and says which methods of the SDK's room clients it used: `node coverage.cjs SCRIPT CASE`.
//
// Wraps every public method of the exported `*Client` classes before the script starts, so that a method that a newer
// SDK brings is in the table by itself. A method counts when a call of it came back without an exception (a promise:
// when it was fulfilled; a stream: when it gave an item or ended). Prints `method NAME` for each method there is, and
// `used NAME` for each that counted, when the process ends.

const fs = require("node:fs");
const path = require("node:path");
const sdk = require("@meshagent/meshagent");

/** What the SDK's own declarations call private: `Class.name`. */
function declaredPrivate() {
  const folder = path.dirname(require.resolve("@meshagent/meshagent"));
  const found = new Set();
  for (const file of fs.readdirSync(folder).filter((name) => name.endsWith(".d.ts"))) {
    let className = "";
    for (const line of fs.readFileSync(path.join(folder, file), "utf8").split("\n")) {
      className = /^export declare class (\w+)/.exec(line)?.[1] ?? className;
      const name = /^ {4}private (?:static |readonly |get )*(\w+)/.exec(line)?.[1];
      if (name) found.add(`${className}.${name}`);
    }
  }
  return found;
}

const hidden = declaredPrivate();
const used = new Set();
const methods = [];

/** Counts `name` when what a method gave has come true. */
function watched(name, result) {
  if (typeof result?.then === "function") {
    return result.then((value) => watched(name, value));
  }
  if (typeof result?.[Symbol.asyncIterator] === "function" && typeof result?.next === "function") {
    const next = result.next.bind(result);
    result.next = async (...values) => {
      const item = await next(...values);
      used.add(name);
      return item;
    };
    return result;
  }
  used.add(name);
  return result;
}

for (const [className, cls] of Object.entries(sdk)) {
  if (typeof cls !== "function" || !/Client$/.test(className)) continue;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(cls.prototype))) {
    if (name === "constructor" || name.startsWith("_")) continue;
    const full = `${className}.${name}`;
    if (hidden.has(full)) continue;
    methods.push(full);
    for (const part of ["value", "get"]) {
      const method = property[part];
      if (typeof method !== "function") continue;
      property[part] = function (...values) {
        return watched(full, method.apply(this, values));
      };
    }
    Object.defineProperty(cls.prototype, name, property);
  }
}

process.on("exit", () => {
  // Scripts may have taken the console away from the SDK.
  const lines = [...methods.map((name) => `method ${name}`), ...[...used].sort().map((name) => `used ${name}`), "counted"];
  fs.writeSync(1, `${lines.join("\n")}\n`);
});

process.argv.splice(1, 1);
process.argv[1] = path.resolve(process.argv[1]);
require(process.argv[1]);
