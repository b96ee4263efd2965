// A photograph's file: its pixels as they are stored, upright, and what else must come along for it to look the same
// (greyness, colour profile, resolution). Canvas would convert colours; here they stay the file's own.

const BAND = 1 << 22; // pixels that are read through a canvas at once: phones allow small ones only
const SHOWN = ["cICP", "iCCP", "sRGB", "gAMA", "cHRM", "pHYs"]; // chunks of a PNG that say how it is to be shown

/**
 * Decode a file.
 *
 * @param {Blob} file in any format that this browser shows
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number, clear: boolean, grey: boolean,
 *   chunks: {name: string, data: Uint8Array}[], profile: Uint8Array | null}>} RGBA; whether some of it is transparent;
 *   whether the file is grey; chunks that a PNG of it must have, or its ICC profile
 */
export async function decode(file) {
  const said = describe(new Uint8Array(await file.arrayBuffer()));
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  try {
    const { width, height } = bitmap;
    const data = new Uint8ClampedArray(4 * width * height);
    const rows = Math.max(1, Math.min(height, Math.floor(BAND / width)));
    const canvas = new OffscreenCanvas(width, rows);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.globalCompositeOperation = "copy";
    for (let top = 0; top < height; top += rows) {
      const count = Math.min(rows, height - top);
      context.drawImage(bitmap, 0, -top);
      data.set(context.getImageData(0, 0, width, count).data, 4 * top * width);
    }
    let clear = false;
    for (let at = 3; at < data.length && !clear; at += 4) clear = data[at] !== 255;
    return { data: clear ? await exact(file, data) : data, width, height, clear, ...said };
  } finally {
    bitmap.close();
  }
}

/**
 * Colours of what is partly transparent as the file has them: a canvas gives them rounded, for it keeps them multiplied
 * by alpha. WebCodecs does better where a browser has it; it must agree with the canvas in all that is exact there.
 */
async function exact(file, data) {
  if (!("ImageDecoder" in self) || !(await ImageDecoder.isTypeSupported(file.type))) return data;
  const decoder = new ImageDecoder({ data: await file.arrayBuffer(), type: file.type, colorSpaceConversion: "none" });
  try {
    const { image } = await decoder.decode();
    const found = new Uint8ClampedArray(data.length);
    const order = { RGBA: [0, 1, 2], BGRA: [2, 1, 0] }[image.format];
    if (order === undefined || image.allocationSize() !== found.length) return data;
    await image.copyTo(found);
    image.close();
    for (let at = 0; at < found.length; at += 4) {
      [found[at], found[at + 1], found[at + 2]] = order.map((band) => found[at + band]);
      const same = found[at] === data[at] && found[at + 1] === data[at + 1] && found[at + 2] === data[at + 2];
      if (found[at + 3] !== data[at + 3] || (found[at + 3] === 255 && !same)) return data;
    }
    return found;
  } catch {
    return data;
  } finally {
    decoder.close();
  }
}

/**
 * What a file says of its colours.
 *
 * @param {Uint8Array} bytes of the file
 */
export function describe(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const plain = { grey: false, chunks: [], profile: null };
  try {
    if (bytes.length > 33 && view.getUint32(0) === 0x89504e47) return { ...plain, ...ofPng(bytes, view) };
    if (bytes.length > 4 && view.getUint16(0) === 0xffd8) return { ...plain, ...ofJpeg(bytes, view) };
    if (bytes.length > 16 && text(bytes, 0, 4) === "RIFF") return { ...plain, ...ofWebp(bytes, view) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut short: decoding has the last word
  }
  return plain;
}

function ofPng(bytes, view) {
  const chunks = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const [length, name] = [view.getUint32(at), text(bytes, at + 4, 4)];
    if (name === "IDAT") break;
    if (SHOWN.includes(name)) chunks.push({ name, data: bytes.slice(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return { grey: bytes[25] === 0 || bytes[25] === 4, chunks };
}

function ofJpeg(bytes, view) {
  const parts = [];
  for (let at = 2; at + 4 <= bytes.length; ) {
    const [marker, length] = [view.getUint16(at), view.getUint16(at + 2)];
    if (marker === 0xffda || marker >> 8 !== 0xff) break;
    if (marker === 0xffe2 && text(bytes, at + 4, 12) === "ICC_PROFILE\0") {
      parts[bytes[at + 16]] = bytes.slice(at + 18, at + 2 + length);
    }
    const frame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (frame) return { grey: bytes[at + 9] === 1, profile: joined(parts, bytes[at + 9] === 1) };
    at += 2 + length;
  }
  return {};
}

function ofWebp(bytes, view) {
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    if (text(bytes, at, 4) === "ICCP") return { profile: joined([bytes.slice(at + 8, at + 8 + length)], false) };
    at += 8 + length + (length % 2);
  }
  return {};
}

/** A profile of the pixels' own kind; one for CMYK says nothing of what a browser decodes. */
function joined(parts, grey) {
  const profile = new Uint8Array(parts.flatMap((part) => [...part]));
  return text(profile, 16, 4) === (grey ? "GRAY" : "RGB ") ? profile : null;
}

function text(bytes, start, length) {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}
