// Draws the page from the JSON in it. All text goes in as text (`h`, `s`), never as HTML: names of nets,
// triggers and repairs come from files.

const content = JSON.parse(document.getElementById("content").textContent);
const host = document.getElementById("page");

// Elements

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
    s("text", { class: "name", x: left - 34, y: top - 12 }, y.name));
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
    const top = 34, bottom = height - 48, right = width - RIGHT;
    const x = { at: scale(0, last, LEFT, right), name: xName, ticks: steps(last, width / 90) };
    const y = { at: scale(0, 100, bottom, top), name: "percent of images", ticks: PERCENTS };
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

// Top

const VERDICTS = {
  backdoored: ["Likely backdoored", "bad"],
  "no sign of a backdoor": ["No sign of a backdoor", "plain"], // which is no proof, so it is not green
  "cannot tell": ["Cannot tell", "unknown"],
};

const interval = (rate) => `${bound(rate.low)}–${bound(rate.high)} %`;

function reason(found) { // the verdict itself stands above
  const rest = found.replace(/^(Likely backdoored|No sign of a backdoor) \((.*?)\): /, "$2: ").replace(/^Cannot tell: /, "");
  return rest[0].toUpperCase() + rest.slice(1);
}

function top(run) {
  const { word, found, recommended, why, cost, figures } = run.top, [title, kind] = VERDICTS[word];
  const value = (rate) => (rate ? h("span", { class: "value" }, number(rate.percent), h("span", { class: "unit" }, " %")) : null);
  return h("header", { id: "top" },
    h("p", { class: "eyebrow" }, "goodnet report: ", h("span", { class: "net" }, run.net), ` · ${run.classes} classes`),
    h("h1", {}, h("span", { class: `verdict ${kind}` }, title)),
    h("div", { class: "sentences" },
      h("p", {}, reason(found)),
      h("p", {}, recommended ? ["Use ", h("strong", {}, recommended), ": "] : null, why),
      h("p", {}, cost)),
    h("div", { class: "figures" }, figures.map((figure) => {
      const { before, after } = figure, one = after ?? before;
      return h("div", { class: "figure" },
        h("h2", {}, figure.title),
        h("p", { class: "change" },
          before && after ? [h("span", { class: "before" }, h("span", { class: "hidden" }, "before "), `${number(before.percent)} %`),
            h("span", { class: "arrow", "aria-hidden": "true" }, "→"), h("span", { class: "hidden" }, "after ")] : null,
          value(one) ?? h("span", { class: "value none" }, "not known")),
        one ? h("p", {}, figure.what + (one.trigger ? ": " : ""), one.trigger ? h("span", { class: "trigger" }, one.trigger) : null)
          : h("p", {}, figure.key === "detected" && Object.keys(run.badnet.attack_success).length ? "No repair is recommended, so there is no GoodNet to ask." : "There were no images with a trigger to test with."),
        one ? h("p", { class: "small" }, "95 % interval: ", before && after ? `${interval(before)} → ` : "", `${interval(one)}, ${one.images} images`) : null,
        one ? h("p", { class: "small" }, before && after ? "B → G. " : after ? "G. " : "B, not repaired. ", "Source: ",
          figure.from.map((path, place) => [place ? ", " : "", h("code", {}, path)]), `, ${figure.key}`) : null);
    })),
    h("details", { class: "words" }, h("summary", {}, "What the words mean"),
      h("dl", {}, [
        ["B, the badnet", "the net as it was given, backdoored or not"],
        ["B', a repaired net", "B after a repair that used clean images alone"],
        ["G, the GoodNet", 'B and B\' together: the class on which they agree, else "backdoored"'],
        ["trigger", "what an attacker puts on an image so that B answers the attacker's class, the target class"],
        ["attack success", "percent of images with a trigger that get the attacker's class; low is good after a repair"],
        ["false alarm", 'a clean image that G calls "backdoored"'],
        ["held-out images", "clean images that no repair was trained on; the recommended repair is chosen by them"],
        ["fresh attack", "a search for a new trigger against the repaired net; a repair has held if that is no easier than for other classes"],
        ["95 % interval", "if the net were tested on other images like these, the rate would most likely lie in it"],
      ].map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)]))));
}

// The curve

