// The browser build's work, off the page's own thread: decodes, enlarges tile by tile, writes a PNG.
//
// Messages in: {wish} once, then {file, member}. Out: {members}, {done, tiles}, {blob}, {failed: {title, detail}}.

import { enlargedAlpha, reveal } from "./alpha.js";
import { decode } from "./photograph.js";
import { PngWriter } from "./png.js";
import { Sessions, threads } from "./sessions.js";
import { enlarge } from "./tiling.js";

let sessions = null;

self.onmessage = async ({ data: asked }) => {
  try {
    if ("wish" in asked) await prepare(asked.wish);
    else self.postMessage({ blob: await upscale(asked.file, asked.member) });
  } catch (error) {
    self.postMessage({ failed: explained(error) });
  }
};

async function prepare(wish) {
  sessions = new Sessions({ ...wish, threads: wish.threads ?? threads() });
  const members = [];
  for (const card of await sessions.cards()) {
    const { seconds, place } = await sessions.load(card.name);
    members.push({ ...card, seconds_per_megapixel: seconds, place, threads: sessions.wish.threads });
  }
  self.postMessage({ members });
}

async function upscale(file, member) {
  const { card, run } = await sessions.load(member);
  const image = await decode(file).catch(() => {
    const problem = new Error("It may be damaged, or of a kind that this browser does not show; save it as JPEG or PNG.");
    throw Object.assign(problem, { title: "This file could not be read as a picture" });
  });
  const { scale } = card;
  const samples = (image.grey ? 1 : 3) + (image.clear ? 1 : 0);
  const writer = new PngWriter(image.width * scale, image.height * scale, samples);
  await writer.describe(image.chunks, image.profile);
  const alpha = image.clear ? enlargedAlpha(image, scale) : null;
  if (image.clear) reveal(image);
  let row = 0;
  const write = async (pixels, count) => {
    const made = await writer.write(composed(pixels, count, image.width * scale, image.grey, alpha, row));
    row += count;
    return made;
  };
  await enlarge(image, card, run, write, (done, tiles) => self.postMessage({ done, tiles }));
  return writer.finish();
}

/** Rows of RGB as the file has them: grey where the photograph is (Pillow's luma), with alpha where it has some. */
function composed(pixels, count, width, grey, alpha, first) {
  if (!grey && alpha === null) return pixels;
  const samples = (grey ? 1 : 3) + (alpha === null ? 0 : 1);
  const made = new Uint8Array(count * width * samples);
  for (let y = 0; y < count; y += 1) {
    const clear = alpha === null ? null : alpha(first + y);
    for (let x = 0; x < width; x += 1) {
      const [from, to] = [3 * (y * width + x), samples * (y * width + x)];
      const [red, green, blue] = pixels.subarray(from, from + 3);
      if (grey) made[to] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
      else made.set([red, green, blue], to);
      if (clear !== null) made[to + samples - 1] = clear[x];
    }
  }
  return made;
}

function explained(error) {
  const memory = error instanceof RangeError || /memory|allocat/i.test(error.message);
  if (memory) return { title: "There is not enough memory for this photograph", detail: "Close other pages, or take a smaller one." };
  return { title: error.title ?? "The photograph could not be enlarged", detail: error.message };
}
