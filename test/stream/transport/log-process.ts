// A process of its own on a log: `churn` appends and deletes for ever, `hold` takes a read snapshot and stays.

import { writeSync } from 'node:fs';
import { openTransport } from '../../../stream/transport/index.ts';
import { openStore } from '../../../stream/transport/log-store.ts';

const [action = '', directory = ''] = process.argv.slice(2);
if (action === 'hold') {
  const store = await openStore(directory);
  store.root.useReadTransaction();
  writeSync(1, 'holding\n');
  setInterval(() => undefined, 1000);
} else {
  const transport = await openTransport(`log:${directory}`);
  for (let i = 0; ; i++) {
    const at = await transport.append('t', 0, Buffer.alloc(30_000, i), `key-${i % 7}`);
    writeSync(1, `${at} ${i & 255}\n`);
    if (i % 5 === 4) await transport.deleteBefore('t', 0, at - 10);
  }
}
