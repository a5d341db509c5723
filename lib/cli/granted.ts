type Permission =
  | { name: "env"; variable: string }
  | { name: "read"; path: string }
  | { name: "run"; command: string };

/** Whether something may be done without the person being asked; other runtimes ask nobody. */
export function isGranted(permission: Permission): boolean {
  const { Deno } = globalThis as {
    Deno?: {
      permissions?: { querySync(it: Permission): { state: string } };
    };
  };
  const status = Deno?.permissions?.querySync(permission);
  return status === undefined || status.state === "granted";
}
