// Draws the page from the JSON in it, with what charts.js has.

const content = JSON.parse(document.getElementById("content").textContent);
const host = document.getElementById("page");

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
      cost ? h("p", {}, cost) : null),
    figures.length ? h("div", { class: "figures" }, figures.map((figure) => {
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
    })) : null,
    h("details", { class: "words" }, h("summary", {}, "What the words mean"),
      h("dl", {}, [
        ["B, the badnet", "the net as it was given, backdoored or not"],
        ["B', a repaired net", "B after a repair that used clean images alone"],
        ["G, the GoodNet", 'B and B\' together: the class on which they agree, else "backdoored"'],
        ["trigger", "what an attacker puts on an image so that B answers the attacker's class, the target class"],
        ["attack success", "percent of images with a trigger that get the attacker's class; low is good after a repair"],
        ["false alarm", 'a clean image that G calls "backdoored"'],
        ["held-out images", "clean images that no repair was trained on; the recommended repair is chosen by them"],
        ["fresh attack", "a search for a new trigger against the repaired net; a repair has held if that takes nearly as large a trigger as other classes do, and B's triggers hardly work"],
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
  if (repair.moved == null) return "It was not attacked: no class was named, so nothing is known about whether it holds.";
  if (repair.ratio == null) return `A trigger found in B still moves ${percent(repair.moved)} of images, so no new one was searched.`;
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

function points(run, place) { // of one of several runs, a shape and a colour each, or of one run
  const alone = place === undefined, look = alone ? 2 : place % 6, prefix = alone ? "" : `${run.name} `;
  if (!Object.keys(run.badnet.attack_success).length) return [];
  const point = (name, what, metrics, shape, colour) => ({
    name: prefix + name, what: prefix + what, x: most(metrics.attack_success), y: metrics.clean_accuracy, shape, colour,
  });
  return [
    ...(alone ? [point("B", "B", run.badnet, 1, "c1")] : []),
    // What is recommended is drawn over the others.
    ...run.repairs.toSorted((one, other) => one.recommended - other.recommended).map((repair) => point(`${repair.name}${repair.recommended ? " ★" : ""}`, `G of ${repair.name}`, repair.goodnet, alone ? 3 : look, `c${look}`)),
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

function searched(ratio) {
  return h("td", { class: "num" }, ratio == null ? "–" : number(ratio, 2));
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
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), searched(row.patch_ratio), searched(row.additive_ratio), h("td", { class: "num" }, percent(row.moved)), h("td", {}, outcome(row.outcome))))))) : null);
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
    return [{ name: `${run.name}: accuracy`, values: run.curve.accuracy, colour: `c${shape}`, dash: DASHES[(2 * place) % 6], shape },
      ...(triggers.length ? [{ name: `${run.name}: attack success, strongest trigger`, values: worst, colour: `c${shape}`, dash: DASHES[(2 * place + 1) % 6], shape }] : [])];
  });
  const rows = runs.flatMap((run) => run.repairs.map((repair) => ({ ...repair, run: run.name })));
  const columns = [{ title: "Experiment", text: true, value: (row) => row.run }, ...COLUMNS];
  const bodies = rows.map((row) => ({ row, element: h("tbody", { class: row.recommended ? "recommended" : null }, h("tr", {}, columns.map((column, place) => (place < 2
    ? h(place ? "td" : "th", { scope: place ? null : "row" }, column.value(row), place && row.recommended ? h("span", { class: "badge" }, "★ use this") : null)
    : aCell(column, row))))) }));
  const shown = runs.flatMap((run, place) => points(run, place));
  const keys = runs.map((run, place) => ({ name: `G of ${run.name}`, colour: `c${place % 6}`, shape: place % 6, only: true }));
  return [
    h("header", { id: "top" }, h("p", { class: "eyebrow" }, "goodnet experiments"), h("h1", {}, `${plural(runs.length, "experiment")} side by side`),
      h("div", { class: "sentences" }, runs.map((run) => h("p", {}, h("strong", {}, run.name), `: ${run.top.found} `, run.top.recommended ? ["Use ", h("strong", {}, run.top.recommended), ": "] : null, run.top.why)))),
    series.length ? section("curve", "Pruning", "Accuracy and the strongest trigger's success on test images, as channels are pruned.", legend(series),
      lines(`Pruning curves of ${withCurve.map((run) => run.name).join(", ")}.`, "channels pruned", series, [], null).box) : null,
    section("repairs", "Repairs side by side", "Percent of test images; attack and detection are those of the worst trigger.", wide("table of repairs", sortable(columns, bodies)),
      shown.length ? h("figure", {}, h("figcaption", {}, h("h3", {}, "Accuracy against attack")), legend(keys), scatter(shown, "Accuracy against attack success of every GoodNet; the table above holds the figures.").box) : null),
  ];
}

