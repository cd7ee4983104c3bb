"use strict";
// Figures of the page to explore. Each function draws one from what it is given; explore.js holds
// the data and the state. Text of the study goes through plain(), because plotly reads some markup.

const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];
const SHADES = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#d8b000"]; // dark: low
const STAGES = {
  template: { name: "template", color: PALETTE[0], dash: "dash" },
  focus: { name: "second stage", color: PALETTE[1], dash: "solid" },
  student: { name: "student", color: PALETTE[2], dash: "dot" },
};
const LONGEST_NAME = 20; // characters on an axis
const NUMBERED_UP_TO = 15; // scenes; cells of larger matrices are too small for numbers
const LAYOUT = {
  font: { family: 'system-ui, "Segoe UI", Arial, sans-serif', size: 12, color: "#111" },
  hoverlabel: { align: "left", namelength: -1, bgcolor: "#fff", font: { color: "#111" } },
  hovermode: "closest",
  paper_bgcolor: "#fff",
  plot_bgcolor: "#fff",
};
const AXIS = { gridcolor: "#ddd", linecolor: "#111", zeroline: false, automargin: true };
const CONFIG = { displaylogo: false, responsive: true };

function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function short(text) {
  return plain(text.length > LONGEST_NAME ? text.slice(0, LONGEST_NAME - 1) + "…" : text);
}

// Shows a figure in the element `id`, or a sentence in its place where there are no traces.
function show(id, traces, layout, config = {}) {
  const plot = document.getElementById(id);
  const note = document.getElementById(`${id}-note`);
  const empty = typeof traces === "string";
  plot.hidden = empty;
  note.textContent = empty ? traces : layout.note || "";
  note.hidden = !note.textContent;
  if (empty) return Plotly.purge(plot);
  const { note: unused, ...rest } = layout;
  return Plotly.react(plot, traces, { ...LAYOUT, ...rest }, { ...CONFIG, ...config });
}

// Where a column's value is on its axis, from 0 to 1; null where there is none.
function scaleOf(column, trials) {
  if (column.kind === "choice") {
    const last = column.order.length - 1;
    const place = (value) => (value === null ? null : last ? column.order.indexOf(value) / last : 0.5);
    return { place, ticks: column.order.map((value) => [place(value), short(value)]) };
  }
  const values = trials.map((i) => column.values[i]).filter((value) => value !== null);
  const [low, high] = column.range || [Math.min(...values), Math.max(...values)];
  const [to, back] = column.scale === "log" ? [Math.log, Math.exp] : [Number, Number];
  const place = (value) =>
    value === null ? null : low < high ? (to(value) - to(low)) / (to(high) - to(low)) : 0.5;
  const value = (share) => back(to(low) + share * (to(high) - to(low)));
  const shares = low < high ? [0, 0.25, 0.5, 0.75, 1] : values.length ? [0.5] : [];
  return { place, value, ticks: shares.map((at) => [at, String(Number(value(at).toPrecision(3)))]) };
}

// The trials in groups of one colour: by a choice's values, or by six classes of a number.
function colourGroups(column, trials) {
  const groups = new Map();
  const add = (label, color, i) => {
    if (!groups.has(label)) groups.set(label, { label, color, trials: [] });
    groups.get(label).trials.push(i);
  };
  const numbers = trials.map((i) => column.values[i]).filter((value) => value !== null);
  if (column.kind === "number") numbers.sort((a, b) => a - b);
  for (const i of trials) {
    const value = column.values[i];
    if (value === null) add("none", "#888", i);
    else if (column.kind === "choice") {
      add(value, PALETTE[column.order.indexOf(value) % PALETTE.length], i);
    } else {
      const [low, high] = [numbers[0], numbers[numbers.length - 1]];
      const step = (high - low) / SHADES.length || 1;
      const at = Math.min(Math.floor((value - low) / step), SHADES.length - 1);
      const end = (place) => Number((low + place * step).toPrecision(3));
      add(`${end(at)} to ${end(at + 1)}`, SHADES[at], i);
    }
  }
  return [...groups.values()].sort((a, b) =>
    column.kind === "number"
      ? SHADES.indexOf(a.color) - SHADES.indexOf(b.color)
      : column.order.indexOf(a.label) - column.order.indexOf(b.label),
  );
}

