// Tiles, as srfoundry/imaging/tiling.py has them: the same grid, the same cross-fades, the same order of additions in
// single precision, so that a photograph comes out of a browser as it comes out of `srfoundry upscale`.

const SLIMMEST = 4; // times its share that a tile's side may be larger or smaller where that spares pixels
const SMALLEST = 4; // rows or columns that a graph takes; smaller images are padded

/**
 * The grid for an image of this size that computes fewest pixels, with tiles of no more than `tile` squared.
 *
 * @param {number} height pixels of the image
 * @param {number} width pixels of the image
 * @param {number} tile side of the square that is the most that may run at once, pixels
 * @param {number} overlap pixels that each tile reaches beyond its border
 * @returns {{rows: number[], columns: number[], tall: number, wide: number, overlap: number, count: number,
 *   computed: number}} first rows and columns of the tiles, their size, how many there are, and pixels that are run
 */
export function fit(height, width, tile, overlap) {
  if (overlap < 0 || tile <= 2 * overlap) throw new RangeError(`tile ${tile} has no room for overlap ${overlap}`);
  const shares = Math.ceil(Math.max(height - 2 * overlap, 1) / (tile - 2 * overlap));
  let best = null;
  for (let rows = 1; rows <= Math.min(SLIMMEST * shares, height); rows += 1) {
    const tall = side(height, rows, overlap);
    const room = Math.min(Math.floor((tile * tile) / tall), SLIMMEST * tile);
    if (tall > SLIMMEST * tile || (room < width && room <= 2 * overlap)) continue;
    const columns = room >= width ? 1 : Math.ceil((width - 2 * overlap) / (room - 2 * overlap));
    const wide = side(width, columns, overlap);
    const count = rows * columns;
    const computed = count * tall * wide;
    if (best === null || computed < best.computed || (computed === best.computed && count < best.count)) {
      const places = { rows: starts(height, tall, rows), columns: starts(width, wide, columns) };
      best = { ...places, tall, wide, overlap, count, computed };
    }
  }
  return best;
}

/**
 * Blending weight of each tile along one axis, per output pixel of the tile; over all tiles they sum to one.
 *
 * @param {number[]} first rows or columns where tiles begin
 * @param {number} extent of a tile along this axis, input pixels
 * @param {number} overlap input pixels
 * @param {number} scale of the enlargement
 * @returns {Float32Array[]} one for each tile
 */
export function weights(first, extent, overlap, scale) {
  const context = Math.floor(overlap / 2);
  const rise = (index, position) => {
    if (index === 0) return 1;
    if (index === first.length) return 0;
    const begin = first[index] + context;
    const end = first[index - 1] + extent - context;
    return Math.min(Math.max((position - begin) / Math.max(end - begin, 1e-6), 0), 1);
  };
  return first.map((start, index) =>
    Float32Array.from({ length: extent * scale }, (_, at) => {
      const position = start + (at + 0.5) / scale;
      return rise(index, position) - rise(index + 1, position);
    }),
  );
}

/**
 * Enlarge an image tile by tile and hand on its finished rows from the top down; two rows of tiles are all that is held.
 *
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA of 8 bits
 * @param {{scale: number, tile: number, overlap: number, multiple_of: number}} card of the model
 * @param {(tile: Float32Array, height: number, width: number) => Promise<Float32Array>} run enlarges planes in [0, 1]
 * @param {(rows: Uint8Array, count: number) => Promise<void>} write takes RGB rows of 8 bits as they are finished
 * @param {(done: number, tiles: number) => void} onTile called after each tile
 */
