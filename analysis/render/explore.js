// State of the page to explore: filters, sorting, the table, and which trial is selected.
// A filter is {low, high} of numbers, {among: [...]} of choices or {text}; an axis and the field
// in the table below a column's heading show and set the same one.

const study = JSON.parse(document.getElementById("study").textContent);
const everyTrial = study.details.map((_, i) => i);
const column = Object.fromEntries(study.columns.map((one) => [one.key, one]));
const element = (id) => document.getElementById(id);
const MEASURES = {
  "select/macro_accuracy": "macro accuracy on select (%)",
  "select/log_loss": "log loss on select (nats)",
  "train/loss": "training loss",
};
const state = {
  half: "select",
  filters: {},
  sort: { key: column[study.metric] ? study.metric : null, descending: true },
  selected: null,
};

const inHalf = (one) => one.half === null || one.half === state.half;
const visible = () => study.columns.filter(inHalf);
const format = (one, i) => {
  const value = one.values[i];
  if (value === null) return "–";
  if (one.kind === "number") return one.digits === null ? String(value) : value.toFixed(one.digits);
  return one.key === "trial" && study.winners.includes(i) ? `★ ${value}` : value;
};
const valueAt = (key, i) => (column[key] ? column[key].values[i] : null);
const about = (i) => plain(valueAt("trial", i));
about.arm = (i) => valueAt("arm", i);

function passes(i) {
  return Object.entries(state.filters).every(([key, filter]) => {
    const value = column[key].values[i];
    if (value === null) return false;
    if (filter.among) return filter.among.includes(value);
    if (filter.text) return value.toLowerCase().includes(filter.text.toLowerCase());
    return value >= filter.low && value <= filter.high;
  });
}

function sorted(trials) {
  const { key, descending } = state.sort;
  if (!key) return trials;
  const { values, order } = column[key];
  const rank = (i) => (order && values[i] !== null ? order.indexOf(values[i]) : values[i]);
  return [...trials].sort((a, b) => {
    const [one, other] = [rank(a), rank(b)];
    if (one === null || other === null) return (one === null) - (other === null); // missing last
    return (one < other ? -1 : one > other ? 1 : 0) * (descending ? -1 : 1);
  });
}

// "> 50", "< 50", "50" or "50..60" as a filter; undefined where it is none of these.
function parseRange(text) {
  const [, sign, first, , second] = text.match(/^\s*([<>]?)=?\s*([^\s.]*(?:\.\d+\S*?)?)\s*(\.\.\s*(\S*))?\s*$/) || [];
  const low = first ? Number(first) : NaN;
  const high = second ? Number(second) : NaN;
  if (Number.isNaN(low) || (second !== undefined && (Number.isNaN(high) || sign))) return undefined;
  if (sign === ">") return { low, high: Infinity };
  if (sign === "<") return { low: -Infinity, high: low };
  return { low, high: second === undefined ? low : high };
}

function describe(filter) {
  if (filter.among) return filter.among.join(", ");
  if (filter.text) return filter.text;
  if (filter.high === Infinity) return `> ${filter.low}`;
  if (filter.low === -Infinity) return `< ${filter.high}`;
  return filter.low === filter.high ? String(filter.low) : `${filter.low}..${filter.high}`;
}

function setFilter(key, filter) {
  if (filter) state.filters[key] = filter;
  else delete state.filters[key];
  render();
}

function select(i) {
  state.selected = i;
  render();
  const row = document.querySelector(`#rows tr[data-trial="${i}"]`);
  if (row) row.scrollIntoView({ block: "nearest" });
}

// A box that was dragged in the parallel coordinates filters by the axes inside, or the nearest.
function brush(event) {
  if (!event || !event.range) return;
  const axes = visible().filter((one) => one.is_axis);
  const trials = everyTrial.filter(inStratum);
  const [left, right] = [...event.range.x].sort((a, b) => a - b);
  const [low, high] = [...event.range.y].sort((a, b) => a - b);
  const nearest = Math.round(Math.min(Math.max((left + right) / 2, 0), axes.length - 1));
  axes.forEach((axis, at) => {
    if (at !== nearest && (at < left || at > right)) return;
    const scale = scaleOf(axis, trials);
    if (axis.kind === "choice") {
      const among = axis.order.filter((one) => scale.place(one) >= low && scale.place(one) <= high);
      if (among.length) state.filters[axis.key] = { among };
    } else if (scale.ticks.length) {
      const [from, to] = [low, high].map((share) => Number(scale.value(share).toPrecision(4)));
      state.filters[axis.key] = { low: from, high: to };
    }
  });
  render();
}

function inStratum(i) {
  const filter = state.filters[study.stratify];
  return !filter || filter.among.includes(column[study.stratify].values[i]);
}

function option(value, text = value) {
  return new Option(text, value);
}

