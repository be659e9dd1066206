// What the page shows: tables that sort, choices, and which charts stand where. Names come from the data and enter the
// page as text or attribute, never as markup.
(() => {
  const { ink, node, signed, lay, lineChart, stackChart, farthest, heatTable, scatter, planeChart, bars, extremes, card, limits } = charts;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const looks = new Map(data.tasks.map((task) => [task.name, task]));
  const FIRST = 4; // strategies that are shown before anybody chooses
  const SETTLED = 0.25; // share of a validation curve whose gains do not set the axis
  const colourOf = (task) => ink(looks.get(task)?.colour ?? "#888888");

  // ---- tables -------------------------------------------------------------------------------------------------

  function sortBy(table, column, button) {
    const head = button.parentElement;
    const cells = (row) => row.cells[column];
    const rows = [...table.tBodies[0].rows];
    const numeric = rows.some((row) => cells(row).dataset.value !== undefined);
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric;
    const key = (row) => (cells(row).dataset.value === undefined ? null : Number(cells(row).dataset.value));
    rows.sort((a, b) => {
      if (!numeric) {
        const order = cells(a).textContent.trim().localeCompare(cells(b).textContent.trim(), "en", { numeric: true });
        return down ? -order : order;
      }
      const [one, other] = [key(a), key(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      return down ? other - one : one - other;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = head.querySelector("button");
      button?.addEventListener("click", () => sortBy(table, column, button));
    });
  }

  // What leaves a table's frame fades out there, and a line says how much there is to the right.
  function edges(box, told) {
    const end = box.getBoundingClientRect().left + box.clientWidth;
    const heads = [...(box.querySelector("thead tr")?.cells ?? [])].filter((head) => head.getBoundingClientRect().right > end + 3);
    const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
    box.classList.toggle("more-right", right);
    box.classList.toggle("more-below", box.scrollHeight - box.clientHeight - box.scrollTop > 2);
    box.classList.toggle("scrolled", box.scrollLeft > 2);
    told.hidden = !right;
    told.textContent = `${heads.length} more column${heads.length === 1 ? "" : "s"}: scroll sideways →`;
  }

  for (const box of document.querySelectorAll(".scroll")) {
    const told = node("p", { class: "more", "aria-hidden": "true" });
    told.hidden = true;
    box.parentElement.after(told);
    box.addEventListener("scroll", () => edges(box, told), { passive: true });
    new ResizeObserver(() => edges(box, told)).observe(box); // also when it is shown for the first time
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const place = [...(table.tBodies[0].rows[0]?.cells ?? [])].findIndex((cell) => cell.classList.contains("name"));
    if (place >= 0) table.tHead.rows[0].cells[place].classList.add("name");
  }

  // ---- what is shown ------------------------------------------------------------------------------------------

  const baseline = () => data.baselines[Number(byId("baseline")?.value ?? 0)];
  const chosen = () => new Set([...document.querySelectorAll("#strategies input:checked")].map((box) => box.value));
  const listed = (entries) => { const names = chosen(); return baseline().strategies.filter((name) => names.has(name)).map((name) => entries.find((entry) => entry.strategy === name)).filter(Boolean); };
  const ending = (courses) => Math.max(1, ...courses.map((x) => x.at(-1) ?? 1)); // one axis of steps for all charts
  const styled = (lines) => lines.map((line) => ({ ...line, colour: colourOf(line.name), dash: looks.get(line.name)?.dash }));

  function options(select, entries, wanted) {
    const before = select.value;
    select.replaceChildren(...entries.map(([value, text]) => { const option = node("option", {}, text); option.value = value; return option; }));
    const values = entries.map(([value]) => String(value));
    const pick = values.includes(before) ? before : values.find((value) => value === String(wanted));
    if (pick !== undefined) select.value = pick;
  }

  function fillStrategies() {
    const place = byId("strategies");
    if (!place) return;
    const names = baseline().strategies;
    const kept = new Set(names.filter((name) => chosen().has(name)));
    if (kept.size < Math.min(2, names.length)) {
      for (const name of ["mix", "art"]) if (names.includes(name)) kept.add(name);
      for (const name of names) if (kept.size < FIRST) kept.add(name);
    }
    place.querySelectorAll("label").forEach((label) => label.remove());
    for (const name of names) {
      const box = node("input", { type: "checkbox" });
      box.value = name;
      box.checked = kept.has(name);
      place.append(node("label", {}, box, name));
    }
  }

  const drawings = {
    rhythm(host) {
      const kind = byId("course").value;
      const shown = listed(baseline().rhythms);
      const y = limits(shown.flatMap((entry) => entry[kind].lines.flatMap((line) => line.values)), { log: true });
      const end = ending(shown.map((entry) => entry[kind].x));
      lay(host, shown.length);
      for (const entry of shown) {
        const { x, lines } = entry[kind];
        if (x.length) lineChart(host, { title: entry.title, told: kind === "loss" ? `mean over ${entry.window} recorded steps` : "", x, end, lines: styled(lines), y, log: true, label: `${kind} of ${lines.length} tasks, ${entry.title}` });
      }
    },
    weights(host) {
      const shown = listed(baseline().rhythms);
      const end = ending(shown.map((entry) => entry.share.x));
      lay(host, shown.length);
      for (const entry of shown) {
        stackChart(host, { title: entry.title, told: entry.words, x: entry.share.x, end, lines: styled(entry.share.lines), label: `Shares of the weights, ${entry.title}` });
      }
    },
    curves(host) {
      const kind = byId("course-of").value;
      const along = byId("course-along").value;
      const shown = listed(baseline().curves).filter((entry) => entry[kind][along].length);
      const every = shown.flatMap((entry) => entry[kind][along]);
      const settled = (line) => line.values.filter((_, i) => kind === "level" || line.x[i] >= SETTLED * line.x.at(-1)); // before, gains swing wildly
      const y = limits(every.flatMap(settled), { zero: kind === "gain" });
      const tasks = [...new Set(every.map((line) => line.name))];
      const { label, head } = { step: { label: "step", head: (at) => `step ${at}` }, images: { label: "images seen", head: (at) => `${at} images` }, seconds: { label: "seconds of training", head: (at) => `${at} s` } }[along];
      lay(host, tasks.length);
      for (const task of tasks) {
        const lines = shown.flatMap((entry) => entry[kind][along].filter((line) => line.name === task).map((line) => ({ ...line, name: entry.strategy, colour: ink(entry.colour), dash: entry.dash })));
        const x = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
        if (x.length) lineChart(host, { title: task, told: "", x, lines, y, head, xLabel: label, zero: kind === "gain", text: (value) => (kind === "gain" || value === null ? signed(value) : value.toFixed(2)), label: `${kind === "gain" ? "Gain over mix" : "PSNR"} in dB over ${label}, ${task}` });
      }
      if (!tasks.length) host.append(node("p", { class: "hint" }, "No curve of this choice."));
    },
    conflicts(host) {
      const shown = listed(baseline().conflicts);
      const y = limits(shown.flatMap((entry) => [...entry.mean, ...entry.least]), { zero: true });
      const far = farthest(shown);
      const end = ending(shown.map((entry) => entry.steps));
      const norms = limits(shown.flatMap((entry) => entry.norms.lines.flatMap((line) => line.values)), { log: true });
      lay(host, shown.length, Math.max(0, ...shown.map((entry) => entry.tasks.length)) > 7 ? 2 : 3); // room for the cosines
      for (const entry of shown) {
        const made = node("div", {});
        host.append(made);
        const heat = card(made, entry.title);
        if (entry.worst) {
          heatTable(heat, entry, far);
          const lines = [{ name: "mean of pairs", colour: "var(--ink)", values: entry.mean }, { name: "lowest pair", colour: "var(--bad)", dash: "7 3", values: entry.least }];
          lineChart(made, { title: "Cosine", told: `dashed: ${entry.worst.join(" – ")}, the lowest pair`, x: entry.steps, end, lines, y, zero: true, text: (value) => signed(value), label: `Cosine over the training, ${entry.title}`, height: 180 });
        } else heat.append(node("p", { class: "hint" }, "One task: no pair."));
        lineChart(made, { title: "Norm of the gradients", told: "", x: entry.norms.x, end, lines: styled(entry.norms.lines), y: norms, log: true, label: `Norms of the gradients, ${entry.title}`, height: 180 });
      }
      if (!shown.length) host.append(node("p", { class: "hint" }, "Not probed for this choice."));
    },
    images(host) {
      const sets = baseline().images;
      options(byId("image-set"), sets.map((set, i) => [i, set.dataset]), 0);
      const set = sets[Number(byId("image-set").value)];
      options(byId("image-strategy"), (set?.strategies ?? []).map((entry) => [entry.strategy, entry.strategy]), "art");
      const entry = set?.strategies.find((candidate) => candidate.strategy === byId("image-strategy").value);
      if (!entry) { host.append(node("p", { class: "hint" }, "No gains for this baseline.")); return; }
      lay(host, 3);
      scatter(host, set, entry);
      bars(host, entry);
      extremes(host, entry);
    },
    samples(host) {
      const sets = baseline().samples;
      options(byId("sample-set"), sets.map((set, i) => [i, `${set.dataset} (${set.task})`]), 0);
      const set = sets[Number(byId("sample-set").value)];
      if (!set) { host.append(node("p", { class: "hint" }, "No pictures of this baseline.")); return; }
      const pictures = [["degraded", set.degraded], ...set.restored.map(({ name, picture }) => [name, picture]), ["clean", set.clean]];
      const entries = pictures.map(([name], i) => [i, name]);
      options(byId("sample-left"), entries, 0);
      options(byId("sample-right"), entries, Math.max(1, pictures.findIndex(([name]) => name === "art")));
      slider(host, pictures[Number(byId("sample-left").value)], pictures[Number(byId("sample-right").value)]);
      host.append(node("div", { class: "thumbs" }, ...pictures.map(([name, place]) => node("figure", {}, node("img", { src: data.pictures[place], alt: "" }), node("figcaption", {}, name)))));
    },
    planes(host) {
      const main = data.fronts.some((front) => front.main.length) ? [["main", "main plane: traded off most"]] : [];
      const axes = [...main, ...[...new Set(data.fronts.flatMap((front) => front.axes))].map((name) => [name, name])];
      const [across, up] = ["plane-x", "plane-y"].map((id, i) => { options(byId(id), axes, main.length ? "main" : axes[i][0]); return byId(id).value; });
      lay(host, data.fronts.length, 2);
      for (const front of data.fronts) {
        const [x, y] = [across, up].map((name, i) => (name === "main" ? front.main[i] : front.axes.indexOf(name)));
        if (x >= 0 && y >= 0) planeChart(host, front, x, y);
      }
    },
    lengths(host) {
      lay(host, data.lengths.length, 2);
      for (const chart of data.lengths) {
        const y = limits(chart.lines.flatMap((line) => [...line.values, ...line.seeds.flat()]), { zero: true });
        lineChart(host, { title: chart.title, told: "", x: chart.x, names: chart.names, xTicks: chart.ticks, xLabel: "steps of training", lines: chart.lines.map((line) => ({ ...line, colour: ink(line.colour) })), y, zero: true, text: (value) => signed(value), label: `Average gain over mix against the length of the training, ${chart.title}`, height: 340 });
      }
    },
    sweeps(host) {
      lay(host, data.sweeps.length);
      for (const sweep of data.sweeps) {
        const y = limits(sweep.lines.flatMap((line) => [...line.values, ...line.seeds.flat()]), { zero: true });
        lineChart(host, { title: sweep.title, told: "", x: sweep.x, names: sweep.names, xTicks: sweep.ticks, xLabel: sweep.title, lines: sweep.lines.map((line) => ({ ...line, colour: ink(line.colour) })), y, zero: true, text: (value) => signed(value), label: `Average gain against ${sweep.title}`, height: 280 });
      }
    },
  };

  function slider(host, [leftName, left], [rightName, right]) {
    const above = node("div", { class: "above" }, node("img", { src: data.pictures[left], alt: leftName }));
    const edge = node("div", { class: "edge" });
    const range = node("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `Share of ${leftName} beside ${rightName}` });
    const move = () => {
      above.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
      edge.style.left = `${range.value}%`;
    };
    range.addEventListener("input", move);
    move();
    const tags = [node("span", { class: "tag" }, leftName), node("span", { class: "tag" }, rightName)];
    tags[0].style.left = tags[1].style.right = ".5rem";
    const below = node("img", { src: data.pictures[right], alt: rightName });
    const whole = node("div", { class: "slider" }, below, above, edge, ...tags, range);
    below.addEventListener("load", () => { whole.style.maxWidth = `${Math.min(720, 2 * below.naturalWidth)}px`; });
    host.append(whole);
  }

  function draw(only = null) {
    for (const host of document.querySelectorAll("[data-draw]")) {
      if (only === null || only.includes(host.dataset.draw)) {
        host.replaceChildren();
        drawings[host.dataset.draw](host);
      }
    }
  }

  byId("baseline")?.addEventListener("change", () => { fillStrategies(); draw(); });
  byId("strategies")?.addEventListener("change", () => draw(["rhythm", "weights", "curves", "conflicts"]));
  for (const id of ["course-of", "course-along"]) byId(id)?.addEventListener("change", () => draw(["curves"]));
  byId("course")?.addEventListener("change", () => draw(["rhythm"]));
  for (const [id, name] of [["plane-x", "planes"], ["plane-y", "planes"], ["image-set", "images"], ["image-strategy", "images"], ["sample-set", "samples"], ["sample-left", "samples"], ["sample-right", "samples"]]) {
    byId(id)?.addEventListener("change", () => draw([name]));
  }
  document.querySelector(".toolbar")?.addEventListener("submit", (event) => event.preventDefault());

  let width = 0;
  new ResizeObserver(() => {
    const now = document.querySelector("main").clientWidth;
    if (now === width) return;
    width = now;
    draw(["planes", "rhythm", "weights", "curves", "conflicts", "images", "sweeps"]);
  }).observe(document.querySelector("main"));

  fillStrategies();
  width = document.querySelector("main").clientWidth;
  draw();
})();