export async function enlarge(image, card, run, write, onTile) {
  const { scale } = card;
  const grid = fit(image.height, image.width, card.tile, card.overlap);
  const [tall, wide, across] = [grid.tall * scale, grid.wide * scale, image.width * scale];
  const down = weights(grid.rows, grid.tall, grid.overlap, scale);
  const right = weights(grid.columns, grid.wide, grid.overlap, scale);
  const held = new Float32Array(3 * tall * across);
  let done = 0;
  for (const [i, top] of grid.rows.entries()) {
    for (const [j, left] of grid.columns.entries()) {
      const piece = await padded(run, cut(image, top, left, grid.tall, grid.wide), grid.tall, grid.wide, card);
      if (piece.length !== 3 * tall * wide) throw new Error("the model returned another size than it should");
      add(held, piece, { tall, wide, across, left: left * scale }, grid.count > 1 ? [down[i], right[j]] : null);
      done += 1;
      onTile(done, grid.count);
    }
    const next = i + 1 < grid.rows.length ? grid.rows[i + 1] : top + grid.tall;
    const finished = (next - top) * scale;
    await write(levels(held, tall, across, finished), finished);
    shift(held, tall, across, finished);
  }
}

/** Pixels of each of `count` equal tiles that cover `extent` and share twice the overlap. */
function side(extent, count, overlap) {
  return Math.min(Math.ceil((extent + (count - 1) * 2 * overlap) / count), extent);
}

function starts(extent, length, count) {
  return Array.from({ length: count }, (_, index) => Math.floor(((extent - length) * index) / Math.max(count - 1, 1)));
}

/** A part of the image as planes in [0, 1]. */
function cut(image, top, left, tall, wide) {
  const planes = new Float32Array(3 * tall * wide);
  for (let y = 0; y < tall; y += 1) {
    let from = 4 * ((top + y) * image.width + left);
    for (let to = y * wide; to < (y + 1) * wide; to += 1, from += 4) {
      planes[to] = image.data[from] / 255;
      planes[to + tall * wide] = image.data[from + 1] / 255;
      planes[to + 2 * tall * wide] = image.data[from + 2] / 255;
    }
  }
  return planes;
}

/** Run with edges repeated up to what the graph takes, the result cropped. */
async function padded(run, planes, tall, wide, { multiple_of: multiple, scale }) {
  const height = tall + Math.max((multiple - (tall % multiple)) % multiple, SMALLEST - tall, 0);
  const width = wide + Math.max((multiple - (wide % multiple)) % multiple, SMALLEST - wide, 0);
  if (height === tall && width === wide) return run(planes, tall, wide);
  const more = new Float32Array(3 * height * width);
  for (let at = 0; at < more.length; at += 1) {
    const [plane, y, x] = [Math.floor(at / (height * width)), Math.floor(at / width) % height, at % width];
    more[at] = planes[(plane * tall + Math.min(y, tall - 1)) * wide + Math.min(x, wide - 1)];
  }
  const whole = await run(more, height, width);
  const part = new Float32Array(3 * tall * wide * scale * scale);
  for (let row = 0; row < 3 * tall * scale; row += 1) {
    const plane = Math.floor(row / (tall * scale));
    const from = (plane * height * scale + (row % (tall * scale))) * width * scale;
    part.set(whole.subarray(from, from + wide * scale), row * wide * scale);
  }
  return part;
}

/** Add a tile to the rows that are held; `fades` are its weights down and across, or null for 1. */
function add(held, piece, { tall, wide, across, left }, fades) {
  for (let row = 0; row < 3 * tall; row += 1) {
    const to = row * across + left;
    const from = row * wide;
    if (fades === null) {
      held.set(piece.subarray(from, from + wide), to);
      continue;
    }
    const [down, right] = [fades[0][row % tall], fades[1]];
    for (let x = 0; x < wide; x += 1) {
      held[to + x] += Math.fround(piece[from + x] * Math.fround(down * right[x]));
    }
  }
}

/** The first rows as RGB of 8 bits, rounded half up. */
function levels(held, tall, across, rows) {
  const made = new Uint8Array(3 * rows * across);
  for (let plane = 0; plane < 3; plane += 1) {
    let from = plane * tall * across;
    for (let to = plane; to < made.length; to += 3, from += 1) {
      made[to] = Math.floor(Math.min(Math.max(held[from], 0), 1) * 255 + 0.5);
    }
  }
  return made;
}

/** Move what is begun to the top, and clear the rest. */
function shift(held, tall, across, rows) {
  for (let plane = 0; plane < 3; plane += 1) {
    const [start, end] = [plane * tall * across, (plane + 1) * tall * across];
    held.copyWithin(start, start + rows * across, end);
    held.fill(0, end - rows * across, end);
  }
}
