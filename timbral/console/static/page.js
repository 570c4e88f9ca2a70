// The page asks the same routes that any app asks. Names and ids come from data: they become text, never markup.

const $ = (id) => document.getElementById(id);
const counts = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const shares = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });

class Refused extends Error {
  constructor(status, answer) {
    super(answer.message || `The server answered ${status}`);
    this.status = status;
    this.kind = answer.error;
  }
}

// Ids have 64 bits and JavaScript's numbers 53: a large one stays the text that it was, where the browser can tell.
const exact = (key, value, context) =>
  typeof value === "number" && key === "item_id" && !Number.isSafeInteger(value) && context?.source ? context.source : value;

async function ask(path, signal) {
  const response = await fetch(path, { signal, cache: "no-store" });
  const text = await response.text();
  let answer = {};
  try {
    answer = JSON.parse(text, exact);
  } catch {
    answer = { message: `The server answered ${response.status}, and not in JSON` };
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

// A browser takes "." and ".." out of a path, however they are encoded; the API knows them by this.
function inPath(id) {
  if (/^\.{1,2}$/.test(id)) return "%252E".repeat(id.length);
  return encodeURIComponent(/^(%(25)*2e){1,2}$/i.test(id) ? id.replaceAll("%", "%25") : id);
}

const named = (item) => item.name || String(item.item_id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar(share) {
  const made = element("span", "bar");
  made.setAttribute("aria-hidden", "true");
  made.style.setProperty("--share", Math.max(0, Math.min(1, share || 0)));
  return made;
}

function row(item, rank, amount, share, open) {
  const made = $("row").content.firstElementChild.cloneNode(true);
  const [line, more] = [made.querySelector(".line"), made.querySelector(".more")];
  made.querySelector(".rank").textContent = rank;
  const name = made.querySelector(".name");
  name.dir = "auto";
  name.append(named(item));
  if (item.name) name.append(" ", element("small", "", String(item.item_id)));
  made.querySelector(".amount").textContent = amount;
  made.querySelector(".bar").replaceWith(bar(share));
  more.id = `more-${open.kind}-${rank}`;
  line.setAttribute("aria-controls", more.id);
  line.addEventListener("click", () => {
    const shown = line.getAttribute("aria-expanded") !== "true";
    line.setAttribute("aria-expanded", shown);
    more.hidden = !shown;
    if (shown && !more.hasChildNodes()) open.fill(item, more);
  });
  return made;
}

function part(into, title) {
  const made = element("div");
  made.append(element("h4", "", title), element("p", "quiet", "Looking…"));
  into.append(made);
  return (...content) => made.replaceChildren(made.firstChild, ...content);
}

const cannot = (error) => element("p", "quiet", error.status === 404 ? "The model does not know." : error.message);

async function showReasons(user, item, into) {
  const show = part(into, "Because they play");
  try {
    const answer = await ask(`/users/${inPath(user)}/explain/${inPath(String(item.item_id))}?limit=5`);
    const list = element("ul");
    const strongest = answer.because[0]?.share ?? 0;
    for (const reason of answer.because) {
      const made = element("li", "reason");
      const name = element("span", "", named(reason));
      name.dir = "auto";
      made.append(name, element("span", "amount", shares.format(reason.share)), bar(reason.share / strongest));
      list.append(made);
    }
    show(answer.because.length ? list : element("p", "quiet", "Nothing in the history speaks for it."));
  } catch (error) {
    show(cannot(error));
  }
}

async function showSimilar(item, into) {
  const show = part(into, "Similar");
  try {
    const answer = await ask(`/items/${inPath(String(item.item_id))}/similar?limit=8`);
    const list = element("ul", "chips");
    for (const other of answer.items) {
      const made = element("li", "", named(other));
      made.dir = "auto";
      made.title = `${named(other)}: ${shares.format(other.score)} alike`;
      list.append(made);
    }
    show(answer.items.length ? list : element("p", "quiet", "Nothing is like it."));
  } catch (error) {
    show(cannot(error));
  }
}

function ghosts() {
  for (const list of [$("gets"), $("plays")]) {
    list.replaceChildren(...Array.from({ length: 6 }, () => $("waiting").content.firstElementChild.cloneNode(true)));
  }
  for (const id of ["gets-note", "plays-note", "summary"]) $(id).textContent = "";
}

function showGets(user, recommended, known) {
  const notes = {
    cache: "Made for this user. Press one to see why.",
    popular: "What most users play.",
    none: "There is no list of any kind yet: train a model, then compute recommendations.",
  };
  $("gets-note").textContent = recommended.items.length || recommended.source === "none"
    ? notes[recommended.source]
    : "Nothing is left: every item is blocked or was played.";
  const best = Math.max(...recommended.items.map((item) => item.score ?? 0), 0);
  const fill = (item, more) => {
    if (known && recommended.source === "cache") showReasons(user, item, more);
    showSimilar(item, more);
  };
  $("gets").replaceChildren(
    ...recommended.items.map((item, place) => row(item, place + 1, "", best > 0 ? (item.score ?? 0) / best : 0, { kind: "gets", fill })),
  );
}

function showPlays(known) {
  const fill = (item, more) => showSimilar(item, more);
  if (known === null) {
    $("plays-note").textContent = "Nothing yet that the model has seen.";
    $("plays").replaceChildren();
    return;
  }
  const played = [...known.new_plays.map((item) => ({ ...item, isNew: true })), ...known.history];
  const most = Math.max(...played.map((item) => item.plays), 0);
  $("plays-note").textContent = known.new_plays.length
    ? "New plays first, which no training has seen; then the most played."
    : "The most played first.";
  $("plays").replaceChildren(
    ...played.map((item, place) => {
      const amount = item.isNew ? `+${counts.format(item.plays)} new` : counts.format(item.plays);
      return row(item, place + 1, amount, item.plays / most, { kind: "plays", fill });
    }),
  );
}

function showTrouble(error) {
  $("results").hidden = true;
  const [title, text] = [$("trouble").querySelector("h2"), $("trouble").querySelector("p")];
  if (error.status === 401) {
    location.assign(`/console/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
    return;
  }
  title.textContent = error.kind === "RedisUnavailableError" ? "Redis is away" : error.status ? "That did not work" : "The server is away";
  text.textContent = error.status ? error.message : "It did not answer. Is it running, and is this machine online?";
  $("trouble").hidden = false;
}

let asking = null;

async function look(user, again = false) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  $("trouble").hidden = $("note").hidden = true;
  $("results").hidden = false;
  $("results").setAttribute("aria-busy", "true");
  $("status").textContent = "Looking…";
  $("who").textContent = `User ${user}`;
  $("path").textContent = `/users/${inPath(user)}/recommendations`;
  document.title = `${user} · timbral`;
  if (!again) ghosts();
  try {
    const path = `/users/${inPath(user)}`;
    let noModel = false;
    const [recommended, known] = await Promise.all([
      ask(`${path}/recommendations?names=true`, signal),
      ask(`${path}?limit=10`, signal).catch((error) => {
        // Unknown to the model, or no model yet: what most users play can still be shown.
        noModel = Boolean(error.kind?.startsWith("Model") && error.status === 503);
        if (error.status === 404 || noModel) return null;
        throw error;
      }),
    ]);
    if (signal.aborted) return;
    showGets(user, recommended, known !== null);
    showPlays(known);
    if (noModel) $("plays-note").textContent = "Nobody knows before the first training.";
    $("summary").textContent = known?.n_items ? `${counts.format(known.n_items)} items played` : "";
    if (recommended.source !== "cache") {
      const popular = recommended.source === "popular" ? " Here is what most users play." : "";
      const why = noModel ? "No model is live yet." : known === null ? "The model does not know this user." : "There is no list for this user right now.";
      $("note").textContent = why + popular;
      $("note").hidden = false;
    }
    $("status").textContent = `User ${user}: ${recommended.items.length} items`;
    if ($("actions").dataset.user !== user) {
      $("actions").dataset.user = user;
      htmx.ajax("GET", `/console/users/actions?${new URLSearchParams({ user })}`, "#actions");
    }
    $("results").setAttribute("aria-busy", "false");
    return JSON.stringify(recommended.items);
  } catch (error) {
    if (signal.aborted) return;
    $("results").setAttribute("aria-busy", "false");
    showTrouble(error);
  }
}

function fromAddress() {
  const user = new URLSearchParams(location.search).get("user");
  $("user").value = user ?? "";
  if (user) {
    look(user);
    return;
  }
  asking?.abort();
  $("results").hidden = $("trouble").hidden = true;
  document.title = "Users · timbral";
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = $("user").value.trim();
  if (!user) return;
  const address = `/console/users?${new URLSearchParams({ user })}`;
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  look(user).then(() => $("results").hidden || $("results").focus({ preventScroll: true }));
});
$("again").addEventListener("click", () => look($("user").value.trim()));
addEventListener("popstate", fromAddress);

// A play was recorded, or an item blocked: workers renew the list within moments, so it is looked at until it has changed.
document.body.addEventListener("listmoved", async () => {
  const user = $("user").value.trim();
  const before = await look(user);
  for (const pause of [400, 800, 1600, 3000]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (user !== $("user").value.trim() || (await look(user, true)) !== before) return;
  }
});

async function showModel() {
  try {
    const { current, models } = await ask("/models");
    const live = models.find((model) => model.version === current);
    const shape = live?.n_users ? `${counts.format(live.n_users)} users × ${counts.format(live.n_items)} items` : "";
    $("model").replaceChildren(current ? shape : "No model is live yet", element("span", "version", current ? ` · model ${current}` : ""));
  } catch {
    $("model").textContent = "";
  }
}

showModel();
fromAddress();
if (!$("user").value) $("user").focus();
