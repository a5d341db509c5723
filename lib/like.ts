/** A response like another one, with another body. */
export function like(
  response: Response,
  body: BodyInit,
  headers: Headers = response.headers,
  status = response.status,
): Response {
  const { url, redirected } = response;
  const statusText = status === response.status ? response.statusText : "";
  const copy = new Response(body, { status, statusText, headers });
  return url === "" && !redirected ? copy : from(copy, url, redirected);
}

/** A response that says where it came from, and so do its clones. */
function from(response: Response, url: string, redirected: boolean): Response {
  const clone = () =>
    from(Response.prototype.clone.call(response), url, redirected);
  return Object.defineProperties(response, {
    url: { value: url },
    redirected: { value: redirected },
    clone: { value: clone },
  });
}
