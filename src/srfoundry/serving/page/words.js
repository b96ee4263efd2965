// Figures in words.

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** @param {number} bytes */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** An estimate, @param {number} seconds */
export function about(seconds) {
  return seconds < 1 ? "a moment" : `about ${duration(seconds)}`;
}

/** What each member is for, beside the others: the quickest, the best, or between them. */
export function standing(member, members) {
  if (members.length === 1) return "Standard";
  const least = (key) => [...members].sort(key)[0] === member;
  if (least((a, b) => a.parameters - b.parameters)) return "Quickest";
  if (least((a, b) => b.psnr_y - a.psnr_y)) return "Best";
  return "Balanced";
}
