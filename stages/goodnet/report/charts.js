// Elements and charts, of the page and of DVC's plots. All text goes in as text (`h`, `s`), never as HTML:
// names of nets, triggers and repairs come from files.

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity))
    if (child != null && child !== false) element.append(child.replaceAll?.(" %", "\u00a0%") ?? child);
  return element;
}
const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const s = (name, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

let ids = 0;
const newId = () => `id${++ids}`;
const number = (value, digits = 1) => value.toFixed(digits);
const percent = (value) => (value == null ? "–" : `${number(value)} %`);
const bound = (value) => (value === 100 || value === 0 ? String(value) : number(value));
const most = (rates) => (Object.keys(rates ?? {}).length ? Math.max(...Object.values(rates)) : null);
const least = (rates) => (Object.keys(rates ?? {}).length ? Math.min(...Object.values(rates)) : null);
const called = (answer, classes) => (answer === classes ? "backdoored" : `class ${answer}`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;

function section(id, title, lead, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title), lead && h("p", { class: "lead" }, lead), ...children);
}

function wide(label, child) { // scrolls where it does not fit, by keyboard too
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, child);
}

// Charts: SVG at the size of the place it is in, so that letters keep theirs, and drawn anew when that changes.
// No two lines are told apart by colour alone: they have dashes, and dots of different shapes.

const DASHES = ["", "7 4", "2 3", "9 3 2 3", "12 4", "4 2 1 2"];
const SHAPES = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-3.7,-3.7h7.4v7.4h-7.4z", "M0,-5L4.7,3.6H-4.7z", "M0,-5.2L5.2,0L0,5.2L-5.2,0z",
  "M0,5L4.7,-3.6H-4.7z", "M-1.6,-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
];

function chart(height, label, draw) {
  const box = h("div", { class: "chart" });
  let width = 0, redraw = () => {};
  const update = () => {
    if (!width) return;
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    redraw = draw(svg, width, height) ?? (() => {});
    box.replaceChildren(svg);
    redraw();
  };
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now !== width) { width = now; update(); }
  }).observe(box);
  return { box, move: () => redraw() };
}

function axes(svg, left, right, top, bottom, x, y) {
  for (const [value, words] of y.ticks)
    svg.append(
      s("line", { class: "grid", x1: left, x2: right, y1: y.at(value), y2: y.at(value) }),
      s("text", { class: "tick", x: left - 8, y: y.at(value), "text-anchor": "end", dy: "0.35em" }, words));
  for (const [value, words] of x.ticks)
    svg.append(
      s("line", { class: "grid", x1: x.at(value), x2: x.at(value), y1: bottom, y2: bottom + 5 }),
      s("text", { class: "tick", x: x.at(value), y: bottom + 19, "text-anchor": "middle" }, words));
  svg.append(
    s("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    s("text", { class: "name", x: right, y: bottom + 38, "text-anchor": "end" }, x.name),
    s("text", { class: "name", x: left - 34, y: top - (y.up ?? 12) }, y.name));
}

const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

function steps(high, count) {
  const raw = high / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].find((times) => times * power >= raw) * power);
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, place) => [place * step, String(place * step)]);
}

const PERCENTS = [0, 25, 50, 75, 100].map((value) => [value, String(value)]);
const LEFT = 44, RIGHT = 14; // around the chart of lines; its slider is as wide

function lines(label, xName, series, marks, position) {
  const last = Math.max(...series.map((line) => line.values.length)) - 1;
  return chart(360, label, (svg, width, height) => {
    const top = marks.length ? 50 : 34, bottom = height - 48, right = width - RIGHT; // names of marks take a row
    const x = { at: scale(0, last, LEFT, right), name: xName, ticks: steps(last, width / 90) };
    const y = { at: scale(0, 100, bottom, top), name: "percent of images", ticks: PERCENTS, up: top - 22 };
    axes(svg, LEFT, right, top, bottom, x, y);
    let end = -99; // of the last name; one that would run into it is left out
    for (const [at, names] of marks) {
      const words = names.join(", "), room = words.length * 6.6;
      svg.append(s("line", { class: "mark", x1: x.at(at), x2: x.at(at), y1: top, y2: bottom }));
      if (x.at(at) - room / 2 < end) continue;
      const middle = Math.min(Math.max(x.at(at), LEFT + room / 2), right - room / 2);
      svg.append(s("text", { class: "tick", x: middle, y: top - 6, "text-anchor": "middle" }, words));
      end = middle + room / 2 + 8;
    }
    for (const line of series)
      svg.append(s("polyline", {
        class: `line ${line.colour}`, "stroke-dasharray": line.dash,
        points: line.values.map((value, step) => `${x.at(step).toFixed(1)},${y.at(value).toFixed(1)}`).join(" "),
      }));
    if (!position) return null;
    const cursor = s("line", { class: "cursor", y1: top, y2: bottom });
    const dots = series.map((line) => s("path", { class: `dot ${line.colour}`, d: SHAPES[line.shape] }));
    svg.append(cursor, ...dots);
    return () => {
      const at = position(), place = x.at(at);
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      series.forEach((line, row) =>
        dots[row].setAttribute("transform", `translate(${place.toFixed(1)},${y.at(line.values[at]).toFixed(1)})`));
    };
  });
}

