/** The rotators that a simulation can be run with: the library's, and the reference. */
import { createRotator, memoryStore, type RotatorOptions } from "../../mod.ts";
import { DAY, now, START } from "./clock.ts";
import { type Fault, listener, Reference } from "./reference.ts";
import type { Open } from "./run.ts";

/** The library's rotators, with one store for all processes. */
export const openLibrary: Open = (fleet, { world, random }) => {
  const records = fleet.accounts.map(({ alias, options: { plan, owner } }) => [
    alias,
    {
      accountId: `id-${alias}`,
      userId: `user-${alias}`,
      plan,
      tokens: { access: `token-${alias}`, expiresAt: START + 300 * DAY },
      ...owner,
    },
  ]);
  const store = memoryStore({ accounts: Object.fromEntries(records) });
  return new Map(fleet.processes.map((process) => {
    const options: RotatorOptions = {
      ...fleet.options,
      store,
      fetch: world.fetchFor(process),
      now: () => now() + process.skew,
      random: random.next,
    };
    return [process, createRotator(options)];
  }));
};

/** The reference, with or without a fault. */
export const openReference =
  (fault?: Fault): Open => (fleet, { world, witnesses }) =>
    new Map(fleet.processes.map((process) => {
      const { accounts, policy } = fleet;
      const fetch = world.fetchFor(process);
      const options = { accounts, process, policy, fetch, fault };
      const reference = new Reference(options);
      witnesses.push(listener(reference));
      return [process, reference];
    }));
