// Behavior of the page's own HTML. One listener each on the document, since the parts
// are replaced whenever a model answers.
(() => {
  const shown = (film, i) => {
    film.querySelector("input").value = i;
    film.querySelector("img").style.transform =
      `translateX(${(-100 * i) / Number(film.dataset.frames)}%)`;
  };
  document.addEventListener("input", (event) => {
    const film = event.target.closest(".film");
    if (film) shown(film, Number(event.target.value));
    const comparison = event.target.closest(".comparison");
    if (comparison) comparison.style.setProperty("--at", `${100 - event.target.value}%`);
  });
  document.addEventListener("click", (event) => {
    const save = event.target.closest("[data-save]");
    if (save) {
      const figure = save.closest("figure");
      const link = document.createElement("a");
      link.href = figure.querySelector("img").src;
      link.download = save.dataset.save;
      link.click();
    }
    const play = event.target.closest(".film .play");
    if (play) {
      const film = play.closest(".film");
      const playing = play.getAttribute("aria-pressed") !== "true";
      play.setAttribute("aria-pressed", playing);
      play.setAttribute("aria-label", playing ? "Pause" : "Play");
      play.textContent = playing ? "❚❚" : "▶";
      clearInterval(film.timer);
      if (playing)
        film.timer = setInterval(() => {
          if (!film.isConnected) return clearInterval(film.timer);
          const next = Number(film.querySelector("input").value) + 1;
          shown(film, next % Number(film.dataset.frames));
        }, 80);
    }
    const theme = event.target.closest(".theme-switch");
    if (theme) document.body.classList.toggle("dark");
  });
  // A sheet is one stop of the Tab key; arrows move inside it.
  document.addEventListener("keydown", (event) => {
    const cells = event.target.closest(".cells");
    if (!cells || !event.key.startsWith("Arrow")) return;
    const buttons = [...cells.querySelectorAll("button")];
    const columns = Number(cells.dataset.columns);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const next = buttons[buttons.indexOf(event.target) + step[event.key]];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
})();
