// Sorts a table by the column that was clicked; a second click turns the order around.
for (const head of document.querySelectorAll("th")) {
  head.addEventListener("click", () => {
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    const compare = (a, b) => {
      const [x, y] = [a.cells[column], b.cells[column]];
      return x.dataset.value === undefined
        ? -x.textContent.localeCompare(y.textContent, "en", { numeric: true })
        : Number(x.dataset.value) - Number(y.dataset.value);
    };
    body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
  });
}
