// Validates answers against the contract with ajv (JSON Schema 2020-12), in one long-living process.
//   node validator.cjs FOLDER-OF-NODE_MODULES CONTRACT.json
// Reads lines [[schema pointer, body], ...] and writes for each a line [error text or null, ...].
"use strict";
const { createRequire } = require("module");
const fs = require("fs");
const path = require("path");
const readline = require("readline");

const [folder, contractPath] = process.argv.slice(2);
const load = createRequire(path.resolve(folder, "package.json"));
const Ajv = load("ajv/dist/2020").default;
const addFormats = load("ajv-formats").default;

const ajv = new Ajv({ strict: false, allErrors: false, validateSchema: false });
addFormats(ajv);
ajv.addSchema(JSON.parse(fs.readFileSync(contractPath, "utf8")), "contract");
const compiled = new Map();

function validator(pointer) {
  if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `contract#${pointer}` }));
  return compiled.get(pointer);
}

function check([pointer, body]) {
  let value;
  try {
    value = JSON.parse(body);
  } catch (error) {
    return `no JSON: ${error.message}`;
  }
  try {
    const validate = validator(pointer);
    return validate(value) ? null : ajv.errorsText(validate.errors);
  } catch (error) {
    return `schema: ${error.message}`;
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(JSON.stringify(JSON.parse(line).map(check)) + "\n");
});
