// The rooms: imports point left only, through the doors, and nothing stands where the design has no room for it.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Room → rooms that it may use. */
const MAY_USE: Record<string, readonly string[]> = {
  shards: [],
  preprocess: ['shards'],
  stream: ['shards'],
  trainer: ['stream', 'shards'],
  ops: ['shards', 'preprocess', 'stream', 'trainer'],
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

function specifiersOf(source: string): string[] {
  const pattern = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)'([^']+)'/g;
  return [...source.matchAll(pattern)].map((match) => match[1] as string);
}

/** Why an import is against the direction of the rooms; null where it is not. */
function complaint({ file, specifier }: Import): string | null {
  const room = file.split('/')[0] as string;
  if (specifier.startsWith('#')) {
    const target = specifier.slice(1);
    if (target === room) return `${file} enters its own room by the door ${specifier}`;
    return (MAY_USE[room] ?? []).includes(target)
      ? null
      : `${file} imports ${specifier}: ${room} may use ${MAY_USE[room]}`;
  }
  if (!specifier.startsWith('.')) return null;
  const target = join(file, '..', specifier).split('/')[0];
  return target === room ? null : `${file} imports ${specifier}: other rooms are entered by their doors`;
}

async function importsOf(room: string): Promise<Import[]> {
  const files = await readdir(join(root, room), { recursive: true });
  const sources = files.filter((file) => file.endsWith('.ts'));
  const found = await Promise.all(
    sources.map(async (name) => {
      const file = join(room, name);
      return specifiersOf(await readFile(join(root, file), 'utf8')).map((specifier) => ({ file, specifier }));
    }),
  );
  return found.flat();
}

describe('the rooms', () => {
  for (const room of Object.keys(MAY_USE))
    it(`${room} imports only what stands left of it, by the doors`, async () => {
      const imports = await importsOf(room);
      assert.ok(imports.length > 0, `${relative(root, join(root, room))} has imports`);
      assert.deepEqual(imports.map(complaint).filter(Boolean), []);
    });

  it('an import against the direction is found', () => {
    assert.ok(complaint({ file: 'shards/tar.ts', specifier: '#stream' }));
    assert.ok(complaint({ file: 'stream/plan.ts', specifier: '../trainer/step.ts' }));
    assert.ok(complaint({ file: 'stream/plan.ts', specifier: '#stream' }));
    assert.equal(complaint({ file: 'trainer/loop.ts', specifier: '#stream' }), null);
    assert.deepEqual(specifiersOf("import { a } from './a.ts';\nawait import('#b');\nexport * from '#c';"), [
      './a.ts',
      '#b',
      '#c',
    ]);
  });

  it('has no drawer for odds and ends', async () => {
    const names = (
      await Promise.all(Object.keys(MAY_USE).map((room) => readdir(join(root, room), { recursive: true })))
    ).flat();
    assert.deepEqual(
      names.filter((name) => /(^|\/)(common|utils?|helpers?|misc|types)(\.ts)?(\/|$)/.test(name)),
      [],
    );
  });
});
