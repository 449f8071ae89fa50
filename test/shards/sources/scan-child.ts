// Lists a source folder in a process of its own, whose heap the test limits: `node scan-child.js DIR` prints the counts.

import { scanSource } from '../../../shards/sources/source.ts';

const { counts } = await scanSource(process.argv[2] as string, () => {});
console.log(JSON.stringify(counts));
