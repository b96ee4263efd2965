// Models in ONNX Runtime: by WebGPU where there is one whose numbers agree and which is quicker, else by WebAssembly with
// SIMD, and with threads where the page is cross-origin isolated.

const FOLDER = new URL("./onnxruntime-web/", import.meta.url).href;
const TRIED = 128; // side of the tile that a model is tried and timed on
const TURNS = 3;
const TOLERANCE = 1 / 1020; // a quarter of a level of 8 bits: largest difference between WebGPU and WebAssembly

/** How many threads help: one a core, half of them where there are many, which are two to a core. */
export function threads() {
  if (!self.crossOriginIsolated) return 1;
  const cores = navigator.hardwareConcurrency || 1;
  return cores <= 4 ? cores : Math.min(8, Math.ceil(cores / 2));
}

/** The models of this folder, each loaded when it is first asked for. */
export class Sessions {
  /** @param {{threads: number, webgpu: boolean}} wish how many threads, and whether a GPU may be tried */
  constructor(wish) {
    this.wish = wish;
    this.loaded = new Map();
    this.runtime = null;
    this.place = "wasm";
  }

  /** @returns {Promise<object[]>} the cards of models.json */
  async cards() {
    this.listed ??= await (await fetched("models.json")).json();
    return this.listed;
  }

  /**
   * A model, ready to run.
   *
   * @param {string} name
   * @returns {Promise<{card: object, seconds: number, place: string, run: (tile: Float32Array, height: number,
   *   width: number) => Promise<Float32Array>}>} `seconds` for a megapixel of input, as measured on a small tile
   */
  async load(name) {
    if (!this.loaded.has(name)) this.loaded.set(name, this.prepare(name));
    return this.loaded.get(name);
  }

  async prepare(name) {
    const card = (await this.cards()).find((each) => each.name === name);
    const blob = new Uint8Array(await (await fetched(card.file)).arrayBuffer());
    const plain = await this.tried(card, await this.open("ort.wasm.min.mjs", blob, "wasm"), "wasm");
    if (!this.wish.webgpu || !(await gpu())) return plain;
    try {
      const other = await this.tried(card, await this.open("ort.jspi.min.mjs", blob, "webgpu"), "webgpu");
      const apart = plain.result.reduce((worst, value, at) => Math.max(worst, Math.abs(value - other.result[at])), 0);
      return apart <= TOLERANCE && (other.seconds < plain.seconds || this.wish.webgpu === "always") ? other : plain;
    } catch (error) {
      console.info(`WebGPU is not used: ${error.message}`);
      return plain;
    }
  }

  async open(file, blob, place) {
    const runtime = await import(`${FOLDER}${file}`);
    runtime.env.wasm.wasmPaths = FOLDER;
    runtime.env.wasm.numThreads = this.wish.threads;
    runtime.env.logLevel = "error";
    const session = await runtime.InferenceSession.create(blob, { executionProviders: [place] });
    return async (tile, height, width) => {
      const low = new runtime.Tensor("float32", tile, [1, 3, height, width]);
      const { restored } = await session.run({ low });
      const data = await restored.getData();
      restored.dispose();
      return data;
    };
  }

  /** Run a tile of noise: the first time shaders are compiled and memory is found, then the quickest run counts. */
  async tried(card, run, place) {
    const side = card.multiple_of * Math.ceil(TRIED / card.multiple_of);
    let state = 1;
    const noise = Float32Array.from({ length: 3 * side * side }, () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    });
    const result = Float32Array.from(await run(noise.slice(), side, side));
    let least = Infinity;
    for (let turn = 0; turn < TURNS; turn += 1) {
      const began = performance.now();
      await run(noise.slice(), side, side);
      least = Math.min(least, performance.now() - began);
    }
    return { card, place, run, result, seconds: (least / 1e3 / (side * side)) * 1e6 };
  }
}

async function gpu() {
  if (!("gpu" in navigator) || !("Suspending" in WebAssembly)) return false; // ONNX Runtime waits for it by JSPI
  return (await navigator.gpu.requestAdapter()) !== null;
}

/**
 * A file of this folder.
 *
 * @param {string} name
 * @returns {Promise<Response>}
 */
async function fetched(name) {
  const reply = await fetch(new URL(name, import.meta.url));
  if (!reply.ok) throw new Error(`${name} is missing from this folder (status ${reply.status}); write it again`);
  return reply;
}
