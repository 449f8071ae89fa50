import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClassNames, imageNetClasses } from '../../../shards/sources/class-names.ts';
import { writeFiles } from '../../preprocess/photos.ts';
import { temporaryFolder } from '../dataset.ts';
import { fault } from './tars.ts';

test('the shipped table has the 1000 classes, sorted, with the ids that the ground truth counts in', async () => {
  const classes = await imageNetClasses();
  assert.equal(classes.length, 1000);
  const wnids = classes.map(({ wnid }) => wnid);
  assert.deepEqual(wnids, [...new Set(wnids)].sort());
  assert.ok(wnids.every((wnid) => /^n\d{8}$/.test(wnid)));
  assert.deepEqual(
    classes.map(({ id }) => id).sort((a, b) => a - b),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
  assert.ok(classes.every(({ name }) => name.trim() === name && name.length > 0));
  // [label of the trained networks, wnid, ILSVRC2012_ID, name]: they differ by a permutation that is easy to get wrong.
  const known: [number, string, number, string][] = [
    [0, 'n01440764', 449, 'tench, Tinca tinca'],
    [65, 'n01751748', 490, 'sea snake'],
    [134, 'n02012849', 429, 'crane'],
    [207, 'n02099601', 125, 'golden retriever'],
    [278, 'n02119789', 1, 'kit fox, Vulpes macrotis'],
    [517, 'n03126707', 545, 'crane'],
    [638, 'n03710637', 782, 'maillot'],
    [639, 'n03710721', 977, 'maillot, tank suit'],
    [999, 'n15075141', 889, 'toilet tissue, toilet paper, bathroom tissue'],
  ];
  for (const [label, wnid, id, name] of known) assert.deepEqual(classes[label], { wnid, id, name });
});

test("names come from classes.tsv, then Kaggle's mapping, then ImageNet; an unknown class has none", async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), {
    'classes.tsv': 'wnid\tid\tname\nn01440764\t5\tFish\n',
    'above/LOC_synset_mapping.txt': 'n01440764 tench, Tinca tinca\r\nn01443537 gold fish\r\nx1 of Kaggle \n',
  });
  const names = await ClassNames.read([dir, join(dir, 'above')]);
  assert.deepEqual(
    names.entries(['n01440764', 'n01443537', 'n01484850', 'x1', 'x2']).map(({ name }) => name),
    [
      'Fish',
      'gold fish',
      'great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias',
      'of Kaggle',
      undefined,
    ],
  );
  assert.deepEqual(names.rows, ['n01440764']);
  assert.equal((await ClassNames.read([])).rows, null);
});

test('a classes.tsv without its two columns is refused', async (t) => {
  const dir = await writeFiles(await temporaryFolder(t), { 'classes.tsv': 'id\tlabel\na\tA\n' });
  await assert.rejects(ClassNames.read([dir]), fault('bad-classes-tsv', "'id', 'label'"));
});
