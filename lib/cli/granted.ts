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
 * Asks for a permission before something is done whose refusal would come where
 * only the process can catch it.
 *
 * @param subject A host, with or without a port, or a program.
 * @throws What Deno would throw.
 */
export function demand(name: "net" | "run", subject: string): void {
  const permission: Permission = name === "net"
    ? { name, host: subject }
    : { name, command: subject };
  // a program is started with the whole environment
  if (request(permission) && (name === "net" || request({ name: "env" }))) {
    return;
  }
  throw refusal(
    `Requires ${name} access to "${subject}", run again with the --allow-${name} flag`,
  );
}

/** Returns an error as Deno throws it where a permission is missing. */
export function refusal(message: string): Error {
  return Object.assign(new Error(message), { name: "NotCapable" });
}
