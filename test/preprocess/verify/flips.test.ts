// Every single damaged byte of a packed dataset is found, and said to be where it is.

import assert from 'node:assert/strict';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Draws, decodeIndex } from '#shards';
import { damageLine } from '../../../preprocess/verify/damage.ts';
import { placesOf } from '../../../preprocess/verify/rows.ts';
import { temporaryFolder } from '../../shards/dataset.ts';
import { sealedDataset, verified } from './sealed.ts';

const FLIPS = 200;

interface Member {
  readonly key: string;
  readonly offset: number;
  readonly bytes: number;
}

/** The members of a tar, from its undamaged indexes. */
async function membersOf(tar: string): Promise<Member[]> {
  const index = decodeIndex(await readFile(tar.replace('.tar', '.index.safetensors')));
  const idx = (await readFile(tar.replace('.tar', '.idx'), 'utf8')).split('\n').slice(1);
  return Array.from({ length: index.samples }, (_, i) => {
    const key = / (\S+)\.json$/.exec(idx[i] as string)?.[1] as string;
    const { jpg, cls, json } = placesOf(index, i);
    return [jpg, cls, json].map((place) => ({ key, ...place }));
  }).flat();
}

/** Changes the byte at `at` by `xor` and gives the means to change it back. */
async function damage(path: string, at: number, xor: number): Promise<() => Promise<void>> {
  const flip = async (): Promise<void> => {
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] as number) ^ xor;
    await file.write(byte, 0, 1, at);
    await file.close();
  };
  await flip();
  return flip;
}

test(`${FLIPS} random single-byte damages are found, each in its file, and in its member where one holds the byte`, async (t) => {
  const dir = await temporaryFolder(t);
  await sealedDataset(dir);
  const files = (await readdir(dir, { recursive: true })).filter((name) => name.includes('.'));
  const members = new Map<string, Member[]>();
  for (const file of files.filter((name) => name.endsWith('.tar'))) members.set(file, await membersOf(join(dir, file)));
  assert.equal((await verified(dir)).damageCount, 0);
  const draws = new Draws({ seed: 20, purpose: 'test.flips' });
  /** In turn: in a member's payload, anywhere in a tar (half of a small one is headers and padding), in any file. */
  const somewhere = async (draw: Draws, turn: number): Promise<{ file: string; at: number }> => {
    const among = turn % 3 === 2 ? files : [...members.keys()];
    const file = among[draw.below(among.length)] as string;
    const inside = turn % 3 === 0 ? (members.get(file) ?? []) : [];
    const member = inside[draw.below(Math.max(inside.length, 1))];
    if (member) return { file, at: member.offset + draw.below(member.bytes) };
    return { file, at: draw.below((await stat(join(dir, file))).size) };
  };
  const hit = { payload: 0, elsewhere: 0 };
  for (let i = 0; i < FLIPS; i++) {
    const { file, at } = await somewhere(draws, i);
    const restore = await damage(join(dir, file), at, 1 + draws.below(255));
    const { damages, damageCount } = await verified(dir);
    const told = `${file}, byte ${at}: ${damages.map(damageLine).join('; ')}`;
    assert.equal(damageCount, 1, told);
    assert.equal(damages[0]?.file, file, told);
    const member = members.get(file)?.find(({ offset, bytes }) => at >= offset && at < offset + bytes);
    assert.equal(damages[0].key, member?.key, told);
    if (member) assert.equal(damages[0].offset, member.offset, told);
    if (members.has(file)) hit[member ? 'payload' : 'elsewhere']++;
    await restore();
  }
  assert.ok(hit.payload >= 20 && hit.elsewhere >= 20, `both kinds of bytes were hit: ${JSON.stringify(hit)}`);
  assert.equal((await verified(dir)).damageCount, 0);
});
