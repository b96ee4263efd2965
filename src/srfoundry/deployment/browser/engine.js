// The page's engine in the browser build: everything happens in a worker of this page, and nothing is sent anywhere.

import { Problem } from "./problem.js";

const asked = new URLSearchParams(location.search); // ?threads=1 and ?webgpu=off (or always), for comparison
const WISH = {
  ...(asked.has("threads") ? { threads: Number(asked.get("threads")) } : {}),
  webgpu: { off: false, always: "always" }[asked.get("webgpu")] ?? true,
};

const RELOAD = 3000; // milliseconds

let worker = null;
let ready = null;

export const engine = {
  privacy: "Your photograph stays in this browser. Nothing is uploaded.",

  /** @returns {Promise<object[]>} as GET /v1/models of the server says, timed in this browser */
  async models() {
    await isolate();
    return start();
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
    onProgress({ phase: "preparing" });
    await abortable(start(), signal);
    const result = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if ("done" in data) onProgress({ phase: "working", ...data });
        else if ("blob" in data) resolve(data.blob);
        else reject(new Problem(data.failed.title, data.failed.detail));
      };
      worker.onerror = (event) => reject(broken(event));
      worker.postMessage({ file, member: member.name });
    });
    return abortable(result, signal, stop);
  },
};

/** The worker with its models, started when it is first needed or was stopped. */
function start() {
  ready ??= new Promise((resolve, reject) => {
    worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => {
      if ("members" in data) return resolve(data.members);
      stop();
      return reject(new Problem(data.failed.title, data.failed.detail));
    };
    worker.onerror = (event) => {
      stop();
      reject(broken(event));
    };
    worker.postMessage({ wish: WISH });
  });
  return ready;
}

/** End the work at once, in the middle of a tile: memory comes back, and the next photograph starts a new worker. */
function stop() {
  worker?.terminate();
  [worker, ready] = [null, null];
}

function abortable(promise, signal, onAbort = () => {}) {
  return new Promise((resolve, reject) => {
    const abort = () => {
      onAbort();
      reject(signal.reason);
    };
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    return promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function broken(event) {
  const detail = event.message ?? "Serve the folder over http (python -m http.server); a browser opens no modules from files.";
  return new Problem("The engine of this page did not start", detail);
}

/**
 * Threads need a page that is cross-origin isolated: a service worker adds the headers where the server has none. It loads
 * the page once more, which is waited for, so that nothing large is fetched twice.
 */
async function isolate() {
  const able = self.isSecureContext && navigator.serviceWorker && !navigator.serviceWorker.controller;
  if (self.crossOriginIsolated || !able || asked.get("threads") === "1") return;
  self.coi = { quiet: true };
  const script = Object.assign(document.createElement("script"), { src: "coi-serviceworker.js" });
  document.head.append(script);
  await new Promise((resolve) => setTimeout(resolve, RELOAD)); // where it may not work after all
}
