"use strict";
(() => {
  const root = document.documentElement;
  const remember = (value) => { try { localStorage.setItem("softvote-theme", value); } catch { /* not kept */ } };
  try { const kept = localStorage.getItem("softvote-theme"); if (kept) root.dataset.theme = kept; } catch { /* none */ }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return null;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  for (const table of document.querySelectorAll("table.wide")) { // on a phone a row is a card, and cells are named
    const names = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, column) => { cell.dataset.label = names[column]; });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const head = button.parentElement, column = head.cellIndex, body = table.tBodies[0];
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : !head.classList.contains("n");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => compare(a, b) === null ? (a === "") - (b === "") : (up ? 1 : -1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  }

  for (const input of document.querySelectorAll(".tools input[type=search]")) {
    const figure = input.closest("figure"), rows = [...figure.querySelectorAll("tbody tr")], output = figure.querySelector("output");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      output.textContent = words.length ? `${shown} of ${rows.length}` : "";
    });
  }

  for (const button of document.querySelectorAll(".download")) {
    button.addEventListener("click", () => {
      const figure = button.closest("figure"), quote = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      const names = [...figure.querySelectorAll("thead th")].slice(1).map((th) => th.textContent.trim());
      const kept = [...figure.querySelectorAll("tbody tr")].filter((row) => row.querySelector("input").checked);
      const lines = [names, ...kept.map((row) => [...row.cells].slice(1).map((cell) => cell.textContent.trim()))];
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(quote).join(",")).join("\n") + "\n"], { type: "text/csv" }));
      link.download = button.dataset.name;
      link.click();
    });
  }

  const store = document.getElementById("picture-store"), dialog = document.getElementById("pictures");
  if (store && dialog) {
    const pictures = JSON.parse(store.textContent);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-pictures]");
      if (button) {
        const keys = button.dataset.pictures.split(" "), list = dialog.querySelector("ul");
        dialog.querySelector("h3").textContent = `${keys.length} of ${button.textContent} images`;
        list.replaceChildren(...keys.map((key) => {
          const item = document.createElement("li"), image = document.createElement("img");
          [image.src, item.textContent] = pictures[key];
          image.alt = pictures[key][1];
          item.prepend(image);
          return item;
        }));
        dialog.showModal();
      } else if (event.target === dialog) dialog.close();
    });
  }

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  if (links.size && "IntersectionObserver" in window) {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        const link = links.get(entry.target.id), list = link?.closest("ol");
        link?.setAttribute("aria-current", "true");
        if (link && list.scrollWidth > list.clientWidth) list.scrollTo({ left: link.offsetLeft - 40 });
      }
    }, { rootMargin: "-15% 0px -75% 0px" });
    for (const part of document.querySelectorAll("main section[id]")) observer.observe(part);
  }
})();