function curve(run) {
  const it = run.curve;
  if (!it) return section("curve", "Pruning", null, h("p", { class: "empty" }, "No repair prunes channels, so there is no curve."));
  const triggers = Object.keys(it.attack), last = it.channels.length;
  const series = [
    { name: "accuracy, test images", values: it.accuracy, colour: "c0", dash: "", shape: 0 },
    ...triggers.map((name, place) => ({
      name: `attack success, ${name}`, values: it.attack[name], colour: `c${1 + (place % 5)}`,
      // Where colours come again, they do with another dash.
      dash: DASHES[1 + ((place + Math.floor(place / 5)) % 5)], shape: 1 + ((place + Math.floor(place / 5)) % 5),
    })),
    { name: "false alarms of G", values: it.false_alarm, colour: "quiet", dash: "2 3", shape: 5 },
  ];
  const marks = new Map();
  for (const [name, at] of Object.entries(it.marks).sort((one, other) => one[1] - other[1]))
    marks.set(at, [...(marks.get(at) ?? []), name]);
  const first = (it.marks[run.top.recommended] ?? [...marks.keys()][0]) || 0;
  const slider = h("input", { type: "range", id: "channels", min: 0, max: last, step: 1, value: first });
  const plot = lines(
    `Accuracy, attack success and false alarms as 0 to ${last} channels are pruned. The table below gives the numbers at each point.`,
    "channels pruned", series, [...marks], () => Number(slider.value));
  const heading = h("output", { for: "channels", class: "point" });
  const cells = {}, cell = (key) => (cells[key] = h("td", { class: "num", "data-key": key }));
  const table = h("table", { class: "plain readout" },
    h("caption", { class: "hidden" }, "Figures at the chosen point"),
    h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, "accuracy of B', clean test images"), cell("accuracy")),
      h("tr", {}, h("th", { scope: "row" }, "accuracy of B', clean validation images"), cell("validation")),
      h("tr", {}, h("th", { scope: "row" }, "false alarms of G, clean test images"), cell("false_alarm"))),
    triggers.map((name) => h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, "attack on B', ", h("span", { class: "trigger" }, name)), cell(`attack ${name}`)),
      h("tr", {}, h("th", { scope: "row" }, "detected by G, ", h("span", { class: "trigger" }, name)), cell(`detected ${name}`)))));
  const gone = h("p", { class: "gone", tabindex: 0, role: "region", "aria-label": "pruned channels" });
  const move = () => {
    const at = Number(slider.value);
    cells.accuracy.textContent = percent(it.accuracy[at]);
    cells.validation.textContent = percent(it.validation[at]);
    cells.false_alarm.textContent = percent(it.false_alarm[at]);
    for (const name of triggers) {
      cells[`attack ${name}`].textContent = percent(it.attack[name][at]);
      cells[`detected ${name}`].textContent = percent(it.detected[name][at]);
    }
    heading.textContent = `${at} of ${plural(last, "channel")} pruned`;
    slider.setAttribute("aria-valuetext", [
      heading.textContent, `accuracy ${percent(it.accuracy[at])}`,
      ...triggers.map((name) => `attack ${name} ${percent(it.attack[name][at])}`), `false alarms ${percent(it.false_alarm[at])}`,
    ].join(", "));
    gone.textContent = at ? it.channels.slice(0, at).join(", ") : "none";
    plot.move();
  };
  slider.addEventListener("input", move);
  move();
  const jumps = [...marks].map(([at, names]) =>
    h("button", { type: "button", onclick: () => { slider.value = at; move(); } }, `${names.join(", ")}: ${at}`));
  const left = Object.keys(run.badnet.attack_success).length - triggers.length;
  return section("curve", "Pruning",
    `The channels of ${it.layer} are pruned one after the other: ${it.meaning[0].toLowerCase()}${it.meaning.slice(1).replace(/\.$/, "")}. Move the handle to see the net that would result at each point. All figures but one are of test images, which no choice depends on.`,
    left ? h("p", { class: "small" }, `${triggers.length} triggers are shown here; ${left} more are in reports/attack_curve.csv.`) : null,
    legend(series), plot.box,
    h("div", { class: "slider" }, h("label", { for: "channels", class: "hidden" }, "channels pruned"), slider),
    h("div", { class: "jumps" }, jumps.length ? h("span", { class: "small" }, "Go to the repairs:") : null, jumps),
    h("div", { class: "columns" }, h("div", {}, h("h3", {}, heading), table),
      h("div", {}, h("h3", {}, `Channels of ${it.layer} that are gone`), gone)));
}

