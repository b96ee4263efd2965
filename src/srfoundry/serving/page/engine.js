// The page's engine where a server stands behind it: its HTTP interface, /docs describes it. The browser build has a file
// of this name and with these functions that computes by itself.

import { Problem } from "./problem.js";

const POLL = 500; // milliseconds between questions where the server's events do not come through
const OVER = ["done", "failed", "cancelled"];
const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

export const engine = {
  privacy: here
    ? "Your photograph stays on this machine: it goes to the program on it that shows this page, and nowhere else."
    : `Your photograph goes to ${location.host}, the machine that shows this page, and nowhere else.`,

  chooses: true, // a member named auto is the one that fits the photograph; `chosen` and `why` come with its progress

  /** @returns {Promise<object[]>} what GET /v1/models says */
  async models() {
    const said = await (await asked("v1/models")).json();
    return Array.isArray(said) ? said : said.models;
  },

  /**
   * Enlarge a photograph.
   *
   * @param {File} file
   * @param {object} member one of `models`
   * @param {{onProgress: (state: {phase: string, done?: number, tiles?: number}) => void, signal: AbortSignal}} how
   * @returns {Promise<Blob>} a PNG
   */
  async upscale(file, member, { onProgress, signal }) {
    onProgress({ phase: "sending" });
    const place = await submit(file, member, onProgress, signal);
    try {
      const job = await finished(place, onProgress, signal);
      if (job.state !== "done") throw failure(job);
      onProgress({ phase: "fetching", chosen: job.model, why: job.why });
      return await (await asked(`${place}/result`, { signal, headers: { Accept: "image/png" } })).blob();
    } catch (error) {
      if (signal.aborted) fetch(place, { method: "DELETE", keepalive: true }).catch(() => {});
      throw error;
    }
  },
};

/** Hand the photograph in, waiting where the server is full; returns the address of its job. */
async function submit(file, member, onProgress, signal) {
  const query = new URLSearchParams({ model: member.name, wait: "false" });
  const headers = { "Content-Type": file.type || "application/octet-stream", Accept: "image/png" };
  for (;;) {
    const reply = await asked(`v1/upscale?${query}`, { method: "POST", body: file, headers, signal }, [429]);
    if (reply.status !== 429) return new URL(reply.headers.get("Location"), location.href).href;
    onProgress({ phase: "full" });
    await pause(1e3 * (Number(reply.headers.get("Retry-After")) || 1), signal);
  }
}

/** The job once it is over: known from its events, or asked for where a proxy keeps these back. */
async function finished(place, onProgress, signal) {
  const show = (job) => onProgress({ phase: job.state === "running" ? "working" : "queued", ...job });
  const last = await new Promise((resolve, reject) => {
    const events = new EventSource(`${place}/events`);
    const end = (settle, value) => {
      events.close();
      settle(value);
    };
    signal.addEventListener("abort", () => end(reject, signal.reason), { once: true });
    events.onerror = () => end(resolve, null);
    events.onmessage = ({ data }) => {
      const job = JSON.parse(data);
      if (OVER.includes(job.state)) return end(resolve, job);
      return show(job);
    };
  });
  for (let job = last; ; await pause(POLL, signal)) {
    if (job !== null && OVER.includes(job.state)) return job;
    job = await (await asked(place, { signal })).json();
    if (!OVER.includes(job.state)) show(job);
  }
}

/** A reply, or what the server says against it, as a Problem. */
async function asked(address, options = {}, allowed = []) {
  let reply;
  try {
    reply = await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    throw new Problem("The server does not answer", "It may have stopped, or the network is away; try again.");
  }
  if (reply.ok || allowed.includes(reply.status)) return reply;
  const said = await reply.json().catch(() => ({}));
  throw new Problem(said.title ?? `The server said ${reply.status}`, said.detail ?? "Try again, or with another photograph.");
}

/** Why a job has no result. */
function failure({ state, error }) {
  if (error !== null && typeof error === "object") return new Problem(error.title, error.detail);
  const detail = state === "cancelled" ? "It was cancelled there; try again." : "Try again, or with another photograph.";
  return new Problem("The server did not enlarge this photograph", detail);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
