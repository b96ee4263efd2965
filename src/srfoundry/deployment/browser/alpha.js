// Transparency, as `srfoundry upscale` handles it: the network sees the colours of what is visible nearby where a pixel
// is hidden, and alpha itself is enlarged by MATLAB's bicubic.

/**
 * Give pixels of alpha 0 the colour of what is visible nearby, weighted by its alpha; in place.
 *
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA of 8 bits, not premultiplied
 */
export function reveal({ data, width, height }) {
  const count = width * height;
  const [colour, weight] = [new Float32Array(3 * count), new Float32Array(count)];
  let [some, all] = [false, true];
  for (let at = 0; at < count; at += 1) {
    weight[at] = data[4 * at + 3] / 255;
    some ||= weight[at] > 0;
    all &&= weight[at] > 0;
    for (let band = 0; band < 3; band += 1) colour[3 * at + band] = data[4 * at + band] * weight[at];
  }
  if (!some || all) return;
  const found = filled(colour, weight, width, height);
  for (let at = 0; at < count; at += 1) {
    for (let band = 0; band < 3; band += 1) data[4 * at + band] = Math.floor(found[3 * at + band] + 0.5);
  }
}

/**
 * Alpha at another size, row by row.
 *
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA of 8 bits
 * @param {number} scale a whole number
 * @returns {(y: number) => Uint8Array} the enlarged row y; rows are asked for from the top down
 */
export function enlargedAlpha({ data, width, height }, scale) {
  const [down, right] = [taps(height, scale), taps(width, scale)];
  const wide = new Map(); // input rows at the output's width
  const row = (y) => {
    if (!wide.has(y)) {
      const made = Float32Array.from(right, ({ places, shares }) => {
        let sum = 0;
        for (let tap = 0; tap < places.length; tap += 1) sum += (data[4 * (y * width + places[tap]) + 3] / 255) * shares[tap];
        return sum;
      });
      if (wide.size > 8) wide.delete(wide.keys().next().value);
      wide.set(y, made);
    }
    return wide.get(y);
  };
  return (y) => {
    const { places, shares } = down[y];
    const rows = places.map(row);
    return Uint8Array.from({ length: width * scale }, (_, x) => {
      let sum = 0;
      for (let tap = 0; tap < rows.length; tap += 1) sum += rows[tap][x] * shares[tap];
      return Math.floor(Math.min(Math.max(sum, 0), 1) * 255 + 0.5);
    });
  };
}

/** Weighted means of colour; where there is no weight, those of blocks of 2x2, and so on upwards. */
function filled(colour, weight, width, height) {
  const found = new Float32Array(colour.length);
  let all = true;
  for (let at = 0; at < weight.length; at += 1) {
    all &&= weight[at] > 0;
    for (let band = 0; band < 3; band += 1) found[3 * at + band] = colour[3 * at + band] / Math.max(weight[at], 1e-12);
  }
  if (all) return found;
  const [wide, tall] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const [colours, sums] = [new Float32Array(3 * wide * tall), new Float32Array(wide * tall)];
  const block = (at) => Math.floor(Math.floor(at / width) / 2) * wide + Math.floor((at % width) / 2);
  for (let at = 0; at < weight.length; at += 1) {
    sums[block(at)] += weight[at];
    for (let band = 0; band < 3; band += 1) colours[3 * block(at) + band] += colour[3 * at + band];
  }
  const coarse = filled(colours, sums, wide, tall);
  for (let at = 0; at < weight.length; at += 1) {
    if (weight[at] > 0) continue;
    for (let band = 0; band < 3; band += 1) found[3 * at + band] = coarse[3 * block(at) + band];
  }
  return found;
}

/** Where each output sample looks, mirrored at the border, and by what share. */
function taps(extent, scale) {
  const inside = (place) => {
    const folded = ((place % (2 * extent)) + 2 * extent) % (2 * extent);
    return folded < extent ? folded : 2 * extent - 1 - folded;
  };
  return Array.from({ length: extent * scale }, (_, index) => {
    const centre = (index + 0.5) / scale - 0.5;
    const first = Math.floor(centre) - 1;
    const places = [first, first + 1, first + 2, first + 3];
    const shares = places.map((place) => keys(Math.abs(centre - place)));
    const sum = shares.reduce((total, share) => total + share, 0);
    return { places: places.map(inside), shares: shares.map((share) => share / sum) };
  });
}

/** Keys' cubic convolution kernel with a = -0.5. */
function keys(distance) {
  if (distance <= 1) return (1.5 * distance - 2.5) * distance * distance + 1;
  return distance <= 2 ? ((-0.5 * distance + 2.5) * distance - 4) * distance + 2 : 0;
}
