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

/** Whether a member is for clean small images. */
export function clean(member) {
  return (member.degradation ?? "bicubic") === "bicubic";
}

/** What each member is for, beside the others: the quickest, the best, else its name says it. */
export function standing(member, members) {
  if (member.auto) return "Whichever fits";
  if (!clean(member)) return "For real photographs";
  const alike = members.filter((each) => clean(each) && !each.auto); // PSNR on clean images and on damaged ones do not compare
  const least = (key) => alike.every((other) => key(member) <= key(other));
  if (alike.length > 1 && least((each) => each.seconds_per_megapixel ?? Infinity)) return "Quickest";
  if (alike.length > 1 && least((each) => -(each.psnr_y ?? -Infinity))) return "Best";
  return member.name;
}
