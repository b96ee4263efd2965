// The page: what a person chooses, sees and gets. What enlarges is behind engine.js: a server, or this browser itself.

import "./vendor/img-comparison-slider/index.js";
import { engine } from "./engine.js";
import { Problem } from "./problem.js";
import { converted, save, writes } from "./saving.js";
import * as view from "./view.js";
import { about, clean, duration, size, standing } from "./words.js";

const $ = (id) => document.getElementById(id);
const TITLE = document.title;
const addresses = new Set(); // of pictures in memory
let photograph = null; // {file, width, height}
let members = [];
let running = null; // AbortController of the work
let result = null; // {blob, scale, taken}

/** empty, chosen, working or done: what is visible follows from it (page.css). */
function enter(state, said) {
  document.body.dataset.state = state;
  document.title = TITLE;
  $("about").textContent = photograph === null ? "" : described();
  $("start").disabled = members.length === 0;
  $("members").disabled = state === "working";
  if (said) $("status").textContent = said;
}

function described() {
  const { file, width, height } = photograph;
  const scale = result?.scale ?? chosenMember()?.scale;
  const becomes = scale ? ` → ${width * scale} × ${height * scale}` : "";
  return `${file.name || "Pasted picture"} · ${width} × ${height}${becomes} pixels${result?.taken ?? ""}`;
}

async function choose(file) {
  if (!file || document.body.dataset.state === "working") return;
  complain(null);
  forget();
  const address = kept(file);
  const picture = new Image();
  picture.src = address;
  try {
    await picture.decode();
  } catch {
    $("file").value = "";
    enter("empty");
    return complain(new Problem(`${file.name || "This"} is no picture that this browser can show`, "Choose a JPEG, PNG or WebP."));
  }
  photograph = { file, address, width: picture.naturalWidth, height: picture.naturalHeight };
  $("chosen").src = address;
  enter("chosen", `Chosen: ${described()}`);
  price();
  $("start").focus({ preventScroll: true });
}

async function enlarge(event) {
  event.preventDefault();
  if (photograph === null || running !== null) return;
  complain(null);
  const member = chosenMember();
  running = new AbortController();
  enter("working", `Enlarging: ${cost(member)}`);
  const clock = new Clock(estimate(member));
  $("cancel").focus({ preventScroll: true });
  try {
    const blob = await engine.upscale(photograph.file, member, { onProgress: clock.follow, signal: running.signal });
    clock.stop();
    const { chosen, why } = clock.state;
    result = { blob, scale: member.scale, taken: why ? ` · by ${chosen}, for ${why}` : "" };
    learn(members.find(({ name }) => name === chosen) ?? member, clock.working);
    enter("done", clock.elapsed < 1 ? "Done" : `Done in ${duration(clock.elapsed)}`);
    await view.show(photograph.address, kept(blob));
    $("slider").focus({ preventScroll: true });
  } catch (error) {
    const cancelled = running.signal.aborted;
    enter("chosen", cancelled ? "Cancelled" : "");
    if (!cancelled) complain(error);
    $("start").focus({ preventScroll: true });
  } finally {
    clock.stop();
    running = null;
  }
}

/** Progress, and how long it still takes: reckoned from the tiles so far, before the first one from the estimate. */
class Clock {
  constructor(estimated) {
    [this.began, this.estimated, this.state, this.first] = [performance.now(), estimated, { phase: "preparing" }, null];
    this.timer = setInterval(() => this.draw(), 250);
    this.follow = (state) => {
      if (state.phase === "working" && state.done > 0) {
        this.first ??= { at: performance.now(), done: state.done };
        this.last = performance.now();
        this.state = state;
      } else this.state = { ...this.state, ...state };
      this.draw();
    };
    this.draw();
  }

  get elapsed() {
    return (performance.now() - this.began) / 1e3;
  }

  /** Seconds that all tiles took, reckoned from those after the first: queue and start-up are none of it. */
  get working() {
    const { tiles = 0 } = this.state;
    if (this.first === null || tiles <= this.first.done) return this.elapsed;
    return ((this.last - this.first.at) / 1e3 / (tiles - this.first.done)) * tiles;
  }

  draw() {
    const { phase, done = 0, tiles = 0 } = this.state;
    const words = { sending: "Sending…", queued: "Waiting for its turn…", full: "The server is busy; waiting…", fetching: "Fetching…" };
    const share = tiles > 0 ? done / tiles : 0;
    if (phase === "working" && share > 0) $("bar").value = share;
    else $("bar").removeAttribute("value");
    const rest = share > 0 ? (this.elapsed / share) * (1 - share) : Math.max(this.estimated - this.elapsed, 0);
    $("left").textContent = words[phase] ?? (share === 1 ? "Writing the picture…" : rest >= 1 ? `${about(rest)} left` : "A moment…");
    if (share > 0) document.title = `${Math.round(100 * share)} % · ${TITLE}`;
  }

