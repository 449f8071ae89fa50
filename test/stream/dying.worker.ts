// The render worker, but it dies of step 1 as long as DYING_MARK names no file, and always of step 2.

import { existsSync, writeFileSync } from 'node:fs';
import render, { type RenderReply, type RenderRequest } from '../../stream/render.worker.ts';

export default function dying(request: RenderRequest): Promise<RenderReply> {
  const { step } = request.task.id;
  const mark = process.env['DYING_MARK'] ?? '';
  if (step === 2 || (step === 1 && !existsSync(mark))) {
    writeFileSync(mark, '');
    process.exit(1);
  }
  return render(request);
}
