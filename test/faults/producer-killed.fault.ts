// `stream produce` that kills itself after a chunk, or before a ledger record, is started again and is killed at the next.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Draws, type KillPoint, permutation } from '#shards';
import { openTransport } from '../../stream/transport/index.ts';
import { startBroker, type TestBroker } from '../broker.ts';
import { type Ended, run } from '../commands.ts';
import { packPhotos, temporaryFolder } from '../packed.ts';
import { requirement } from '../requirements.ts';
import { type Delivered, delivered, ledgerOf } from './delivered.ts';
import { pick } from './length.ts';

/** 80 photos to train on, 18 for val: at 224 px a lane's step has two chunks, and so has its half of the val split. */
const RECIPE = `
name: kill
lanes: 2
phases:
  - { resolution: 224, epochs: 1, batch: 16 }
  - { resolution: 16, epochs: 1, batch: 40 }
optimizer: { lr: 0.05, weightDecay: 0 }
`;
const PHASES = [
  { steps: [0, 1, 2, 3, 4], chunks: 2 },
  { steps: [5, 6], chunks: 1 },
];
const VAL = -1;
const LANES = [0, 1];

type KillAt = `${KillPoint}${'@' | ':'}${string}`;

/** Every place of one lane at which its producer can be killed, in the order in which it comes there. */
function placesOf(lane: number): KillAt[] {
  return PHASES.flatMap(({ steps, chunks }) =>
    [VAL, ...steps].flatMap((step): KillAt[] => [
      ...Array.from({ length: chunks }, (_, chunk): KillAt => `chunk-appended@${lane}/${step}/${chunk}`),
      `before-ledger@${lane}/${step}`,
    ]),
  );
}

/** `count` of them, drawn by the seed, in their order. */
function sample<Item>(items: readonly Item[], count: number, seed: number): Item[] {
  const chosen = permutation(items.length, { seed, purpose: 'kill-places' }).slice(0, count);
  return items.filter((_, i) => chosen.includes(i));
}

let shards: string;
let recipe: string;
let expected: { readonly hashes: Delivered['hashes']; readonly ledger: string[] };

const newLog = () => `log:${join(temporaryFolder(), 'log')}`;

function produce(transport: string, killAt?: KillAt): Promise<Ended> {
  const args = ['produce', '--run', 'kill', '--transport', transport, '--shards', shards, '--recipe', recipe];
  return run('stream', [...args, '--workers', '1'], killAt ? { MEDIUM_RECIPE_KILL_AT: killAt } : {});
}

async function read(url: string) {
  const transport = await openTransport(url, { create: false });
  try {
    const { hashes, counters } = await delivered(transport, 'kill');
    return { hashes, counters, ledger: await ledgerOf(transport, 'kill') };
  } finally {
    await transport.close();
  }
}

async function endsWhole(url: string, deaths: number): Promise<void> {
  const { code, stderr } = await produce(url);
  assert.equal(code, 0, stderr);
  const { hashes, ledger, counters } = await read(url);
  assert.deepEqual(ledger, expected.ledger, 'each (lane, step) once, with the digest of a run that nobody killed');
  assert.deepEqual(hashes, expected.hashes);
  assert.ok(deaths > 0 && counters.skipped > 0, 'what the dead left was in the way');
}

async function survives(url: string, places: readonly KillAt[]): Promise<void> {
  for (const at of places) {
    const { signal, code, stderr } = await produce(url, at);
    assert.equal(signal, 'SIGKILL', `${at}: exit ${code}, ${stderr}`);
  }
  await endsWhole(url, places.length);
}

before(async () => {
  shards = await packPhotos('224:256,16:24');
  recipe = join(temporaryFolder(), 'kill.yaml');
  await writeFile(recipe, RECIPE);
  const url = newLog();
  const { code, stderr } = await produce(url);
  assert.equal(code, 0, stderr);
  expected = await read(url);
  assert.equal(expected.ledger.length, LANES.length * (2 + 7));
});

describe('producer SIGKILL between chunk and ledger, at every such point', () => {
  for (const lane of LANES) {
    const places = placesOf(lane);
    const chosen = pick(sample(places, 4, lane), places);
    it(`lane ${lane}, ${chosen.length} of ${places.length} places, embedded log`, () => survives(newLog(), chosen));
  }

  it('both lanes as they come, killed after a drawn number of chunks each time, embedded log', async () => {
    const url = newLog();
    const draws = new Draws({ seed: 7, purpose: 'kill-places' });
    let deaths = 0;
    for (;;) {
      // Of five chunks one lane has three at least, so each life leaves a step of two in the ledger.
      const { signal, code, stderr } = await produce(url, `chunk-appended:${5 + draws.below(pick(6, 3))}`);
      if (code === 0) break;
      assert.equal(signal, 'SIGKILL', stderr);
      deaths++;
      assert.ok(deaths < 40, 'no progress');
    }
    await endsWhole(url, deaths);
  });

  if (pick(false, true))
    describe('Kafka', requirement('kafka'), () => {
      let broker: TestBroker;
      before(async () => {
        broker = await startBroker();
      });
      after(() => broker.stop());
      it(`lane 0, ${placesOf(0).length} places`, () => survives(broker.transport, placesOf(0)));
    });
});
