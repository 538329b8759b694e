// A canvas that holds the colors of a palette only: discs without soft edges; the empty
// color erases. Each stroke sends the map. Keys: arrows move the brush, space paints.
let at = null;
let brush = null;
const canvas = () => element.querySelector("canvas");
const chosen = () => element.querySelector("[type=radio]:checked").value;
const radius = () => Number(element.querySelector("[name=radius]").value);
const send = () => trigger("input", { image: canvas().toDataURL("image/png") });

// Fill a rectangle with a color, or erase it.
const block = (color, ...box) => {
  const pen = canvas().getContext("2d");
  pen.fillStyle = color;
  if (color) pen.fillRect(...box);
  else pen.clearRect(...box);
};
const dot = (x, y) => {
  const r = radius();
  for (let dy = -r; dy <= r; dy++) {
    const half = Math.floor(Math.sqrt(r * r - dy * dy));
    block(chosen(), Math.round(x) - half, Math.round(y) + dy, 2 * half + 1, 1);
  }
};
const line = (from, to) => {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let i = 0; i <= steps; i++)
    dot(from.x + ((to.x - from.x) * i) / steps, from.y + ((to.y - from.y) * i) / steps);
};
const place = (event) => {
  const box = canvas().getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas().width) / box.width,
    y: ((event.clientY - box.top) * canvas().height) / box.height,
  };
};
const fill = (color) => block(color, 0, 0, canvas().width, canvas().height);
// The ring that shows the brush of the keyboard.
const ring = () => {
  const cursor = element.querySelector(".cursor");
  if (!cursor) return;
  cursor.hidden = !brush;
  if (!brush) return;
  const { width, height } = canvas();
  cursor.style.left = `${(100 * brush.x) / width}%`;
  cursor.style.top = `${(100 * brush.y) / height}%`;
  cursor.style.width = `${(100 * (2 * radius() + 1)) / width}%`;
};

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas()) return;
  if (!canvas().dataset.ready) fill(chosen());
  canvas().dataset.ready = "true";
  canvas().setPointerCapture(event.pointerId);
  brush = null;
  ring();
  at = place(event);
  dot(at.x, at.y);
});
element.addEventListener("pointermove", (event) => {
  if (!at) return;
  const next = place(event);
  line(at, next);
  at = next;
});
element.addEventListener("pointerup", () => {
  if (at) send();
  at = null;
});
element.addEventListener("click", (event) => {
  const clears = event.target.closest("[data-clear]");
  if (!clears && !event.target.closest("[data-fill]")) return;
  fill(clears ? "" : chosen());
  canvas().dataset.ready = "true";
  send();
});
element.addEventListener("keydown", (event) => {
  if (event.target !== canvas()) return;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!steps[event.key] && event.key !== " ") return;
  event.preventDefault();
  brush = brush || { x: canvas().width / 2, y: canvas().height / 2 };
  if (event.key === " ") {
    dot(brush.x, brush.y);
    send();
  } else {
    const stride = Math.max(1, radius());
    const within = (value, side) => Math.min(Math.max(value, 0), side - 1);
    brush.x = within(brush.x + steps[event.key][0] * stride, canvas().width);
    brush.y = within(brush.y + steps[event.key][1] * stride, canvas().height);
    const said = element.querySelector("[data-where]");
    said.textContent = `brush at ${Math.round(brush.x)}, ${Math.round(brush.y)}`;
  }
  ring();
});