// Headings with their filters; anew only where the columns change, so that a field keeps the focus.
function buildHead() {
  element("heads").replaceChildren(...visible().map((one) => {
    const head = document.createElement("th");
    head.scope = "col";
    head.dataset.key = one.key;
    if (one.kind !== "number") head.className = "words";
    const button = document.createElement("button");
    button.type = "button";
    button.title = `${one.key}: sort`;
    button.addEventListener("click", () => {
      const same = state.sort.key === one.key;
      state.sort = { key: one.key, descending: same ? !state.sort.descending : one.kind === "number" };
      render();
    });
    head.append(button);
    return head;
  }));
  element("filters").replaceChildren(...visible().map((one) => {
    const cell = document.createElement("td");
    const field = document.createElement(one.kind === "choice" ? "select" : "input");
    field.dataset.key = one.key;
    field.setAttribute("aria-label", `Filter by ${one.label}`);
    field.addEventListener("input", () => readFilter(one, field));
    cell.append(field);
    return cell;
  }));
}

function readFilter(one, field) {
  const text = field.value;
  if (!text) field.removeAttribute("aria-invalid");
  if (one.kind === "choice") return setFilter(one.key, text && { among: [text] });
  if (one.kind === "text") return setFilter(one.key, text && { text });
  const range = text ? parseRange(text) : null;
  field.setAttribute("aria-invalid", String(range === undefined));
  if (range !== undefined) setFilter(one.key, range);
}

// Fills a list of choices with the filter's; several of them are an entry of their own.
function fillChoices(list, one) {
  const filter = state.filters[one.key];
  const several = filter && filter.among.length > 1 ? [option("several", describe(filter))] : [];
  list.replaceChildren(option("", "all"), ...several, ...one.order.map((value) => option(value)));
  list.value = !filter ? "" : several.length ? "several" : filter.among[0];
}

function showControls(kept) {
  for (const field of document.querySelectorAll("#filters [data-key]")) {
    const one = column[field.dataset.key];
    const filter = state.filters[one.key];
    if (one.kind === "choice") fillChoices(field, one);
    else if (field !== document.activeElement) {
      field.value = filter ? describe(filter) : "";
      field.removeAttribute("aria-invalid");
    }
  }
  if (study.stratify) fillChoices(element("stratum"), column[study.stratify]);
  for (const head of element("heads").children) {
    const { key } = head.dataset;
    const isSorted = state.sort.key === key;
    head.setAttribute("aria-sort", !isSorted ? "none" : state.sort.descending ? "descending" : "ascending");
    head.firstChild.textContent = column[key].label + (!isSorted ? "" : state.sort.descending ? " ▼" : " ▲");
  }
  element("chips").replaceChildren(...Object.entries(state.filters).map(([key, filter]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = `${column[key].label}: ${describe(filter)} ✕`;
    chip.addEventListener("click", () => setFilter(key, null));
    return chip;
  }));
  element("count").textContent = `${kept.length} of ${everyTrial.length} trials`;
}

function showRows(kept) {
  const columns = visible();
  element("rows").replaceChildren(...sorted(kept).map((i) => {
    const row = document.createElement("tr");
    row.dataset.trial = i;
    if (i === state.selected) row.setAttribute("aria-current", "true");
    for (const one of columns) {
      const cell = row.insertCell();
      cell.textContent = format(one, i);
      if (one.kind !== "number") cell.className = "words";
    }
    return row;
  }));
  // One row can have the focus; the arrow keys go to the others.
  const current = element("rows").querySelector("[aria-current]") || element("rows").firstChild;
  if (current) current.tabIndex = 0;
}

function showSelected(kept, groups) {
  const i = state.selected;
  const { error, confusions, scenes } = study.details[i];
  element("selected").textContent = `Selected: ${valueAt("trial", i)} (${valueAt("status", i)})`;
  element("error").textContent = error || "";
  element("error").hidden = !error;
  const measure = element("measure").value;
  const curves = (trial, stage) => study.curves[study.details[trial].curves[stage]];
  drawCurves({ curves, measure, title: MEASURES[measure], selected: i, groups, others: element("others").value, about });
  const stage = element("stage").value;
  const counts = study.matrices[confusions[`${stage}/${state.half}`]];
  drawConfusion({ counts, scenes: study.scenes[scenes], title: `${STAGES[stage].name} on ${state.half}` });
}

