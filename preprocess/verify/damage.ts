// What is wrong with a packed dataset, one thing each: told as one line, kept in a list that cannot grow without bound.

export interface Damage {
  /** Path from the dataset's folder, with '/'. */
  readonly file: string;
  /** Of the sample, where one is concerned. */
  readonly key?: string;
  /** First byte, in `file`, of the member or of the difference. */
  readonly offset?: number;
  readonly what: string;
  readonly expected: string;
  readonly received: string;
}

/** So many are kept and told; all are counted. A set that was cut in half has a million. */
export const DAMAGES_KEPT = 100;

/** A whole JSON text would drown the rest. */
const VALUE_CHARACTERS = 300;

export class DamageList {
  readonly kept: Damage[] = [];
  count = 0;
  readonly #onKept: ((damage: Damage) => void) | undefined;

  constructor(onKept?: (damage: Damage) => void) {
    this.#onKept = onKept;
  }

  add({ expected, received, ...damage }: Damage): void {
    this.count++;
    if (this.kept.length === DAMAGES_KEPT) return;
    const kept = { ...damage, expected: short(expected), received: short(received) };
    this.kept.push(kept);
    this.#onKept?.(kept);
  }

  /** Takes over what another list found. */
  addAll({ kept, count }: { readonly kept: readonly Damage[]; readonly count: number }): void {
    for (const damage of kept) this.add(damage);
    this.count += count - kept.length;
  }
}

/** What the system refuses while reading; anything else is a defect and thrown on. */
export function asReadDamage(error: unknown, file: string): Damage {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) throw error;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return { file, what: missing ? 'missing' : 'cannot be read', expected: 'a file', received: code };
}

export function damageLine({ file, key, offset, what, expected, received }: Damage): string {
  const place = [key === undefined ? '' : `key ${key}`, offset === undefined ? '' : `at byte ${offset}`]
    .filter((part) => part !== '')
    .join(' ');
  return `damaged ${file}: ${what}${place === '' ? '' : ` (${place})`}: expected ${expected}, got ${received}`;
}

function short(value: string): string {
  return value.length <= VALUE_CHARACTERS ? value : `${value.slice(0, VALUE_CHARACTERS)}…`;
}