// One trace with a line for each trial; `points(i)` are its x, its y and its texts.
function linesTrace(trials, points, style) {
  const trace = { type: "scatter", x: [], y: [], text: [], customdata: [], ...style };
  for (const i of trials) {
    const [x, y, text] = points(i);
    trace.x.push(...x, null);
    trace.y.push(...y, null);
    trace.text.push(...text, null);
    trace.customdata.push(...x.map(() => i), null);
  }
  return trace;
}

function drawParallel({ axes, trials, kept, selected, groups, filters, about }) {
  const scales = axes.map((axis) => scaleOf(axis, trials));
  const points = (i) => [
    axes.map((_, at) => at),
    axes.map((axis, at) => scales[at].place(axis.values[i])),
    axes.map((axis) => `${about(i)}<br>${plain(axis.label)}: ${plain(axis.values[i])}`),
  ];
  const hover = { hovertemplate: "%{text}<extra></extra>", mode: "lines+markers" };
  const line = (color, width, size) => ({ ...hover, line: { color, width }, marker: { color, size } });
  const passes = new Set(kept);
  const others = trials.filter((i) => !passes.has(i));
  const traces = [
    linesTrace(others, points, {
      ...line("#ddd", 1, 3), mode: "lines", hoverinfo: "skip", hovertemplate: null, showlegend: false,
    }),
    ...groups.map((group) =>
      linesTrace(group.trials, points, { ...line(group.color, 1.3, 5), name: plain(group.label), opacity: 0.75 }),
    ),
  ];
  if (selected !== null) {
    traces.push(linesTrace([selected], points, { ...line("#000", 3.5, 7), name: "selected" }));
  }
  const annotations = scales.flatMap(({ ticks }, x) =>
    ticks.map(([y, text]) => ({
      x, y, text, showarrow: false, xanchor: "left", xshift: 5, bgcolor: "rgba(255,255,255,.75)",
      borderpad: 0, font: { size: 11, color: "#333" },
    })),
  );
  const shapes = axes.flatMap((axis, at) => [
    { type: "line", x0: at, x1: at, y0: 0, y1: 1, line: { color: "#111", width: 1.2 } },
    ...brushes(axis, scales[at], filters[axis.key]).map(([y0, y1]) => ({
      type: "rect", x0: at - 0.05, x1: at + 0.05, y0, y1, line: { color: "#0072B2", width: 1.5 },
      fillcolor: "rgba(0,114,178,.3)",
    })),
  ]);
  return show("parallel", traces, {
    annotations, shapes, height: 360, dragmode: "select", selections: [],
    margin: { l: 30, r: 60, t: 40, b: 10 },
    legend: { orientation: "h", x: 0, y: -0.03, yanchor: "top" },
    xaxis: {
      side: "top", range: [-0.25, axes.length - 0.6], tickvals: axes.map((_, at) => at), tickangle: 0,
      ticktext: axes.map((axis) => `<b>${short(axis.label)}</b>`), showgrid: false, zeroline: false,
    },
    yaxis: { range: [-0.06, 1.06], visible: false },
    newselection: { line: { color: "#0072B2" } },
  }, { displayModeBar: false });
}

// The ranges of an axis, from 0 to 1, that a filter keeps.
function brushes(axis, scale, filter) {
  if (!filter) return [];
  if (filter.among) return filter.among.map((one) => [scale.place(one) - 0.03, scale.place(one) + 0.03]);
  const end = (value, outside) =>
    Number.isFinite(value) ? Math.min(Math.max(scale.place(value), -0.06), 1.06) : outside;
  return [[end(filter.low, -0.06), end(filter.high, 1.06)]];
}

