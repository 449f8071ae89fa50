// A fingerprint by its parts, so that a difference has a name.
//
//   fingerprint := DECODER+KERNEL+FORMAT[+OTHER …], where OTHER is jpeg-turbo@VERSION or sharp@VERSIONS-ARCHITECTURE

/** The part's name → what it is. */
function partsOf(fingerprint: string): Map<string, string> {
  const [decoder = '', kernel = '', format = '', ...others] = fingerprint.split('+');
  const parts = new Map([
    ['decoder', decoder],
    ['kernel', kernel],
    ['format', format],
  ]);
  for (const other of others) {
    const name = other.split('@')[0] as string;
    if (name !== 'sharp') {
      parts.set(name, other);
      continue;
    }
    const dash = other.lastIndexOf('-');
    parts.set('sharp', other.slice(0, dash));
    parts.set('architecture', other.slice(dash + 1));
  }
  return parts;
}

export interface DifferingPart {
  /** decoder, kernel, format, jpeg-turbo, sharp or architecture. */
  readonly part: string;
  readonly ours: string;
  readonly theirs: string;
}

/** Where two fingerprints differ; `nothing` stands for a part that only the other has. Empty where they are equal. */
export function differingParts(ours: string, theirs: string): DifferingPart[] {
  const [mine, other] = [partsOf(ours), partsOf(theirs)];
  return [...new Set([...mine.keys(), ...other.keys()])]
    .map((part) => ({ part, ours: mine.get(part) ?? 'nothing', theirs: other.get(part) ?? 'nothing' }))
    .filter(({ ours, theirs }) => ours !== theirs);
}