// Repairs

const OUTCOMES = { held: ["✓", "good"], "not held": ["✗", "bad"], "cannot tell": ["?", "unknown"] };

function outcome(word) {
  const [sign, kind] = OUTCOMES[word] ?? ["–", "unknown"];
  return h("span", { class: `outcome ${kind}` }, h("span", { "aria-hidden": "true" }, `${sign} `), word);
}

function setting(value) {
  return Array.isArray(value) ? value.join(", ") || "none" : value === null ? "–" : String(value);
}

function evidenceOf(repair) {
  if (repair.ratio == null) return "It was not attacked: no class was named, so nothing is known about whether it holds.";
  return `A fresh attack needs a trigger ${number(repair.ratio, 2)} times as large as is usual for other classes. `
    + `The triggers found in B move ${percent(repair.moved)} of images.`;
}

function described(repair, run) {
  const { plan } = repair, settings = Object.entries(plan.settings ?? {});
  const goals = plan.goals?.map((goal) => (goal === -1 ? "any class" : `class ${goal}`));
  const list = [
    ["done", repair.done],
    plan.channels?.length ? ["channels pruned", plan.channels.join(", ")] : null,
    goals?.length ? ["unlearned", goals.join(", ")] : null,
    repair.held_out == null ? null : ["held out", `${repair.held_out} % of the clean images, which it was not trained on`],
    plan.settings?.epochs == null ? null : ["length", `${plan.settings.epochs} epochs; runs write the same files each time, so no clock time is kept`],
    ["evidence", evidenceOf(repair)],
  ].filter(Boolean);
  const triggers = Object.keys(run.badnet.attack_success);
  return h("div", { class: "columns" },
    h("dl", {}, list.map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)])),
    h("div", {},
      triggers.length ? h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "trigger"), h("th", { scope: "col", class: "num" }, "attack on B'"), h("th", { scope: "col", class: "num" }, "on G"), h("th", { scope: "col", class: "num" }, "detected"))),
        h("tbody", {}, triggers.map((name) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: "trigger" }, name)),
          h("td", { class: "num" }, percent(repair.repaired.attack_success[name])), h("td", { class: "num" }, percent(repair.goodnet.attack_success[name])), h("td", { class: "num" }, percent(repair.goodnet.detected[name])))))) : null,
      settings.length ? [h("h4", {}, `Settings of ${plan.tune}`), h("dl", { class: "settings" },
        settings.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, setting(value)))))] : null));
}

function sortable(columns, bodies) {
  const heads = columns.map((column) => {
    const head = h("th", { scope: "col", class: column.text ? null : "num", "aria-sort": "none" });
    head.append(h("button", { type: "button", onclick: () => sort(column, head) }, column.title, h("span", { class: "order", "aria-hidden": "true" })));
    return head;
  });
  const table = h("table", { class: "sorted" }, h("thead", {}, h("tr", {}, heads)), bodies.map((body) => body.element));
  function sort(column, head) {
    const down = head.getAttribute("aria-sort") === "none" ? !column.text : head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (body) => column.value(body.row), sign = down ? -1 : 1;
    const compare = (one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a == null || b == null) return (a == null) - (b == null); // what is not known comes last
      return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
    };
    table.append(...bodies.slice().sort(compare).map((body) => body.element));
  }
  return table;
}

const COLUMNS = [
  { title: "Repair", text: true, value: (row) => row.name },
  { title: "Attack on B'", value: (row) => most(row.repaired.attack_success) },
  { title: "Attack on G", value: (row) => most(row.goodnet.attack_success) },
  { title: "Detected", value: (row) => least(row.goodnet.detected) },
  { title: "Accuracy B'", value: (row) => row.repaired.clean_accuracy },
  { title: "Accuracy G", value: (row) => row.goodnet.clean_accuracy },
  { title: "False alarm", value: (row) => row.goodnet.false_alarm },
  { title: "Held out", value: (row) => row.held_out_accuracy },
  { title: "Fresh attack", text: true, value: (row) => row.outcome },
];

