/** Exact arithmetic on amounts of credits, which are decimal texts. */

/** An amount as `units` times ten to the power of minus `scale`. */
interface Decimal {
  units: bigint;
  scale: number;
}

const PARTS = /^\s*([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d{1,3}))?\s*$/i;

function parse(text: string): Decimal {
  const [, sign, whole = "", fraction = "", exponent = "0"] =
    PARTS.exec(text) ?? [];
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(`${whole}${fraction}` || "0");
  const units = digits * 10n ** BigInt(Math.max(0, -scale));
  return { units: sign === "-" ? -units : units, scale: Math.max(0, scale) };
}

function format({ units, scale }: Decimal): string {
  const digits = (units < 0n ? -units : units).toString()
    .padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  const fraction = digits.slice(digits.length - scale).replace(/0+$/, "");
  return `${units < 0n ? "-" : ""}${whole}${fraction && `.${fraction}`}`;
}

function align(a: string, b: string): { a: bigint; b: bigint; scale: number } {
  const [x, y] = [parse(a), parse(b)];
  const scale = Math.max(x.scale, y.scale);
  return {
    a: x.units * 10n ** BigInt(scale - x.scale),
    b: y.units * 10n ** BigInt(scale - y.scale),
    scale,
  };
}

export function addAmounts(first: string, second: string): string {
  const { a, b, scale } = align(first, second);
  return format({ units: a + b, scale });
}

export function subtractAmounts(from: string, amount: string): string {
  const { a, b, scale } = align(from, amount);
  return format({ units: a - b, scale });
}

/** Below 0 where the first amount is lower, 0 where both are equal, else above 0. */
export function compareAmounts(first: string, second: string): number {
  const { a, b } = align(first, second);
  return a < b ? -1 : a > b ? 1 : 0;
}

export function sumAmounts(amounts: Iterable<string>): string {
  let sum = "0";
  for (const amount of amounts) sum = addAmounts(sum, amount);
  return sum;
}

export function multiplyAmount(amount: string, times: number): string {
  const { units, scale } = parse(amount);
  return format({ units: units * BigInt(times), scale });
}

/** Shares an amount by whole weights; what does not divide goes to the last one. */
export function shareAmount(
  total: string,
  weights: readonly number[],
): string[] {
  const { units, scale } = parse(total);
  const finer = { units: units * 1_000_000n, scale: scale + 6 };
  const sum = weights.reduce((a, b) => a + b, 0);
  let left = finer.units;
  return weights.map((weight, index) => {
    const isLast = index === weights.length - 1;
    const share = isLast
      ? left
      : finer.units * BigInt(Math.round(weight)) / BigInt(Math.round(sum));
    left -= share;
    return format({ units: share, scale: finer.scale });
  });
}
