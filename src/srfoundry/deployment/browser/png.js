// A PNG written row by row: no canvas, whose sides are bounded (a phone's 12 megapixels enlarged are too many for one) and
// which loses the colours of what is nearly transparent. The browser's own zlib compresses.

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const KINDS = { 1: 0, 2: 4, 3: 2, 4: 6 }; // PNG's colour type by samples a pixel
const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let sum = index;
  for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? 0xedb88320 ^ (sum >>> 1) : sum >>> 1;
  return sum;
});

/** Takes rows of 8 bits from the top down; `finish` gives the file. */
export class PngWriter {
  /**
   * @param {number} width pixels
   * @param {number} height pixels
   * @param {number} samples a pixel: 1 grey, 2 with alpha, 3 RGB, 4 with alpha
   */
  constructor(width, height, samples) {
    const size = new DataView(new ArrayBuffer(13));
    size.setUint32(0, width);
    size.setUint32(4, height);
    size.setUint8(8, 8);
    size.setUint8(9, KINDS[samples]);
    this.samples = samples;
    this.stride = width * samples;
    this.above = new Uint8Array(this.stride);
    this.parts = [SIGNATURE, ...chunk("IHDR", new Uint8Array(size.buffer))];
    const zlib = new CompressionStream("deflate");
    this.input = zlib.writable.getWriter();
    this.packed = new Response(zlib.readable).arrayBuffer();
    this.packed.catch(() => {}); // whoever awaits it gets the error
  }

  /**
   * How the pixels are to be shown; before any row.
   *
   * @param {{name: string, data: Uint8Array}[]} chunks of another PNG, as they are
   * @param {Uint8Array | null} profile ICC
   */
  async describe(chunks, profile) {
    for (const { name, data } of chunks) this.parts.push(...chunk(name, data));
    if (profile !== null) {
      const zlib = new Blob([profile]).stream().pipeThrough(new CompressionStream("deflate"));
      const packed = new Uint8Array(await new Response(zlib).arrayBuffer());
      this.parts.push(...chunk("iCCP", join([new TextEncoder().encode("ICC profile\0\0"), packed])));
    }
  }

  /** @param {Uint8Array} rows one or more whole rows */
  async write(rows) {
    const [{ samples, stride }, count] = [this, rows.length / this.stride];
    const made = new Uint8Array(count * (stride + 1));
    for (let row = 0; row < count; row += 1) {
      const own = rows.subarray(row * stride, (row + 1) * stride);
      filter(own, this.above, samples, made.subarray(row * (stride + 1), (row + 1) * (stride + 1)));
      this.above = own;
    }
    await this.input.write(made);
  }

  /** @returns {Promise<Blob>} the file */
  async finish() {
    await this.input.close();
    const body = new Uint8Array(await this.packed);
    return new Blob([...this.parts, ...chunk("IDAT", body), ...chunk("IEND", new Uint8Array(0))], { type: "image/png" });
  }
}

/** Paeth's filter, the best single one for photographs. */
function filter(own, above, samples, made) {
  made[0] = 4;
  for (let at = 0; at < own.length; at += 1) {
    const up = above[at];
    const left = at < samples ? 0 : own[at - samples];
    const corner = at < samples ? 0 : above[at - samples];
    const [pa, pb, pc] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    made[at + 1] = own[at] - (pa <= pb && pa <= pc ? left : pb <= pc ? up : corner);
  }
}

function chunk(name, data) {
  const head = new DataView(new ArrayBuffer(8));
  head.setUint32(0, data.length);
  for (let at = 0; at < 4; at += 1) head.setUint8(4 + at, name.charCodeAt(at));
  const check = new DataView(new ArrayBuffer(4));
  let sum = 0xffffffff;
  for (const bytes of [new Uint8Array(head.buffer, 4), data]) {
    for (let at = 0; at < bytes.length; at += 1) sum = TABLE[(sum ^ bytes[at]) & 255] ^ (sum >>> 8);
  }
  check.setUint32(0, (sum ^ 0xffffffff) >>> 0);
  return [head.buffer, data, check.buffer];
}

function join(parts) {
  const made = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (made.set(part, at), at + part.length), 0);
  return made;
}