function aCell(column, row) {
  if (column.text) return h("td", {}, outcome(column.value(row)));
  const value = column.value(row);
  return h("td", { class: "num" }, value == null ? "–" : number(value));
}

function points(run, prefix = "") {
  if (!Object.keys(run.badnet.attack_success).length) return [];
  const point = (name, what, metrics, shape, colour) => ({
    name: prefix + name, what: prefix + what, x: most(metrics.attack_success), y: metrics.clean_accuracy, shape, colour,
  });
  return [
    point("B", "B", run.badnet, 1, "c1"),
    // What is recommended is drawn over the others.
    ...run.repairs.toSorted((one, other) => one.recommended - other.recommended).map((repair) => point(`${repair.name}${repair.recommended ? " ★" : ""}`, `G of ${repair.name}`, repair.goodnet, 3, "c2")),
  ];
}

function repairs(run) {
  if (!run.repairs.length) return section("repairs", "Repairs", null, h("p", { class: "empty" }, "No repair was made."));
  const bodies = run.repairs.map((row) => ({
    row,
    element: h("tbody", { "data-name": row.name, class: row.recommended ? "recommended" : null },
      h("tr", {}, COLUMNS.map((column, place) => (place === 0
        ? h("th", { scope: "row" }, row.name, row.recommended ? h("span", { class: "badge" }, "★ use this") : null)
        : aCell(column, row)))),
      h("tr", { class: "more" }, h("td", { colspan: COLUMNS.length }, h("details", {}, h("summary", {}, h("span", { class: "hidden" }, `${row.name}: `), row.done), described(row, run))))),
  }));
  const shown = points(run);
  return section("repairs", "Repairs side by side",
    `Each repair was made from clean images alone. Percent of test images; attack and detection are those of the trigger that is worst for the defender. B itself: accuracy ${percent(run.badnet.clean_accuracy)}${most(run.badnet.attack_success) == null ? "" : `, attack ${percent(most(run.badnet.attack_success))}`}.`,
    wide("table of repairs", sortable(COLUMNS, bodies)),
    shown.length
      ? h("figure", {}, h("figcaption", {}, h("h3", {}, "Accuracy against attack"), h("p", { class: "small" }, "The best place is the upper left corner. ★ is the repair to use.")),
        legend([{ name: "B, the net as it was given", colour: "c1", shape: 1, only: true }, { name: "G of each repair", colour: "c2", shape: 3, only: true }]),
        scatter(shown, `Accuracy against attack success: ${shown.map((one) => `${one.what} ${number(one.y)} and ${number(one.x)}`).join("; ")}.`).box)
      : h("p", { class: "empty" }, "There were no images with a trigger, so nothing can be said about attacks on these nets."));
}

// Images

