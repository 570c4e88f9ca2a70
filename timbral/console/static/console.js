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
