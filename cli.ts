#!/usr/bin/env -S deno run --allow-env --allow-read --allow-write --allow-net
/**
 * The command line of codex-rotator.
 *
 * @module
 */
import { runProcess } from "./lib/cli/main.ts";

await runProcess();
