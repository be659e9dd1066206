"use strict";
// Charts of the page, drawn as SVG into an element. They know numbers and names, nothing of what the page shows.
const charts = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const ink = (colour) => (colour === "#000000" ? "var(--ink)" : colour);

  function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function shape(parent, tag, attributes = {}, style = {}) {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    Object.assign(made.style, style);
    parent.append(made);
    return made;
  }

  function write(parent, text, attributes, style) {
    shape(parent, "text", attributes, style).textContent = text;
  }

  const short = (value) => (value === null ? "–" : String(Number(value.toPrecision(3))));
  const signed = (value, digits = 2) => (value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits));
  const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));

  // ---- axes ---------------------------------------------------------------------------------------------------

  function ticks(low, high, count, log) {
    if (log) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
        for (const step of [1, 2, 5]) found.push(step * 10 ** power);
      }
      const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
      return inside.length > 7 ? inside.filter((value) => /^1/.test(value.toExponential())) : inside;
    }
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i += 1) found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  function limits(values, { log = false, zero = false, margin = 0.06 } = {}) {
    const known = finite(values).filter((value) => !log || value > 0);
    if (zero) known.push(0);
    if (!known.length) return log ? [0.1, 1] : [0, 1];
    let [low, high] = [Math.min(...known), Math.max(...known)];
    if (log) return low === high ? [low / 2, high * 2] : [low * 0.93, high * 1.07];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    return [low - margin * (high - low), high + margin * (high - low)];
  }

  // A chart's card with its axes: {host, svg, x, y, box}, x and y being functions from values to pixels.
  function frame(card, { label, height = 220, right = 12, x, y, log = false, xTicks = null, xLabel = "", yText = short, whole = false }) {
    const width = Math.max(230, card.clientWidth || 320);
    const box = { left: 46, top: 8, right: width - right, bottom: height - 34 };
    const svg = shape(card, "svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "group", "aria-label": label,
      "aria-roledescription": "chart",
    });
    const scale = log ? Math.log10 : (value) => value;
    const toX = (value) => box.left + ((value - x[0]) / (x[1] - x[0] || 1)) * (box.right - box.left);
    const toY = (value) => box.bottom - ((scale(value) - scale(y[0])) / (scale(y[1]) - scale(y[0]) || 1)) * (box.bottom - box.top);
    for (const value of ticks(y[0], y[1], 5, log).filter((tick) => !whole || Number.isInteger(tick))) {
      shape(svg, "line", { class: "rule", x1: box.left, x2: box.right, y1: toY(value), y2: toY(value) });
      write(svg, yText(value), { class: "tick", x: box.left - 6, y: toY(value) + 4, "text-anchor": "end" });
    }
    const across = xTicks ?? ticks(x[0], x[1], Math.max(2, (box.right - box.left) / 60)).map((at) => ({ at, label: short(at) }));
    for (const { at, label: text } of across) {
      write(svg, text, { class: "tick", x: toX(at), y: box.bottom + 16, "text-anchor": "middle" });
    }
    shape(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
    write(svg, xLabel, { class: "tick", x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" });
    return { card, svg, x: toX, y: toY, box };
  }

  function card(host, title, told = null) {
    const made = node("div", { class: "chart" }, node("h3", {}, title));
    if (told) made.append(node("p", { class: "told" }, told));
    host.append(made);
    return made;
  }

  // Moves through places by pointer and arrow keys; describe(i) gives {x, y, head, rows: [[colour, name, value]]}.
  function explore({ card: host, svg, box }, count, nearest, describe) {
    const tip = node("div", { class: "tip", "aria-live": "polite" });
    tip.hidden = true;
    host.append(tip);
    const cursor = shape(svg, "line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
    const dot = shape(svg, "circle", { r: 4.5, visibility: "hidden" }, { fill: "none", stroke: "var(--ink)", strokeWidth: "1.6" });
    let current = -1;
    const hide = () => {
      tip.hidden = true;
      for (const mark of [cursor, dot]) mark.setAttribute("visibility", "hidden");
    };
    const show = (index) => {
      current = Math.max(0, Math.min(count - 1, index));
      const told = describe(current);
      tip.replaceChildren(node("strong", {}, told.head));
      for (const [colour, name, value] of told.rows) {
        const mark = colour ? node("i") : null;
        if (mark) mark.style.background = colour;
        tip.append(node("div", {}, node("span", {}, ...(mark ? [mark, name] : [name])), node("span", {}, value)));
      }
      tip.hidden = false;
      const free = host.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(free, told.x + (told.x > box.right - tip.offsetWidth - 20 ? -tip.offsetWidth - 12 : 12)))}px`;
      tip.style.top = `${svg.getBoundingClientRect().top - host.getBoundingClientRect().top + box.top}px`;
      cursor.setAttribute("x1", told.x);
      cursor.setAttribute("x2", told.x);
      cursor.setAttribute("visibility", told.y === undefined ? "visible" : "hidden");
      if (told.y !== undefined) {
        dot.setAttribute("cx", told.x);
        dot.setAttribute("cy", told.y);
        dot.setAttribute("visibility", "visible");
      }
    };
    svg.addEventListener("pointermove", (event) => {
      const edge = svg.getBoundingClientRect();
      show(nearest(event.clientX - edge.left, event.clientY - edge.top));
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (step) show(current + step);
      else if (event.key === "Home") show(0);
      else if (event.key === "End") show(count - 1);
      else if (event.key === "Escape") return hide();
      else return;
      event.preventDefault();
    });
  }

  const closest = (places, at) => places.reduce((best, place, i) => (Math.abs(place - at) < Math.abs(places[best] - at) ? i : best), 0);

  // Names at the right of lines, pushed apart.
  function endLabels({ svg, box }, ends) {
    const gap = 13;
    const placed = ends.filter(({ y }) => Number.isFinite(y)).sort((a, b) => a.y - b.y);
    placed.forEach((end, i) => { end.at = Math.max(end.y, i ? placed[i - 1].at + gap : box.top + 4); });
    for (let i = placed.length - 1, floor = box.bottom; i >= 0; i -= 1, floor = placed[i + 1].at - gap) {
      placed[i].at = Math.min(placed[i].at, floor);
    }
    for (const end of placed) {
      if (end.x < box.right - 1) shape(svg, "path", { d: `M${end.x + 3} ${end.y}H${box.right}`, fill: "none", "stroke-dasharray": "1 5" }, { stroke: end.colour });
      shape(svg, "path", { d: `M${box.right} ${end.y}L${box.right + 7} ${end.at}`, fill: "none" }, { stroke: end.colour });
      write(svg, end.name, { x: box.right + 10, y: end.at + 4 });
    }
  }

  // As many charts side by side as leave no hole in the last row, `most` of them.
  function lay(host, count, most = 3) {
    host.style.setProperty("--columns", Math.min(most, count < 4 ? Math.max(1, count) : count === 4 ? 2 : 3));
    host.classList.toggle("single", count === 1);
  }

  const roomFor = (names) => Math.min(130, 16 + 6.3 * Math.max(0, ...names.map((name) => name.length)));
  const cut = (name) => (name.length > 18 ? `${name.slice(0, 17)}…` : name);

  // ---- charts -------------------------------------------------------------------------------------------------

  function path(xs, values, at) {
    let drawing = "", pen = "M";
    values.forEach((value, i) => {
      if (value === null || !Number.isFinite(at.y(value))) { pen = "M"; return; }
      drawing += `${pen}${at.x(xs[i]).toFixed(1)} ${at.y(value).toFixed(1)}`;
      pen = "L";
    });
    return drawing;
  }

  // The interval of a line, cut at the frame; between points without one there is none.
  function band(line, xs, at, y) {
    const cut = (value) => at.y(Math.min(y[1], Math.max(y[0], value))).toFixed(1);
    const known = xs.map((_, i) => i).filter((i) => line.low[i] !== null && line.high[i] !== null);
    if (!known.length) return "";
    const up = known.map((i) => `${at.x(xs[i]).toFixed(1)} ${cut(line.high[i])}`);
    const down = known.map((i) => `${at.x(xs[i]).toFixed(1)} ${cut(line.low[i])}`).reverse();
    return `M${[...up, ...down].join("L")}Z`;
  }

  // Lines over `x`, or each over its own `line.x`; `x` then has the places to move through.
  function lineChart(host, { title, told, x, end, lines, label, y, log, xTicks, xLabel = "step", names = null, zero = false, text = short, head = (at) => `step ${at}`, height }) {
    const made = card(host, title, told);
    const at = frame(made, { label, height, right: roomFor(lines.map((line) => cut(line.name))), x: names ? limits(x) : [x[0], end ?? x.at(-1)], y, log, xTicks, xLabel, yText: text });
    if (zero) shape(at.svg, "line", { class: "axis", x1: at.box.left, x2: at.box.right, y1: at.y(0), y2: at.y(0) });
    const { left, right, top, bottom } = at.box;
    const size = { width: right - left, height: bottom - top };
    const inside = shape(at.svg, "svg", { x: left, y: top, ...size, viewBox: `${left} ${top} ${size.width} ${size.height}` }, { width: `${size.width}px`, height: `${size.height}px`, overflow: "hidden" });
    for (const line of lines.filter((candidate) => candidate.low)) {
      const d = band(line, line.x ?? x, at, y);
      if (d) shape(inside, "path", { class: "band", d, "fill-opacity": 0.14, stroke: "none" }, { fill: line.colour });
    }
    for (const line of lines) {
      shape(line.x ? inside : at.svg, "path", { class: "data", d: path(line.x ?? x, line.values, at), fill: "none", "stroke-width": 1.8, "stroke-dasharray": line.dash || "none" }, { stroke: line.colour });
      (line.seeds ?? []).forEach((seeds, i) => {
        for (const value of seeds) shape(at.svg, "circle", { cx: at.x(x[i]), cy: at.y(value), r: 2.8 }, { fill: "var(--panel)", stroke: line.colour });
      });
    }
    endLabels(at, lines.map((line) => {
      const last = line.values.findLastIndex((value) => value !== null);
      return { name: cut(line.name), colour: line.colour, x: at.x((line.x ?? x)[last]), y: last < 0 ? NaN : at.y(line.values[last]) };
    }));
    const places = x.map(at.x);
    explore(at, x.length, (left) => closest(places, left), (i) => ({
      x: places[i],
      head: names ? names[i] : head(x[i]),
      rows: lines.map((line) => [line.colour, line.name, line.values[line.x ? closest(line.x, x[i]) : i] ?? null]).sort((a, b) => b[2] - a[2]).map(([colour, name, value]) => [colour, name, text(value)]),
    }));
  }

  function stackChart(host, { title, told, x, end, lines, label }) {
    const made = card(host, title, told || "\u00a0"); // as high as those beside it
    if (!x.length) {
      made.append(node("p", { class: "hint" }, "No weights: the update is made from gradients."));
      return;
    }
    const at = frame(made, { label, right: roomFor(lines.map((line) => line.name)), x: [x[0], end], y: [0, 1], xLabel: "step" });
    let below = x.map(() => 0);
    const ends = [];
    for (const line of lines) {
      const above = below.map((value, i) => value + (line.values[i] ?? 0));
      const up = above.map((value, i) => `${at.x(x[i]).toFixed(1)} ${at.y(value).toFixed(1)}`);
      const down = below.map((value, i) => `${at.x(x[i]).toFixed(1)} ${at.y(value).toFixed(1)}`).reverse();
      shape(at.svg, "path", { class: "data", d: `M${[...up, ...down].join("L")}Z`, "fill-opacity": 0.8 }, { fill: line.colour, stroke: "var(--panel)", strokeWidth: "0.8" });
      ends.push({ name: line.name, colour: line.colour, x: at.x(x.at(-1)), y: at.y((above.at(-1) + below.at(-1)) / 2) });
      below = above;
    }
    endLabels(at, ends);
    const places = x.map(at.x);
    explore(at, x.length, (left) => closest(places, left), (i) => ({
      x: places[i],
      head: `step ${x[i]}`,
      rows: [...lines].reverse().map((line) => [line.colour, line.name, line.values[i] === null ? "–" : `${(100 * line.values[i]).toFixed(1)} %`]),
    }));
  }

  // End of the colour scale that several tables share.
  function farthest(entries) {
    return Math.max(0.25, ...entries.flatMap(({ cosine }) => cosine.flatMap((row, a) => row.slice(0, a).map((value) => Math.abs(value ?? 0)))));
  }

  function heatTable(host, { tasks, cosine }, far) {
    const head = node("tr", {}, node("td"), ...tasks.slice(0, -1).map((task) => node("th", { scope: "col" }, task)));
    const body = tasks.slice(1).map((task, i) => node("tr", {}, node("th", { scope: "row" }, task), ...tasks.slice(0, -1).map((_, b) => {
      const value = b <= i ? cosine[i + 1][b] : null;
      const cell = node("td", {}, b <= i ? signed(value) : "");
      if (value !== null) {
        const strength = Math.min(1, Math.abs(value) / far);
        cell.style.background = `color-mix(in srgb, var(${value < 0 ? "--minus" : "--plus"}) ${Math.round(100 * strength)}%, var(--middle))`;
        cell.style.color = strength > 0.55 ? "#fff" : "var(--ink)";
      }
      return cell;
    })));
    host.append(node("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Mean cosines" }, node("table", { class: tasks.length > 7 ? "heat many" : "heat" }, node("thead", {}, head), node("tbody", {}, ...body))));
  }

  function scatter(host, set, entry) {
    const made = card(host, `${entry.strategy} against mix`, `${set.names.length} of ${entry.n} images; up: better than mix`);
    const points = set.names.map((name, i) => ({ name, level: set.level[i], gain: entry.gains[i] })).filter(({ level, gain }) => level !== null && gain !== null).sort((a, b) => a.level - b.level);
    const at = frame(made, {
      label: `Gain of every image over its score under mix, ${set.dataset}`, height: 260,
      x: limits(points.map((point) => point.level)), y: limits(points.map((point) => point.gain), { zero: true }),
      xLabel: "PSNR under mix, dB", yText: (value) => signed(value, 1),
    });
    shape(at.svg, "line", { class: "axis", x1: at.box.left, x2: at.box.right, y1: at.y(0), y2: at.y(0) });
    for (const { level, gain } of points) {
      shape(at.svg, "circle", { cx: at.x(level).toFixed(1), cy: at.y(gain).toFixed(1), r: 3, "fill-opacity": 0.55 }, { fill: gain < 0 ? "var(--bad)" : "var(--good)" });
    }
    const near = (left, top) => points.reduce((best, point, i) => {
      const distance = Math.hypot(at.x(point.level) - left, at.y(point.gain) - top);
      return distance < best[1] ? [i, distance] : best;
    }, [0, Infinity])[0];
    explore(at, points.length, near, (i) => ({
      x: at.x(points[i].level), y: at.y(points[i].gain), head: points[i].name,
      rows: [["", "mix", `${points[i].level.toFixed(2)} dB`], ["", "gain", `${signed(points[i].gain)} dB`]],
    }));
  }

  // The stairs of points that no other point of the list exceeds in both, as a path that leaves the frame.
  function stairs(points, at) {
    const front = points.filter(([x, y]) => !points.some(([a, b]) => a >= x && b >= y && (a > x || b > y))).sort((a, b) => a[0] - b[0]);
    return front.map(([x, y], i) => `${i ? "V" : `M${at.box.left} `}${at.y(y)}H${at.x(x)}`).join("") + `V${at.box.bottom}`;
  }

  // Names beside points where they cover no other name and the fewest of all places; a name without room is left out.
  function pointLabels({ svg, box }, named, places) {
    const taken = [];
    for (const { name, x, y } of named) {
      const wide = 6.4 * name.length;
      const sides = [[9, 4], [-9 - wide, 4], [-wide / 2, -9], [-wide / 2, 18], [8, -7], [8, 16], [-8 - wide, -7], [-8 - wide, 16]].map(([right, down]) => [x + right, y + down]);
      const free = sides.filter(([left, base]) => left >= box.left && left + wide <= box.right + 16 && taken.every(([l, b, w]) => Math.abs(b - base) > 12 || l > left + wide || left > l + w));
      if (!free.length) continue;
      const covered = ([left, base]) => places.filter(([px, py]) => px > left - 4 && px < left + wide + 4 && py > base - 13 && py < base + 5).length;
      const best = free.reduce((one, other) => (covered(other) < covered(one) ? other : one));
      taken.push([...best, wide]);
      write(svg, name, { x: best[0], y: best[1] });
    }
  }

  function planeChart(host, front, across, up) {
    const points = front.points.map((point) => ({ ...point, x: point.values[across], y: point.values[up] })).filter(({ x, y }) => x !== null && y !== null);
    const made = card(host, front.title, `${front.axes[up]} against ${front.axes[across]}`);
    const at = frame(made, { label: `Strategies and fixed weights of ${front.title}`, height: 380, right: 20, x: limits(points.flatMap((p) => [p.x, ...p.seeds.map((seed) => seed[across])])), y: limits(points.flatMap((p) => [p.y, ...p.seeds.map((seed) => seed[up])])), xLabel: `${front.axes[across]}, dB`, yText: (value) => value.toFixed(1) });
    const colour = ({ fixed, verdict }) => (fixed ? "var(--muted)" : verdict === "beyond" ? "var(--good)" : verdict === "behind" ? "var(--bad)" : "var(--ink)");
    shape(at.svg, "path", { class: "data", d: stairs(points.filter((p) => p.fixed).map((p) => [p.x, p.y]), at), fill: "none", "stroke-width": 1.4 }, { stroke: "var(--muted)" });
    for (const point of points) for (const seed of point.seeds) shape(at.svg, "circle", { cx: at.x(seed[across]), cy: at.y(seed[up]), r: 1.6, "fill-opacity": 0.4 }, { fill: colour(point) });
    for (const point of points) shape(at.svg, "circle", { cx: at.x(point.x), cy: at.y(point.y), r: point.fixed ? 4 : 5 }, { fill: point.fixed ? "var(--panel)" : colour(point), stroke: point.fixed ? colour(point) : "var(--panel)" });
    const named = points.filter((p) => !p.fixed).concat(points.filter((p) => p.fixed && !p.name.startsWith("fixed")));
    pointLabels(at, named.map(({ name, x, y }) => ({ name: cut(name), x: at.x(x), y: at.y(y) })), points.map((p) => [at.x(p.x), at.y(p.y)]));
    const near = (left, top) => points.reduce((best, p, i) => { const far = Math.hypot(at.x(p.x) - left, at.y(p.y) - top); return far < best[1] ? [i, far] : best; }, [0, Infinity])[0];
    explore(at, points.length, near, (i) => ({
      x: at.x(points[i].x), y: at.y(points[i].y), head: points[i].name,
      rows: [[colour(points[i]), points[i].fixed ? "fixed weighting" : points[i].verdict, ""], ["", front.axes[across], `${points[i].x.toFixed(2)} dB`], ["", front.axes[up], `${points[i].y.toFixed(2)} dB`]],
    }));
  }

  function bars(host, entry) {
    const [mean, low, high, p] = entry.view;
    const told = mean === null ? "\u00a0" : `mean ${signed(mean)} dB${low === null ? "" : ` (95 % of resampled image sets: ${signed(low)} to ${signed(high)}; Wilcoxon p ${short(p)})`}`;
    const made = card(host, `All ${entry.n} images`, told);
    const { start, width, counts } = entry.bars;
    const at = frame(made, {
      label: "Histogram of the gains", height: 260, x: [start - width / 2, start + width * (counts.length + 0.5)], y: [0, Math.max(1, ...counts) * 1.05], xLabel: "gain over mix, dB", whole: true,
    });
    counts.forEach((count, i) => {
      const left = start + i * width;
      shape(at.svg, "rect", { x: at.x(left) + 0.5, width: Math.max(0.5, at.x(left + width) - at.x(left) - 1), y: at.y(count), height: at.y(0) - at.y(count), "fill-opacity": 0.75 }, { fill: left + width / 2 < 0 ? "var(--bad)" : "var(--good)" });
    });
    shape(at.svg, "line", { class: "axis", x1: at.x(0), x2: at.x(0), y1: at.box.top, y2: at.box.bottom });
    const centres = counts.map((_, i) => at.x(start + (i + 0.5) * width));
    explore(at, counts.length, (left) => closest(centres, left), (i) => ({
      x: centres[i], head: `${signed(start + i * width)} to ${signed(start + (i + 1) * width)} dB`, rows: [["", "images", String(counts[i])]],
    }));
  }

  function extremes(host, entry) {
    const made = card(host, "Images at the ends");
    for (const [title, images] of [["Best", entry.best], ["Worst", entry.worst]].filter(([, some]) => some.length)) {
      made.append(node("p", { class: "told" }, title), node("ul", {}, ...images.map(([name, gain]) => node("li", {}, `${name}: ${signed(gain)} dB`))));
    }
  }

  return { ink, node, signed, lay, lineChart, stackChart, farthest, heatTable, scatter, planeChart, bars, extremes, card, limits };
})();
