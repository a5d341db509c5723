/**
 * Waits for shared work, but no longer than the caller wants: an abort rejects
 * at once with the caller's own reason and leaves the work to the others.
 *
 * @param work What is being waited for.
 * @param signal The caller's signal.
 */
export function withAbort<T>(
  work: Promise<T>,
  signal: AbortSignal | null | undefined,
): Promise<T> {
  if (!signal) return work;
  if (signal.aborted) {
    work.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", onAbort)
    );
  });
}