  stop() {
    clearInterval(this.timer);
  }
}

function chosenMember() {
  const name = document.querySelector("#members input:checked")?.value;
  return members.find((member) => member.name === name) ?? members[0];
}

function estimate(member) {
  const megapixels = photograph === null ? 0 : (photograph.width * photograph.height) / 1e6;
  return megapixels * (member?.seconds_per_megapixel ?? 0);
}

function cost(member) {
  const seconds = estimate(member);
  return seconds > 0 ? about(seconds) : "";
}

/** What was measured on a real photograph is worth more than what a self-test said. */
function learn(member, seconds) {
  const megapixels = (photograph.width * photograph.height) / 1e6;
  if (megapixels > 0.05) member.seconds_per_megapixel = seconds / megapixels;
  price();
}

/** What each member is for, and what it costs for this photograph. */
function price() {
  for (const member of members) {
    $(`title-${member.name}`).textContent = standing(member, members);
    $(`cost-${member.name}`).textContent = cost(member);
  }
}

/** The family as cards: what each is for, and what it costs. */
function list(found) {
  members = [...found].sort((a, b) => a.parameters - b.parameters);
  if (engine.chooses && members.some(clean) && !members.every(clean)) members.unshift(whicheverFits(members));
  const chosen = members.find((member) => member.default) ?? members[0];
  const cards = members.map((member) => {
    const card = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "member", value: member.name });
    radio.checked = member === chosen;
    const title = Object.assign(document.createElement("strong"), { id: `title-${member.name}` });
    const amount = Object.assign(document.createElement("span"), { id: `cost-${member.name}`, className: "cost" });
    const facts = Object.assign(document.createElement("span"), { className: "facts" });
    facts.append(...factsOf(member).map((fact) => Object.assign(document.createElement("span"), { textContent: fact })));
    card.append(radio, title, amount, facts);
    return card;
  });
  $("waiting").remove();
  $("members").append(...cards);
  price();
}

/** What stands for the member that fits the photograph; it costs about as much as the default. */
function whicheverFits(family) {
  return { ...family.find((member) => member.default), name: "auto", auto: true, default: true };
}

function factsOf(member) {
  if (member.auto) return [`looks at the photograph, then takes the model for clean or for damaged ones · ${member.scale}× larger`];
  const { gain_db: gain } = member;
  const quality = gain == null ? [] : [`${gain >= 0 ? "+" : "−"}${Math.abs(gain).toFixed(2)} dB PSNR over bicubic`];
  const purpose = clean(member) ? [] : ["for small images with blur, noise and JPEG"];
  return [...purpose, ...quality, `${member.name} · ${member.scale}× larger · ${size(member.bytes)}`];
}

function complain(error) {
  const place = $("problem");
  place.hidden = error === null;
  if (error === null) return place.replaceChildren();
  const title = Object.assign(document.createElement("strong"), { textContent: error.title ?? "Something went wrong" });
  const detail = Object.assign(document.createElement("span"), { textContent: error.detail ?? error.message });
  place.replaceChildren(title, detail);
  return place.scrollIntoView({ block: "nearest" });
}

function kept(blob) {
  const address = URL.createObjectURL(blob);
  addresses.add(address);
  return address;
}

function forget() {
  for (const address of addresses) URL.revokeObjectURL(address);
  addresses.clear();
  [photograph, result] = [null, null];
}

async function download() {
  try {
    save(await converted(result.blob, $("format").value), photograph.file.name, result.scale);
  } catch (error) {
    complain(error);
  }
}

$("file").addEventListener("change", () => choose($("file").files[0]));
$("form").addEventListener("submit", enlarge);
$("cancel").addEventListener("click", () => running?.abort());
$("download").addEventListener("click", download);
$("members").addEventListener("change", () => enter(photograph === null ? "empty" : "chosen"));
$("another").addEventListener("click", () => {
  $("file").value = "";
  $("file").click();
});
addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  choose(event.dataTransfer.files[0]);
});

$("privacy").textContent = engine.privacy;
enter("empty");
if (!(await writes("image/webp"))) $("format").querySelector('[value="image/webp"]').remove();
try {
  list(await engine.models());
  enter(document.body.dataset.state);
} catch (error) {
  $("waiting").textContent = "No model is there.";
  complain(error);
}
