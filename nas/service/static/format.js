// Numbers as nas/report/tables.py prints them; a test compares the two.

function isRate(value, objective) {
  return objective.unit === "" && objective.direction === "maximize" && value >= 0 && value <= 1;
}

/** Python's "%.{digits}g". */
export function general(value, digits) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const plain = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < digits) return plain(value.toFixed(Math.max(0, digits - 1 - power)));
  const sign = power < 0 ? "-" : "+";
  return `${plain(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}

export function shown(value, objective) {
  if (isRate(value, objective)) return `${(100 * value).toFixed(2)} %`;
  if (objective.unit === "B") return `${(value / 1024).toFixed(1)} KiB`;
  const number = Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : general(value, 4);
  return `${number} ${objective.unit}`.trimEnd();
}

/** Value and standard deviation, as two texts; the second is empty for an exact count. */
export function withSpread(value, spread, objective) {
  const text = shown(value, objective);
  if (!spread) return [text, ""];
  const [number, unit = ""] = text.split(" ");
  const factor = { "%": 100, KiB: 1 / 1024 }[unit] ?? 1;
  return [number, `± ${general(spread * factor, 2)} ${unit}`.trimEnd()];
}
