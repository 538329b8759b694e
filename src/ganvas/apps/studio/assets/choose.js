// Sends the number of a chosen cell (data-index) or a chosen name (data-name).
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-index], [data-name]");
  if (!button) return;
  const group = button.closest("[role=group]");
  for (const other of group.querySelectorAll("[aria-pressed=true]"))
    other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
  trigger("click", { index: Number(button.dataset.index), name: button.dataset.name });
});
