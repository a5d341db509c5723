/**
 * Draws docs/status.svg: what `status` prints in a terminal, in its colours.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { renderStatus } from "../lib/cli/status_table.ts";
import type { StatusReport } from "../lib/report_types.ts";
import { everyStanding, NOW, suggestAsInstalled } from "./cli/reports.ts";

export const PICTURE = new URL("../docs/status.svg", import.meta.url);

const COLUMNS = 130;
/** Width and height of a character, and the margin (px). */
const [CELL, LINE, MARGIN] = [8, 18, 16];

/** SGR codes by the class that the style sheet knows. */
const CLASSES: Record<string, string> = {
  "1": "bold",
  "2": "dim",
  "31": "red",
  "32": "green",
  "33": "yellow",
  "35": "magenta",
  "36": "cyan",
};

const STYLE = `
text { font: 13.2px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre; }
.page { fill: #fdfdfc; stroke: #d9d8d4; } text { fill: #24231f; }
.bold { font-weight: bold; } .dim { fill: #77756e; } .rail { fill: #e4e2dc; }
.red { fill: #b3261e; } .green { fill: #0b7a52; } .yellow { fill: #9a6b00; }
.magenta { fill: #8b3ea8; } .cyan { fill: #0f6f8c; }
@media (prefers-color-scheme: dark) {
.page { fill: #1a1a19; stroke: #383835; } text { fill: #e9e7e1; }
.dim { fill: #96938a; } .rail { fill: #34342f; }
.red { fill: #f28b82; } .green { fill: #4cc38a; } .yellow { fill: #e3b341; }
.magenta { fill: #d18ce8; } .cyan { fill: #6cc3dd; }
}`;

/** A change of style, a part of a bar, words with a space between them, or space. */
const PARTS =
  // deno-lint-ignore no-control-regex
  /\x1b\[[\d;]*m|█+|░+|[^\x1b█░ ]+(?: [^\x1b█░ ]+)*| +/g;

/** A stretch of one style in a line. */
interface Run {
  at: number;
  text: string;
  classes: string;
}

/** What is drawn: four accounts, of which one may spend. */
function shown(): StatusReport {
  const report = everyStanding();
  return {
    ...report,
    accounts: report.accounts.slice(0, 4),
    credits: { ...report.credits, allow: ["bob"], source: "store" },
  };
}

/** Returns the picture. */
export function statusPicture(): string {
  // resets are shown on this machine's clock
  process.env.TZ = "UTC";
  suggestAsInstalled();
  const text = renderStatus(shown(), {
    columns: COLUMNS,
    color: true,
    now: NOW,
  });
  const lines = text.trimEnd().split("\n").map(runsOf);
  const width = COLUMNS * CELL + 2 * MARGIN;
  const height = lines.length * LINE + 2 * MARGIN;
  const drawn = lines.flatMap((runs, index) =>
    runs.map((run) => draw(run, MARGIN + index * LINE))
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="What status prints for four accounts">
<style>${STYLE}</style>
<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${
    height - 1
  }" rx="8"/>
${drawn.join("\n")}
</svg>
`;
}

/** The stretches of a line; bars are stretches of their own. */
function runsOf(line: string): Run[] {
  const runs: Run[] = [];
  let [at, classes] = [0, ""];
  for (const [part] of line.matchAll(PARTS)) {
    if (part.startsWith("\x1b")) {
      const codes = part.slice(2, -1).split(";");
      classes = codes.map((it) => CLASSES[it] ?? "").join(" ").trim();
      continue;
    }
    if (part.trim() !== "") runs.push({ at, text: part, classes });
    at += [...part].length;
  }
  return runs;
}

function draw({ at, text, classes }: Run, y: number): string {
  const x = MARGIN + at * CELL;
  const width = [...text].length * CELL;
  if (/^[█░]/.test(text)) {
    const fill = text.startsWith("█") ? classes : "rail";
    return `<rect class="${fill}" x="${x}" y="${
      y + 3
    }" width="${width}" height="11"/>`;
  }
  const safe = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const style = classes && ` class="${classes}"`;
  return `<text${style} x="${x}" y="${
    y + 13
  }" textLength="${width}">${safe}</text>`;
}

if (import.meta.main) await writeFile(PICTURE, statusPicture());
