// The grid of suggestions: rows a page at a time, and everything from the keyboard. The space bar is
// the grid's own: it selects the row of the focused cell.
shopwright.queue = {
  grid: null,
  query: "",

  start(gridId, query, sortKeys) {
    this.sortKeys = sortKeys;
    const found = () => getElement(gridId)?.api;
    const wait = () => (found() ? this.ready(found(), query) : setTimeout(wait, 50));
    wait();
  },

  ready(api, query) {
    this.grid = api;
    this.query = query;
    api.setGridOption("datasource", {
      getRows: (request) => this.load(request),
    });
    api.addEventListener("selectionChanged", () => this.report());
    api.addEventListener("rowDoubleClicked", (event) => this.open(event.data?.id));
    api.addEventListener("sortChanged", () => this.sorted());
    for (const name of ["columnMoved", "columnResized", "columnVisible"]) {
      api.addEventListener(name, (event) => event.source !== "api" && this.keepColumns());
    }
    Object.assign(shopwright.keys, {
      j: () => this.move(1),
      k: () => this.move(-1),
      Enter: () => this.open(this.current()?.data?.id),
      a: () => this.act("approve"),
      r: () => this.act("reject"),
      e: () => this.act("edit"),
      s: () => this.act("schedule"),
      Escape: () => emitEvent("queue_close", {}),
      "/": () => document.querySelector(".filter-text input")?.focus(),
      "?": () => emitEvent("queue_help", {}),
    });
  },

  async load(request) {
    const parameters = new URLSearchParams(this.query);
    const [sorted] = request.sortModel;
    if (sorted) {
      parameters.set("sort", this.sortKeys[sorted.colId]);
      parameters.set("descending", sorted.sort === "desc" ? "1" : "");
    } else if (Object.values(this.sortKeys).includes(parameters.get("sort"))) {
      parameters.delete("sort"); // the heading of the address has no arrow any more
      parameters.delete("descending");
    }
    parameters.set("offset", request.startRow);
    parameters.set("limit", request.endRow - request.startRow);
    try {
      const answer = await this.ask(parameters, request.startRow);
      const page = await answer.json();
      if (!answer.ok) throw page;
      request.successCallback(page.rows, page.total);
      if (request.startRow === 0) emitEvent("queue_loaded", { total: page.total });
    } catch (problem) {
      request.failCallback();
      emitEvent("queue_failed", { what: problem.detail ?? String(problem), hint: problem.hint ?? "" });
    }
  },

  // The page itself has asked for the first rows of its address.
  ask(parameters, startRow) {
    const first = window.firstRows;
    window.firstRows = null;
    if (first && first.query === this.query && startRow === 0) return first.answer;
    return fetch(`/data/queue?${parameters}`, { headers: { Accept: "application/json" } });
  },

  show(query) {
    this.query = query;
    this.grid.deselectAll();
    this.grid.purgeInfiniteCache();
    this.report();
  },

  refresh() {
    this.grid?.deselectAll();
    this.grid?.purgeInfiniteCache();
    this.report();
  },

  sorted() {
    const sorted = this.grid.getColumnState().find((column) => column.sort);
    const key = this.sortKeys[sorted?.colId] ?? "";
    emitEvent("queue_sorted", { key, descending: sorted?.sort === "desc" });
  },

  keepColumns() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => {
      const columns = this.grid.getColumnState().map(({ colId, width, hide }) => ({ colId, width, hide }));
      emitEvent("queue_columns", { columns });
    }, 600);
  },

  current() {
    const focused = this.grid?.getFocusedCell();
    return focused ? this.grid.getDisplayedRowAtIndex(focused.rowIndex) : null;
  },

  move(step) {
    const focused = this.grid.getFocusedCell();
    const last = this.grid.getDisplayedRowCount() - 1;
    const row = Math.min(last, Math.max(0, focused ? focused.rowIndex + step : 0));
    this.grid.ensureIndexVisible(row);
    this.grid.setFocusedCell(row, focused?.column ?? "title");
    if (document.querySelector(".drawer")) this.open(this.grid.getDisplayedRowAtIndex(row)?.data?.id);
  },

  open(id) {
    if (id) emitEvent("queue_open", { id });
  },

  selected() {
    return this.grid.getSelectedNodes().map((node) => node.data.id);
  },

  report() {
    emitEvent("queue_selected", { ids: this.selected() });
  },

  act(action) {
    const ids = this.selected();
    const row = this.current();
    emitEvent("queue_act", { action, ids: ids.length ? ids : row?.data ? [row.data.id] : [] });
  },
};
