#!/usr/bin/env -S deno run --allow-env --allow-read --allow-write --allow-net
/**
 * What the bundle is made of: run, it is the command line; imported, it is the
 * library. Apart from `cli.ts`, because a command starts sooner without all
 * that the library is.
 *
 * @module
 */
import { runProcess } from "./process.ts";

export * from "../../mod.ts";

if (import.meta.main) await runProcess();