function drawCurves({ curves, measure, title, selected, groups, others, about }) {
  const of = (i, stage) => curves(i, stage);
  const points = (i) => {
    const curve = of(i, others);
    return curve && curve[measure] ? [curve.epoch, curve[measure], curve.epoch.map(() => about(i))] : [[], [], []];
  };
  const style = { mode: "lines", connectgaps: true, hovertemplate: "%{text}<extra></extra>" };
  // A line's end is a null, which connectgaps would cross: each trial's gaps are dropped instead.
  const whole = (i) => {
    const [x, y, text] = points(i);
    const there = y.map((value) => value !== null);
    return [x, y, text].map((list) => list.filter((_, at) => there[at]));
  };
  const background = others
    ? groups.map((group) =>
        linesTrace(group.trials, whole, {
          ...style, connectgaps: false, line: { color: group.color, width: 1 }, opacity: 0.35, showlegend: false,
        }),
      )
    : [];
  const own = Object.keys(STAGES).filter((stage) => selected !== null && (of(selected, stage) || {})[measure]);
  const lines = own.map((stage) => {
    const { name, color, dash } = STAGES[stage];
    const { epoch, [measure]: values } = of(selected, stage);
    return {
      ...style, type: "scatter", mode: "lines+markers", name, x: epoch, y: values,
      customdata: epoch.map(() => selected), marker: { size: 5, color }, line: { color, dash, width: 3 },
      hovertemplate: `${name}, epoch %{x}: %{y}<extra></extra>`,
    };
  });
  if (![...background, ...lines].some((trace) => trace.x.length)) {
    return show("curves", "No epoch has been recorded for this.");
  }
  const note = lines.length ? "" : "The selected trial has no such curve.";
  return show("curves", [...background, ...lines], {
    note, height: 400, margin: { l: 50, r: 10, t: 10, b: 40 }, showlegend: true,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...AXIS, title: { text: "epoch of the stage" }, rangemode: "tozero" },
    yaxis: { ...AXIS, title: { text: title } },
  });
}

function drawConfusion({ counts, scenes, title }) {
  if (!counts) return show("confusion", "No confusion matrix: this trial has none of this stage, or has not finished.");
  const totals = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = counts.map((row, at) => row.map((count) => (totals[at] ? (100 * count) / totals[at] : null)));
  const text = counts.map((row, t) =>
    row.map((count, p) =>
      `true: ${plain(scenes[t])}<br>predicted: ${plain(scenes[p])}<br>${count} of ${totals[t]} clips` +
      (totals[t] ? ` (${shares[t][p].toFixed(1)} %)` : "")),
  );
  const places = scenes.map((_, at) => at);
  const names = scenes.map(short);
  const cells = shares.flatMap((row, y) =>
    scenes.length > NUMBERED_UP_TO ? [] : row.flatMap((share, x) =>
      share === null || share < 0.5 ? [] : [{
        x, y, text: share.toFixed(0), showarrow: false, font: { size: 10, color: share > 50 ? "#fff" : "#111" },
      }]),
  );
  const axis = { ...AXIS, tickvals: places, ticktext: names, showgrid: false, ticks: "" };
  return show("confusion", [{
    type: "heatmap", z: shares, text, hovertemplate: "%{text}<extra></extra>", zmin: 0, zmax: 100,
    colorscale: [[0, "#f7fbff"], [0.5, "#6baed6"], [1, "#08306b"]], xgap: 1, ygap: 1,
    colorbar: { title: { text: "% of true scene", side: "right" }, thickness: 12 },
  }], {
    annotations: cells, height: 400 + Math.max(0, scenes.length - NUMBERED_UP_TO) * 12,
    margin: { l: 20, r: 10, t: 30, b: 20 }, title: { text: title, font: { size: 12 }, y: 0.98 },
    xaxis: { ...axis, title: { text: "predicted scene" }, tickangle: -40 },
    yaxis: { ...axis, title: { text: "true scene" }, autorange: "reversed" },
  });
}

