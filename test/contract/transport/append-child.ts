// A process of its own that appends numbered records and prints each acknowledged offset: to be killed at any moment.

import { writeSync } from 'node:fs';
import { openTransport } from '../../../stream/transport/index.ts';

const [url = '', topic = '', partition = '0', writer = '0', count = '0', bytes = '8'] = process.argv.slice(2);
const transport = await openTransport(url);
for (let i = 0; i < Number(count); i++) {
  const value = Buffer.alloc(Number(bytes), i & 255);
  value.writeUInt32LE(Number(writer), 0);
  value.writeUInt32LE(i, 4);
  const offset = await transport.append(topic, Number(partition), value);
  // Synchronous: what the parent has seen was acknowledged, and nothing acknowledged waits in a buffer.
  writeSync(1, `${i} ${offset}\n`);
}
await transport.close();
