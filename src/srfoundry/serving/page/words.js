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

/** As an estimate. @param {number} seconds */
export function about(seconds) {
  return seconds < 1 ? "a moment" : `about ${duration(seconds)}`;
}

/** What each member is for, beside the others: the quickest, the best, else its name says it. */
export function standing(member, members) {
  const least = (key) => members.every((other) => key(member) <= key(other));
  if (members.length > 1 && least((each) => each.seconds_per_megapixel ?? Infinity)) return "Quickest";
  if (members.length > 1 && least((each) => -(each.psnr_y ?? -Infinity))) return "Best";
  return member.name;
}
