/** What Deno can be asked for, and how it calls the subject; other runtimes refuse nothing. */
const SUBJECTS = {
  env: "variable",
  read: "path",
  write: "path",
  net: "host",
  run: "command",
} as const;
export type Permission = keyof typeof SUBJECTS;

type Ask = (it: Record<string, string>) => { state: string };

function ask(how: "querySync" | "requestSync") {
  return (name: Permission, subject?: string): boolean => {
    const { permissions } = (globalThis as unknown as {
      Deno?: { permissions?: Record<typeof how, Ask> };
    }).Deno ?? {};
    const about = subject === undefined ? {} : { [SUBJECTS[name]]: subject };
    const status = permissions?.[how]({ name, ...about });
    return status === undefined || status.state === "granted";
  };
}

/** Whether something may be done without the person being asked. */
export const isGranted = ask("querySync");

/** Asks the person, unless it is granted. Returns whether it is granted then. */
export const request = ask("requestSync");

export function isAllGranted(): boolean {
  return (["env", "read", "write", "net"] as const).every((it) =>
    isGranted(it)
  );
}

/** Asks before something is done whose refusal would come where only the process can catch it; throws as Deno would. */
export function demand(name: "net" | "run", subject: string): void {
  // a program is started with the whole environment
  if (request(name, subject) && (name === "net" || request("env"))) return;
  throw refusal(
    `Requires ${name} access to "${subject}", run again with the --allow-${name} flag`,
  );
}

export function refusal(message: string): Error {
  return Object.assign(new Error(message), { name: "NotCapable" });
}