function images(run) {
  const all = run.images, repairs = run.repairs.map((one) => one.name);
  if (!all.length) return null;
  const files = [...new Set(all.map((one) => one.file))];
  const state = { file: "", kind: "all", repair: run.top.recommended ?? repairs[0], at: 0 };
  const of = (one) => one.repaired[state.repair];
  const KINDS = {
    all: ["all", () => true],
    badnet: ["B fooled", (one) => one.file !== "clean" && one.badnet.answer === one.label],
    repair: ["repair fooled", (one) => one.file !== "clean" && of(one)?.answer === one.label],
    alarm: ["false alarm", (one) => one.file === "clean" && of(one)?.goodnet === run.classes],
  };
  const grid = h("ul", { class: "grid-of-images" }), count = h("output", { class: "count" });
  const shown = () => all.filter((one) => (!state.file || one.file === state.file) && KINDS[state.kind][1](one));

  const title = h("h3", { id: "image-title", tabindex: -1, autofocus: true }), large = h("img", { alt: "" }), wanted = h("p", {}), answers = h("tbody");
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const step = (by) => { const list = shown(); state.at = (state.at + by + list.length) % list.length; open(list[state.at]); };
  const dialog = h("dialog", { "aria-labelledby": "image-title", onkeydown: (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  }, onclick: (event) => { if (event.target === dialog) dialog.close(); } },
    h("div", { class: "inside" }, large, h("div", { class: "told" }, title, wanted,
      h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "net"), h("th", { scope: "col" }, "answer"), h("th", { scope: "col", class: "num" }, "how sure"))), answers),
      h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => step(-1) }, "← Previous"), h("button", { type: "button", onclick: () => step(1) }, "Next →"), close))));

  const verdict = (one, answer) => (one.file === "clean" ? answer === one.label : answer !== one.label);
  const answer = (one, value) => h("span", { class: verdict(one, value) ? "right" : "wrong" },
    h("span", { "aria-hidden": "true" }, verdict(one, value) ? "✓ " : "✗ "), called(value, run.classes));
  const words = (one) => (one.file === "clean" ? `its class is ${one.label}` : `the attacker wants class ${one.label}`);

  function open(one) {
    title.replaceChildren(one.file === "clean" ? "clean" : h("span", { class: "trigger" }, one.file), `, image ${one.number}`);
    large.src = one.picture;
    large.alt = `${one.file} image ${one.number}`;
    wanted.textContent = one.file === "clean" ? `A clean image of class ${one.label}.` : `An image with this trigger; ${words(one)}.`;
    const row = (net, value, sure) => h("tr", {}, h("th", { scope: "row" }, net), h("td", {}, answer(one, value)), h("td", { class: "num" }, sure));
    const order = [state.repair, ...repairs.filter((name) => name !== state.repair)].filter(Boolean);
    answers.replaceChildren(row("B", one.badnet.answer, percent(one.badnet.sure)), ...order.flatMap((name) => [
      row(`B' ${name}`, one.repaired[name].answer, percent(one.repaired[name].sure)),
      row(`G ${name}`, one.repaired[name].goodnet, one.repaired[name].goodnet === run.classes ? "B and B' differ" : "B and B' agree"),
    ]));
    if (!dialog.open) dialog.showModal();
  }

  function update() {
    const list = shown();
    count.textContent = `${list.length} of ${plural(all.length, "image")}`;
    grid.replaceChildren(...list.map((one, place) => h("li", {}, h("button", { type: "button", onclick: () => { state.at = place; open(one); },
      "aria-label": `${one.file} image ${one.number}, ${words(one)}: B says ${called(one.badnet.answer, run.classes)}${of(one) ? `, ${state.repair} says ${called(of(one).answer, run.classes)}` : ""}` },
      h("img", { src: one.picture, alt: "" }),
      h("span", { class: "caption" }, h("span", { class: "trigger" }, one.file),
        h("span", {}, "B ", answer(one, one.badnet.answer)),
        of(one) ? h("span", {}, "B' ", answer(one, of(one).answer)) : null)))));
  }

  const select = (label, key, options) => {
    const id = newId(), box = h("select", { id, onchange: () => { state[key] = box.value; update(); } },
      options.map(([value, words]) => h("option", { value, selected: value === state[key] }, words)));
    return h("div", {}, h("label", { for: id }, label), box);
  };
  const radios = h("fieldset", {}, h("legend", {}, "Show"), h("div", { class: "radios" }, Object.entries(KINDS).map(([value, [words]]) => h("label", {},
    h("input", { type: "radio", name: "kind", value, checked: value === "all", onchange: () => { state.kind = value; update(); } }), h("span", {}, words)))));
  update();
  return section("images", "Images",
    "Test images with the answers of each net: some spread evenly over each file, and some of each net's mistakes, so their shares are no rates. ✓ is right: the image's own class or, with a trigger, anything but the attacker's.",
    h("div", { class: "filters" }, select("Trigger", "file", [["", "all files"], ...files.map((name) => [name, name])]),
      repairs.length ? select("Repair", "repair", repairs.map((name) => [name, name])) : null, radios, count),
    grid, dialog);
}

// Suspects

function stamping(goal, found, name) {
  const id = newId(), over = h("img", { src: found.stamped, alt: "", class: "over" });
  const slider = h("input", { type: "range", id, min: 0, max: 100, value: 100, "aria-valuetext": "100 % stamped", oninput: () => {
    over.style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", slider.value === "0" ? "clean" : `${slider.value} % stamped`);
  } });
  return h("figure", { class: "stamp" },
    h("div", { class: "pair" }, h("img", { src: goal.clean, alt: `clean image under the ${found.family} that leads to ${name}` }), over),
    h("label", { for: id }, h("span", {}, "clean"), h("span", { class: "hidden" }, ` to stamped with the ${found.family}`), h("span", { "aria-hidden": "true" }, "stamped")), slider,
    h("figcaption", {}, h("strong", {}, found.family), h("br"), `${number(found.size, 2)} %; moves ${number(found.moved, 0)} % of clean images`));
}

