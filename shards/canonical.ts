// Canonical JSON: one text for one value, so that it can be hashed. Keys sorted by UTF-16 code unit, no spaces,
// strings and numbers as JSON.stringify writes them (RFC 8785).

/**
 * The canonical text of a JSON value, without a trailing newline. Properties that are `undefined` are left out.
 * @throws TypeError for what JSON cannot hold (NaN, infinity, bigint, function, `undefined` in an array): our defect.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && (Object.getPrototypeOf(value) ?? Object.prototype) === Object.prototype) {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
    return `{${fields.join(',')}}`;
  }
  throw new TypeError(`canonical JSON cannot hold ${Object.prototype.toString.call(value)} ${String(value)}`);
}
