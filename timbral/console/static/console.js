// What the screens need beside htmx: a button that copies an example, and parts that are there again after a change.

for (const block of document.querySelectorAll(".copy")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.querySelector("pre").innerText);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  block.append(button);
}

// A job that is done offers other things than one that runs.
document.body.addEventListener("htmx:sseClose", (event) => {
  if (event.detail.type === "message") location.replace(location.pathname);
});

// A file of plays, dropped anywhere on the page or chosen: sent as it is, and followed where the answer says.
for (const form of document.querySelectorAll("form.drop")) {
  const [file, button, bar, said] = ["input[type=file]", "button", "progress", "[role=status]"].map((one) => form.querySelector(one));
  const say = (text, isWrong = false) => {
    said.textContent = text;
    said.className = isWrong ? "note" : "quiet";
  };
  const mark = (event, isOver) => {
    event.preventDefault();
    form.classList.toggle("over", isOver);
  };
  form.hidden = false;
  document.addEventListener("dragover", (event) => mark(event, true));
  document.addEventListener("dragleave", (event) => mark(event, false));
  document.addEventListener("drop", (event) => {
    mark(event, false);
    if (event.dataTransfer.files.length !== 1) return say("One file at a time.", true);
    file.files = event.dataTransfer.files;
    say(`${file.files[0].name} is chosen. Import begins with the button.`);
    button.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = file.files[0];
    const max = Number(form.dataset.maxMb);
    if (chosen.size > max * 1e6) return say(`${chosen.name} is larger than ${max} MB (IMPORT_MAX_MB): timbral plays import does it on a machine that has the file.`, true);
    const query = new URLSearchParams([["name", chosen.name]]);
    for (const [name, value] of new FormData(form)) if (value) query.append(name, value);
    const request = new XMLHttpRequest();
    request.open("POST", `${form.dataset.to}?${query}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.setRequestHeader("x-csrf-token", form.dataset.csrf);
    request.setRequestHeader("hx-request", "true");
    const ended = (text) => {
      bar.hidden = true;
      button.disabled = false;
      say(text, true);
    };
    request.upload.addEventListener("progress", (sent) => (bar.value = sent.loaded / sent.total));
    request.addEventListener("error", () => ended("The file was not taken, or the API is away. Try again."));
    request.addEventListener("load", () => {
      const where = request.getResponseHeader(request.status === 201 ? "location" : "hx-redirect");
      if (where) return location.assign(where);
      ended(new DOMParser().parseFromString(request.responseText, "text/html").body.textContent.trim() || `The API answered ${request.status}.`);
    });
    bar.hidden = false;
    button.disabled = true;
    say("Sending…");
    request.send(chosen);
  });
}
