/** A response like another one, with another body. */
export function withBody(
  response: Response,
  body: BodyInit,
  headers: Headers = response.headers,
  status = response.status,
): Response {
  const statusText = status === response.status ? response.statusText : "";
  return new Like(response, body, { status, statusText, headers });
}

/**
 * Says where it came from, and so do its clones; found out when asked for, as
 * runtimes take apart the URL each time. A class, as properties given to the
 * object itself would make each use of it slow.
 */
class Like extends Response {
  readonly #original: Response;

  static {
    // some look at the name
    Object.defineProperty(this, "name", { value: "Response" });
  }

  constructor(original: Response, body: BodyInit, init: ResponseInit) {
    super(body, init);
    this.#original = original;
  }

  override get url(): string {
    return this.#original.url;
  }

  override get redirected(): boolean {
    return this.#original.redirected;
  }

  override clone(): Response {
    return from(super.clone(), this.#original);
  }
}

/** The same for clones, which the runtime makes. */
function from(response: Response, { url, redirected }: Response): Response {
  const clone = () => from(Response.prototype.clone.call(response), response);
  return Object.defineProperties(response, {
    url: { value: url },
    redirected: { value: redirected },
    clone: { value: clone },
  });
}
