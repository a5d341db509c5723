/**
 * A rotator behind a base URL, for agents that know nothing else.
 *
 * @module
 */
export { createHandler, type HandlerOptions } from "./handler.ts";
export {
  type Handler,
  type ListenOptions,
  type RunningServer,
  startServer,
} from "./node_server.ts";
export {
  type Counter,
  logLine,
  Metrics,
  type MetricsOptions,
  type Result,
  type ServedRequest,
} from "./metrics.ts";
