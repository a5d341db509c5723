/** Has Node find what the tests import by name, as npm_imports.json says. */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const FILE = new URL("../npm_imports.json", import.meta.url);
const { imports } = JSON.parse(readFileSync(FILE, "utf8"));

registerHooks({
  resolve: (name, context, next) =>
    next(packageOf(imports[name]) ?? name, context),
});

/** `npm:name@version/path` without the version, as it is in node_modules. */
function packageOf(specifier) {
  return specifier?.replace(/^npm:(.+?)@[^/]+/, "$1");
}
