// JSON of our own that carries its own hash: what unseals was written here, and whole.

import { createHash } from 'node:crypto';
import { canonicalJson } from '#shards';

/** Canonical JSON with `sha256` of all but itself, and one newline. */
export function seal(body: object): string {
  return `${canonicalJson({ ...body, sha256: sha256Of(body) })}\n`;
}

/** What was sealed; null where the text is anything else. */
export function unseal(text: string): Readonly<Record<string, unknown>> | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof json !== 'object' || json === null || !('sha256' in json)) return null;
  const { sha256, ...body } = json;
  return sha256 === sha256Of(body) ? body : null;
}

function sha256Of(body: object): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex');
}
