"""How the page of a compression report looks, in light, in dark, on paper and on a phone."""

from __future__ import annotations

# What the pictures are drawn in, and what the page writes for it.
_COLOURS = (
    # drawn       variable    light      dark
    ("#000000", "--ink", "#1d2329", "#e4e7ea"),
    ("#707070", "--quiet", "#636c74", "#98a2ab"),
    ("#ffffff", "--card", "#ffffff", "#1b2026"),
    ("#e8e8e8", "--band", "#e8eaed", "#323a43"),
    ("#ccd2d6", "--before", "#ccd3d9", "#4b5661"),
    ("#0072b2", "--c1", "#0072b2", "#52aaf0"),
    ("#d55e00", "--c2", "#d55e00", "#ff9550"),
    ("#009e73", "--c3", "#009e73", "#3ecf9f"),
    ("#cc79a7", "--c4", "#cc79a7", "#e79fc6"),
    ("#e69f00", "--c5", "#e69f00", "#f3bb45"),
    ("#56b4e9", "--c6", "#56b4e9", "#a5dcf8"),
    ("#5c5c5c", "--c7", "#5c5c5c", "#b3b9bf"),
    ("#8b6d00", "--c8", "#8b6d00", "#cdb04c"),
)
VARIABLES = {drawn: f"var({name})" for drawn, name, _, _ in _COLOURS}
_LIGHT = "".join(f"{name}:{light};" for _, name, light, _ in _COLOURS)
_DARK = "".join(f"{name}:{dark};" for _, name, _, dark in _COLOURS)

STYLE = (
    f":root{{{_LIGHT}--page:#f6f7f8;--line:#e1e5e8;--plan:#fff6e0;\n"
    '--font:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","Liberation'
    ' Sans",Arial,sans-serif;color-scheme:light dark}\n'
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}--page:#13171b;--line:#2c343c;"
    "--plan:#3a3119}}\n"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 var(--font);
-webkit-text-size-adjust:100%;text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:56px 24px 40px}
h1{font-size:2.5rem;line-height:1.15;letter-spacing:-.02em;font-weight:650;margin:0;
overflow-wrap:anywhere}
h2{font-size:1.2rem;font-weight:620;letter-spacing:-.005em;margin:0 0 14px}
section{margin:44px 0 0}
p{margin:0}
.eyebrow{color:var(--quiet);font-size:.8rem;letter-spacing:.09em;text-transform:uppercase;
margin-bottom:6px}
.lead{font-size:1.25rem;margin-top:12px;color:var(--quiet);max-width:46em}
.lead strong{color:var(--ink);font-weight:620}
.plan{background:var(--plan);border-radius:10px;padding:12px 18px;margin-top:18px}
.hint{color:var(--quiet);font-size:.875rem;margin-top:12px}
.sub{display:block;color:var(--quiet);font-size:.8125rem;font-weight:400;letter-spacing:0;
overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));
margin:34px 0 0;background:var(--card);border:1px solid var(--line);border-radius:14px;
overflow:hidden}
.tiles div{box-shadow:0 0 0 .5px var(--line);padding:18px 20px}
dt{color:var(--quiet);font-size:.8125rem}
dd{margin:0}
.tiles dd{font-size:1.375rem;font-weight:620;letter-spacing:-.01em;white-space:nowrap;
font-variant-numeric:tabular-nums}
.tiles .sub{margin-top:2px;white-space:normal}
.pictures{columns:2 400px;column-gap:20px;margin-top:20px}
figure{margin:0 0 20px;padding:20px 22px 18px;background:var(--card);border:1px solid var(--line);
border-radius:14px;break-inside:avoid}
figure svg{display:block;width:100%;max-width:580px;height:auto;overflow:visible}
figure svg *{stroke-linejoin:round;stroke-linecap:butt}
figure svg text{fill:var(--ink)}
figcaption{color:var(--quiet);font-size:.875rem;line-height:1.5;margin-top:14px}
.reading{display:grid;grid-template-columns:max-content minmax(0,46em);gap:8px 28px;margin:0}
.reading dt{font-size:1rem;color:var(--ink);font-weight:600}
.options{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:14px 28px;
margin:0}
.options dd{overflow-wrap:anywhere}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:14px;
padding:4px 8px}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:9px 10px;border-top:1px solid var(--line);
font-weight:400}
thead th{border-top:0;color:var(--quiet);font-size:.8125rem;vertical-align:bottom}
tbody th{min-width:17em;font-weight:550;overflow-wrap:anywhere}
.n{text-align:right;white-space:nowrap}
thead .n{white-space:normal}
.why{min-width:14em;overflow-wrap:anywhere}
th button{all:unset;cursor:pointer;border-radius:4px}
th button:hover{color:var(--ink)}
th button:focus-visible{outline:2px solid var(--c1);outline-offset:3px}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
footer{margin-top:52px;color:var(--quiet);font-size:.8125rem}
@media screen and (max-width:760px){
main{padding:32px 12px 28px}
h1{font-size:1.9rem}
.lead{font-size:1.1rem}
.tiles{grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.tiles div{padding:14px 16px}
.tiles dd{font-size:1.15rem}
figure{padding:14px 12px 14px}
.pictures{columns:1}
.reading{grid-template-columns:1fr;gap:0}
.reading dd{margin-bottom:12px}
.options{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}
}
@media screen and (max-width:1000px){
.wide{padding:0 14px}
table,tbody{display:block}
thead{display:none}
tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(105px,1fr));gap:6px 12px;
padding:14px 0;font-size:.8125rem;border-top:1px solid var(--line)}
tbody tr:first-child{border-top:0}
th,td,.n{border:0;padding:0;text-align:left;white-space:normal;min-width:0}
tbody th,.why{grid-column:1/-1}
tbody th{font-size:.9rem}
td{overflow-wrap:anywhere}
td::before{content:attr(data-label);display:block;color:var(--quiet);font-size:.75rem}
}
@media print{
@page{margin:14mm}
html{font-size:68%}
body{background:#fff;font-size:9.5pt}
main{max-width:none;padding:0}
h1{font-size:22pt}
section{margin-top:22pt}
.wide{overflow:visible;border:0;padding:0}
table{font-size:7.5pt}
th,td{padding:3pt 4pt}
tbody th{min-width:9em}
tr,.tiles div,.reading div{break-inside:avoid}
h2{break-after:avoid}
thead{display:table-header-group}
.pictures{columns:2 240px}
}
"""
)

# Sorts a table by the column clicked; without it the page is complete, only unsorted.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.v;
      const order = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const both = x - y;
        const way = Number.isNaN(both) ? x.localeCompare(y, undefined, {numeric: true}) : both;
        return down ? -way : way;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
"""