// The map of the one stratum that is chosen, else of the selected trial's.
function showMap(kept) {
  const own = study.stratify ? (state.filters[study.stratify] || { among: [] }).among : [];
  const value = own.length === 1 ? own[0] : study.stratify && column[study.stratify].values[state.selected];
  const stratum = study.strata.find((one) => !study.stratify || one.value === value);
  element("map-title").textContent = "Parameters" + (stratum && study.stratify ? `, ${stratum.label}` : "");
  const [x, y, shown] = ["across", "up", "shown"].map((id) => column[element(id).value]);
  element("map-controls").hidden = !x;
  if (!x || !stratum) return show("map", "This study varies no parameter within its search.");
  if (!shown) return show("map", "No trial has an accuracy yet.");
  const up = y === x ? undefined : y;
  const found = study.maps.find((one) =>
    one.stratum === stratum.value && up && [one.x, one.y].includes(x.key) && [one.x, one.y].includes(up.key));
  const isEstimated = found && shown.key === study.metric;
  const turned = isEstimated && found.x !== x.key;
  const transposed = (rows) => rows[0].map((_, at) => rows.map((row) => row[at]));
  const estimates = isEstimated && {
    x: turned ? found.up : found.across,
    y: turned ? found.across : found.up,
    z: turned ? transposed(found.estimates) : found.estimates,
  };
  drawMap({
    x, y: up, shown, estimates, selected: state.selected, winner: stratum.winner, about,
    trials: kept.filter((i) => !study.stratify || column[study.stratify].values[i] === stratum.value),
    note: "Points are single trials that pass the filters." + (isEstimated
      ? " The surface is what all finished trials of the searches together say (mean of a Gaussian process); other parameters have the winner's values."
      : ""),
  });
}

function render() {
  const kept = everyTrial.filter(passes);
  if (state.selected === null) state.selected = sorted(kept)[0] ?? 0;
  showControls(kept);
  showRows(kept);
  const groups = colourGroups(column[element("colour").value], kept);
  const axes = visible().filter((one) => one.is_axis);
  const trials = everyTrial.filter(inStratum);
  if (axes.length) drawParallel({ axes, trials, kept, selected: state.selected, groups, filters: state.filters, about });
  else show("parallel", "There is no parameter and no accuracy to draw yet.");
  showSelected(kept, groups);
  showMap(kept);
}

// The columns of the chosen half, in the lists that offer them and in the table.
function changeHalf(half) {
  state.half = half;
  for (const key of Object.keys(state.filters)) if (!inHalf(column[key])) delete state.filters[key];
  const other = (key) => key && key.replace(/\/(select|report)\//, `/${half}/`);
  if (state.sort.key && column[other(state.sort.key)]) state.sort.key = other(state.sort.key);
  const measured = visible().filter((one) => one.half !== null);
  const named = (one) => option(one.key, one.half ? `${one.label} on ${half}` : one.label);
  refill("colour", [...visible().filter((one) => one.kind === "choice"), ...measured].map(named), other);
  refill("shown", measured.map(named), other);
  buildHead();
}

function refill(id, options, other = (value) => value) {
  const before = other(element(id).value);
  element(id).replaceChildren(...options);
  if (options.some((one) => one.value === before)) element(id).value = before;
}

function moveInTable(event) {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const row = event.target.closest("tr");
  const next = step ? row[step] : event.key === "Enter" ? row : null;
  if (!next) return;
  event.preventDefault();
  select(Number(next.dataset.trial));
  element("rows").querySelector("[aria-current]").focus();
}

function start() {
  element("empty").hidden = everyTrial.length > 0;
  if (!everyTrial.length) return;
  element("content").hidden = false;
  element("stratum-label").hidden = study.strata.length < 2;
  const stages = Object.keys(STAGES).filter((stage) =>
    study.details.some((one) => stage in one.curves || `${stage}/select` in one.confusions));
  const names = (stages.length ? stages : ["template"]).map((stage) => option(stage, STAGES[stage].name));
  refill("stage", names);
  refill("others", [...names.map((one) => option(one.value, one.text)), option("", "none")]);
  element("stage").value = element("others").value = stages.includes("focus") ? "focus" : names[0].value;
  refill("measure", Object.entries(MEASURES).map(([key, name]) => option(key, name)));
  for (const id of ["across", "up"]) {
    refill(id, study.parameters.map((key) => option(key, column[key].label)));
  }
  element("up").value = study.parameters[1] || study.parameters[0] || "";
  changeHalf("select");
  if (column[study.metric]) element("shown").value = study.metric;
  element("half").addEventListener("change", (event) => { changeHalf(event.target.value); render(); });
  element("stratum").addEventListener("change", (event) =>
    setFilter(study.stratify, event.target.value && { among: [event.target.value] }));
  for (const id of ["colour", "stage", "others", "measure", "across", "up", "shown"]) {
    element(id).addEventListener("change", render);
  }
  element("rows").addEventListener("click", (event) => select(Number(event.target.closest("tr").dataset.trial)));
  element("rows").addEventListener("keydown", moveInTable);
  render();
  for (const id of ["parallel", "curves", "map"]) {
    const plot = element(id);
    if (!plot.on) Plotly.newPlot(plot, []);
    plot.on("plotly_click", ({ points: [{ customdata }] }) => Number.isInteger(customdata) && select(customdata));
  }
  element("parallel").on("plotly_selected", brush);
  element("parallel").on("plotly_doubleclick", () => { state.filters = {}; render(); });
}

start();
