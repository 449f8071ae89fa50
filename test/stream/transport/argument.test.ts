import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { transportArgument } from '../../../stream/transport/index.ts';

test('a shell takes --transport as it was shown, whatever the URL holds', () => {
  for (const url of [
    'log:/tmp/a log',
    "log:it's",
    'kafka://a:1,b:2?tls=true&sasl=plain',
    'log:$HOME `id`',
    'log:dir',
  ]) {
    const shown = transportArgument({ url });
    const [, argument] = execFileSync('sh', ['-c', `printf '%s\\n' ${shown}`], { encoding: 'utf8' }).split('\n');
    assert.equal(argument, url);
  }
  assert.equal(transportArgument({ url: 'kafka://127.0.0.1:9092' }), '--transport kafka://127.0.0.1:9092');
});
