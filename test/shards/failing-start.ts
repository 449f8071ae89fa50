// A pool's worker for tests: the first one fails as it starts, before it is given a task.

import { existsSync, writeFileSync } from 'node:fs';

const mark = process.env['FAILING_START'] ?? '';
if (!existsSync(mark)) {
  writeFileSync(mark, '');
  throw new Error('this start fails');
}

export default (value: number): number => value;
