
// Draws what DVC gives to vegaEmbed, as far as it is lines in percent over whole numbers from 0: our plots are.

function fields(spec) { // the first x and y that are encoded anywhere in the specification
  if (spec === null || typeof spec !== "object") return null;
  if (spec.encoding?.x?.field && spec.encoding?.y?.field) return [spec.encoding.x, spec.encoding.y];
  return Object.values(spec).map(fields).find(Boolean) ?? null;
}

window.vegaEmbed = (place, spec) => {
  const box = document.querySelector(place), rows = spec.data?.values ?? [], found = fields(spec);
  const title = h("h2", {}, String(spec.title?.text ?? spec.title ?? ""));
  const [x, y] = found ?? [{}, {}];
  const drawable = found && rows.length && rows.every((row) => Number.isInteger(Number(row[x.field])) && row[y.field] >= 0 && row[y.field] <= 100);
  if (!drawable) {
    box.append(title, h("p", { class: "empty" }, "This page draws lines in percent. For other plots, unset plots.html_template in .dvc/config."));
    return;
  }
  const named = new Map();
  const several = new Set(rows.map((row) => row.field)).size > 1;
  for (const row of rows) {
    const name = [row.rev, several ? row.field : null].filter(Boolean).join(": ");
    if (!named.has(name)) named.set(name, []);
    named.get(name)[Number(row[x.field])] = Number(row[y.field]);
  }
  const series = [...named].map(([name, values], number) => ({
    name, values, colour: `c${number % 6}`, dash: DASHES[(number + Math.floor(number / 6)) % 6], shape: number % 6,
  }));
  const words = `${title.textContent}: ${series.map((line) => `${line.name} from ${line.values[0]} to ${line.values.at(-1)}`).join("; ")}.`;
  box.append(h("section", {}, title, legend(series), lines(words, x.title ?? x.field, series, [], null).box));
};