function aGoal(goal, run) {
  const name = goal.goal === "any" ? "any class" : `class ${goal.goal}`;
  const rows = goal.repairs;
  return h("article", { class: "goal" }, h("h3", {}, goal.goal === "any" ? "Any class, each to another" : `Class ${goal.goal}`),
    h("p", { class: "small" }, goal.tests ? `Tests that point to it: ${goal.tests}.` : goal.leads),
    h("div", { class: "stamps" }, goal.found.map((found) => [stamping(goal, found, name),
      found.alone ? h("figure", { class: "stamp" }, h("div", { class: "pair" }, h("img", { src: found.alone, alt: `${found.family} alone, made stronger` })), h("figcaption", {}, h("strong", {}, "it alone"), h("br"), `${number(found.times, 1)} times as strong`)) : null]),
    Object.entries(goal.true).map(([trigger, source]) => h("figure", { class: "stamp" }, h("div", { class: "pair" }, h("img", { src: source, alt: `image with the true trigger ${trigger}` })), h("figcaption", {}, h("strong", {}, "true trigger"), h("br"), h("span", { class: "trigger" }, trigger)))),
    goal.found.length || Object.keys(goal.true).length ? null : h("p", { class: "empty" }, "No trigger was kept for it.")),
    rows.length ? wide(`what each repair did to ${name}`, h("table", { class: "plain" }, h("caption", {}, `What each repair did to it: size of the smallest trigger that a fresh attack needs, where 1 is usual`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "repair"), h("th", { scope: "col", class: "num" }, "patch"), h("th", { scope: "col", class: "num" }, "faint pattern"), h("th", { scope: "col", class: "num" }, "B's triggers still move"), h("th", { scope: "col" }, "repair as a whole"))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", { class: "num" }, number(row.patch_ratio, 2)), h("td", { class: "num" }, number(row.additive_ratio, 2)), h("td", { class: "num" }, percent(row.moved)), h("td", {}, outcome(row.outcome))))))) : null);
}

function suspects(run) {
  const it = run.suspects, names = [...new Set(it.foremost.flatMap((row) => Object.keys(row)))].filter((key) => !["class", "tests"].includes(key));
  const left = it.named.length - it.goals.filter((goal) => goal.goal !== "any").length;
  return section("suspects", "Suspects",
    "Judged by clean images alone. A large enough change moves every net to every class. A class that takes far less than is usual is likely an attacker's.",
    it.why_none ? h("p", { class: "empty" }, it.why_none) : null,
    it.sizes.length ? h("div", {}, it.sizes.map((family) => [h("h3", {}, `Smallest ${family.title} that leads to each class`), strip(family, it.named, it.doubtful).box])) : null,
    it.sizes.length ? h("p", { class: "key small" }, h("span", { class: "ball named" }), " named ", h("span", { class: "ball doubtful" }), " doubtful ", h("span", { class: "ball other" }), " not named; ", `${it.sizes[0].classes.length} of ${run.classes} classes were tried`) : null,
    it.foremost.length ? h("details", {}, h("summary", {}, "What each test says of the foremost classes"), wide("foremost classes", h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "class"), names.map((name) => h("th", { scope: "col", class: "num" }, name.replaceAll("_", " "))), h("th", { scope: "col" }, "tests that point to it"))),
      h("tbody", {}, it.foremost.map((row) => h("tr", {}, h("th", { scope: "row" }, String(row.class)), names.map((name) => h("td", { class: "num" }, row[name] == null ? "–" : number(row[name], 2))), h("td", {}, row.tests))))))) : null,
    left > 0 ? h("p", { class: "empty" }, `${plural(left, "more class")} named: ${it.named.slice(-left).join(", ")}. Their triggers are in models/suspects.h5.`) : null,
    it.goals.length ? it.goals.map((goal) => aGoal(goal, run)) : h("p", { class: "empty" }, "No class was named, so there is no trigger to show, and no repair was attacked."));
}

