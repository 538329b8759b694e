// Sends the number of a chosen cell (data-index) or a chosen name (data-name).
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-index], [data-name]");
  if (!button) return;
  for (const other of element.querySelectorAll("[aria-pressed=true]"))
    other.setAttribute("aria-pressed", "false");
  if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", "true");
  trigger("click", { index: Number(button.dataset.index), name: button.dataset.name });
});
