// Models in ONNX Runtime: by WebGPU where there is one whose numbers agree and which is quicker, else by WebAssembly with
// SIMD, and with threads where the page is cross-origin isolated.

const FOLDER = new URL("./onnxruntime-web/", import.meta.url).href;
const [PROVEN, TIMED] = [48, 128]; // sides of the tiles that a model is tried and timed on
const TURNS = 3;
const PATIENCE = 300; // milliseconds that the timing may take
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
    const plain = { card, place: "wasm", run: await this.open("ort.wasm.min.mjs", blob, "wasm") };
    const proof = await noise(plain.run, card, PROVEN);
    plain.seconds = await timed(plain.run, card);
    const always = this.wish.webgpu === "always";
    if (!this.wish.webgpu || !(await gpu(always))) return plain;
    try {
      const other = { card, place: "webgpu", run: await this.open("ort.jspi.min.mjs", blob, "webgpu") };
      const found = await noise(other.run, card, PROVEN);
      if (proof.some((value, at) => !(Math.abs(value - found[at]) <= TOLERANCE))) throw new Error("its numbers differ");
      other.seconds = always ? plain.seconds : await timed(other.run, card);
      return always || other.seconds < plain.seconds ? other : plain;
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
      const { restored } = await session.run({ low }, ["restored"]); // a kernel beside it would stay on the GPU
      const data = await restored.getData();
      restored.dispose();
      return data;
    };
  }
}

/** Seconds for a megapixel of input: the quickest run of a tile of noise, after one that finds memory. */
async function timed(run, card) {
  let least = Infinity;
  for (let turn = 0; turn <= TURNS && (turn < 2 || least * turn < PATIENCE); turn += 1) {
    const began = performance.now();
    await noise(run, card, TIMED);
    if (turn > 0) least = Math.min(least, performance.now() - began);
  }
  return least / 1e3 / (TIMED * TIMED / 1e6);
}

/** What a model makes of a tile of noise, the same each time. */
async function noise(run, card, least) {
  const side = card.multiple_of * Math.ceil(least / card.multiple_of);
  let state = 1;
  const tile = Float32Array.from({ length: 3 * side * side }, () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  });
  return Float32Array.from(await run(tile, side, side));
}

/** Whether there is a GPU; one that is only pretended by the processor counts where it is wanted always. */
async function gpu(always) {
  if (!("gpu" in navigator) || !("Suspending" in WebAssembly)) return false; // ONNX Runtime waits for it by JSPI
  const adapter = await navigator.gpu.requestAdapter();
  return adapter !== null && (always || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
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
