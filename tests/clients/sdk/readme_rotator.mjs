/**
 * What the examples of the README import instead of the package: the same,
 * with the accounts of a stand-in that the test started.
 */
import process from "node:process";
import { createRotator as create, memoryStore } from "../../../mod.ts";

const { accounts, backend, issuer } = JSON.parse(process.env.STAND_IN);

export function createRotator(options) {
  return create({
    ...options,
    store: memoryStore({ accounts }),
    backend,
    issuer,
  });
}
