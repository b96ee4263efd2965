// The result as a file of the kind that a person wants. The engines give PNGs; other kinds are made here.

import { Problem } from "./problem.js";

const QUALITY = 0.95;
const ENDINGS = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };

/**
 * A picture in another format.
 *
 * @param {Blob} png
 * @param {string} type image/png, image/jpeg or image/webp
 * @returns {Promise<Blob>}
 */
export async function converted(png, type) {
  if (type === "image/png") return png;
  const bitmap = await createImageBitmap(png).catch(() => null);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap?.width ?? 0, bitmap?.height ?? 0];
  const context = canvas.getContext("2d");
  if (type === "image/jpeg" && context !== null) {
    context.fillStyle = "#fff"; // it has no transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  if (bitmap !== null) context?.drawImage(bitmap, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
  if (blob?.type === type) return blob;
  throw new Problem("This browser cannot write the picture in this format", "It may be too large for it; save it as PNG.");
}

/** Whether this browser writes a format. */
export async function writes(type) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1, 1];
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type));
  return blob?.type === type;
}

/**
 * Hand a file to the person.
 *
 * @param {Blob} blob
 * @param {string} source name of the photograph
 * @param {number} scale
 */
export function save(blob, source, scale) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${source.replace(/\.[^.]+$/, "") || "photograph"}_x${scale}.${ENDINGS[blob.type]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
