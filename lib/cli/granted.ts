/** What Deno asks a permission for. */
export type Permission =
  | { name: "env"; variable?: string }
  | { name: "read" | "write"; path?: string }
  | { name: "run"; command: string }
  | { name: "net"; host?: string };

interface Permissions {
  querySync(it: Permission): { state: string };
  requestSync(it: Permission): { state: string };
}

/** Deno's; other runtimes ask nobody. */
function permissions(): Permissions | undefined {
  return (globalThis as { Deno?: { permissions?: Permissions } }).Deno
    ?.permissions;
}

/** Whether something may be done without the person being asked. */
export function isGranted(permission: Permission): boolean {
  const status = permissions()?.querySync(permission);
  return status === undefined || status.state === "granted";
}

/** Whether no command can be refused anything. */
export function isAllGranted(): boolean {
  return (["env", "read", "write", "net"] as const)
    .every((name) => isGranted({ name }));
}

/** Asks the person, unless it is granted. Returns whether it is granted then. */
export function request(permission: Permission): boolean {
  const status = permissions()?.requestSync(permission);
  return status === undefined || status.state === "granted";
}

/**
 * Asks whether a server may listen, before it does: the refusal would come
 * where only the process can catch it.
 *
 * @param host With or without a port.
 * @throws What Deno would throw.
 */
export function demandListening(host: string): void {
  if (request({ name: "net", host })) return;
  throw Object.assign(
    new Error(
      `Requires net access to "${host}", run again with the --allow-net flag`,
    ),
    { name: "NotCapable" },
  );
}
