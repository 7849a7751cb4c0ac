// A button in a heading sorts its table by that column: rising at first, then falling. Cells without
// a value stay at the end. Numbers are compared as numbers where both cells hold one.
"use strict";
for (const table of document.querySelectorAll("table.sorted")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const value = (row) => row.cells[column].dataset.value;
      const missing = (text) => text === "" || text === "—";
      const rows = [...body.rows].sort((one, other) => {
        const a = value(one);
        const b = value(other);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const difference = Number(a) - Number(b);
        const order = Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference;
        return rising ? order : -order;
      });
      body.append(...rows);
    });
  });
}