// Many nets, each with a page of its own

const NET_VERDICTS = { ...VERDICTS, failed: ["Could not be judged", "unknown"] };
const NET_COLUMNS = [
  { title: "Net", text: true, value: (row) => row.net },
  { title: "Verdict", text: true, value: (row) => NET_VERDICTS[row.verdict][0] },
  { title: "Target", text: true, value: (row) => row.targets.join(", ") || null },
  { title: "Searches", value: (row) => row.searches, shown: (value, row) => `${value} of ${row.of_searches}` },
  { title: "Strength", value: (row) => row.strength, shown: (value) => number(value, 2) },
  { title: "Best repair", text: true, value: (row) => row.repair },
  { title: "Costs, points", value: (row) => row.cost, shown: (value) => number(value, 2) },
  { title: "Left, %", value: (row) => row.left, shown: (value) => number(value) },
  { title: "Outcome", text: true, value: (row) => row.outcome },
  { title: "Kind", text: true, value: (row) => row.kind },
  { title: "Input", value: (row) => row.input?.reduce((one, other) => one * other) ?? null, shown: (_, row) => row.input.join(" × ") },
  { title: "Classes", value: (row) => row.classes, shown: String },
  { title: "Seconds", value: (row) => row.seconds, shown: (value) => number(value, 0) },
];

function aNet(row) {
  const cells = NET_COLUMNS.map((column, place) => {
    const value = column.value(row);
    const shown = value == null ? "–" : column.shown ? column.shown(value, row) : value;
    if (place === 0) {
      const name = row.folder ? h("a", { class: "net", href: `${row.folder}/index.html` }, row.net) : h("span", { class: "net" }, row.net);
      // A path may be long: it is broken before it covers the other columns.
      Object.assign(name.style, { display: "inline-block", minWidth: "8rem", maxWidth: "min(22rem, 60vw)", whiteSpace: "normal" });
      return h("th", { scope: "row" }, name);
    }
    if (place === 1) return h("td", {}, h("span", { class: `outcome ${NET_VERDICTS[row.verdict][1]}` }, shown));
    return h("td", { class: column.text ? null : "num" }, shown);
  });
  return h("tbody", {}, h("tr", {}, cells), row.error ? h("tr", { class: "more" }, h("td", { colspan: NET_COLUMNS.length, class: "small" }, row.error)) : null);
}

function audit(it) {
  const bodies = it.nets.map((row) => ({ row, element: aNet(row) }));
  return [
    h("header", { id: "top" }, h("p", { class: "eyebrow" }, "goodnet audit"), h("h1", {}, it.sentence)),
    section("nets", "Nets",
      "Judged and repaired from clean images alone; the name of a net leads to its own page. A click on the head of a column sorts by it.",
      wide("table of nets", sortable(NET_COLUMNS, bodies)),
      h("dl", {}, [
        ["Target", "the classes that an attacker wants, or that are doubtful where nobody can tell"],
        ["Searches", "how many searches for triggers agree on the verdict"],
        ["Strength", "of the class that most evidence points to; from 1 on it is named"],
        ["Costs", "accuracy of the net less that of the repaired net, in points, on clean images that no repair was trained on"],
        ["Left", "percent of clean images that triggers found in the net still move in the repaired one"],
        ["Outcome", "of a fresh attack on the repaired net"],
      ].map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)]))),
    reproduce(it),
  ];
}

const SECTIONS = { curve, repairs, images, suspects, reproduce };
const run = content;
if (content.audit) host.append(...audit(content.audit));
else if (content.experiments) host.append(...compare(content.experiments).filter(Boolean));
else {
  // The page of a verdict alone has no curve, repairs and images.
  const parts = Object.entries(SECTIONS).filter(([name]) => name in run).map(([, make]) => make(run)).filter(Boolean);
  host.append(top(run), h("nav", { "aria-label": "parts of this page" }, parts.map((part) =>
    h("a", { href: `#${part.id}` }, part.querySelector("h2").textContent))), ...parts);
}
// What is folded away is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
