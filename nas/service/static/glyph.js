// An architecture as a row of bars: one per choice, as high as the option's place among its options; a choice
// that doesn't matter is a short mark.

const SVG = "http://www.w3.org/2000/svg";
const FIRST = 48; // the code of "0"; "." stands for a choice that doesn't matter

export function glyph(genes, choices) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("viewBox", `0 0 ${genes.length * 6} 26`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  [...genes].forEach((gene, place) => {
    const bar = document.createElementNS(SVG, "rect");
    const last = Math.max(1, choices[place].options.length - 1);
    const height = gene === "." ? 2 : 4 + (22 * (gene.codePointAt(0) - FIRST)) / last;
    bar.setAttribute("x", place * 6 + 1);
    bar.setAttribute("y", 26 - height);
    bar.setAttribute("width", 4);
    bar.setAttribute("height", height);
    bar.setAttribute("rx", 1);
    bar.setAttribute("fill", "currentColor");
    if (gene === ".") bar.setAttribute("class", "off");
    svg.append(bar);
  });
  return svg;
}
