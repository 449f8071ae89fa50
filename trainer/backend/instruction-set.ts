// The processor's widest vector instructions, as far as the operating system tells.

import { readFile } from 'node:fs/promises';

/** Widest first: libraries take the first that is there. */
const KNOWN = ['amx_tile', 'avx512f', 'avx2', 'avx', 'sse4_2', 'sve2', 'sve', 'asimd'];

/** One of Linux's flag names, or `unknown` where there is no /proc/cpuinfo. */
export async function instructionSet(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? '';
  const flags = new Set(line.trim().split(/\s+/));
  return KNOWN.find((flag) => flags.has(flag)) ?? 'unknown';
}