function legend(series) {
  return h("ul", { class: "legend" }, series.map((line) => h("li", {},
    s("svg", { viewBox: "0 0 40 14", width: 40, height: 14, "aria-hidden": "true" },
      line.only ? null : s("line", { class: `line ${line.colour}`, x1: 1, x2: 39, y1: 7, y2: 7, "stroke-dasharray": line.dash }),
      s("path", { class: `dot ${line.colour}`, d: SHAPES[line.shape], transform: "translate(20,7)" })),
    line.name)));
}

function scatter(points, label) {
  const low = Math.max(0, Math.floor(Math.min(...points.map((point) => point.y)) / 10 - 0.5) * 10);
  return chart(380, label, (svg, width, height) => {
    const top = 34, bottom = height - 48, right = width - 20;
    const x = { at: scale(-2, 102, LEFT, right), name: "attack success, strongest trigger, percent", ticks: PERCENTS };
    const y = { at: scale(low, 100, bottom, top + 6), name: "accuracy, percent", ticks: steps(100 - low, 5).map(([up]) => [low + up, String(low + up)]) };
    axes(svg, LEFT, right, top, bottom, x, y);
    const taken = points.map((point) => [x.at(point.x) - 7, y.at(point.y) - 7, x.at(point.x) + 7, y.at(point.y) + 7]);
    const free = (box) => box[0] >= LEFT && box[2] <= width && box[1] >= top - 10 && box[3] <= bottom
      && taken.every((other) => box[0] > other[2] || box[2] < other[0] || box[1] > other[3] || box[3] < other[1]);
    for (const point of points) {
      const px = x.at(point.x), py = y.at(point.y), room = point.name.length * 7 + 4;
      for (let down = 0; down < 12; down += 0.5) {
        const box = [[px + 11, 1], [px - 11 - room, 1], [px + 11, -1], [px - 11 - room, -1]]
          .map(([from, sign]) => [from, py + sign * down * 16 - 8, from + room, py + sign * down * 16 + 8]).find(free);
        if (!box) continue;
        taken.push(box);
        const side = box[0] > px ? box[0] : box[2];
        if (down) svg.append(s("line", { class: "mark", x1: px, y1: py, x2: side, y2: (box[1] + box[3]) / 2 }));
        svg.append(s("text", { class: "label", x: box[0] > px ? box[0] : box[2], y: (box[1] + box[3]) / 2, dy: "0.35em", "text-anchor": box[0] > px ? "start" : "end" }, point.name));
        break;
      }
    }
    for (const point of points)
      svg.append(s("path", { class: `dot ${point.colour}`, d: SHAPES[point.shape], transform: `translate(${x.at(point.x)},${y.at(point.y)}) scale(1.25)` },
        s("title", {}, `${point.what}: attack ${percent(point.x)}, accuracy ${percent(point.y)}`)));
  });
}

function strip(family, named, doubtful) {
  const sizes = family.classes.map((one) => Math.max(one.size, 0.01));
  const low = Math.min(...sizes, family.usual ?? 100) / 1.4, high = Math.max(...sizes) * 1.3;
  const words = family.classes.slice().sort((one, other) => one.size - other.size).slice(0, 5)
    .map((one) => `class ${one.class}: ${number(one.size, 2)}`).join(", ");
  return chart(132, `Smallest ${family.title} that leads to each class, ${family.unit}. Smallest: ${words}.`, (svg, width) => {
    const right = width - 20, bottom = 92, at = (size) => scale(Math.log(low), Math.log(high), 16, right)(Math.log(size));
    const powers = [0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100].filter((value) => value >= low && value <= high);
    const ticks = powers.filter((value, place) => !place || at(value) - at(powers[place - 1]) > 30);
    for (const value of ticks)
      svg.append(
        s("line", { class: "grid", x1: at(value), x2: at(value), y1: 20, y2: bottom }),
        s("text", { class: "tick", x: at(value), y: bottom + 18, "text-anchor": "middle" }, value === family.largest ? "none found" : String(value)));
    svg.append(s("line", { class: "axis", x1: 16, x2: right, y1: bottom, y2: bottom }));
    if (family.usual)
      svg.append(
        s("line", { class: "cursor", x1: at(family.usual), x2: at(family.usual), y1: 14, y2: bottom }),
        s("text", { class: "tick", x: at(family.usual) - 6, y: 22, "text-anchor": "end" }, `usual ${number(family.usual, 2)}`));
    svg.append(s("text", { class: "name", x: right, y: bottom + 36, "text-anchor": "end" }, family.unit));
    const placed = [];
    const rank = (one) => (named.includes(one.class) ? 0 : doubtful.includes(one.class) ? 1 : 2);
    for (const one of family.classes.slice().sort((a, b) => rank(a) - rank(b) || a.size - b.size)) {
      const kind = ["named", "doubtful", "other"][rank(one)], radius = kind !== "other" ? 11 : family.classes.length > 100 ? 2.5 : 4;
      const px = at(Math.max(one.size, 0.01));
      let py = 56;
      for (let tries = 0; tries < 40; tries++) {
        py = 56 + (tries % 2 ? 1 : -1) * ((Math.ceil(tries / 2) * 3) % 32); // where there is no room, one hides another
        if (placed.every(([ox, oy, or]) => Math.hypot(px - ox, py - oy) >= radius + or + 1)) break;
      }
      placed.push([px, py, radius]);
      svg.append(s("circle", { class: `class ${kind}`, cx: px, cy: py, r: radius }, s("title", {}, `class ${one.class}: ${number(one.size, 2)}`)));
      if (kind !== "other") svg.append(s("text", { class: `in ${kind}`, x: px, y: py, dy: "0.35em", "text-anchor": "middle" }, String(one.class)));
    }
  });
}