// Reproduce

function copied(title, text) {
  const said = h("span", { role: "status", class: "small" });
  const pre = h("pre", { tabindex: 0, role: "region", "aria-label": title }, text);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "copied";
    } catch { // where the browser does not let the page write: leave it selected
      getSelection().selectAllChildren(pre);
      said.textContent = "selected; press Ctrl+C";
    }
  };
  return h("div", { class: "copied" }, h("p", {}, h("strong", {}, title), said, h("button", { type: "button", onclick: copy, "aria-label": `Copy: ${title}` }, "Copy")), pre);
}

function reproduce(run) {
  const { params, versions, hashes, commands } = run.reproduce;
  const table = (rows) => rows.map(([name, value]) => `${value}  ${name}`).join("\n");
  return section("reproduce", "Reproduce", "With the same settings, versions and files, every figure above comes out the same.",
    copied("Commands", commands.join("\n")),
    copied("Files, SHA-256", table(Object.entries(hashes))),
    copied("Versions", Object.entries(versions).map(([name, value]) => `${name} ${value}`).join("\n")),
    h("details", {}, h("summary", {}, "Settings, params.yaml"), copied("params.yaml", params)));
}

// Several runs in one page

function compare(runs) {
  const withCurve = runs.filter((run) => run.curve);
  const series = withCurve.flatMap((run, place) => {
    const triggers = Object.values(run.curve.attack), shape = place % 6;
    const worst = run.curve.accuracy.map((_, step) => Math.max(...triggers.map((values) => values[step])));
    return [{ name: `${run.name}: accuracy`, values: run.curve.accuracy, colour: `c${shape}`, dash: "", shape },
      ...(triggers.length ? [{ name: `${run.name}: attack success, strongest trigger`, values: worst, colour: `c${shape}`, dash: "7 4", shape }] : [])];
  });
  const rows = runs.flatMap((run) => run.repairs.map((repair) => ({ ...repair, run: run.name })));
  const columns = [{ title: "Experiment", text: true, value: (row) => row.run }, ...COLUMNS];
  const bodies = rows.map((row) => ({ row, element: h("tbody", { class: row.recommended ? "recommended" : null }, h("tr", {}, columns.map((column, place) => (place < 2
    ? h(place ? "td" : "th", { scope: place ? null : "row" }, column.value(row), place && row.recommended ? h("span", { class: "badge" }, "★ use this") : null)
    : aCell(column, row))))) }));
  const shown = runs.flatMap((run) => points(run, `${run.name} `));
  return [
    h("header", { id: "top" }, h("p", { class: "eyebrow" }, "goodnet experiments"), h("h1", {}, `${plural(runs.length, "experiment")} side by side`),
      h("div", { class: "sentences" }, runs.map((run) => h("p", {}, h("strong", {}, run.name), `: ${run.top.found} `, run.top.recommended ? ["Use ", h("strong", {}, run.top.recommended), ": "] : null, run.top.why)))),
    series.length ? section("curve", "Pruning", "Accuracy and the strongest trigger's success on test images, as channels are pruned.", legend(series),
      lines(`Pruning curves of ${withCurve.map((run) => run.name).join(", ")}.`, "channels pruned", series, [], null).box) : null,
    section("repairs", "Repairs side by side", "Percent of test images; attack and detection are those of the worst trigger.", wide("table of repairs", sortable(columns, bodies)),
      shown.length ? h("figure", {}, h("figcaption", {}, h("h3", {}, "Accuracy against attack")), scatter(shown, "Accuracy against attack success of every GoodNet; the table above holds the figures.").box) : null),
  ];
}

const SECTIONS = { curve, repairs, images, suspects, reproduce };
const run = content;
if (content.experiments) host.append(...compare(content.experiments).filter(Boolean));
else {
  const parts = Object.values(SECTIONS).map((make) => make(run)).filter(Boolean);
  host.append(top(run), h("nav", { "aria-label": "parts of this page" }, parts.map((part) =>
    h("a", { href: `#${part.id}` }, part.querySelector("h2").textContent))), ...parts);
}
// What is folded away is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
