// Builds the client: node build.mjs <folder of the package> <file for the page>. The same sources give the same bytes.

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const BUNDLED = ["@msgpack/msgpack", "valibot"];
const here = dirname(fileURLToPath(import.meta.url));
const [packageFolder, pageFile] = process.argv.slice(2);
if (!packageFolder || !pageFile) throw new Error("usage: node build.mjs <folder of the package> <file for the page>");

const common = {
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  platform: "neutral",
  mainFields: ["module", "main"],
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner() },
};
await build({ ...common, outfile: join(packageFolder, "index.js") });
await build({ ...common, outfile: pageFile, minify: true });

/** The bundled packages' licences, which ask to go wherever their code goes. */
function banner() {
  const notices = BUNDLED.map((name) => {
    const files = join(here, "node_modules", name);
    const { version } = JSON.parse(readFileSync(join(files, "package.json"), "utf8"));
    const license = readdirSync(files).find((file) => file.startsWith("LICENSE"));
    return `\n${name} ${version}:\n\n${readFileSync(join(files, license), "utf8").trim()}\n`;
  });
  return `/* The sectorbus client, built from client/ by "npm run build": do not edit. Bundled with it:\n${notices.join("")}*/`;
}
