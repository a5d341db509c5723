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
  if (url !== "") Object.defineProperty(copy, "url", { value: url });
  if (redirected) {
    Object.defineProperty(copy, "redirected", { value: true });
  }
  return copy;
}