// The trials over the columns x and y, coloured by `shown`; without y, `shown` is up.
function drawMap({ x, y, shown, trials, selected, winner, estimates, note, about }) {
  const there = (i) => [x, y, shown].every((one) => !one || one.values[i] !== null);
  const points = trials.filter(there);
  if (!points.length && !estimates) return show("map", note + " No trial has these values.");
  const values = points.map((i) => shown.values[i]).concat(estimates ? estimates.z.flat() : []);
  const coloraxis = {
    colorscale: "Cividis", cmin: Math.min(...values), cmax: Math.max(...values),
    colorbar: { title: { text: plain(shown.label), side: "right" }, thickness: 14 },
  };
  const up = y || shown;
  const marks = (list, symbol, name) => ({
    type: "scatter", mode: "markers", name, customdata: list, x: list.map((i) => x.values[i]),
    y: list.map((i) => up.values[i]),
    text: list.map((i) => `${about(i)}<br>${[x, y, shown].filter(Boolean)
      .map((one) => `${plain(one.label)}: ${plain(one.values[i])}`).join("<br>")}`),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      symbol, size: list.map((i) => (i === selected ? 17 : 11)), color: list.map((i) => shown.values[i]),
      coloraxis: "coloraxis",
      line: { color: list.map((i) => (i === selected ? "#D55E00" : "#fff")), width: list.map((i) => (i === selected ? 4 : 1)) },
    },
  });
  const traces = [];
  if (estimates) {
    const isSmooth = x.kind === "number" && y.kind === "number";
    traces.push({
      type: isSmooth ? "contour" : "heatmap", x: estimates.x, y: estimates.y, z: estimates.z, name: "estimate",
      // Not the shared colour axis: with it, plotly.js 3 never ends drawing the lines of a contour.
      colorscale: coloraxis.colorscale, zmin: coloraxis.cmin, zmax: coloraxis.cmax, showscale: false,
      opacity: 0.75, ...(isSmooth ? { contours: { showlabels: true }, line: { width: 0.7 } } : {}),
      hovertemplate: "estimate: %{z:.2f}<extra></extra>",
    });
  }
  const focus = points.filter((i) => about.arm(i) === "focusnet");
  traces.push(marks(focus, "circle", "FocusNet"), marks(points.filter((i) => !focus.includes(i)), "square", "other arms"));
  if (winner && y) {
    traces.push({
      type: "scatter", mode: "markers", name: "winner", x: [winner[x.key]], y: [winner[y.key]],
      marker: { symbol: "star-open", size: 19, color: "#D55E00", line: { width: 2.5 } },
      hovertemplate: "the stratum's winner<br>%{x}, %{y}<extra></extra>",
    });
  }
  const axis = (one) => ({
    ...AXIS, title: { text: plain(one.label) },
    ...(one.kind === "choice"
      ? { type: "category", categoryorder: "array", categoryarray: one.order, ticktext: one.order.map(short), tickvals: one.order }
      : { type: one.scale, ...(one.scale === "log" ? { dtick: "D1", tickformat: "~g" } : {}) }),
    ...(one.range ? { range: margins(one) } : {}),
  });
  return show("map", traces, {
    coloraxis, note, height: 440, margin: { l: 60, r: 10, t: 10, b: 50 }, xaxis: axis(x), yaxis: axis(up),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: true,
  });
}

// A searched range with room at its ends, as plotly wants it.
function margins(column) {
  const [low, high] = column.range.map(column.scale === "log" ? Math.log10 : Number);
  return [low - 0.04 * (high - low), high + 0.04 * (high - low)];
}
