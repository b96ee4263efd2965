// Before and after under a slider, whole or pixel for pixel.
//
// The pane scrolls by the browser's own means (finger, wheel, keys, bars) over a room as large as the picture; the slider
// stays in sight, and the two pictures in it are moved along.

const HIGHEST = 0.7; // of the window's height that the pane takes

const [pane, room, slider] = ["pane", "room", "slider"].map((id) => document.getElementById(id));
const pictures = ["before", "after"].map((id) => document.getElementById(id));
const zooms = document.getElementById("zoom");
let shown = null; // width and height of the enlarged picture, pixels

/**
 * Show a pair.
 *
 * @param {string} before address of a picture
 * @param {string} after address of the enlarged one
 * @returns {Promise<void>} once both are decoded
 */
export async function show(before, after) {
  [pictures[0].src, pictures[1].src] = [before, after];
  await Promise.all(pictures.map((picture) => picture.decode().catch(() => {})));
  shown = { width: pictures[1].naturalWidth, height: pictures[1].naturalHeight };
  slider.value = 50;
  const whole = fitting() >= 1 / devicePixelRatio;
  choose(whole ? "fit" : "1");
}

/** Put the picture's size in place, once the pane is visible. */
export function lay() {
  if (shown === null || pane.clientWidth === 0) return;
  const wish = zooms.querySelector("input:checked")?.value ?? "fit";
  const zoom = wish === "fit" ? fitting() : Number(wish) / devicePixelRatio;
  const laid = room.clientWidth > 0; // else it is new: its middle is shown
  const centre = [
    laid ? (pane.scrollLeft + pane.clientWidth / 2) / room.clientWidth : 0.5,
    laid ? (pane.scrollTop + pane.clientHeight / 2) / room.clientHeight : 0.5,
  ];
  const [width, height] = [shown.width * zoom, shown.height * zoom];
  pane.style.height = `${Math.min(height, HIGHEST * innerHeight)}px`;
  [room.style.width, room.style.height] = [`${width}px`, `${height}px`];
  const across = Math.min(width, pane.clientWidth);
  slider.style.setProperty("--w", `${across}px`);
  slider.style.setProperty("--h", `${Math.min(height, pane.clientHeight)}px`);
  slider.style.setProperty("--width", `${width}px`);
  slider.style.setProperty("--height", `${height}px`);
  pane.scrollLeft = centre[0] * width - pane.clientWidth / 2;
  pane.scrollTop = centre[1] * height - pane.clientHeight / 2;
  move();
}

function fitting() {
  const across = pane.parentElement.clientWidth;
  return Math.min(across / shown.width, (HIGHEST * innerHeight) / shown.height, 1);
}

function choose(value) {
  zooms.querySelector(`[value="${value}"]`).checked = true;
  [room.style.width, room.style.height] = ["0", "0"];
  lay();
}

function move() {
  slider.style.setProperty("--x", `${-pane.scrollLeft}px`);
  slider.style.setProperty("--y", `${-pane.scrollTop}px`);
}

function say() {
  const share = Math.round(slider.value);
  slider.setAttribute("aria-valuenow", String(share));
  slider.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
}

pane.addEventListener("scroll", move, { passive: true });
zooms.addEventListener("change", lay);
slider.addEventListener("slide", say);
slider.addEventListener("keydown", (event) => {
  if (["ArrowLeft", "ArrowRight"].includes(event.key)) event.preventDefault(); // they move the slider, not the pane
});
new ResizeObserver(lay).observe(pane.parentElement);

pane.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "mouse" || event.target.closest(".handle")) return; // fingers scroll by themselves
  const from = { x: event.clientX + pane.scrollLeft, y: event.clientY + pane.scrollTop };
  const pull = (moved) => pane.scrollTo(from.x - moved.clientX, from.y - moved.clientY);
  const end = () => {
    removeEventListener("pointermove", pull);
    pane.classList.remove("pulled");
  };
  pane.classList.add("pulled");
  addEventListener("pointermove", pull);
  addEventListener("pointerup", end, { once: true });
});
